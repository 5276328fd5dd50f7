"""What every source of audio gives: blocks of samples, and holes between them."""

from __future__ import annotations

from dataclasses import dataclass

from headnod.estimate import State
from headnod.frontend import Audio


@dataclass(frozen=True)
class Hole:
    """Sound is missing here: what came before never mixes with what comes after.

    A source that waits gives one at least every second, so that whoever pulls
    it stays awake.
    """

    state: State
    """How the listener fares because of it."""

    message: str
    """One line for a person: what is wrong and what helps."""

    lost: float = 0.0
    """Seconds of sound that went missing, as far as anybody knows."""


Block = Audio | Hole
"""Mono samples in [-1, 1], shape (n,) for any n, or a hole."""
