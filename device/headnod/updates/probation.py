"""The probation of a model: does it listen as well as it promised, in this room, on this board?

Alone because it sees nothing but estimates, so it can be tried without a model.
"""

from __future__ import annotations

import math

from headnod.inference.manifest import Health
from headnod.pipeline.estimate import Estimate, State, StatusEvent

LEAST = 3
"""Windows with music without which nothing is said of the answers."""

WINDOWS = 10
"""Windows of a probation, unless the configuration says otherwise."""


class Probation:
    """Watches the estimates of one model."""

    def __init__(self, health: Health | None, *, windows: int, every: float) -> None:
        """Watch so many windows.

        Args:
            health: What the manifest promises of the answers; None promises nothing.
            windows: How many.
            every: Seconds from one to the next.
        """
        self._health, self._left, self._every = health, windows, every
        self._entropies: list[float] = []
        self._answers: set[tuple[float, ...]] = set()
        self._latencies: list[float] = []
        self._behind = 0

    @property
    def over(self) -> bool:
        """Every window was seen."""
        return self._left <= 0

    @property
    def heard(self) -> int:
        """Windows with music so far."""
        return len(self._entropies)

    def watch(self, estimate: Estimate) -> str:
        """See an estimate; gives what is wrong with the model, or nothing."""
        self._left -= 1
        if estimate.confidence == 0.0:
            return ""
        scores = tuple(estimate.scores.values())
        if not all(map(math.isfinite, scores)):
            return "its scores are not finite"
        self._entropies.append(entropy(scores))
        self._answers.add(scores)
        self._latencies.append(estimate.latency / 1e3)
        if self.heard < LEAST:
            return ""
        return self._too_slow() or (self._collapsed() if self.over else "")

    def interrupted(self, condition: StatusEvent) -> str:
        """See why nothing was heard; gives what is wrong with the model, or nothing."""
        self._behind += condition.state is State.BEHIND
        return "it runs behind: sound was lost again and again" if self._behind >= LEAST else ""

    def _too_slow(self) -> str:
        middle = sorted(self._latencies[-LEAST:])[LEAST // 2]
        return f"it runs behind: {middle:.2f} s for a window each {self._every:g} s" if middle > self._every else ""

    def _collapsed(self) -> str:
        if len(self._answers) == 1 and self.heard >= 2 * LEAST:
            return f"its answers have collapsed: {self.heard} windows of music, one answer to all"
        mean, health = math.fsum(self._entropies) / len(self._entropies), self._health
        if health is not None and not health.entropy_low <= mean <= health.entropy_high:
            bounds = f"{health.entropy_low:g} to {health.entropy_high:g}"
            return f"its answers have collapsed: entropy {mean:.3f}, the manifest promises {bounds}"
        return ""


def entropy(scores: tuple[float, ...]) -> float:
    """Shannon's entropy as a share of the greatest possible (0-1)."""
    spread = -sum(score * math.log(score) for score in scores if score > 0)
    return min(max(spread / math.log(len(scores)), 0.0), 1.0)
