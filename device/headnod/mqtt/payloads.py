"""Published payloads: one frozen struct per topic, each field with its unit.

Payloads are flat, in lower snake case, and carry the version of their schema. A field
is never renamed or retyped, readers ignore unknown fields, and an absent value is left
out. docs/mqtt.md and the JSON Schema are generated from this module.
"""

from __future__ import annotations

import math
import unicodedata
import zlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from headnod.clock import Clock
from headnod.mqtt.topics import slug
from headnod.pipeline.estimate import SILENCE, Estimate
from headnod.pipeline.songs import Song

SCHEMA = 1
"""Version of every payload's schema."""

Time = Annotated[datetime, msgspec.Meta(tz=True)]
"""A date with its time zone."""

SCORE = "scores_"
"""Prefix of the key of a label's score, as in `scores_jazz`."""

_KEY_LENGTH = 64
"""Characters of a key that come from the label."""


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """What every payload has."""

    schema: int = SCHEMA
    """Version of this schema."""


class EstimatePayload(Payload, frozen=True, kw_only=True):
    """One estimate, on `estimate` and, the latest of them, on `state`."""

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

    held_by: str
    """What kept a genre from being named, or kept the one that is named: `none`, `silence`, `steady_noise`,
    `not_music`, `threshold`, `lead` or `starting`."""

    tags: dict[str, float] | None = None
    """Score of the five surest tags (0-1), such as mood and instruments, by their names; absent in silence, where
    the model has no tags and with `listen.tags` off."""

    energy: float | None = None
    """How energetic the window is (0-1); absent in silence and where the model does not say."""

    replayed: bool = False
    """It was queued while the broker was away."""

    clock_synchronised: bool = True
    """False if `ts` may be wrong: the clock had not been synchronised since boot."""

    boot_id: str = ""
    """The kernel's name for this run of the machine, within which `monotonic` can be compared; empty if not known."""


class SongPayload(Payload, frozen=True, kw_only=True):
    """One song, when it has ended."""

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

    clock_synchronised: bool = True
    """False if `start` and `end` may be wrong: the clock had not been synchronised since boot."""

    boot_id: str = ""
    """The kernel's name for this run of the machine, within which the next two can be compared; empty if not known."""

    start_monotonic: float = 0.0
    """`start` in seconds of a clock that is never set."""

    end_monotonic: float = 0.0
    """`end` in seconds of a clock that is never set."""


class InfoPayload(Payload, frozen=True, kw_only=True):
    """What the listener is, retained."""

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
    """The one of them that was signed last and waits to be activated; among unsigned ones, the newest of the present
    model's name; the present one if there is none."""

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

    latest_serial: int = 0
    """Serial of `latest_model`; 0 if it came with headnod."""

    channel: str = "stable"
    """Whose models it takes: `stable` or `canary`."""

    updates: str = "none"
    """What it does with a model that was sent: `activate`, `offer`, or `none` without a key."""


class HealthPayload(Payload, frozen=True, kw_only=True):
    """How the listener fares, once a minute and when asked."""

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
    """The wall clock is known to be synchronised."""

    clock: str = "synchronised"
    """`synchronised`, `unsynchronised`, or `unknown` where the system does not say."""


class ModelPayload(Payload, frozen=True, kw_only=True):
    """How far a new model has come."""

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


class ShadowPayload(Payload, frozen=True, kw_only=True):
    """How a second model agrees with the one that listens."""

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


class ResponsePayload(Payload, frozen=True, kw_only=True):
    """The answer to a request or a setting."""

    status: str
    """`ok` or `error`."""

    transaction: str | None = None
    """What the request said under this name; absent if it said nothing."""

    data: dict[str, Any] | None = None
    """What was asked for."""

    error: str | None = None
    """One line for a person, if it could not be done."""


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


def scores(of: Mapping[str, float]) -> dict[str, float]:
    """Scores as scalars: `scores_hiphop` for the label `hiphop`."""
    return dict(zip(score_keys(tuple(of)), of.values(), strict=True))


@lru_cache(maxsize=4)
def score_keys(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The key of each label's score: lower-case letters without accents, digits and underscores.

    A label with letters that have no such form (`日本`) gets a checksum of its text (CRC-32).
    Labels with the same key (`r&b`, `r-b`) are numbered: `scores_r_b`, `scores_r_b_2`.

    >>> score_keys(("R&B", "Música", "日本"))
    ('scores_r_b', 'scores_musica', 'scores_c7b7cdcc')
    """
    keys: dict[str, None] = {}
    for label in labels:
        key, times = SCORE + _ascii_key(label), 1
        while key in keys:
            times += 1
            key = f"{SCORE}{_ascii_key(label)}_{times}"
        keys[key] = None
    return tuple(keys)


def latest(model: str, models: Iterable[str]) -> str:
    """The newest of `models` with the name of `model`, or `model` itself.

    >>> latest("genre-0.9.0", ["genre-0.9.0", "genre-0.10.0", "mood-2.0.0"])
    'genre-0.10.0'
    """
    name = model.rpartition("-")[0]
    return max([model, *(other for other in models if other.rpartition("-")[0] == name)], key=_version)


def _version(model: str) -> tuple[int, ...]:
    return tuple(int(number) for number in model.rpartition("-")[2].split(".") if number.isdigit())


def _ascii_key(label: str) -> str:
    letters = [each for each in unicodedata.normalize("NFKD", label.casefold()) if not unicodedata.combining(each)]
    slugged = slug("".join(each for each in letters if each.isascii()))[:_KEY_LENGTH].strip("_")
    if slugged and not any(each.isalnum() and not each.isascii() for each in letters):
        return slugged
    return f"{slugged}_{zlib.crc32(label.encode('utf-8', 'surrogatepass')):08x}".lstrip("_")
