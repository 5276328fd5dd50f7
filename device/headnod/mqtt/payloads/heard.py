"""What was heard: each estimate, and each song when it has ended."""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from headnod.clock import Clock
from headnod.mqtt.payloads.written import SCHEMA, Time, present
from headnod.mqtt.topics import slug
from headnod.pipeline.estimate import SILENCE, Estimate

SCORE = "scores_"
"""What the key of a label's score begins with, as in `scores_jazz`."""

_LONGEST = 64
"""Characters of a key that come from the label's letters."""


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

    clock_synchronised: bool = True
    """False if `start` and `end` may be wrong: the clock had not been synchronised since boot."""

    boot_id: str = ""
    """The kernel's name for this run of the machine, within which the next two can be compared; empty if not known."""

    start_monotonic: float = 0.0
    """`start` in seconds of a clock that is never set."""

    end_monotonic: float = 0.0
    """`end` in seconds of a clock that is never set."""


def redated(told: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """An estimate or song with the dates that its moments have by the clock as it is set now.

    One is left as it is that was dated by a synchronised clock, or in another run
    of the machine, whose monotonic clock cannot be compared with this one's.
    """
    if told.get("clock_synchronised") is not False or not clock.boot or told.get("boot_id") != clock.boot:
        return told
    told = {**told, "clock_synchronised": clock.synchronised()}
    if "end_monotonic" in told:
        return told | {key: clock.at(told[f"{key}_monotonic"]) for key in ("start", "end")}
    moment = clock.at(told["monotonic"])
    return told | {"ts": moment, "time_unix": round(moment.timestamp(), 3)}


def of_estimate(estimate: Estimate, *, node: str, boot: str, boot_id: str = "") -> dict[str, Any]:
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
        held_by=estimate.held_by,
        tags=estimate.tags or None,
        energy=estimate.energy,
        clock_synchronised=estimate.clock_synchronised,
        boot_id=boot_id,
    )
    return {**present(fixed), **scores(estimate.scores)}


def scores(of: Mapping[str, float]) -> dict[str, float]:
    """Scores as scalars: `scores_hiphop` for the label `hiphop`."""
    return dict(zip(score_keys(tuple(of)), of.values(), strict=True))


@lru_cache(maxsize=4)
def score_keys(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The key of each label's score: small letters without accents, digits and underscores.

    A label with letters that have no such form, as those of `日本`, gets a checksum of its text (CRC-32).
    Labels that come to the same key, as `r&b` and `r-b` do, are numbered: `scores_r_b`, `scores_r_b_2`.

    >>> score_keys(("R&B", "Música", "日本"))
    ('scores_r_b', 'scores_musica', 'scores_c7b7cdcc')
    """
    keys: dict[str, None] = {}
    for label in labels:
        key, times = SCORE + _plain(label), 1
        while key in keys:
            times += 1
            key = f"{SCORE}{_plain(label)}_{times}"
        keys[key] = None
    return tuple(keys)


def _plain(label: str) -> str:
    letters = [each for each in unicodedata.normalize("NFKD", label.casefold()) if not unicodedata.combining(each)]
    plain = "".join(each for each in letters if each.isascii())
    slugged = slug(plain)[:_LONGEST].strip("_")
    if slugged and not any(each.isalnum() and not each.isascii() for each in letters):
        return slugged
    return f"{slugged}_{zlib.crc32(label.encode('utf-8', 'surrogatepass')):08x}".lstrip("_")
