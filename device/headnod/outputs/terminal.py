"""A live histogram in the terminal: a bar for each label, the level, and the current genre.

Colours of the palette fill areas only. Text keeps the terminal's foreground,
because no palette is readable on both light and dark backgrounds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from headnod.clock import local
from headnod.escaping import printable
from headnod.outputs import colours, hexadecimal
from headnod.pipeline.estimate import Estimate, State, StatusEvent
from headnod.pipeline.smoothing import EnvelopeFollower

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_QUIETEST = -60.0
_REFRESH = 10.0
_BOLD = Style(bold=True)
_NARROWEST = 12
"""Columns for labels where a third of the width is less; never more than half of the width."""
_WIDE = 60
"""Columns from which tags get a line."""
_SINCE = len("since 00:00:00")


@dataclass(frozen=True)
class _Shown:
    """What is drawn. Replaced as a whole, because another thread draws it."""

    estimate: Estimate
    """The latest estimate."""

    follower: EnvelopeFollower
    """Heights of the bars of its labels."""

    since: float
    """Monotonic time at which its genre began."""

    status: StatusEvent | None = None
    """Why there are no estimates now."""


class Terminal:
    """A histogram that is redrawn in place.

    Bars stay in the order of the labels; they rise fast and fall slowly. A small
    terminal shows the highest ones.
    """

    def __init__(
        self,
        console: Console | None = None,
        *,
        source: str = "",
        monotonic: Callable[[], float] = time.monotonic,
        animated: bool = True,
    ) -> None:
        """Use the terminal, stdout if None, until closed.

        `source` is the name of the audio, for the title. If `animated`, it is redrawn ten times a second, not only
        after an estimate or a status.
        """
        self._console = console or Console()
        self._source = printable(source)
        self._monotonic = monotonic
        self._shown: _Shown | StatusEvent | None = None
        self._drawn_at = monotonic()
        self._live = Live(
            get_renderable=lambda: self,
            console=self._console,
            # The alternate screen, because lines that a resize has wrapped cannot be drawn over.
            screen=True,
            auto_refresh=animated,
            refresh_per_second=_REFRESH,
        )
        self._live.start()

    def show(self, estimate: Estimate) -> None:
        """Move the bars towards the scores."""
        last = self._shown if isinstance(self._shown, _Shown) else None
        same_labels = last is not None and last.estimate.scores.keys() == estimate.scores.keys()
        follower = last.follower if last and same_labels else EnvelopeFollower(len(estimate.scores))
        continues = last is not None and last.estimate.genre == estimate.genre and last.status is None
        self._shown = _Shown(estimate, follower, last.since if last and continues else estimate.monotonic)
        self._live.refresh()

    def show_status(self, status: StatusEvent) -> None:
        """Lower the bars and show why there are no estimates."""
        last = self._shown
        self._shown = replace(last, status=status) if isinstance(last, _Shown) else status
        self._live.refresh()

    def close(self) -> None:
        """Leave the alternate screen and print the final histogram."""
        if self._live.is_started:
            self._live.stop()
            self._drawn_at = -math.inf
            self._console.print(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lines that fit into the current size of the terminal."""
        width, height = max(options.max_width - 1, 1), options.size.height
        shown = self._shown
        bars = self._bars(shown, width, ascii_only=options.ascii_only) if isinstance(shown, _Shown) else []
        status = _status(shown, console, width, ascii_only=options.ascii_only)
        lines = [self._title(shown, width), *bars, [], *status]
        room = max(height - 1, 1)
        if isinstance(shown, _Shown) and width >= _WIDE and len(lines) < room:
            lines.extend(_tags(shown))
        for line in lines if len(lines) <= room else _cramped(shown, lines[: len(bars) + 1], status, room):
            safe = [Segment(printable(text), style) for text, style, _ in line]
            yield from Segment.adjust_line_length(safe, width, pad=False)
            yield Segment.line()

    def _title(self, shown: _Shown | StatusEvent | None, width: int) -> list[Segment]:
        if not isinstance(shown, _Shown):
            return [Segment("headnod", _BOLD)]
        estimate = shown.estimate
        level = "" if shown.status else f"  {estimate.level:.0f} dBFS {_meter(estimate.level)}"
        room = width - len("headnod") - len(level)
        about = _kept_end(f"  {printable(estimate.model)}  ", self._source, room)
        return [
            Segment("headnod", _BOLD),
            Segment(about),
            Segment(" " * max(room - cell_len(about), 0) + level),
        ]

    def _bars(self, shown: _Shown, width: int, *, ascii_only: bool) -> list[list[Segment]]:
        now = self._monotonic()
        scores = shown.estimate.scores
        targets = [0.0 if shown.status else score for score in scores.values()]
        heights = shown.follower.update(targets, now - self._drawn_at)
        self._drawn_at = now
        chosen = colours(scores)
        names = [printable(label) for label in scores]
        label_width = min(max(map(cell_len, names), default=0) + 1, max(width // 3, min(width // 2, _NARROWEST)))
        room, ellipsis = max(width - label_width - len(" 0.00 "), 1), "..." if ascii_only else "…"
        lines = []
        for label, name, target, height in zip(scores, names, targets, heights, strict=True):
            style = _BOLD if label == shown.estimate.genre and not shown.status else Style()
            bar = _bar(float(height), room, ascii_only=ascii_only)
            lines.append(
                [
                    Segment(_fitted(name, label_width, ellipsis=ellipsis), style),
                    Segment(bar, Style(color=hexadecimal(chosen[label]))),
                    Segment(f" {target:4.2f}" if target else "    -", style),
                ]
            )
        return lines


def _status(
    shown: _Shown | StatusEvent | None, console: Console, width: int, *, ascii_only: bool
) -> list[list[Segment]]:
    """The genre, or why there is none, in as many lines as the width needs."""
    status = shown.status if isinstance(shown, _Shown) else shown
    if status is not None:
        return _wrapped(console, f"{status.state.replace('_', ' ')}: {status.message}", width, _BOLD)
    if not isinstance(shown, _Shown):
        return _wrapped(console, "listening for the first three seconds", width)
    # By the wall clock as it is set now, which may have been corrected since.
    since = local(shown.estimate.time - timedelta(seconds=shown.estimate.monotonic - shown.since))
    genre = printable(shown.estimate.genre)
    genre_width = min(cell_len(genre) + 1, max(width - _SINCE, 1))
    line = [
        Segment(_fitted(genre, genre_width, ellipsis="..." if ascii_only else "…"), _BOLD),
        Segment(f"since {since:%H:%M:%S}"),
    ]
    notes = [Segment(shown.estimate.held_by.reason)] if shown.estimate.held_by.reason else []
    if shown.estimate.state is not State.LISTENING:
        notes.append(Segment(f"microphone is {shown.estimate.state}", _BOLD))
    lines = [line]
    for note in notes:
        if sum(cell_len(segment.text) for segment in lines[-1]) + 2 + cell_len(note.text) <= width:
            lines[-1] += [Segment("  "), note]
        else:
            lines += _wrapped(console, note.text, width, note.style)
    return lines


def _wrapped(console: Console, text: str, width: int, style: Style | None = None) -> list[list[Segment]]:
    """Text in lines of at most `width` columns, broken at spaces; a longer word is broken anywhere."""
    lines = Text(printable(text)).wrap(console, width)
    return [[Segment(line.plain.rstrip(), style)] for line in lines]


def _tags(shown: _Shown) -> list[list[Segment]]:
    """One dim line of the tags and the energy; none where the model has neither."""
    estimate = shown.estimate
    parts = [f"{tag} {score:.2f}" for tag, score in estimate.tags.items()]
    if estimate.energy is not None:
        parts.append(f"energy {estimate.energy:.2f}")
    return [[Segment(", ".join(parts), Style(dim=True))]] if parts and not shown.status else []


def _cramped(
    shown: _Shown | StatusEvent | None, lines: list[list[Segment]], status: list[list[Segment]], room: int
) -> list[list[Segment]]:
    """The most important lines: the status, then the best bars, then the title."""
    title, *bars = lines
    status = status[:room]
    room -= len(status)
    scores = list(shown.estimate.scores.values()) if isinstance(shown, _Shown) else []
    best = sorted(range(len(bars)), key=lambda place: -scores[place])[:room]
    kept = [bars[place] for place in sorted(best)]
    return ([title] if room > len(bars) else []) + kept + status


def _meter(level: float) -> str:
    filled = round(8 * min(max(1.0 - level / _QUIETEST, 0.0), 1.0))
    return "|" * filled + "." * (8 - filled)


def _bar(height: float, room: int, *, ascii_only: bool) -> str:
    """A bar of `height` (0-1) in `room` cells, padded to them."""
    if ascii_only:
        return ("#" * round(height * room)).ljust(room)
    whole, part = divmod(math.floor(min(max(height, 0.0), 1.0) * room * 8), 8)
    return ("█" * whole + (_EIGHTHS[part] if part else "")).ljust(room)


def _fitted(name: str, width: int, *, ellipsis: str) -> str:
    """A label in `width` columns, the last of them a space; a longer one is cut."""
    if cell_len(name) < width:
        return set_cell_size(name, width)
    return set_cell_size(set_cell_size(name, max(width - 1 - len(ellipsis), 0)).rstrip() + ellipsis, width)


def _kept_end(start: str, name: str, room: int) -> str:
    """Both in `room` cells; only the end of a long name, because a path ends with the file's name."""
    if cell_len(start + name) <= room:
        return (start + name).rstrip()
    left = room - cell_len(start) - len("...")
    while name and cell_len(name) > left:
        name = name[1:]
    return f"{start}...{name}" if left > 0 else set_cell_size(start, max(room, 0)).rstrip()
