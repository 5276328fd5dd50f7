"""A row of the table: one figure of ours beside one that it is measured against."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    """What was measured."""

    unit: str
    """Of both numbers."""

    ours: float | None
    """Of headnod; None where it could not be measured here."""

    baseline: float | None
    """Of what it is measured against; None where there is nothing."""

    against: str
    """What the baseline is."""

    less_is_better: bool = True
    """A ratio over 1 is always in our favour."""

    more: dict[str, Any] = field(default_factory=dict)
    """Further figures of the same measurement, by name."""

    @property
    def ratio(self) -> float | None:
        """How many times better ours is."""
        if not self.ours or not self.baseline:
            return None
        return self.baseline / self.ours if self.less_is_better else self.ours / self.baseline

    def as_json(self) -> dict[str, Any]:
        """What `--json` writes."""
        told = asdict(self)
        return {"ours": told.pop("ours"), "baseline": told.pop("baseline"), "ratio": self.ratio, **told}


def unmeasured(what: str, unit: str, why: str) -> Row:
    """A row whose figure cannot be had here."""
    return Row(what, unit, None, None, "", more={"unmeasured": why})
