"""Models: how far a new one has come, and how a second one agrees with the first."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from headnod.mqtt.payloads.written import SCHEMA, Time


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


def latest(model: str, models: Iterable[str]) -> str:
    """The newest of `models` that has the name of `model`, or `model` itself.

    >>> latest("genre-0.9.0", ["genre-0.9.0", "genre-0.10.0", "mood-2.0.0"])
    'genre-0.10.0'
    """
    name = model.rpartition("-")[0]
    return max([model, *(other for other in models if other.rpartition("-")[0] == name)], key=_version)


def _version(model: str) -> tuple[int, ...]:
    return tuple(int(number) for number in model.rpartition("-")[2].split(".") if number.isdigit())
