"""How a payload becomes JSON, and which schema it keeps to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec

SCHEMA = 1
"""Version of every payload's schema."""

Time = Annotated[datetime, msgspec.Meta(tz=True)]
"""A date that knows its time zone."""


def encode(payload: msgspec.Struct | Mapping[str, Any]) -> bytes:
    """A payload as JSON; what is absent is left out."""
    return msgspec.json.encode(present(payload))


def present(payload: msgspec.Struct | Mapping[str, Any]) -> dict[str, Any]:
    """A payload as builtins, without what is None and without numbers that JSON does not know."""
    told: dict[str, Any] = msgspec.to_builtins(payload)
    return {key: value for key, value in told.items() if value is not None and not _nameless(value)}


def _nameless(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
