"""The answer to a command."""

from __future__ import annotations

from typing import Any

import msgspec

from headnod.mqtt.payloads.written import SCHEMA


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
