"""What is published: one frozen struct a topic, each field with its unit.

Payloads are flat, in lower snake case, and carry the version of their schema;
a field is never renamed or retyped, and readers leave alone what they do not
know. Absent is absent. docs/mqtt.md and the JSON Schema are made from here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec

from headnod.estimate import SILENCE, Estimate
from headnod.mqtt.topics import slug

SCHEMA = 1
"""Version of every payload's schema."""

SCORE = "scores_"
"""What the key of a label's score begins with, as in `scores_jazz`."""


Time = Annotated[datetime, msgspec.Meta(tz=True)]
"""A date that knows its time zone."""


class EstimatePayload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """One estimate, on `estimate` and, the latest of them, on `state`."""

    schema: int = SCHEMA
    """Version of this schema."""

    id: str
    """Node, boot and sequence in one: the same estimate never comes under another id."""

    node: str
    """The listener."""

    boot: str
    """Changes whenever the listener starts."""

    seq: int
    """Counts estimates of one boot from 0, with no gap."""

    ts: Time
    """When it was heard: ISO 8601, UTC."""

    time_unix: float
    """The same in seconds since 1970."""

    monotonic: float
    """The same in seconds of a clock that is never set."""

    genre: str
    """A label of the model, `silence` or `unknown`."""

    confidence: float
    """Smoothed probability of that genre (0-1), of the likeliest label where it is unknown; 0 in silence."""

    raw_genre: str
    """What this window alone would be called, however unsure; `silence` in silence."""

    raw_confidence: float
    """Its probability (0-1); 0 in silence."""

    runner_up: str
    """The likeliest label but for the genre; `silence` in silence."""

    margin: float
    """How much likelier the genre is than that (0-1); 0 while it is only kept until the other is clearly ahead."""

    music: bool
    """Something plays: the room is not silent."""

    state: str
    """How the listener fares: `listening`, `deaf`, `clipping`."""

    level_dbfs: float
    """Level of the window in dBFS."""

    peak_dbfs: float
    """Largest sample of the window in dBFS."""

    dropped_s: float
    """Seconds of sound that were lost since the listener began."""

    latency_ms: float
    """How long the estimate took to make, in milliseconds."""

    model: str
    """Name and version of the model."""

    replayed: bool = False
    """It was queued while the broker was away."""


class SongPayload(msgspec.Struct, frozen=True, kw_only=True):
    """One song, when it has ended."""

    schema: int = SCHEMA
    """Version of this schema."""

    id: str
    """Node, boot and sequence of its first estimate."""

    node: str
    """The listener."""

    start: Time
    """When it began: ISO 8601, UTC."""

    end: Time
    """When it ended: ISO 8601, UTC."""

    duration_s: float
    """How long it was, in seconds."""

    genre: str
    """A label of the model."""

    stability: float
    """Share of its estimates that named this genre (0-1)."""

    replayed: bool = False
    """It was queued while the broker was away."""


class InfoPayload(msgspec.Struct, frozen=True, kw_only=True):
    """What the listener is, retained."""

    schema: int = SCHEMA
    """Version of this schema."""

    node: str
    """The listener."""

    boot: str
    """Changes whenever the listener starts."""

    version: str
    """Version of headnod."""

    runtime: str
    """The TensorFlow Lite runtime and its version."""

    python: str
    """Version of Python."""

    board: str
    """What the machine says it is."""

    microphone: str
    """The microphone, as it is configured; empty for the likeliest."""

    model: str
    """Name and version of the model."""

    model_sha256: str
    """Hash of its TFLite file."""

    models: tuple[str, ...]
    """Models that can be activated by name."""

    latest_model: str
    """The newest of them that has the present model's name; the present one if none is newer."""

    labels: tuple[str, ...]
    """Genres that the model names."""

    every_s: float
    """Seconds between estimates."""

    window_s: float
    """Seconds that an estimate hears anew."""

    health_every_s: float
    """Seconds between reports of health."""

    sample_rate: int
    """Samples per second that the model hears."""

    certainty: float
    """Least smoothed probability for a genre to be named (0-1)."""

    paused: bool
    """It was asked to be quiet."""

    brightness: float
    """Brightness of its lights (0-1)."""

    serial: int = 0
    """Serial of the model; 0 if it came with headnod."""

    channel: str = "stable"
    """Whose models it takes: `stable` or `canary`."""

    updates: str = "none"
    """What it does with a model that was sent: `activate`, `offer`, or `none` without a key."""


class ModelPayload(msgspec.Struct, frozen=True, kw_only=True):
    """How far a new model has come."""

    schema: int = SCHEMA
    """Version of this schema."""

    node: str
    """The listener."""

    ts: Time
    """When: ISO 8601, UTC."""

    stage: str
    """`received`, `verified`, `tested`, `probation`, and in the end `kept`, `offered`, `refused` or `rolled_back`."""

    model: str
    """Name and version of the model; empty if they are not known."""

    serial: int
    """Its serial; 0 if it is not known, or it came with headnod."""

    manifest_sha256: str
    """Hash of its manifest, by which whoever sent it knows it again; empty if it is not known."""

    message: str
    """One line for a person."""


class ShadowPayload(msgspec.Struct, frozen=True, kw_only=True):
    """How a second model agrees with the one that listens."""

    schema: int = SCHEMA
    """Version of this schema."""

    node: str
    """The listener."""

    ts: Time
    """When: ISO 8601, UTC."""

    shadow: str
    """Name and version of the second model."""

    model: str
    """Name and version of the one that listens."""

    windows: int
    """Windows with music that both have heard."""

    agreed: int
    """Those to which both gave the same likeliest label."""

    surer: float
    """Mean of the second's best probability less the first's (-1 to 1)."""


class HealthPayload(msgspec.Struct, frozen=True, kw_only=True):
    """How the listener fares, once a minute and when asked."""

    schema: int = SCHEMA
    """Version of this schema."""

    node: str
    """The listener."""

    ts: Time
    """When: ISO 8601, UTC."""

    state: str
    """State of the listener, such as `waiting_for_microphone`."""

    message: str
    """One line for a person, empty if all is well."""

    uptime_s: float
    """Seconds since the listener began."""

    estimates: int
    """Estimates made since then."""

    dropped_s: float
    """Seconds of sound lost since then."""

    queued: int
    """Estimates and songs that the broker has not acknowledged."""

    queued_on_disk: int
    """Those of them that a power cut cannot take."""

    discarded: int
    """Those that were lost because the queue was full, since it was made."""

    published: int
    """Those that the broker has acknowledged since the listener began."""

    refused: int
    """Those that the broker refused since then."""

    reconnects: int
    """Times that the broker was found again since then."""

    memory_mb: float
    """Resident memory of the process, in MiB."""

    cpu_percent: float
    """Processor time since the last report, in percent of one core."""

    temperature_c: float | None = None
    """Temperature of the board in degrees Celsius; absent where it has no sensor."""

    clock_synchronised: bool = True
    """The wall clock is kept by somebody."""


class ResponsePayload(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a request or a setting."""

    schema: int = SCHEMA
    """Version of this schema."""

    status: str
    """`ok` or `error`."""

    transaction: str | None = None
    """What the request said under this name; absent if it said nothing."""

    data: dict[str, Any] | None = None
    """What was asked for."""

    error: str | None = None
    """One line for a person, if it could not be done."""


def of_estimate(estimate: Estimate, *, node: str, boot: str) -> dict[str, Any]:
    """The payload of an estimate, with its scores as scalars.

    Returns:
        Builtins, ready for `encode`: the fields of `EstimatePayload` and a
        `scores_<label>` for every label.
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
    )
    return {**msgspec.to_builtins(fixed), **scores(estimate.scores)}


def scores(of: Mapping[str, float]) -> dict[str, float]:
    """Scores as scalars: `scores_hiphop` for the label `hiphop`.

    Labels that come to the same key, as `r&b` and `r-b` do, are numbered: `scores_r_b`, `scores_r_b_2`.
    """
    told: dict[str, float] = {}
    for label, score in of.items():
        key, times = SCORE + slug(label), 1
        while key in told:
            times += 1
            key = f"{SCORE}{slug(label)}_{times}"
        told[key] = score
    return told


def latest(model: str, models: Iterable[str]) -> str:
    """The newest of `models` that has the name of `model`, or `model` itself.

    >>> latest("genre-0.9.0", ["genre-0.9.0", "genre-0.10.0", "mood-2.0.0"])
    'genre-0.10.0'
    """
    name = model.rpartition("-")[0]
    return max([model, *(other for other in models if other.rpartition("-")[0] == name)], key=_version)


def _version(model: str) -> tuple[int, ...]:
    return tuple(int(number) for number in model.rpartition("-")[2].split(".") if number.isdigit())


def encode(payload: msgspec.Struct | Mapping[str, Any]) -> bytes:
    """A payload as JSON; what is absent is left out."""
    return msgspec.json.encode(present(payload))


def present(payload: msgspec.Struct | Mapping[str, Any]) -> dict[str, Any]:
    """A payload as builtins, without what is None and without numbers that JSON does not know."""
    told: dict[str, Any] = msgspec.to_builtins(payload)
    return {key: value for key, value in told.items() if value is not None and not _nameless(value)}


def _nameless(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
