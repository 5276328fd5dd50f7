"""The card of a week: one SVG image with the music of seven days, to share.

It has no script, no style sheet and no reference to anything outside of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from xml.sax.saxutils import escape, quoteattr

from headnod.outputs.history.summaries import Bucket
from headnod.outputs.palette import Colour, colours, hexadecimal

WIDTH, HEIGHT = 1200, 630
"""Size in pixels: the shape of a link preview."""

_HOUR = 3600.0
_LISTED = 5
_NEW = 4
_PLOT = (640, 150, 480, 330)
_GROUND = "#14161b"
_INK, _SOFT, _TRACK = "#f3f0ea", "#a5a29a", "#262a31"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
_LONGEST = 24


def week_card(node: str, days: Sequence[tuple[date, Bucket | None]], new: Iterable[str]) -> str:
    """The card of a listener.

    Args:
        node: Name of the listener.
        days: Seven dates with their music, the oldest first.
        new: Genres that were named for the first time in these days.

    Returns:
        An SVG document of `WIDTH` x `HEIGHT`.
    """
    sums: dict[str, float] = {}
    for _, day in days:
        for genre, seconds in (day.seconds if day else {}).items():
            sums[genre] = sums.get(genre, 0.0) + seconds
    ranked = sorted(sums.items(), key=lambda each: -each[1])
    chosen = {genre: _lightened(colour) for genre, colour in colours(sums).items()}
    songs = sum(day.songs for _, day in days if day)
    top = chosen[ranked[0][0]] if ranked else _SOFT
    label = quoteattr(_summary(node, ranked))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"',
        f'font-family="{_FONT}" role="img" aria-label={label}>',
        '<defs><radialGradient id="glow" cx="0" cy="0" r="1">',
        f'<stop offset="0" stop-color="{top}" stop-opacity="0.34"/>',
        f'<stop offset="1" stop-color="{top}" stop-opacity="0"/></radialGradient></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{_GROUND}"/>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="url(#glow)"/>',
        *_head(node, days),
        *_totals(ranked, songs),
        *_list(ranked, chosen),
        *_plot(days, chosen),
        *_foot(list(new)),
        "</svg>",
    ]
    return "\n".join(parts)


def _head(node: str, days: Sequence[tuple[date, Bucket | None]]) -> Iterable[str]:
    first, last = days[0][0], days[-1][0]
    start = f"{first.day} {first:%B}" if first.month != last.month else f"{first.day}"
    for x, height, colour in ((64, 12, "#4488ff"), (78, 34, "#00ffee"), (92, 20, "#eecc11")):
        yield f'<rect x="{x}" y="{98 - height}" width="8" height="{height}" rx="4" fill="{colour}"/>'
    yield _text(118, 97, _short(node), 30, weight=650)
    yield _text(WIDTH - 64, 97, f"{start} to {last.day} {last:%B %Y}", 24, fill=_SOFT, anchor="end")


def _totals(ranked: Sequence[tuple[str, float]], songs: int) -> Iterable[str]:
    if not ranked:
        yield _text(64, 220, "No music", 72, weight=750)
        yield _text(64, 268, "in these seven days", 28, fill=_SOFT)
        return
    hours = sum(seconds for _, seconds in ranked)
    yield _text(64, 220, _short(ranked[0][0]), 76, weight=750)
    yield _text(64, 268, f"most of {_duration(hours)} of music, {songs} song{'s' * (songs != 1)}", 26, fill=_SOFT)


def _list(ranked: Sequence[tuple[str, float]], chosen: dict[str, str]) -> Iterable[str]:
    longest = ranked[0][1] if ranked else 1.0
    for place, (genre, seconds) in enumerate(ranked[:_LISTED]):
        y = 334 + 42 * place
        yield _text(64, y, _short(genre), 22)
        yield f'<rect x="224" y="{y - 15}" width="240" height="14" rx="7" fill="{_TRACK}"/>'
        yield (
            f'<rect x="224" y="{y - 15}" width="{max(14.0, 240 * seconds / longest):.0f}" height="14" rx="7" '
            f'fill="{chosen[genre]}"/>'
        )
        yield _text(568, y, _duration(seconds), 20, fill=_SOFT, anchor="end")


def _plot(days: Sequence[tuple[date, Bucket | None]], chosen: dict[str, str]) -> Iterable[str]:
    left, top, width, height = _PLOT
    fullest = max([_HOUR, *(sum(day.seconds.values()) for _, day in days if day)])
    step = width / len(days)
    for place, (when, day) in enumerate(days):
        x, y = left + step * place + 8, float(top + height)
        yield f'<rect x="{x:.1f}" y="{top}" width="{step - 16:.1f}" height="{height}" rx="8" fill="{_TRACK}"/>'
        for genre, seconds in (day.seconds if day else {}).items():
            tall = height * seconds / fullest
            y -= tall
            yield (
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{step - 16:.1f}" height="{max(0.5, tall - 1.5):.1f}" rx="2" '
                f'fill="{chosen[genre]}"/>'
            )
        yield _text(x + step / 2 - 8, top + height + 34, f"{when:%a}", 20, fill=_SOFT, anchor="middle")


def _foot(new: Sequence[str]) -> Iterable[str]:
    if new:
        more = f" and {len(new) - _NEW} more" if len(new) > _NEW else ""
        yield _text(64, 578, f"For the first time: {', '.join(map(_short, new[:_NEW]))}{more}", 22, fill=_INK)
    yield _text(WIDTH - 64, 578, "headnod", 20, fill=_SOFT, anchor="end")


def _text(
    x: float, y: float, text: str, size: int, *, fill: str = _INK, weight: int = 400, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-weight="{weight}" fill="{fill}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )


def _summary(node: str, ranked: Sequence[tuple[str, float]]) -> str:
    music = ", ".join(f"{genre} {_duration(seconds)}" for genre, seconds in ranked[:_LISTED])
    return f"Seven days of {node}: {music or 'no music'}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{round(seconds / _HOUR)} h"  # noqa: PLR2004 - three digits


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _lightened(colour: Colour) -> str:
    """A colour that is legible on the dark ground."""
    red, green, blue = colour
    dark = max(0.0, 110 - (0.299 * red + 0.587 * green + 0.114 * blue)) / 220
    return hexadecimal(
        (round(red + dark * (255 - red)), round(green + dark * (255 - green)), round(blue + dark * (255 - blue)))
    )
