"""The history of a listener over HTTP: songs, music per hour and day, first song of each genre, timeline, week card.

Songs are read in pages of 500, so memory is bounded and the file is open only for each page. The week card is an SVG
image of seven days to share, without script, style sheet and reference to anything outside of it.
"""

from __future__ import annotations

import asyncio
import csv
import io
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec

from headnod.clock import local_zone
from headnod.dashboard.listener_state import relative
from headnod.dashboard.routing import Endpoint, HttpRequest, RequestError, Response
from headnod.errors import HeadnodError
from headnod.outputs import Colour, colours, hexadecimal
from headnod.outputs.history import summaries
from headnod.outputs.history.summaries import LONGEST, SONGS, Bucket, Run, SongSummary, local_date

if TYPE_CHECKING:
    from headnod.dashboard.remote_history import RemoteHistory

    History: TypeAlias = "LocalHistory | RemoteHistory"
    Read = Callable[[History, str, Mapping[str, str]], Awaitable[object]]
    """Computes the answer from a history, the name of its listener, and a query."""

_DAY, _HOUR = 86_400, 3600.0
_YEARS = (1970, 2999)
_LATEST = 4e9
"""Seconds since 1970: the year 2096."""
_COLUMNS = ("start", "end", "genre", "confidence", "stability", "tags", "clock_synchronised")
_JSON, _CSV, _SVG = "application/json", "text/csv; charset=utf-8", "image/svg+xml"

Result = TypeVar("Result")


class LocalHistory:
    """The history in a file of this machine."""

    def __init__(self, path: Path, *, zone: tzinfo | None = None) -> None:
        """The file; days begin in the machine's time zone if `zone` is None."""
        self._path, self._zone = path, zone

    async def songs(self, first: float, last: float, after: float) -> list[SongSummary]:
        """At most `SONGS` songs that overlap a range of time and ended after `after`."""
        return await self._read(partial(summaries.songs, self._path, first, last, after=after))

    async def buckets(self, first: float, last: float, unit: summaries.Unit) -> list[Bucket]:
        """Seconds of each genre in every hour or day."""
        zone = self._zone or local_zone()
        return await self._read(partial(summaries.buckets, self._path, first, last, unit, zone=zone))

    async def firsts(self) -> list[dict[str, Any]]:
        """The first song of each genre."""
        return await self._read(partial(summaries.firsts, self._path))

    async def runs(self, first: float, last: float) -> list[Run]:
        """Ranges of time with one genre."""
        return await self._read(partial(summaries.runs, self._path, first, last))

    @staticmethod
    async def _read(read: Callable[[], Result]) -> Result:
        return await asyncio.to_thread(read)


class HistoryApi:
    """Answers requests for the histories of all listeners."""

    def __init__(
        self, find: Callable[[str], History | None], *, now: Callable[[], float] = time.time, zone: tzinfo | None = None
    ) -> None:
        """Answer for the listeners that `find` finds.

        `now` is the wall clock in seconds since 1970. A day begins in `zone`, that of the machine if None.
        """
        self._find, self._now, self._zone = find, now, zone

    @property
    def endpoints(self) -> list[Endpoint]:
        """The endpoints."""
        span = {"from": "seconds since 1970; a day before `to` if absent", "to": "seconds since 1970; now if absent"}
        download = {"download": "present for a file"}
        year = {"year": "such as 2026; the last 53 weeks if absent"}
        return [
            self._endpoint(
                "songs",
                self._songs,
                "Songs in a range of time",
                {**span, "format": "`json` or `csv`", **download},
            ),
            self._endpoint("hours", self._hours, "Seconds of each genre in every hour", span),
            self._endpoint("days", self._days, "Seconds of each genre in every day", year),
            self._endpoint("firsts", self._firsts, "The first song of each genre", {}),
            self._endpoint("timeline", self._timeline, "Runs of one genre", span),
            self._endpoint("week.svg", self._week, "The week on a card", {"to": span["to"], **download}, _SVG),
        ]

    def _endpoint(self, part: str, read: Read, summary: str, query: Mapping[str, str], media: str = _JSON) -> Endpoint:
        async def handler(request: HttpRequest) -> object:
            node = request.path_params["node"]
            history = self._find(node)
            if history is None:
                raise RequestError(f"there is no history of '{node}' here", 404)
            try:
                return await read(history, node, request.query)
            except RequestError:
                raise
            except HeadnodError as error:
                raise RequestError(str(error), 503) from error

        return Endpoint("GET", f"api/v1/listeners/{{node}}/{part}", handler, summary, query=query, media=media)

    async def _firsts(self, history: History, _node: str, _query: Mapping[str, str]) -> object:
        return await history.firsts()

    async def _days(self, history: History, _node: str, query: Mapping[str, str]) -> object:
        first, last = self._year(query)
        zone = self._zone or local_zone()
        found = await history.buckets(first, last, "day")
        return [msgspec.to_builtins(day) | {"date": local_date(day.start, zone)} for day in found]

    async def _hours(self, history: History, _node: str, query: Mapping[str, str]) -> object:
        first, last = self._span(query, LONGEST["hours"])
        return await history.buckets(first, last, "hour")

    async def _timeline(self, history: History, _node: str, query: Mapping[str, str]) -> object:
        """Names of the genres, and the runs as in `relative` with the index of each name."""
        first, last = self._span(query, LONGEST["timeline"])
        indexes: dict[str, int] = {}
        runs = await history.runs(first, last)
        numbers = relative((start, end, indexes.setdefault(genre, len(indexes))) for start, end, genre in runs)
        return {"names": list(indexes), "runs": numbers}

    async def _songs(self, history: History, node: str, query: Mapping[str, str]) -> object:
        first, last = self._span(query, math.inf)
        form = query.get("format", "json")
        if form not in {"json", "csv"}:
            raise RequestError(f"format: '{form[:20]}' is neither json nor csv")
        # The first page is read before the headers are sent, so that an error can still set the status.
        pages = _pages(partial(history.songs, first, last), await history.songs(first, last, 0.0))
        body, kind = (_json_array(pages), _JSON) if form == "json" else (_csv_lines(pages), _CSV)
        return _file(body, kind, query, f"{node}-songs.{form}")

    async def _week(self, history: History, node: str, query: Mapping[str, str]) -> object:
        last = self._now() if "to" not in query else _number(query, "to", 0.0)
        midnight = self._local(last).replace(hour=0, minute=0, second=0, microsecond=0)
        first = (midnight - timedelta(days=6)).timestamp()
        days = await history.buckets(first, last, "day")
        new = [each["genre"] for each in await history.firsts() if first <= each["time"] < last]
        dates = [(midnight - timedelta(days=6 - day)).date() for day in range(7)]
        found = {self._local(day.start).date(): day for day in days}
        card = week_card(node, [(date, found.get(date)) for date in dates], new)
        return _file(card.encode(), _SVG, query, f"{node}-{dates[-1]}.svg")

    def _span(self, query: Mapping[str, str], longest: float) -> tuple[float, float]:
        last = _number(query, "to", self._now())
        first = _number(query, "from", last - _DAY)
        if not 0 < last - first <= longest:
            limit = f" of at most {longest / _DAY:.0f} days" if math.isfinite(longest) else ""
            raise RequestError(f"from and to: {first:.0f} to {last:.0f} is not a range of time{limit}")
        return first, last

    def _year(self, query: Mapping[str, str]) -> tuple[float, float]:
        text = query.get("year", "")
        year = int(text) if text.isascii() and text.isdigit() and len(text) <= len("2026") else 0
        if not text:
            # The last 53 weeks, which fill the columns of the calendar.
            end = self._local(self._now()).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
            return (end - timedelta(days=371)).timestamp(), end.timestamp()
        if not _YEARS[0] <= year <= _YEARS[1]:
            raise RequestError(f"year: '{text[:20]}' is not a year such as 2026")
        first, last = (datetime(number, 1, 1, tzinfo=self._zone or local_zone()) for number in (year, year + 1))
        return first.timestamp(), last.timestamp()

    def _local(self, seconds: float) -> datetime:
        return datetime.fromtimestamp(seconds, self._zone or local_zone())


def _file(body: bytes | AsyncIterator[bytes], kind: str, query: Mapping[str, str], name: str) -> Response:
    """A response that a browser shows, or stores under a name if the query asks for a download."""
    headers = {"Content-Type": kind, "Cache-Control": "no-store"}
    if "download" in query:
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return Response(body, headers=headers)


def _number(query: Mapping[str, str], key: str, default: float) -> float:
    text = query.get(key, "")
    try:
        number = float(text) if text else default
    except ValueError:
        number = math.nan
    if not 0 <= number <= _LATEST:
        raise RequestError(f"{key}: '{text[:20]}' is not a time in seconds since 1970")
    return number


async def _pages(read: Callable[[float], Any], page: list[SongSummary]) -> AsyncIterator[list[SongSummary]]:
    while page:
        yield page
        page = await read(page[-1].end) if len(page) == SONGS else []


async def _json_array(pages: AsyncIterator[list[SongSummary]]) -> AsyncIterator[bytes]:
    before = b"["
    async for page in pages:
        yield before + b",\n".join(map(msgspec.json.encode, page))
        before = b",\n"
    yield b"[]" if before == b"[" else b"]"


async def _csv_lines(pages: AsyncIterator[list[SongSummary]]) -> AsyncIterator[bytes]:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    yield out.getvalue().encode()
    async for page in pages:
        out.seek(0)
        out.truncate()
        zone = local_zone()
        writer.writerows(_cells(song, zone) for song in page)
        yield out.getvalue().encode()


def _cells(song: SongSummary, zone: tzinfo | None) -> list[str]:
    start, end = (
        datetime.fromtimestamp(seconds, UTC).astimezone(zone).isoformat(timespec="seconds")
        for seconds in (song.start, song.end)
    )
    confidence = "" if song.confidence is None else str(song.confidence)
    synchronised = str(song.clock_synchronised).lower()
    return [start, end, _cell(song.genre), confidence, str(song.stability), _cell(", ".join(song.tags)), synchronised]


def _cell(text: str) -> str:
    # A spreadsheet would evaluate text that begins like a formula.
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


_WIDTH, _HEIGHT = 1200, 630
"""Size of the week card in pixels, that of a link preview (1.91 : 1)."""

_PLOT = (640, 150, 480, 330)
"""Left, top, width and height of the chart of days."""

_MOST_BARS = 5
_MOST_NEW = 4
"""Limit of genres that are listed as new."""

_LETTERS, _LISTED_LETTERS = 24, 11
"""Letters shown of a genre: as the title, and in a list."""

_TITLE_SIZE = 76
_BACKGROUND, _BAR_BACKGROUND, _TEXT, _GREY = "#14161b", "#262a31", "#f3f0ea", "#a5a29a"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})


def week_card(node: str, days: Sequence[tuple[date, Bucket | None]], new: Iterable[str]) -> str:
    """The card of a listener.

    `days` has seven dates, the oldest first, each with its sums or None. `new` has the genres that were named for the
    first time on these dates.

    Returns:
        An SVG document of 1200 x 630 pixels.
    """
    sums: dict[str, float] = {}
    for _, day in days:
        for genre, seconds in (day.seconds if day else {}).items():
            sums[genre] = sums.get(genre, 0.0) + seconds
    ranked = sorted(sums.items(), key=lambda each: -each[1])
    chosen = {genre: _lightened(colour) for genre, colour in colours(sums).items()}
    songs = sum(day.songs for _, day in days if day)
    top = chosen[ranked[0][0]] if ranked else _GREY
    label = _summary(node, ranked).translate(_ESCAPES)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"',
        f'font-family="{_FONT}" role="img" aria-label="{label}">',
        '<defs><radialGradient id="glow" cx="0" cy="0" r="1">',
        f'<stop offset="0" stop-color="{top}" stop-opacity="0.34"/>',
        f'<stop offset="1" stop-color="{top}" stop-opacity="0"/></radialGradient></defs>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="{_BACKGROUND}"/>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="url(#glow)"/>',
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
    # The logo: three bars.
    for x, height, colour in ((64, 12, "#4488ff"), (78, 34, "#00ffee"), (92, 20, "#eecc11")):
        yield f'<rect x="{x}" y="{98 - height}" width="8" height="{height}" rx="4" fill="{colour}"/>'
    yield _text(118, 97, _short(node), 30, weight=650)
    yield _text(_WIDTH - 64, 97, f"{start} to {last.day} {last:%B %Y}", 24, fill=_GREY, anchor="end")


def _totals(ranked: Sequence[tuple[str, float]], songs: int) -> Iterable[str]:
    if not ranked:
        yield _text(64, 220, "No music", 72, weight=750)
        yield _text(64, 268, "in these seven days", 28, fill=_GREY)
        return
    total = sum(seconds for _, seconds in ranked)
    title = _short(ranked[0][0])
    # A bold letter is about 0.59 of its size wide, and the title may take 512 pixels: 512 / 0.59 = 864.
    yield _text(64, 220, title, min(_TITLE_SIZE, 864 // len(title)), weight=750)
    yield _text(64, 268, f"most of {_duration(total)} of music, {songs} song{'s' * (songs != 1)}", 26, fill=_GREY)


def _list(ranked: Sequence[tuple[str, float]], chosen: dict[str, str]) -> Iterable[str]:
    longest = ranked[0][1] if ranked else 1.0
    for place, (genre, seconds) in enumerate(ranked[:_MOST_BARS]):
        y = 334 + 42 * place
        yield _text(64, y, _short(genre, _LISTED_LETTERS), 22)
        yield f'<rect x="224" y="{y - 15}" width="240" height="14" rx="7" fill="{_BAR_BACKGROUND}"/>'
        yield (
            f'<rect x="224" y="{y - 15}" width="{max(14.0, 240 * seconds / longest):.0f}" height="14" rx="7" '
            f'fill="{chosen[genre]}"/>'
        )
        yield _text(568, y, _duration(seconds), 20, fill=_GREY, anchor="end")


def _plot(days: Sequence[tuple[date, Bucket | None]], chosen: dict[str, str]) -> Iterable[str]:
    left, top, width, height = _PLOT
    fullest = max([_HOUR, *(sum(day.seconds.values()) for _, day in days if day)])
    step = width / len(days)
    for place, (when, day) in enumerate(days):
        x, y = left + step * place + 8, float(top + height)
        yield f'<rect x="{x:.1f}" y="{top}" width="{step - 16:.1f}" height="{height}" rx="8" fill="{_BAR_BACKGROUND}"/>'
        for genre, seconds in (day.seconds if day else {}).items():
            bar_height = height * seconds / fullest
            y -= bar_height
            yield (
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{step - 16:.1f}" height="{max(0.5, bar_height - 1.5):.1f}"'
                f' rx="2" fill="{chosen[genre]}"/>'
            )
        yield _text(x + step / 2 - 8, top + height + 34, f"{when:%a}", 20, fill=_GREY, anchor="middle")


def _foot(new: Sequence[str]) -> Iterable[str]:
    if new:
        more = f" and {len(new) - _MOST_NEW} more" if len(new) > _MOST_NEW else ""
        yield _text(
            64,
            578,
            f"For the first time: {', '.join(_short(genre, _LISTED_LETTERS) for genre in new[:_MOST_NEW])}{more}",
            22,
            fill=_TEXT,
        )
    yield _text(_WIDTH - 64, 578, "headnod", 20, fill=_GREY, anchor="end")


def _text(
    x: float, y: float, text: str, size: int, *, fill: str = _TEXT, weight: int = 400, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-weight="{weight}" fill="{fill}" text-anchor="{anchor}">'
        f"{text.translate(_ESCAPES)}</text>"
    )


def _summary(node: str, ranked: Sequence[tuple[str, float]]) -> str:
    music = ", ".join(f"{genre} {_duration(seconds)}" for genre, seconds in ranked[:_MOST_BARS])
    return f"Seven days of {node}: {music or 'no music'}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{round(seconds / _HOUR)} h"  # noqa: PLR2004 - three digits


def _short(text: str, longest: int = _LETTERS) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _lightened(colour: Colour) -> str:
    """Lighten a colour so that it is legible on the dark background."""
    red, green, blue = colour
    dark = max(0.0, 110 - (0.299 * red + 0.587 * green + 0.114 * blue)) / 220
    return hexadecimal(
        (round(red + dark * (255 - red)), round(green + dark * (255 - green)), round(blue + dark * (255 - blue)))
    )
