"""Display of a rollout: a live table on a terminal, else one line per event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from headnod_train.deploy.rollout import RolloutResult
from headnod_train.deploy.rollout_fleet import FleetListener

_COLOURS = {"kept": "green", "offered": "green", "refused": "red", "rolled_back": "red", "probation": "yellow"}
_ROOM = 8
"""Lines of the terminal outside the table."""


class RolloutDisplay:
    """Shows the stage of every listener."""

    def __init__(self, console: Console, model: str) -> None:
        """Show the rollout of a model."""
        self._console, self._model = console, model
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._told: dict[str, str] = {}

    def show(self, members: Sequence[FleetListener], summary: str) -> None:
        """Show all listeners, unfinished ones first."""
        if self._live is not None:
            self._live.update(self._table(members, summary))
            return
        for member in members:
            if member.stage and self._told.get(member.node) != member.stage:
                self._told[member.node] = member.stage
                line = f"{member.node}: {_words(member.stage)}: {member.message}"
                self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def _table(self, members: Sequence[FleetListener], summary: str) -> Table:
        table = Table(title=f"{self._model}: {summary}", title_justify="left")
        for heading in ("listener", "channel", "had", "stage", "what it says"):
            table.add_column(heading, no_wrap=True, overflow="ellipsis")
        order = sorted(members, key=lambda member: (member.well, not member.online, member.node))
        shown = order[: max(self._console.height - _ROOM, 1)]
        for member in shown:
            stage = member.stage or ("waiting" if member.online else "away")
            colour = _COLOURS.get(stage, "default")
            table.add_row(
                member.node, member.channel, member.had, Text(_words(stage), style=colour), Text(member.message)
            )
        if rest := Counter(member.stage or "waiting" for member in order[len(shown) :]):
            table.caption = "and " + ", ".join(f"{count} {_words(stage)}" for stage, count in rest.items())
        return table


def summary(outcome: RolloutResult, model: str) -> str:
    """The result of a rollout in a few lines."""
    lines = [f"{model}: {len(outcome.took)} have it"]
    for members, what in (
        (outcome.failed, "did not take it"),
        (outcome.silent, "gave no answer in time"),
        (outcome.away, "are away and find it when they come back"),
        (outcome.spared, "were spared and keep what they have"),
    ):
        if members:
            named = ", ".join(member.node for member in members[:5])
            lines.append(f"{len(members)} {what}: {named}{', …' if len(members) > 5 else ''}")  # noqa: PLR2004 - a line
    lines += [f"{member.node}: {_words(member.stage)}: {member.message}" for member in outcome.failed[:5]]
    return "\n".join(lines)


def _words(stage: str) -> str:
    return stage.replace("_", " ")
