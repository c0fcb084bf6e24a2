"""`make eval`: prints how often the right one answers, beside the article's algorithm; exit 1 below the bounds."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from core import log
from core.adapters.model_files import cache_directory
from core.cast.characters import Cast, load_cast
from core.config import EmbeddingSettings, Environment, PromptSettings
from core.wiring.router import ready_router, routing_of
from tests.eval.bounds import problems
from tests.eval.score import NONE, Dialogue, Message, Report, read, score, score_article

_WRITERS: Final = ("", "_second", "_third", "_fourth", "_fifth")
HELD_OUT: Final = tuple(
    Path(__file__).with_name(f"{kind}{writer}.jsonl") for kind in ("heldout", "dialogues") for writer in _WRITERS
)


def main(arguments: Sequence[str]) -> int:
    """Evaluates the named files, or the held-out part, which alone is held to the bounds; returns the exit code."""
    log.setup("eval", stream=sys.stderr)
    try:
        messages, dialogues = held_out([Path(name) for name in arguments] or HELD_OUT)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    environment = Environment(os.environ)
    prompts = environment.read(PromptSettings)
    environment.check()
    cast = load_cast(prompts.directory)
    default, cache = cast.default.id, cache_directory(os.environ)
    words, local = (
        routing_of(prompts, EmbeddingSettings(), each, cache=cache).router
        for each in (replace(cast, examples=()), cast)
    )
    reports = {
        "article": score_article(default, messages, dialogues),
        "a, b": score(words, default, messages, dialogues),
        "a to c": score(local, default, messages, dialogues),
    }
    if os.environ.get("EMBEDDINGS_BASE_URL"):
        with ready_router(os.environ) as router:
            reports["a to d"] = score(router, default, messages, dialogues)
    for line in _table(reports):
        _say(line)
    for name in [name for name in reports if name != "a, b"]:
        _say()
        for line in _details(name, reports[name], cast):
            _say(line)
    below = [] if arguments else problems(reports["a to c"], with_embeddings=reports.get("a to d"))
    for each in below:
        sys.stderr.write(f"{each}\n")
    return 1 if below else 0


def held_out(files: Sequence[Path]) -> tuple[list[Message], list[Dialogue]]:
    """Returns what all of these files hold."""
    each = [read(path) for path in files]
    return [m for messages, _ in each for m in messages], [d for _, dialogues in each for d in dialogues]


def _table(reports: Mapping[str, Report]) -> Iterable[str]:
    first = next(iter(reports.values()))
    yield f"{'right, in percent':<20}{'n':>6}" + "".join(f"{name:>10}" for name in reports)
    for group, tally in first.groups.items():
        yield f"{group:<20}{tally.of:>6}" + "".join(f"{r.groups[group]!s:>10}" for r in reports.values())
    if first.dialogues.of:
        whole, turns = [r.dialogues for r in reports.values()], [r.turns for r in reports.values()]
        for name, tallies in (("dialogues whole", whole), ("their turns", turns)):
            yield f"{name:<20}{tallies[0].of:>6}" + "".join(f"{tally!s:>10}" for tally in tallies)


def _details(name: str, report: Report, cast: Cast) -> Iterable[str]:
    yield f"{name}: who was found (columns) for whom (rows); none: no tier was sure"
    columns = (*cast.characters, NONE)
    yield f"{'':<12}" + "".join(f"{column:>10}" for column in columns)
    for label in columns:
        yield f"{label:<12}" + "".join(f"{report.confusion.get((label, column), 0):>10}" for column in columns)
    for tier, tally in report.tiers.items():
        yield f"decided by {tier:<12}{tally.of:>6} messages, {tally} % right"


def _say(line: str = "") -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
