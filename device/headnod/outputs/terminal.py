"""A live histogram in the terminal: a bar for each label, the level, and what is playing.

Colours of the palette fill areas only. Letters keep the terminal's own
foreground, because no palette can be read on both light and dark backgrounds.
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
from headnod.outputs.leds.motion import EnvelopeFollower
from headnod.outputs.palette import colours, hexadecimal
from headnod.pipeline.estimate import Estimate, State, StatusEvent

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_QUIETEST = -60.0
_REFRESH = 10.0
_BOLD = Style(bold=True)
_NARROWEST = 12
"""Columns that labels may take where a third of the width is less, up to half of it."""
_WIDE = 60
"""Columns from which the tags have a line."""
_SINCE = len("since 00:00:00")


@dataclass(frozen=True)
class _Shown:
    """What is drawn. Replaced as a whole, because another thread draws at any moment."""

    estimate: Estimate
    """The latest estimate."""

    motion: EnvelopeFollower
    """A bar for each of its labels."""

    since: float
    """Since when its genre plays."""

    condition: StatusEvent | None = None
    """Why nothing is heard now."""


class Terminal:
    """A histogram that redraws itself in place.

    Bars keep their places, so the eye learns where jazz is; they rise fast and
    fall slowly. Where there is little room the best ones stay.
    """

    def __init__(
        self,
        console: Console | None = None,
        *,
        hearing: str = "",
        monotonic: Callable[[], float] = time.monotonic,
        animated: bool = True,
    ) -> None:
        """Take over the terminal until closed.

        Args:
            console: The terminal; the process's own where None.
            hearing: What is listened to, for the title.
            monotonic: Moves the bars.
            animated: Redraw ten times a second, not only when told something.
        """
        self._console = console or Console()
        self._hearing = printable(hearing)
        self._monotonic = monotonic
        self._shown: _Shown | StatusEvent | None = None
        self._moved = monotonic()
        self._live = Live(
            get_renderable=lambda: self,
            console=self._console,
            # A screen of its own, because lines that a resize has wrapped cannot be drawn over.
            screen=True,
            auto_refresh=animated,
            refresh_per_second=_REFRESH,
        )
        self._live.start()

    def show(self, estimate: Estimate) -> None:
        """Send the bars to their new places."""
        last = self._shown if isinstance(self._shown, _Shown) else None
        same_labels = last is not None and last.estimate.scores.keys() == estimate.scores.keys()
        motion = last.motion if last and same_labels else EnvelopeFollower(len(estimate.scores))
        continues = last is not None and last.estimate.genre == estimate.genre and last.condition is None
        self._shown = _Shown(estimate, motion, last.since if last and continues else estimate.monotonic)
        self._live.refresh()

    def show_status(self, condition: StatusEvent) -> None:
        """Drop the bars and say why nothing is heard."""
        last = self._shown
        self._shown = replace(last, condition=condition) if isinstance(last, _Shown) else condition
        self._live.refresh()

    def close(self) -> None:
        """Give the terminal back with the last picture on it, its bars at rest."""
        if self._live.is_started:
            self._live.stop()
            self._moved = -math.inf
            self._console.print(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lines that fit into the terminal as it is now."""
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
        level = "" if shown.condition else f"  {estimate.level:.0f} dBFS {_meter(estimate.level)}"
        room = width - len("headnod") - len(level)
        about = _kept_end(f"  {printable(estimate.model)}  ", self._hearing, room)
        return [
            Segment("headnod", _BOLD),
            Segment(about),
            Segment(" " * max(room - cell_len(about), 0) + level),
        ]

    def _bars(self, shown: _Shown, width: int, *, ascii_only: bool) -> list[list[Segment]]:
        now = self._monotonic()
        scores = shown.estimate.scores
        targets = [0.0 if shown.condition else score for score in scores.values()]
        heights = shown.motion.update(targets, now - self._moved)
        self._moved = now
        chosen = colours(scores)
        names = [printable(label) for label in scores]
        label_width = min(max(map(cell_len, names), default=0) + 1, max(width // 3, min(width // 2, _NARROWEST)))
        room, ellipsis = max(width - label_width - len(" 0.00 "), 1), "..." if ascii_only else "…"
        lines = []
        for label, name, target, height in zip(scores, names, targets, heights, strict=True):
            style = _BOLD if label == shown.estimate.genre and not shown.condition else Style()
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
    """What is playing or why nothing is, in as many lines as the width needs."""
    condition = shown.condition if isinstance(shown, _Shown) else shown
    if condition is not None:
        return _wrapped(console, f"{condition.state.replace('_', ' ')}: {condition.message}", width, _BOLD)
    if not isinstance(shown, _Shown):
        return _wrapped(console, "listening for the first three seconds", width)
    # By the clock as it is set now, which may not be what it was then.
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
    said = [f"{tag} {score:.2f}" for tag, score in estimate.tags.items()]
    if estimate.energy is not None:
        said.append(f"energy {estimate.energy:.2f}")
    return [[Segment(", ".join(said), Style(dim=True))]] if said and not shown.condition else []


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
    """A bar of `height` (0-1) in so many cells, padded to them."""
    if ascii_only:
        return ("#" * round(height * room)).ljust(room)
    whole, part = divmod(math.floor(min(max(height, 0.0), 1.0) * room * 8), 8)
    return ("█" * whole + (_EIGHTHS[part] if part else "")).ljust(room)


def _fitted(name: str, width: int, *, ellipsis: str) -> str:
    """A label in so many columns, cut where it is longer than that and a space."""
    if cell_len(name) < width:
        return set_cell_size(name, width)
    return set_cell_size(set_cell_size(name, max(width - 1 - len(ellipsis), 0)).rstrip() + ellipsis, width)


def _kept_end(start: str, name: str, room: int) -> str:
    """Both in so many cells; of a long name the end, because that is where a file's own name stands."""
    if cell_len(start + name) <= room:
        return (start + name).rstrip()
    left = room - cell_len(start) - len("...")
    while name and cell_len(name) > left:
        name = name[1:]
    return f"{start}...{name}" if left > 0 else set_cell_size(start, max(room, 0)).rstrip()
