"""Output in the terminal: plain lines, tables and progress bars, the same for every command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from headnod.escaping import printable

_Item = TypeVar("_Item")


def plain_console(*, stderr: bool = False) -> Console:
    """A console without markup: labels and file names may contain brackets and colons."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def print_line(console: Console, text: str) -> None:
    """Print one line of text that is not interpreted or wrapped."""
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def print_result(text: str) -> None:
    """Print one line of a command's result on stdout."""
    plain_console().print(text, soft_wrap=True)


def text_table(
    *headings: str, rows: Iterable[Iterable[str]] = (), title: str | None = None, caption: str | None = None
) -> Table:
    """A table with text in the first column and numbers in the others."""
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left")
    for row in rows:
        table.add_row(*row)
    return table


def progress_bar(console: Console, *, transient: bool = False) -> Progress:
    """A progress bar, which is shown on a terminal only."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=transient,
        disable=not console.is_terminal,
    )


def tracked(items: Sequence[_Item], description: str, console: Console) -> Iterator[_Item]:
    """The items, with a progress bar that disappears at the end."""
    with progress_bar(console, transient=True) as progress:
        yield from progress.track(items, description=description)
