"""The commands of whoever writes a cast: is it whole and clear, and learn its examples."""

import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import click

from core.cast.examples import NOBODY
from core.commands.exits import SAYS_NO, checked
from core.commands.processes import spread
from core.config import Environment, PromptSettings

if TYPE_CHECKING:  # loaded when a command runs
    from core.cast.characters import Cast
    from core.routing.check import Share, Verdict
    from core.routing.phrases import Phrases


@click.group()
def cast() -> None:
    """Check and learn the cast in PROMPTS_DIR."""


@cast.command()
@click.argument("characters", metavar="[CHARACTER]...", nargs=-1)
@click.option("--fast", is_flag=True, help="leave out what takes long: which examples reach somebody else")
@checked
def check(characters: tuple[str, ...], *, fast: bool) -> None:
    """Name what its writer should mend, with file and line.

    Exit 1 when there is something.
    With CHARACTERs (ids, or nobody) only what concerns one of them is shown: her files, her words that are another's
    too, her examples that reach somebody else, and others' that reach her.
    """
    from core.cast.characters import load_cast
    from core.routing.check import doubled_examples, missing_languages, shared_words, shares_of, strayed_examples
    from core.routing.phrases import load_phrases

    directory = _prompts().directory
    read, phrases = load_cast(directory), load_phrases(directory)
    chosen = _chosen(characters, read)
    found = [*shared_words(read, directory), *missing_languages(read, directory), *doubled_examples(read)]
    if read.examples and not fast:
        verdicts = _judged(read, phrases)
        found += strayed_examples(read, verdicts)
        _show([each for each in shares_of(read, verdicts) if each.character in chosen])
    shown = [each for each in found if each.concerns & chosen]
    for each in shown:
        click.echo(str(each))
    click.echo(f"{len(shown)} to mend" if shown else "nothing to mend")
    sys.exit(SAYS_NO if shown else 0)


@cast.command()
@checked
def learn() -> None:
    """Learn the examples now, and not at the next start.

    What was learnt is kept beside the cast.
    """
    from core.adapters.model_files import ship
    from core.cast.characters import load_cast
    from core.routing.phrases import load_phrases
    from core.routing.words import Vocabulary

    directory = _prompts().directory
    read, phrases = load_cast(directory), load_phrases(directory)
    if not read.examples:
        click.echo(f"{directory / 'examples'} holds no examples", err=True)
        sys.exit(SAYS_NO)
    try:
        path = ship(read, phrases, Vocabulary(read, phrases), prompts=directory)
    except OSError as error:
        click.echo(f"{directory}: cannot be written to: {error.strerror}", err=True)
        sys.exit(SAYS_NO)
    click.echo(f"{len(read.examples)} examples learnt: {path}")


def _prompts() -> PromptSettings:
    environment = Environment(os.environ)
    prompts = environment.read(PromptSettings)
    environment.check()
    return prompts


def _chosen(characters: Sequence[str], read: "Cast") -> frozenset[str]:
    """All when none was named. Raises: click.BadParameter."""
    known = (*read.characters, NOBODY)
    for each in characters:
        if each not in known:
            raise click.BadParameter(f"{each} is none of {', '.join(known)}", param_hint="CHARACTER")
    return frozenset(characters or known)


def _judged(read: "Cast", phrases: "Phrases") -> "Sequence[Verdict]":
    """Each example judged, in a process a core; on stderr a bar where it is a terminal, else one line."""
    from core.routing.check import judge, parts_of
    from core.routing.words import Vocabulary

    count = len(read.examples)
    label = f"judging {count:,} examples (10,000 take about a minute)"
    verdicts: list[Verdict] = []
    with click.progressbar(length=count, label=label, file=sys.stderr) as bar:
        parts = parts_of(read, phrases, Vocabulary(read, phrases))
        with closing(spread(judge, parts)) as each_judged:
            for judged in each_judged:
                verdicts += judged
                bar.update(len(judged))
    return verdicts


def _show(shares: "Sequence[Share]") -> None:
    """A table: of a character's examples in a language, how many in a hundred reach her unseen."""
    languages = list(dict.fromkeys(each.language for each in shares))
    cells: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for each in shares:
        cells[each.character][each.language] = f"{100 * each.right / each.of:.0f}"
    click.echo("examples that reach their character unseen, in percent (hard ones may miss)")
    click.echo(f"{'':<12}" + "".join(f"{language:>9}" for language in languages))
    for character, row in cells.items():
        click.echo(f"{character:<12}" + "".join(f"{row.get(language, '-'):>9}" for language in languages))
