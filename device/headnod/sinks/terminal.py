"""A live histogram in the terminal: ten bars, the level, and what is playing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import datetime

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.style import Style

from headnod.estimate import Condition, Estimate, State
from headnod.legible import legible
from headnod.sinks.motion import Motion
from headnod.sinks.palette import hexadecimal

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_QUIETEST = -60.0
_REFRESH = 10.0


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
        self._hearing = legible(hearing)
        self._monotonic = monotonic
        self._estimate: Estimate | None = None
        self._condition: Condition | None = None
        self._since: datetime | None = None
        self._motion: Motion | None = None
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
        if self._estimate is None or self._estimate.genre != estimate.genre or self._condition:
            self._since = estimate.time
        if self._motion is None or self._estimate is None or len(self._estimate.scores) != len(estimate.scores):
            self._motion = Motion(len(estimate.scores))
        self._estimate, self._condition = estimate, None
        self._live.refresh()

    def tell(self, condition: Condition) -> None:
        """Drop the bars and say why nothing is heard."""
        self._condition = condition
        self._live.refresh()

    def close(self) -> None:
        """Give the terminal back with the last picture on it."""
        if self._live.is_started:
            self._live.stop()
            self._console.print(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lines that fit into the terminal as it is now."""
        width, height = max(options.max_width - 1, 1), options.size.height
        bars = self._bars(width, ascii_only=options.ascii_only)
        lines = [self._title(width), *bars, [], self._playing(width)]
        room = max(height - 1, 1)
        for line in lines if len(lines) <= room else self._cramped(lines, room):
            safe = [Segment(legible(text), style) for text, style, _ in line]
            yield from Segment.adjust_line_length(safe, width, pad=False)
            yield Segment.line()

    def _cramped(self, lines: list[list[Segment]], room: int) -> list[list[Segment]]:
        """What is most worth its line: what plays, then the best bars, then the title."""
        title, *bars, _, playing = lines
        scores = list(self._estimate.scores.values()) if self._estimate else []
        best = sorted(range(len(bars)), key=lambda place: -scores[place])[: max(room - 1, 0)]
        kept = [bars[place] for place in sorted(best)]
        return ([title] if room > len(bars) + 1 else []) + kept + [playing]

    def _title(self, width: int) -> list[Segment]:
        if self._estimate is None:
            return [Segment("headnod", Style(bold=True))]
        level = "" if self._condition else f"  {self._estimate.level:.0f} dBFS {self._meter()}"
        room = width - len("headnod") - len(level)
        about = _kept_end(f"  {legible(self._estimate.model)}  ", self._hearing, room)
        return [
            Segment("headnod", Style(bold=True)),
            Segment(about, Style(dim=True)),
            Segment(level.rjust(width - len("headnod") - len(about)), Style(dim=True)),
        ]

    def _meter(self) -> str:
        assert self._estimate is not None  # noqa: S101 - the caller has looked
        filled = round(8 * min(max(1.0 - self._estimate.level / _QUIETEST, 0.0), 1.0))
        return "|" * filled + "." * (8 - filled)

    def _bars(self, width: int, *, ascii_only: bool) -> list[list[Segment]]:
        if self._estimate is None or self._motion is None:
            return []
        now = self._monotonic()
        targets = [0.0 if self._condition else score for score in self._estimate.scores.values()]
        heights = self._motion.move(targets, now - self._moved)
        self._moved = now
        names = [legible(label) for label in self._estimate.scores]
        label_width = min(max(map(cell_len, names)) + 1, max(width // 3, 12))
        room, ellipsis = max(width - label_width - 6, 1), "..." if ascii_only else "…"
        lines = []
        for label, name, target, height in zip(self._estimate.scores, names, targets, heights, strict=True):
            style = Style(color=hexadecimal(label))
            best = label == self._estimate.genre and not self._condition
            lines.append(
                [
                    Segment(
                        _fitted(name, label_width, ellipsis=ellipsis), style + Style(bold=True) if best else Style()
                    ),
                    Segment(_bar(float(height), room, ascii_only=ascii_only), style),
                    Segment(f" {target:4.2f}" if target else "    -", Style(bold=best, dim=not best)),
                ]
            )
        return lines

    def _playing(self, width: int) -> list[Segment]:
        if self._condition:
            text = f"{self._condition.state.replace('_', ' ')}: {self._condition.message}"
            return [Segment(text[:width], Style(color="yellow"))]
        if self._estimate is None or self._since is None:
            return [Segment("listening for the first three seconds", Style(dim=True))]
        since = self._since.astimezone().strftime("%H:%M:%S")
        line = [
            Segment(self._estimate.genre, Style(bold=True, color=hexadecimal(self._estimate.genre))),
            Segment(f" since {since}", Style(dim=True)),
        ]
        if self._estimate.state is not State.LISTENING:
            line.append(Segment(f"  microphone is {self._estimate.state}", Style(color="yellow")))
        return line


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
    if len(start) + len(name) <= room:
        return (start + name).rstrip()
    left = room - len(start) - len("...")
    return f"{start}...{name[-left:]}" if left > 0 else start[: max(room, 0)].rstrip()
