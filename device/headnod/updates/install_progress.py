"""How far a new model has come: told in the log, by MQTT and to whoever deploys."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec


class Stage(StrEnum):
    """The steps of a new model, in their order; the last four are ends."""

    RECEIVED = "received"
    """It is here and nothing is known of it."""

    VERIFIED = "verified"
    """Its signature is good, its serial is new, every hash fits."""

    TESTED = "tested"
    """It is stored, and answered as it should in a process of its own."""

    PROBATION = "probation"
    """It listens, and is watched."""

    KEPT = "kept"
    """It listens, and has stood its probation."""

    OFFERED = "offered"
    """It is stored and waits to be asked for."""

    REFUSED = "refused"
    """It never listened."""

    ROLLED_BACK = "rolled_back"
    """It listened and failed; the former model listens again."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A step of one model."""

    stage: Stage
    """Which."""

    model: str = ""
    """Name and version; empty if nobody knows them yet."""

    serial: int = 0
    """Its serial; 0 if nobody knows it or it was never signed."""

    manifest: str = ""
    """SHA-256 of its manifest."""

    message: str = ""
    """One line for a person."""


Tell = Callable[[Progress], None]
"""Is told each step."""
