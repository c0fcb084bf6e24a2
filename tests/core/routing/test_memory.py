import json

from hypothesis import given
from hypothesis import strategies as st

from core.routing.memory import Memory, read, written

CAST = ("cook", "smith", "sailor")
ids = st.none() | st.sampled_from(CAST)
memories = st.builds(
    Memory,
    leanings=st.dictionaries(st.sampled_from(CAST), st.floats(0.25, 1e5)),
    held=st.booleans(),
    hint=ids,
    hint_age=st.integers(0, 9),
    spoke=ids,
    host=ids,
)


@given(memory=memories)
def test_what_is_written_is_read_again(memory: Memory):
    assert read(written(memory), CAST) == memory


def test_it_stays_under_a_kilobyte_with_the_longest_ids():
    crowd = tuple(f"n{n:02}" + "x" * 61 for n in range(40))
    memory = Memory(
        leanings=dict.fromkeys(crowd, 12345.67), held=True, hint=crowd[0], hint_age=9, spoke=crowd[1], host=crowd[2]
    )
    assert len(written(memory).encode()) < 1000
    assert read(written(memory), crowd).hint == crowd[0]


def test_another_version_counts_as_nothing():
    table = json.loads(written(Memory(held=True, spoke="cook")))
    assert read(json.dumps(table | {"v": 1}), CAST) == Memory()
    assert read(json.dumps(table), CAST).held


def test_whoever_is_not_of_the_cast_is_forgotten():
    assert read('{"v":2,"spoke":"dentist","hint":["cook"],"host":7,"age":-1,"held":1}', CAST) == Memory()
