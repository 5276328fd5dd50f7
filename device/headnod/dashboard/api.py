"""The JSON interface under `api/v1`, which the page itself uses, and the metrics of Prometheus (text format 0.0.4).

Readers get the listeners and their histories. The endpoints of the owner are controls, models,
microphones, configuration, log, corrections and teaching; each calls one command of the listener, see
`headnod.listener_commands`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from headnod import __version__
from headnod.dashboard.auth import Role, Visitor
from headnod.dashboard.history_api import HistoryApi, LocalHistory
from headnod.dashboard.routing import Endpoint, HttpRequest, RequestError, Response, document, json_response, read_body
from headnod.outputs.web import ChosenDevice, ControlsChange, Correct, ModelName, Values

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from headnod.dashboard.history_api import History
    from headnod.dashboard.page_process import PageParts

    Call = Callable[..., Awaitable[msgspec.Raw]]

_CROSS_SITE = {"cross-site", "same-site"}
_PATH = "api/v1/"

MEDIA = "text/plain; version=0.0.4; charset=utf-8"
"""Content type of the format."""

_MEBIBYTE = 1 << 20


class LogIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a log-in."""

    password: str
    """The owner's password, or the readers'."""


class SessionState(msgspec.Struct, frozen=True):
    """The role and the session of the person who uses the page."""

    role: str | None
    """`owner`, `reader`, or null before a log-in."""

    password: bool
    """Whether there is a password to log in with."""

    logged_in: bool
    """Whether this browser has a session."""

    csrf: str
    """Value of the header `X-CSRF-Token` of every request that changes something."""

    local: str | None
    """Name of the listener that serves the page; null for `headnod dashboard`."""

    remote_history: bool
    """Whether the histories of other listeners can be requested through a broker."""

    version: str
    """Version of headnod; empty before a log-in."""


async def call(parts: PageParts, command: str, **arguments: object) -> msgspec.Raw:
    """Let the listener apply a command; returns its answer as JSON.

    Raises:
        RequestError: The page is not served by a listener, or the listener refuses.
    """
    if parts.link is None:
        raise RequestError("this page is not served by a listener (headnod listen --web)", 404)
    return await parts.link.call(command, **arguments)


def visitor_of(request: HttpRequest) -> Visitor:
    """The visitor that the guard found for a request."""
    visitor: Visitor = request.scope["visitor"]
    return visitor


class SessionApi:
    """Log-in, log-out, and the role of the visitor."""

    def __init__(self, parts: PageParts) -> None:
        """Answer for a page."""
        self._settings, self._authenticator = parts.settings, parts.authenticator
        self._sessions = parts.authenticator.sessions

    @property
    def endpoints(self) -> list[Endpoint]:
        """The endpoints."""
        path = "api/v1/session"
        return [
            Endpoint("GET", path, self._show, "The role of the visitor, and the session", SessionState, public=True),
            Endpoint("POST", path, self._log_in, "Log in; sets a cookie", SessionState, LogIn, public=True),
            Endpoint("DELETE", path, self._log_out, "Log out", public=True),
        ]

    def _state(self, visitor: Visitor) -> SessionState:
        return SessionState(
            role=visitor.role,
            password=self._authenticator.has_password,
            logged_in=bool(visitor.token),
            csrf=self._sessions.csrf(visitor.token),
            local=self._settings.node or None,
            remote_history=self._settings.broker is not None,
            version=self._settings.version if visitor.role is not None else "",
        )

    async def _show(self, request: HttpRequest) -> SessionState:
        return self._state(visitor_of(request))

    async def _log_in(self, request: HttpRequest) -> Response:
        if request.headers.get("sec-fetch-site", "") in _CROSS_SITE:
            raise RequestError("another site may not log in here", 403)
        password = (await read_body(request, LogIn)).password
        if not self._authenticator.has_password:
            raise RequestError("there is no password to log in with", 404)
        role = self._authenticator.check(password, request.address)
        self._sessions.close(visitor_of(request).token)
        token = self._sessions.open(role)
        cookie = {"Set-Cookie": self._sessions.set_cookie(token)}
        return json_response(self._state(Visitor(role, token)), headers=cookie)

    async def _log_out(self, request: HttpRequest) -> Response:
        visitor = visitor_of(request)
        if not visitor.token or not self._authenticator.is_own_page(visitor, request.headers.get("x-csrf-token", "")):
            raise RequestError("there is no session, or X-CSRF-Token is wrong", 403)
        self._sessions.close(visitor.token)
        return json_response(None, 200, {"Set-Cookie": self._sessions.set_cookie("")})


def listener_endpoints(parts: PageParts) -> list[Endpoint]:
    """The state of all listeners, and their histories."""
    settings = parts.settings

    def history_of(node: str) -> History | None:
        if node == settings.node:
            return LocalHistory(Path(settings.history)) if settings.history else None
        return parts.remote.history_of(node) if settings.broker is not None else None

    async def listeners(_request: HttpRequest) -> list[dict[str, Any]]:
        return list(_states(parts))

    return [
        Endpoint("GET", "api/v1/listeners", listeners, "All listeners", list[dict[str, Any]]),
        *HistoryApi(history_of).endpoints,
    ]


def _states(parts: PageParts) -> Iterator[dict[str, Any]]:
    """The state of each listener."""
    return chain.from_iterable(parts.fleet.snapshot())


def all_endpoints(parts: PageParts) -> list[Endpoint]:
    """Every endpoint of the interface, its description among them."""

    async def metrics(_request: HttpRequest) -> Response:
        text = exposition(_states(parts))
        return Response(text.encode(), 200, {"Content-Type": MEDIA, "Cache-Control": "no-store"})

    found = [*SessionApi(parts).endpoints, *listener_endpoints(parts), *control_endpoints(partial(call, parts))]
    found.append(Endpoint("GET", "metrics", metrics, "All listeners as metrics of Prometheus", media="text/plain"))

    async def description(_request: HttpRequest) -> dict[str, Any]:
        return document(found)

    found.append(
        Endpoint("GET", "api/v1/openapi.json", description, "This interface as OpenAPI", dict[str, Any], public=True)
    )
    return found


def control_endpoints(call: Call) -> list[Endpoint]:
    """The endpoints of the owner; `call` gives the answer of the listener to a command, or raises a RequestError."""

    def get(path: str, command: str, summary: str, **query: str) -> Endpoint:
        async def handler(request: HttpRequest) -> msgspec.Raw:
            _check_owner(request)
            return await call(command, **_numbers(request.query, query))

        return Endpoint("GET", _PATH + path, handler, summary, dict[str, Any], query=query)

    def act(
        path: str, command: str, summary: str, body: type[msgspec.Struct] | None = None, *, method: str = "POST"
    ) -> Endpoint:
        async def handler(request: HttpRequest) -> msgspec.Raw:
            given = {} if body is None else msgspec.to_builtins(await read_body(request, body))
            # Absent values are not sent as null.
            return await call(command, **{key: value for key, value in given.items() if value is not None})

        return Endpoint(method, _PATH + path, handler, summary, dict[str, Any], body)

    async def controls(_request: HttpRequest) -> msgspec.Raw:
        return await call("controls")

    async def delete_one(request: HttpRequest) -> msgspec.Raw:
        number = request.path_params["id"]
        if not (number.isascii() and number.isdecimal() and len(number) < 16):  # noqa: PLR2004 - digits of a row number
            raise RequestError("the number of a correction has digits only")
        return await call("delete_corrections", ids=[int(number)])

    return [
        Endpoint("GET", _PATH + "controls", controls, "What can be set, as it is now", dict[str, Any]),
        act("controls", "change", "Set any of the controls", ControlsChange, method="PATCH"),
        get("models", "models", "Installed and shipped models"),
        act("models/activate", "activate", "Test a model and activate it on probation", ModelName),
        act("models/rollback", "rollback", "Return to the previous model"),
        get("microphones", "microphones", "Microphones, levels and advice on their place"),
        act("microphone", "microphone", "Choose a microphone", ChosenDevice),
        act("restart", "restart", "End the listener and start it again"),
        get("log", "log", "The log of the last hours", hours="how many, up to 168; 24 if absent"),
        get("configuration", "configuration", "Every setting with its origin"),
        act("configuration", "configure", "Set values in headnod.local.toml", Values, method="PATCH"),
        get("corrections", "corrections", "Corrections, the newest first"),
        act("corrections", "correct", "Label a time range", Correct),
        act("corrections", "delete_corrections", "Delete all corrections", method="DELETE"),
        Endpoint("DELETE", _PATH + "corrections/{id}", delete_one, "Delete a correction", dict[str, Any]),
        get("suggestions", "suggest", "Moments whose label would teach most"),
        get("teach", "teaching", "Whether a model is being taught, and the last result"),
        act("teach", "teach", "Make a new model from the corrections"),
    ]


def _check_owner(request: HttpRequest) -> None:
    """Refuse readers everything beyond the estimates: hosts, file names and the log.

    Raises:
        RequestError: The visitor is not the owner.
    """
    if visitor_of(request).role is not Role.OWNER:
        raise RequestError("only the owner may read this", 403)


def _numbers(given: Mapping[str, str], names: Iterable[str]) -> dict[str, float]:
    found = {}
    for name in names:
        if name in given:
            try:
                found[name] = float(given[name])
            except ValueError:
                found[name] = math.nan
            if not math.isfinite(found[name]):
                raise RequestError(f"{name}: '{given[name][:20]}' is not a number")
    return found


class Metric(NamedTuple):
    """Name, type and meaning of one metric."""

    name: str
    kind: str
    help: str


_ONLINE = Metric("headnod_online", "gauge", "Whether the listener is online (1) or not (0).")
_TIME = Metric("headnod_estimate_timestamp_seconds", "gauge", "Time of the latest estimate in seconds since 1970.")
_GENRE = Metric("headnod_genre", "gauge", "1 for the genre that is named now; also silence and unknown.")
_SCORE = Metric("headnod_score_ratio", "gauge", "Smoothed probability of each genre (0-1).")
_CONFIDENCE = Metric("headnod_confidence_ratio", "gauge", "Smoothed probability of the named genre (0-1).")
_LEVEL = Metric("headnod_level_dbfs", "gauge", "Level of the latest window in dBFS.")
_SONGS = Metric("headnod_songs_today", "gauge", "Songs that ended today, by genre.")
_SECONDS = Metric("headnod_songs_today_seconds", "gauge", "Length of the songs that ended today, by genre.")
_STATE = Metric("headnod_state", "gauge", "1 for the state of the listener, such as waiting_for_microphone.")
_HEALTH = {
    "uptime_s": (Metric("headnod_uptime_seconds", "gauge", "Seconds since the listener started."), 1.0),
    "dropped_s": (Metric("headnod_dropped_audio_seconds_total", "counter", "Audio lost since the start."), 1.0),
    "queued": (Metric("headnod_mqtt_queued", "gauge", "Messages that the broker has not acknowledged."), 1.0),
    "discarded": (Metric("headnod_mqtt_discarded_total", "counter", "Messages lost because the queue was full."), 1.0),
    "memory_mb": (Metric("headnod_memory_bytes", "gauge", "Resident memory of the listener."), float(_MEBIBYTE)),
    "cpu_percent": (Metric("headnod_cpu_ratio", "gauge", "Processor time of the listener, of one core."), 0.01),
    "temperature_c": (Metric("headnod_temperature_celsius", "gauge", "Temperature of the board."), 1.0),
}
_BUILD = Metric("headnod_build_info", "gauge", "1, with the version of headnod that serves the metrics.")

Sample = tuple[Metric, dict[str, str], float]


def exposition(listeners: Iterable[Mapping[str, Any]]) -> str:
    """The metrics of listeners, each a snapshot of `Fleet`."""
    families: dict[Metric, list[str]] = {_BUILD: [_line(_BUILD, {"version": __version__}, 1.0)]}
    for listener in listeners:
        for metric, labels, value in _samples(listener):
            families.setdefault(metric, []).append(_line(metric, labels, value))
    lines = []
    for metric, found in families.items():
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}", *found]
    return "\n".join(lines) + "\n"


def _samples(listener: Mapping[str, Any]) -> Iterator[Sample]:
    node = {"node": listener["node"]}
    labels = listener["labels"]
    names = [name for name, _ in labels["names"]]
    if listener["status"]["online"] is not None:
        yield _ONLINE, node, float(listener["status"]["online"])
    if (now := listener["now"]) is not None:
        yield _TIME, node, now["time"]
        yield _CONFIDENCE, node, now["confidence"]
        yield _LEVEL, node, now["level"]
        for number, name in enumerate(names):
            yield _GENRE, {**node, "genre": name}, float(number == now["genre"])
        for number, share in zip(labels["order"], now["bars"], strict=False):
            yield _SCORE, {**node, "genre": names[number]}, share / 1000.0
    for number, songs, seconds in listener["songs"]:
        yield _SONGS, {**node, "genre": names[number]}, songs
        yield _SECONDS, {**node, "genre": names[number]}, seconds
    health = listener["health"]
    if health["at"]:
        if health["state"]:
            yield _STATE, {**node, "state": health["state"]}, 1.0
        for key, (metric, factor) in _HEALTH.items():
            if health[key] is not None:
                yield metric, node, health[key] * factor


def _line(metric: Metric, labels: Mapping[str, str], value: float) -> str:
    text = ",".join(f'{name}="{_escaped(label)}"' for name, label in labels.items())
    return f"{metric.name}{{{text}}} {value:.10g}"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
