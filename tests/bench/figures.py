"""One line of the performance table: what was measured, the limit beside it, the goal, and whether it is met."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A bound on the ratio to the limit, or on the value itself where there is no limit beside it."""

    bound: float
    sense: Literal["at least", "at most"]
    of: Literal["ratio", "value"] = "ratio"

    def is_met_by(self, measured: float) -> bool:
        """Whether that lies on the good side."""
        return measured >= self.bound if self.sense == "at least" else measured <= self.bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Each round's value, and that of the limit in the same round: the machine's mood is in both.

    `expected` is False for absolute times: they are printed beside their goal, and no run fails by them.
    """

    name: str
    unit: str
    rounds: Sequence[float]
    limit_name: str = ""
    limit_rounds: Sequence[float] = ()
    goal: Goal | None = None
    expected: bool = True
    note: str = ""

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)

    @property
    def limit_value(self) -> float | None:
        """The median of the limit's rounds."""
        return median(self.limit_rounds) if self.limit_rounds else None

    @property
    def ratios(self) -> list[float]:
        """Each round's value to that round's limit."""
        if not self.limit_rounds:
            return []
        return [value / limit for value, limit in zip(self.rounds, self.limit_rounds, strict=True)]

    @property
    def ratio(self) -> float | None:
        """The median of the rounds' ratios."""
        return median(self.ratios) if self.ratios else None

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest round: of the ratio where there is one, else of the value."""
        told = self.ratios or self.rounds
        return min(told), max(told)

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        if self.goal is None:
            return None
        measured = self.ratio if self.goal.of == "ratio" else self.value
        return measured is not None and self.goal.is_met_by(measured)

    def as_json(self) -> dict[str, Any]:
        """Everything, with what follows from it."""
        goal = self.goal
        return {
            "name": self.name,
            "unit": self.unit,
            "value": self.value,
            "rounds": list(self.rounds),
            "limit_name": self.limit_name,
            "limit_value": self.limit_value,
            "limit_rounds": list(self.limit_rounds),
            "ratio": self.ratio,
            "spread": list(self.spread),
            "goal": None if goal is None else {"sense": goal.sense, "bound": goal.bound, "of": goal.of},
            "met": self.met,
            "expected": self.expected,
            "note": self.note,
        }


def percentile(values: Sequence[float], percent: int) -> float:
    """That percentile of what was measured, which never lies beyond the highest; of one value, that value."""
    return quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]


def table(figures: Iterable[Figure]) -> str:
    """Returns the figures as a Markdown table."""
    rows = ["| figure | measured | limit | ratio | spread | goal | |", "| --- | --- | --- | --- | --- | --- | --- |"]
    rows += [_row(figure) for figure in figures]
    return "\n".join(rows)


def _row(figure: Figure) -> str:
    goal, limit = figure.goal, figure.limit_value
    low, high = figure.spread
    cells = (
        figure.name + (f" ({figure.note})" if figure.note else ""),
        f"{_number(figure.value)} {figure.unit}",
        "" if limit is None else f"{_number(limit)} {figure.unit}, {figure.limit_name}",
        "" if figure.ratio is None else f"{figure.ratio:.2f}",
        f"{_number(low)} to {_number(high)}" if len(figure.rounds) > 1 else "",
        "" if goal is None else f"{goal.sense} {_number(goal.bound)}" + (" x" if goal.of == "ratio" else ""),
        {None: "", True: "met", False: "MISSED" if figure.expected else "missed"}[figure.met],
    )
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
