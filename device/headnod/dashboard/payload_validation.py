"""Validation of payloads from the broker: sizes, depths, types, ranges and characters are checked here only.

Unknown fields are ignored; missing ones have defaults.
"""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from headnod.escaping import LONGEST, label_fault
from headnod.mqtt.payloads import SCORE

LARGEST = 16_384
"""Bytes of the largest payload that is parsed."""

LABELS = 64
"""Limit of the labels of one listener."""

TAGS = 5
"""Limit of the tags of one listener."""

_LONGEST_LINE = 200

_KEY = re.compile(rf"{SCORE}[a-z0-9_]{{1,80}}")
"""Keys of scores: see `headnod.mqtt.payloads.score_keys`."""

# Controls, unassigned code points and characters that change the direction of text; marks and joiners are kept.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, Meta(ge=0.0, le=4e9)]
Count = Annotated[int, Meta(ge=0, le=10**12)]
Fields = TypeVar("Fields", bound=msgspec.Struct)


class EstimateFields(msgspec.Struct, frozen=True):
    """The fields of an estimate that are used."""

    time_unix: Seconds
    genre: str
    confidence: Share
    state: str = ""
    level_dbfs: Annotated[float, Meta(ge=-400.0, le=100.0)] = -120.0
    model: str = ""
    held_by: str = ""
    replayed: bool = False


class SongFields(msgspec.Struct, frozen=True):
    """The fields of a song that are used."""

    id: str
    end: Annotated[datetime, Meta(tz=True)]
    duration_s: Seconds
    genre: str
    clock_synchronised: bool = True
    replayed: bool = False


class InfoFields(msgspec.Struct, frozen=True):
    """The fields of `info` that are used."""

    labels: tuple[str, ...] = ()
    every_s: Annotated[float, Meta(gt=0.0, le=3600.0)] = 3.0
    version: str = ""
    board: str = ""
    microphone: str = ""
    model: str = ""
    certainty: Share = 0.0
    paused: bool = False
    history: bool | None = None


class HealthFields(msgspec.Struct, frozen=True):
    """The fields of `health` that are used."""

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


def parse(payload: bytes, kind: type[Fields]) -> tuple[Fields, dict[str, Any]] | None:
    """A payload as a struct and as all its fields; None if it is invalid."""
    if len(payload) > LARGEST:
        return None
    try:
        fields = msgspec.json.decode(payload, type=dict[str, Any])
        return msgspec.convert(fields, kind), fields
    except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError):
        return None


def scores(fields: dict[str, Any]) -> dict[str, float]:
    """The first `LABELS` scores of a payload, by key."""
    found: dict[str, float] = {}
    for key, value in fields.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and math.isfinite(value) and 0 <= value <= 1 and _KEY.fullmatch(key):
            found[key] = float(value)
        if len(found) == LABELS:
            break
    return found


def tags(fields: dict[str, Any]) -> list[str]:
    """Names of the first `TAGS` tags of a payload, without invisible characters."""
    found = fields.get("tags")
    names = [_visible(text, LONGEST) for text in found] if isinstance(found, dict) and len(found) <= LABELS else []
    return [each for each in names if each][:TAGS]


def name(text: str) -> str:
    """A valid label unchanged; of any other text the visible characters."""
    return text if label_fault(text) is None else _visible(text, LONGEST) or "?"


def line(text: str) -> str:
    """The visible characters of a text, on one line."""
    return _visible(text, _LONGEST_LINE)


def _visible(text: str, longest: int) -> str:
    visible = "".join(letter for letter in text[: 4 * longest] if unicodedata.category(letter) not in _INVISIBLE)
    return " ".join(visible.split())[:longest]
