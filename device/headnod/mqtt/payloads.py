"""Published payloads: one frozen struct per topic, each field with its unit.

Payloads are flat, in lower snake case, and carry the version of their schema. A field
is never renamed or retyped, readers ignore unknown fields, and an absent value is left
out. The tables of docs/mqtt.md and the JSON Schema are generated from this module.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from headnod import system
from headnod.clock import Clock, clock_is_synchronised
from headnod.escaping import SILENCE
from headnod.mqtt.topics import SCORE, score_keys
from headnod.outputs import EventReports
from headnod.pipeline.estimate import Estimate, Song, SongSegmenter, SongSettings, State, StatusEvent

SCHEMA = 1
"""Version of every payload's schema."""

Time = Annotated[datetime, Meta(tz=True)]
"""A date with its time zone."""

_CLOCK = {True: "synchronised", False: "unsynchronised", None: "unknown"}
_REF = "#/$defs/{name}"
_SECTION = re.compile(r"(<!-- (?P<name>\w+): .*? -->\n).*?(<!-- end -->)", re.DOTALL)


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """What every payload has."""

    schema: Annotated[int, Meta(description="Version of this schema.")] = SCHEMA


class EstimatePayload(Payload, frozen=True, kw_only=True):
    """One estimate, on `estimate`; the latest of them on `state` too."""

    id: Annotated[str, Meta(description="Node, boot and sequence number: unique for each estimate.")]
    node: Annotated[str, Meta(description="Name of the listener.")]
    boot: Annotated[str, Meta(description="Random name of this run of the listener.")]
    seq: Annotated[int, Meta(description="Sequence number of the estimate, from 0 in each run, without gaps.")]
    ts: Annotated[Time, Meta(description="Time of the window: ISO 8601, UTC.")]
    time_unix: Annotated[float, Meta(description="The same time in seconds since 1970.")]
    monotonic: Annotated[float, Meta(description="The same time in seconds of the monotonic clock.")]
    genre: Annotated[str, Meta(description="A label of the model, `silence` or `unknown`.")]
    confidence: Annotated[
        float,
        Meta(description="Smoothed probability of the genre, of the best label if `unknown` (0-1); 0 in silence."),
    ]
    raw_genre: Annotated[
        str, Meta(description="Best label of this window alone, without smoothing and threshold; `silence` in silence.")
    ]
    raw_confidence: Annotated[float, Meta(description="Probability of `raw_genre` (0-1); 0 in silence.")]
    runner_up: Annotated[str, Meta(description="Most probable label other than the genre; `silence` in silence.")]
    margin: Annotated[
        float, Meta(description="Lead over `runner_up` (0-1); 0 while hysteresis keeps a genre that is behind.")
    ]
    music: Annotated[bool, Meta(description="Whether sound that is not noise is present.")]
    state: Annotated[str, Meta(description="State of the microphone: `listening`, `deaf`, `clipping`.")]
    level_dbfs: Annotated[float, Meta(description="Level of the window in dBFS.")]
    peak_dbfs: Annotated[float, Meta(description="Largest sample of the window in dBFS.")]
    dropped_s: Annotated[float, Meta(description="Seconds of audio lost since the listener started.")]
    latency_ms: Annotated[float, Meta(description="Processing time of the estimate in milliseconds.")]
    model: Annotated[str, Meta(description="Name and version of the model.")]
    held_by: Annotated[
        str,
        Meta(
            description="Why no genre is named, or the previous one is kept: `none`, `silence`, `steady_noise`, "
            "`not_music`, `threshold`, `lead` or `starting`."
        ),
    ]
    tags: Annotated[
        dict[str, float] | None,
        Meta(
            description="Scores (0-1) of the five best tags, such as mood and instruments, by name; absent in silence, "
            "if the model has no tags, and if `listen.tags` is off."
        ),
    ] = None
    energy: Annotated[float | None, Meta(description="Energy of the music (0-1); absent if the model has none.")] = None
    replayed: Annotated[bool, Meta(description="Whether it was queued while the broker was not connected.")] = False
    clock_synchronised: Annotated[
        bool, Meta(description="False if `ts` may be wrong: the clock was not synchronised since boot.")
    ] = True
    boot_id: Annotated[str, Meta(description="The kernel's boot id, within which `monotonic` is comparable.")] = ""


class SongPayload(Payload, frozen=True, kw_only=True):
    """One song, when it has ended."""

    id: Annotated[str, Meta(description="Node, boot and sequence of its first estimate.")]
    node: Annotated[str, Meta(description="Name of the listener.")]
    start: Annotated[Time, Meta(description="Start: ISO 8601, UTC.")]
    end: Annotated[Time, Meta(description="End: ISO 8601, UTC.")]
    duration_s: Annotated[float, Meta(description="Length in seconds.")]
    genre: Annotated[str, Meta(description="A label of the model.")]
    stability: Annotated[float, Meta(description="Share of the song's estimates that named this genre (0-1).")]
    replayed: Annotated[bool, Meta(description="Whether it was queued while the broker was not connected.")] = False
    clock_synchronised: Annotated[
        bool, Meta(description="False if the dates may be wrong: the clock was not synchronised since boot.")
    ] = True
    boot_id: Annotated[str, Meta(description="The kernel's boot id, within which the next two are comparable.")] = ""
    start_monotonic: Annotated[float, Meta(description="`start` in seconds of the monotonic clock.")] = 0.0
    end_monotonic: Annotated[float, Meta(description="`end` in seconds of the monotonic clock.")] = 0.0


class InfoPayload(Payload, frozen=True, kw_only=True):
    """What the listener is and how it is set, retained."""

    node: Annotated[str, Meta(description="Name of the listener.")]
    boot: Annotated[str, Meta(description="Random name of this run of the listener.")]
    version: Annotated[str, Meta(description="Version of headnod.")]
    runtime: Annotated[str, Meta(description="The TensorFlow Lite runtime and its version.")]
    python: Annotated[str, Meta(description="Version of Python.")]
    board: Annotated[str, Meta(description="Model of the machine; empty if not known.")]
    microphone: Annotated[str, Meta(description="The microphone, as configured; empty if it is chosen automatically.")]
    model: Annotated[str, Meta(description="Name and version of the model.")]
    model_sha256: Annotated[str, Meta(description="SHA-256 of the model's TFLite file.")]
    models: Annotated[tuple[str, ...], Meta(description="Models that can be activated by name.")]
    latest_model: Annotated[
        str,
        Meta(
            description="The model offered for activation: the signed one that waits for it, or the newest unsigned "
            "one with the name of the active model, or the active model."
        ),
    ]
    labels: Annotated[tuple[str, ...], Meta(description="Labels of the model.")]
    every_s: Annotated[float, Meta(description="Seconds between estimates.")]
    window_s: Annotated[float, Meta(description="Length of a window in seconds.")]
    health_every_s: Annotated[float, Meta(description="Seconds between health reports.")]
    sample_rate: Annotated[int, Meta(description="Sample rate of the model in Hz.")]
    certainty: Annotated[float, Meta(description="Least smoothed probability for a genre to be named (0-1).")]
    paused: Annotated[bool, Meta(description="Whether it is paused.")]
    brightness: Annotated[float, Meta(description="Brightness of the LEDs (0-1).")]
    serial: Annotated[int, Meta(description="Serial of the model; 0 if it is shipped with headnod.")] = 0
    latest_serial: Annotated[int, Meta(description="Serial of `latest_model`; 0 if it is shipped with headnod.")] = 0
    channel: Annotated[str, Meta(description="Update channel: `stable` or `canary`.")] = "stable"
    updates: Annotated[
        str, Meta(description="What is done with a received model: `activate`, `offer`, or `none` without a key.")
    ] = "none"

    lights: Annotated[bool | None, Meta(description="Whether the LEDs are on; absent without LEDs.")] = None
    effect: Annotated[str | None, Meta(description="Mode of the strip: `bars` or `mood`; absent without one.")] = None
    area: Annotated[str | None, Meta(description="Room suggested to Home Assistant; absent if none is set.")] = None
    page: Annotated[str | None, Meta(description="URL of the listener's own page; absent if it has none.")] = None
    history: Annotated[
        bool | None,
        Meta(description="Whether `request/history` is answered from a database; absent in older versions."),
    ] = None
    offer: Annotated[
        str | None, Meta(description="What is known about `latest_model` in one line; absent if it is the active one.")
    ] = None


class HealthPayload(Payload, frozen=True, kw_only=True):
    """The health report, published once a minute, at each change of state, and on request."""

    node: Annotated[str, Meta(description="Name of the listener.")]
    ts: Annotated[Time, Meta(description="Time: ISO 8601, UTC.")]
    state: Annotated[str, Meta(description="State of the listener, such as `waiting_for_microphone`.")]
    message: Annotated[str, Meta(description="Explanation in one line; empty if there is no problem.")]
    uptime_s: Annotated[float, Meta(description="Seconds since the listener started.")]
    estimates: Annotated[int, Meta(description="Estimates made since the start.")]
    dropped_s: Annotated[float, Meta(description="Seconds of audio lost since the start.")]
    queued: Annotated[int, Meta(description="Estimates and songs that the broker has not acknowledged.")] = 0
    queued_on_disk: Annotated[int, Meta(description="Those of them that are on disk and survive a power cut.")] = 0
    discarded: Annotated[int, Meta(description="Messages lost because the queue was full, ever.")] = 0
    published: Annotated[
        int, Meta(description="Estimates and songs that the broker has acknowledged since the start.")
    ] = 0
    refused: Annotated[int, Meta(description="Estimates and songs that the broker has refused since the start.")] = 0
    reconnects: Annotated[int, Meta(description="Reconnections to the broker since the start.")] = 0
    memory_mb: Annotated[float, Meta(description="Resident memory of the process, in MiB.")]
    cpu_percent: Annotated[float, Meta(description="Processor time since the last report, in percent of one core.")]
    temperature_c: Annotated[
        float | None, Meta(description="Temperature of the board in °C; absent without a sensor.")
    ] = None
    clock_synchronised: Annotated[bool, Meta(description="Whether the wall clock is known to be synchronised.")] = True
    clock: Annotated[str, Meta(description="`synchronised`, `unsynchronised` or `unknown`.")] = "synchronised"


class ModelPayload(Payload, frozen=True, kw_only=True):
    """Progress of a model installation."""

    node: Annotated[str, Meta(description="Name of the listener.")]
    ts: Annotated[Time, Meta(description="Time: ISO 8601, UTC.")]
    stage: Annotated[
        str,
        Meta(description="`received`, `verified`, `tested`, `probation`, `kept`, `offered`, `refused`, `rolled_back`."),
    ]
    model: Annotated[str, Meta(description="Name and version of the model; empty if not known.")]
    serial: Annotated[int, Meta(description="Serial of the model; 0 if not known or shipped with headnod.")]
    manifest_sha256: Annotated[
        str, Meta(description="SHA-256 of the model's manifest, by which its sender identifies it; empty if not known.")
    ]
    message: Annotated[str, Meta(description="Explanation in one line.")]


class ShadowPayload(Payload, frozen=True, kw_only=True):
    """Agreement of a second model with the active one."""

    node: Annotated[str, Meta(description="Name of the listener.")]
    ts: Annotated[Time, Meta(description="Time: ISO 8601, UTC.")]
    shadow: Annotated[str, Meta(description="Name and version of the second model.")]
    model: Annotated[str, Meta(description="Name and version of the active model.")]
    windows: Annotated[int, Meta(description="Windows with music that both models have classified.")]
    agreed: Annotated[int, Meta(description="Windows with the same most probable label from both.")]
    surer: Annotated[
        float, Meta(description="Mean best probability of the second model less that of the active one (-1 to 1).")
    ]


class ResponsePayload(Payload, frozen=True, kw_only=True):
    """The answer to a request or a setting."""

    status: Annotated[str, Meta(description="`ok` or `error`.")]
    transaction: Annotated[str | None, Meta(description="Transaction id of the request; absent if it had none.")] = None
    data: Annotated[dict[str, Any] | None, Meta(description="The result.")] = None
    error: Annotated[str | None, Meta(description="Explanation in one line, if `status` is `error`.")] = None


class HistoryPayload(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of the answer to `request/history`: one page."""

    part: Annotated[str, Meta(description="The part that was requested.")]
    rows: Annotated[list[Any], Meta(description="Its rows, the oldest first; first songs the latest first.")]
    next: Annotated[
        float | None, Meta(description="`after` of the request for the next page; absent from the last page.")
    ] = None


def encode(payload: msgspec.Struct | Mapping[str, Any]) -> bytes:
    """A payload as JSON, without absent values."""
    return msgspec.json.encode(present(payload))


def present(payload: msgspec.Struct | Mapping[str, Any]) -> dict[str, Any]:
    """A payload as builtins, without values that are None and numbers that are not finite (JSON has none)."""
    fields: dict[str, Any] = msgspec.to_builtins(payload)
    return {
        key: value
        for key, value in fields.items()
        if value is not None and not (isinstance(value, float) and not math.isfinite(value))
    }


def estimate_payload(estimate: Estimate, *, node: str, boot: str, boot_id: str = "") -> dict[str, Any]:
    """The payload of an estimate, with its scores as scalars.

    Returns:
        Builtins, ready for `encode`: the fields of `EstimatePayload` and `scores_<label>` for every label.
    """
    ranked = estimate.ranked()
    others = [score for score in ranked if score[0] != estimate.genre] if estimate.named else ranked[1:]
    runner_up, behind = [*others, (SILENCE, 0.0)][0]
    music = estimate.confidence > 0
    fixed = EstimatePayload(
        id=f"{node}-{boot}-{estimate.sequence}",
        node=node,
        boot=boot,
        seq=estimate.sequence,
        ts=estimate.time,
        time_unix=round(estimate.time.timestamp(), 3),
        monotonic=estimate.monotonic,
        genre=estimate.genre,
        confidence=estimate.confidence,
        raw_genre=estimate.raw_genre,
        raw_confidence=estimate.raw_confidence,
        runner_up=runner_up if music else SILENCE,
        margin=round(max(estimate.confidence - behind, 0.0), 4),
        music=music,
        state=estimate.state,
        level_dbfs=estimate.level,
        peak_dbfs=estimate.peak,
        dropped_s=estimate.dropped,
        latency_ms=estimate.latency,
        model=estimate.model,
        held_by=estimate.held_by,
        tags=estimate.tags or None,
        energy=estimate.energy,
        clock_synchronised=estimate.clock_synchronised,
        boot_id=boot_id,
    )
    return present(fixed) | scores(estimate.scores)


def scores(of: Mapping[str, float]) -> dict[str, float]:
    """Scores as scalars: `scores_hiphop` for the label `hiphop`."""
    return dict(zip(score_keys(tuple(of)), of.values(), strict=True))


def song_payload(song: Song, *, node: str, boot: str, boot_id: str = "") -> SongPayload:
    """The payload of a song."""
    return SongPayload(
        id=f"{node}-{boot}-{song.sequence}",
        node=node,
        start=song.start,
        end=song.end,
        duration_s=song.seconds,
        genre=song.genre,
        stability=song.stability,
        clock_synchronised=song.clock_synchronised,
        boot_id=boot_id,
        start_monotonic=song.started_monotonic,
        end_monotonic=song.ended_monotonic,
    )


def redated(payload: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """An estimate or song dated by the clock as it is set now, from its monotonic times.

    Unchanged if it was dated by a synchronised clock, or in another run of the machine,
    whose monotonic clock cannot be compared with this one.
    """
    if payload.get("clock_synchronised") is not False or not clock.boot or payload.get("boot_id") != clock.boot:
        return payload
    payload = {**payload, "clock_synchronised": clock.synchronised()}
    if "end_monotonic" in payload:
        return payload | {key: clock.at(payload[f"{key}_monotonic"]) for key in ("start", "end")}
    moment = clock.at(payload["monotonic"])
    return payload | {"ts": moment, "time_unix": round(moment.timestamp(), 3)}


class ReportMaker:
    """Makes payloads of estimates, songs and health."""

    def __init__(self, node: str, boot: str, *, clock: Clock, monotonic: Callable[[], float]) -> None:
        """Start without estimates; `boot` names this run of the listener."""
        self._node, self._boot, self._clock, self._monotonic = node, boot, clock, monotonic
        self._songs = SongSegmenter(SongSettings())
        self._processor, self._began = system.CpuMeter(monotonic), monotonic()
        self._state, self._message = State.STARTING, ""
        self._estimates, self._dropped, self._announced = 0, 0.0, -1

    def update(self, event: Estimate | StatusEvent) -> EventReports:
        """The payloads of an event."""
        changed = event.state is not self._state
        self._state = event.state
        if isinstance(event, StatusEvent):
            self._message = event.message
            return EventReports(self._song(self._songs.interrupt(event)), None, None, changed)
        self._message = ""
        self._estimates, self._dropped = self._estimates + 1, event.dropped
        ended = self._songs.update(event)
        song = None if ended is None else self._song(ended)
        payload = estimate_payload(event, node=self._node, boot=self._boot, boot_id=self._clock.boot)
        return EventReports(song, self._song_start(), msgspec.json.encode(payload), changed)

    def finish(self) -> bytes | None:
        """End the song here; its payload if it is long enough."""
        return self._song(self._songs.finish())

    def health(self, **delivery: Any) -> HealthPayload:  # noqa: ANN401 - the fields of a struct
        """The health report as of now, with the fields about the delivery to a broker if there is one."""
        synchronised = clock_is_synchronised()
        return HealthPayload(
            node=self._node,
            ts=self._clock.now(),
            state=self._state,
            message=self._message,
            uptime_s=round(self._monotonic() - self._began, 1),
            estimates=self._estimates,
            dropped_s=self._dropped,
            memory_mb=round(system.memory(), 1),
            cpu_percent=round(self._processor.percent(), 1),
            temperature_c=system.temperature(),
            clock_synchronised=synchronised is True,
            clock=_CLOCK[synchronised],
            **delivery,
        )

    def _song_start(self) -> bytes | None:
        song = self._songs.current
        if song is None or song.sequence == self._announced:
            return None
        self._announced = song.sequence
        payload = song_payload(song, node=self._node, boot=self._boot)
        return encode({key: getattr(payload, key) for key in ("id", "node", "start", "genre", "clock_synchronised")})

    def _song(self, song: Song | None) -> bytes | None:
        if song is None:
            return None
        return encode(song_payload(song, node=self._node, boot=self._boot, boot_id=self._clock.boot))


PAYLOADS: dict[str, type[msgspec.Struct]] = {
    "state": EstimatePayload,
    "estimate": EstimatePayload,
    "song": SongPayload,
    "last_song": SongPayload,
    "health": HealthPayload,
    "info": InfoPayload,
    "model": ModelPayload,
    "shadow": ShadowPayload,
    "response": ResponsePayload,
    "history": HistoryPayload,
}
"""What is published on each topic under `<base>/<node>/`, and under `response/`; and `data` of `response/history`."""


def json_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) of an object with one payload per topic name."""
    kinds = {kind.__name__: kind for kind in PAYLOADS.values()}
    _, structs = msgspec.json.schema_components(kinds.values(), ref_template=_REF)
    for name, struct in structs.items():
        fields = {field: _present_type(of) for field, of in struct["properties"].items()}
        # A field with a default is always published; only None is left out.
        struct["required"] = [field for field, of in struct["properties"].items() if of is fields[field]]
        struct["properties"] = fields
        struct["description"] = inspect.getdoc(kinds[name])
    score = {"type": "number", "minimum": 0, "maximum": 1, "description": "Smoothed probability of one label (0-1)."}
    structs[EstimatePayload.__name__]["patternProperties"] = {f"^{SCORE}[a-z0-9_]+$": score}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"What headnod publishes by MQTT, schema {SCHEMA}",
        "type": "object",
        "properties": {topic: {"$ref": _REF.format(name=of.__name__)} for topic, of in PAYLOADS.items()},
        "$defs": structs,
    }


def documented(text: str) -> str:
    """A document in which every table between `<!-- Name: ... -->` and `<!-- end -->` is generated again."""
    structs = json_schema()["$defs"]
    return _SECTION.sub(lambda found: f"{found[1]}\n{_field_table(structs[found['name']])}\n\n{found[3]}", text)


def _field_table(struct: dict[str, Any]) -> str:
    needed = struct.get("required", ())
    fields = [
        (field, _field_type(of) + ("" if field in needed else ", may be absent"), of["description"])
        for field, of in struct["properties"].items()
    ]
    fields += [
        (f"{SCORE}<label>", _field_type(of), of["description"]) for of in struct.get("patternProperties", {}).values()
    ]
    rows = [f"| `{field}` | {kind} | {meaning} |" for field, kind, meaning in fields]
    return "\n".join(["| field | type | meaning |", "| --- | --- | --- |", *rows])


def _present_type(of: dict[str, Any]) -> dict[str, Any]:
    """The type of a field where it is present."""
    for choice in of.get("anyOf", ()):
        if choice.get("type") != "null":
            return {**choice, "description": of["description"]}
    return of


def _field_type(of: dict[str, Any]) -> str:
    if of.get("format") == "date-time":
        return "text, a date"
    words = {"string": "text", "boolean": "true or false", "array": "list", "integer": "whole number"}
    return words.get(of["type"], of["type"])
