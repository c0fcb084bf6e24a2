"""A cast of two in a directory of its own, small enough to be learnt in a moment, for tests that write into it."""

from pathlib import Path

from core.cast.characters import required_texts

COOK = """how long do i roast a chicken
my soup tastes of nothing
the dough will not rise
which pan for pancakes
i burnt the onions again
can i freeze this stew
what goes with fennel
the sauce split when i added cream"""
SAILOR = """how do i reef the main in a squall
the anchor drags every night
my jib sheet keeps jamming
which knot for a mooring line
we ran aground on the sandbank
is the tide with us tomorrow
the hull needs new antifouling
wind against tide off the headland"""
NOBODY = """hello there
see you later
i am on the bus
what time is it
ok thanks
haha yes
my phone died
good night"""


def write(directory: Path, file: str, content: str) -> None:
    path = directory / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def small_cast(directory: Path) -> Path:
    """Writes the cast, English only, Sailor the default; returns the directory."""
    write(directory, "cast.toml", 'family = "friends"\nlanguages = ["en"]\nsafety = "Be kind."\n')
    commands = "\n".join(f'{name} = ["{name}"]' for name in ("stop", "start", "delete", "help"))
    texts = "\n".join(f'{key} = "{key}"' for key in required_texts())
    write(directory, "texts/en.toml", f'function_words = ["the"]\n[commands]\n{commands}\n[texts]\n{texts}\n')
    write(directory, "routing.toml", '[endings]\nen = ["", "s", "ing"]\n')
    write(directory, "cook.toml", 'name = "Cook"\nemoji = "🍲"\nsummary = "food"\n')
    write(directory, "sailor.toml", 'name = "Sailor"\nemoji = "⛵"\ndefault = true\nsummary = "boats"\n')
    for character in ("cook", "sailor"):
        write(directory, f"{character}_system_prompt.example.txt", "You are kind.\n")
    write(directory, "cook.topics.toml", '[en]\ntriggers = ["soup", "recipe"]\nkeywords = ["oven"]\n')
    write(directory, "sailor.topics.toml", '[en]\ntriggers = ["boat", "anchor"]\nkeywords = ["rope"]\n')
    for owner, examples in (("cook", COOK), ("sailor", SAILOR), ("nobody", NOBODY)):
        write(directory, f"examples/{owner}.en.txt", f"# {owner}\n{examples}\n")
    return directory
