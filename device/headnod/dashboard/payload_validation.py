"""Reading: a payload from the broker as values that cannot hurt.

Alone because everything that comes is hostile until it was here: sizes,
depths, types, ranges and letters are bounded in this file and nowhere after it.
What a payload says too much is left alone, and what it lacks has a default.
"""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from headnod.inference.manifest import LONGEST, label_fault
from headnod.mqtt.payloads import SCORE

LARGEST = 16_384
"""Bytes of a payload; a longer one is not read."""

LABELS = 64
"""Labels that are shown of one listener."""

TAGS = 5
"""Tags that are shown of one listener."""

_LETTERS = 200
"""Characters of a line for a person."""

_KEY = re.compile(rf"{SCORE}[a-z0-9_]{{1,80}}")
"""Keys of scores, see `headnod.mqtt.payloads.score_keys`."""

# Marks and joiners belong to words; controls, unassigned code points and what turns the direction of text do not.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, Meta(ge=0.0, le=4e9)]
Count = Annotated[int, Meta(ge=0, le=10**12)]
Reading = TypeVar("Reading", bound=msgspec.Struct)


class EstimateFields(msgspec.Struct, frozen=True):
    """What the dashboard takes from an estimate."""

    time_unix: Seconds
    genre: str
    confidence: Share
    state: str = ""
    level_dbfs: Annotated[float, Meta(ge=-400.0, le=100.0)] = -120.0
    model: str = ""
    held_by: str = ""
    replayed: bool = False


class SongFields(msgspec.Struct, frozen=True):
    """What the dashboard takes from a song."""

    id: str
    end: Annotated[datetime, Meta(tz=True)]
    duration_s: Seconds
    genre: str
    clock_synchronised: bool = True
    replayed: bool = False


class InfoFields(msgspec.Struct, frozen=True):
    """What the dashboard takes from what a listener is."""

    labels: tuple[str, ...] = ()
    every_s: Annotated[float, Meta(gt=0.0, le=3600.0)] = 3.0
    version: str = ""
    board: str = ""
    microphone: str = ""
    model: str = ""
    paused: bool = False


class HealthFields(msgspec.Struct, frozen=True):
    """What the dashboard takes from how a listener fares."""

    state: str = ""
    message: str = ""
    uptime_s: Seconds = 0.0
    dropped_s: Seconds = 0.0
    queued: Count = 0
    discarded: Count = 0
    memory_mb: Annotated[float, Meta(ge=0.0, le=1e7)] = 0.0
    cpu_percent: Annotated[float, Meta(ge=0.0, le=1e5)] = 0.0
    temperature_c: Annotated[float, Meta(ge=-273.0, le=1000.0)] | None = None
    clock_synchronised: bool = True
    clock: str = ""


def read(payload: bytes, kind: type[Reading]) -> tuple[Reading, dict[str, Any]] | None:
    """A payload as a struct and as everything else that it says, or None if it is no such thing."""
    if len(payload) > LARGEST:
        return None
    try:
        told = msgspec.json.decode(payload, type=dict[str, Any])
        return msgspec.convert(told, kind), told
    except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError):
        return None


def scores(told: dict[str, Any]) -> dict[str, float]:
    """The scores among the fields of a payload, by their keys; at most `LABELS` of them."""
    found: dict[str, float] = {}
    for key, value in told.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and math.isfinite(value) and 0 <= value <= 1 and _KEY.fullmatch(key):
            found[key] = float(value)
        if len(found) == LABELS:
            break
    return found


def tags(told: dict[str, Any]) -> list[str]:
    """Names of the tags among the fields of a payload, as they can be shown; at most `TAGS` of them."""
    found = told.get("tags")
    names = [_visible(text, LONGEST) for text in found] if isinstance(found, dict) and len(found) <= LABELS else []
    return [each for each in names if each][:TAGS]


def name(text: str) -> str:
    """A label as it is, or what is visible of a text that is none."""
    return text if label_fault(text) is None else _visible(text, LONGEST) or "?"


def line(text: str) -> str:
    """One line for a person, of visible letters."""
    return _visible(text, _LETTERS)


def _visible(text: str, longest: int) -> str:
    seen = "".join(letter for letter in text[: 4 * longest] if unicodedata.category(letter) not in _UNSEEN)
    return " ".join(seen.split())[:longest]
