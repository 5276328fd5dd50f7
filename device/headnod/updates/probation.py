"""The probation of a model: its estimates are checked for failures in this room, on this board."""

from __future__ import annotations

import math

from headnod.inference.manifest import Health
from headnod.pipeline.estimate import Estimate, State, StatusEvent

MIN_WINDOWS = 3
"""Windows with music that a verdict needs."""


class Probation:
    """Checks the estimates of one model."""

    def __init__(self, health: Health | None, *, windows: int, every: float) -> None:
        """Check a number of windows.

        Args:
            health: The entropy that the manifest promises; None promises nothing.
            windows: Number of windows.
            every: Seconds from one window to the next.
        """
        self._health, self._left, self._every = health, windows, every
        self._entropies: list[float] = []
        self._answers: set[tuple[float, ...]] = set()
        self._latencies: list[float] = []
        self._overruns = 0

    @property
    def over(self) -> bool:
        """Whether all windows were checked."""
        return self._left <= 0

    @property
    def windows(self) -> int:
        """Windows with music so far."""
        return len(self._entropies)

    def check(self, estimate: Estimate) -> str:
        """Check an estimate; gives what is wrong with the model, or an empty text."""
        self._left -= 1
        if estimate.confidence == 0.0:
            return ""
        scores = tuple(estimate.scores.values())
        if not all(map(math.isfinite, scores)):
            return "its scores are not finite"
        self._entropies.append(entropy(scores))
        self._answers.add(scores)
        self._latencies.append(estimate.latency / 1e3)
        if self.windows < MIN_WINDOWS:
            return ""
        return self._too_slow() or (self._collapsed() if self.over else "")

    def check_event(self, event: StatusEvent) -> str:
        """Check a status event; gives what is wrong with the model, or an empty text."""
        self._overruns += event.state is State.BEHIND
        return "it runs behind: audio was lost repeatedly" if self._overruns >= MIN_WINDOWS else ""

    def _too_slow(self) -> str:
        median = sorted(self._latencies[-MIN_WINDOWS:])[MIN_WINDOWS // 2]
        return f"it runs behind: {median:.2f} s per window every {self._every:g} s" if median > self._every else ""

    def _collapsed(self) -> str:
        if len(self._answers) == 1 and self.windows >= 2 * MIN_WINDOWS:
            return f"its answers have collapsed: the same scores for {self.windows} windows of music"
        mean, health = math.fsum(self._entropies) / len(self._entropies), self._health
        if health is not None and not health.entropy_low <= mean <= health.entropy_high:
            bounds = f"{health.entropy_low:g} to {health.entropy_high:g}"
            return f"its answers have collapsed: entropy {mean:.3f}, the manifest promises {bounds}"
        return ""


def entropy(scores: tuple[float, ...]) -> float:
    """Shannon entropy of probabilities as a share of its maximum (0-1)."""
    total = -sum(score * math.log(score) for score in scores if score > 0)
    return min(max(total / math.log(len(scores)), 0.0), 1.0)
