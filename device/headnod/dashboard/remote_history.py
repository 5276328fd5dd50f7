"""The histories of other listeners, requested by MQTT (`request/history`) page by page.

A listener has one request in flight, all together a few. Answers are from the network: each is validated in full.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated, Any, Generic, Protocol, TypeVar

import msgspec
from msgspec import Meta, structs

from headnod.clock import local_zone
from headnod.dashboard.fleet import LISTENERS, Fleet
from headnod.dashboard.listener_state import LABELS, visible_line, visible_name
from headnod.errors import HeadnodError
from headnod.mqtt.topics import Topics
from headnod.outputs.history import summaries
from headnod.outputs.history.summaries import SONGS, Bucket, Run, SongSummary
from headnod.pipeline.estimate import Seconds

HISTORY_RESPONSE = "/response/history"
"""End of the topic of the answers."""

LARGEST_ANSWER = 65_536
"""Bytes of the largest answer."""

_LARGEST_ROWS = 60_000
_IN_FLIGHT, _WAITING = 4, 24
_ROWS = 5000
"""Limit of the rows of one answer to a browser, but for songs, which are passed on in parts."""

_TIMEOUT = 6
"""Seconds that an answer may take."""

_PACE = 0.25
"""Seconds between two requests to a listener, which accepts 5 commands per second."""

_INVALID = msgspec.MsgspecError, RecursionError, ValueError, OverflowError
_OLDER = "there is no request/"
_Whole = Annotated[int, Meta(ge=0, le=4_000_000_000)]
Row = TypeVar("Row")


class Publish(Protocol):
    """Publishes a message; see `MqttClient.publish`."""

    def __call__(
        self, topic: str, payload: bytes, *, expiry: int, acknowledged: Callable[[str | None], None]
    ) -> object:
        """Publish it, and call `acknowledged` with None or the reason why the broker does not have it."""


class RemoteHistoryError(HeadnodError):
    """The history of another listener cannot be had."""


class _Response(msgspec.Struct, frozen=True):
    status: Annotated[str, Meta(max_length=16)]
    transaction: Annotated[str, Meta(max_length=64)]
    data: msgspec.Raw = msgspec.Raw()
    error: str = ""


class _Bucket(msgspec.Struct, frozen=True):
    start: _Whole
    seconds: Annotated[dict[summaries.Text, Seconds], Meta(max_length=LABELS)]
    songs: Annotated[int, Meta(ge=0, le=1_000_000)]
    date: date | None = None


class _First(msgspec.Struct, frozen=True):
    genre: summaries.Text
    time: Seconds


class _Run(msgspec.Struct, frozen=True, array_like=True):
    start: _Whole
    end: _Whole
    genre: summaries.Text


class _Page(msgspec.Struct, Generic[Row], frozen=True):
    rows: Annotated[list[Row], Meta(max_length=SONGS)]
    next: Seconds | None = None


@dataclass
class _Line:
    """The requests to one listener."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    sent: float = -math.inf


class RemoteHistories:
    """Requests to listeners, and their answers.

    `receive` is called on the thread of the MQTT client, the rest on that of the event loop.
    """

    def __init__(self, fleet: Fleet, base: str) -> None:
        """Prepare to ask listeners whose topics begin with `base`; `publish` is set before the first request."""
        self._fleet, self._base = fleet, base
        self.publish: Publish | None = None
        self._pending: dict[str, tuple[str, asyncio.Future[_Response]]] = {}
        self._lines: dict[str, _Line] = {}
        self._waiting = 0
        self._in_flight = asyncio.Semaphore(_IN_FLIGHT)

    @property
    def subscription(self) -> str:
        """Topic filter of the messages for `receive`."""
        return f"{self._base}/+{HISTORY_RESPONSE}"

    def history_of(self, node: str) -> RemoteHistory | None:
        """The history of a listener; None if there is no such listener."""
        return RemoteHistory(self, node) if self._fleet.is_online(node) is not None else None

    def receive(self, topic: str, payload: bytes) -> None:
        """Take an answer; one without a request, or that is not valid, is ignored."""
        node = topic.removeprefix(self._base + "/").removesuffix(HISTORY_RESPONSE)
        if not self._pending:
            return
        try:
            response = msgspec.json.decode(payload, type=_Response)
        except _INVALID:
            return
        asked, future = self._pending.get(response.transaction, ("", None))
        if future is not None and asked == node:
            future.get_loop().call_soon_threadsafe(_settle, future, response)

    async def pages(
        self, node: str, row: type[Row], part: str, first: float, last: float, *, after: float = 0.0, rows: int = SONGS
    ) -> AsyncIterator[list[Row]]:
        """The rows of a part of the history, page by page.

        Raises:
            RemoteHistoryError: The listener is offline, older, busy or without a history, or its answer is not valid.
        """
        left, cursor = rows, after
        while left > 0:
            query = {"part": part, "start": first, "end": last, "after": cursor, "rows": min(left, SONGS)}
            page = await self._page(node, query, row)
            if len(page.rows) > left or (page.next is not None and (page.next <= cursor or not page.rows)):
                raise _invalid(node)
            yield page.rows
            if page.next is None:
                return
            left, cursor = left - len(page.rows), page.next

    async def _page(self, node: str, query: dict[str, Any], row: type[Row]) -> _Page[Row]:
        response = await self._ask(node, query)
        if response.status != "ok":
            if response.error.startswith(_OLDER):
                raise RemoteHistoryError(f"the headnod of '{node}' is older than the history by MQTT: update it there")
            raise RemoteHistoryError(f"'{node}': {visible_line(response.error)}")
        try:
            return msgspec.json.decode(response.data, type=_Page[row])  # type: ignore[valid-type]
        except _INVALID:
            raise _invalid(node) from None

    async def _ask(self, node: str, query: dict[str, Any]) -> _Response:
        if self._waiting >= _WAITING:
            raise RemoteHistoryError("too many histories are requested at once: try again")
        self._waiting += 1
        try:
            # Also the wait for those before.
            async with asyncio.timeout(2 * _TIMEOUT), self._line(node) as requests, self._in_flight:
                await asyncio.sleep(requests.sent + _PACE - time.monotonic())
                requests.sent = time.monotonic()
                return await self._exchange(node, query)
        except TimeoutError:
            raise RemoteHistoryError(
                f"'{node}' does not answer (is its headnod older, or may this user not write to request/history?)"
            ) from None
        finally:
            self._waiting -= 1

    async def _exchange(self, node: str, query: dict[str, Any]) -> _Response:
        if self._fleet.is_online(node) is False:
            raise RemoteHistoryError(f"'{node}' is offline: its history can be read when it is back")
        if self.publish is None:
            raise RemoteHistoryError("there is no broker")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Response] = loop.create_future()
        transaction = secrets.token_hex(8)

        def acknowledged(refusal: str | None) -> None:
            if refusal is not None:
                error = RemoteHistoryError(f"the broker does not accept the request: {visible_line(refusal)}")
                loop.call_soon_threadsafe(_settle, future, error)

        self._pending[transaction] = node, future
        try:
            payload = msgspec.json.encode(query | {"bytes": _LARGEST_ROWS, "transaction": transaction})
            topic = Topics(self._base, node).request("history")
            self.publish(topic, payload, expiry=_TIMEOUT, acknowledged=acknowledged)
            async with asyncio.timeout(_TIMEOUT):
                return await future
        finally:
            del self._pending[transaction]

    @asynccontextmanager
    async def _line(self, node: str) -> AsyncIterator[_Line]:
        if node not in self._lines and len(self._lines) >= LISTENERS:
            self._lines = {node: each for node, each in self._lines.items() if each.lock.locked()}
        found = self._lines.setdefault(node, _Line())
        async with found.lock:
            yield found


class RemoteHistory:
    """The history of one other listener."""

    def __init__(self, histories: RemoteHistories, node: str) -> None:
        """Request the history of a listener."""
        self._histories, self._node = histories, node

    async def songs(self, first: float, last: float, after: float) -> list[SongSummary]:
        """The next songs of a time, at most `SONGS`, that ended after a time."""
        found: list[SongSummary] = []
        async for page in self._histories.pages(self._node, SongSummary, "songs", first, last, after=after):
            for song in page:
                if song.end <= after:
                    raise _invalid(self._node)
                tags = [visible_name(tag) for tag in song.tags]
                found.append(structs.replace(song, genre=visible_name(song.genre), tags=tags))
        return found

    async def buckets(self, first: float, last: float, unit: summaries.Unit) -> list[Bucket]:
        """Seconds of each genre in every hour, or in every day of the listener's own time zone."""
        rows = await self._all(_Bucket, "hours" if unit == "hour" else "days", first, last)
        return [
            Bucket(
                # A day has the same date here, also in another time zone.
                _midnight(row.date) if row.date and unit == "day" else row.start,
                {visible_name(genre): seconds for genre, seconds in row.seconds.items()},
                row.songs,
            )
            for row in rows
        ]

    async def firsts(self) -> list[dict[str, Any]]:
        """The first song of each genre."""
        return [
            {"genre": visible_name(row.genre), "time": row.time} for row in await self._all(_First, "firsts", 0.0, 4e9)
        ]

    async def runs(self, first: float, last: float) -> list[Run]:
        """Runs of one genre."""
        found = await self._all(_Run, "timeline", first, last)
        if any(run.end < run.start for run in found):
            raise _invalid(self._node)
        return [(run.start, run.end, visible_name(run.genre)) for run in found]

    async def _all(self, row: type[Row], part: str, first: float, last: float) -> list[Row]:
        pages = self._histories.pages(self._node, row, part, first, last, rows=_ROWS)
        return [each async for page in pages for each in page]


def _settle(future: asyncio.Future[_Response], outcome: _Response | RemoteHistoryError) -> None:
    if future.done():
        return
    if isinstance(outcome, RemoteHistoryError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _invalid(node: str) -> RemoteHistoryError:
    return RemoteHistoryError(f"the answer of '{node}' is not a valid history")


def _midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=local_zone()).timestamp())
