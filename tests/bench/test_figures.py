"""A ratio is taken within a round, and a goal speaks of it or of the value."""

from tests.bench.figures import Figure, Goal, percentile, table


def test_the_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    figure = Figure(name="rate", unit="1/s", rounds=[10, 40, 90], limit_rounds=[10, 20, 100], limit_name="bare")
    assert figure.ratios == [1.0, 2.0, 0.9]
    assert figure.ratio == 1.0
    assert figure.spread == (0.9, 2.0)


def test_a_goal_is_a_bound_on_the_ratio_or_on_the_value() -> None:
    fast = Goal(bound=1.0, sense="at least")
    assert Figure(name="a", unit="1/s", rounds=[5], limit_rounds=[5], goal=fast).met
    assert Figure(name="a", unit="1/s", rounds=[4], limit_rounds=[5], goal=fast).met is False
    small = Goal(bound=400, sense="at most", of="value")
    assert Figure(name="a", unit="MB", rounds=[399], goal=small).met
    assert Figure(name="a", unit="MB", rounds=[401], goal=small).met is False
    assert Figure(name="a", unit="MB", rounds=[401]).met is None


def test_a_table_and_json_tell_of_a_missed_goal() -> None:
    missed = Figure(name="cpu", unit="ms", rounds=[6.0], limit_rounds=[5.0], goal=Goal(bound=1.0, sense="at most"))
    assert "| 1.20 |" in table([missed])
    assert "MISSED" in table([missed])
    told = missed.as_json()
    assert told["met"] is False
    assert told["ratio"] == 1.2


def test_a_percentile_lies_within_what_was_measured() -> None:
    assert percentile([*range(49), 1000], 99) < 1000
    assert percentile([1.0, 2.0, 3.0], 50) == 2.0
    assert percentile([7.0], 99) == 7.0
