"""The result of a check, as `headnod check` and `headnod mqtt test` print it."""

from __future__ import annotations

from typing import Literal

import msgspec

Verdict = Literal["well", "warning", "fault", "none"]
"""`fault` means that headnod cannot work; `none` that the part is not configured."""


class CheckResult(msgspec.Struct, frozen=True):
    """The result for one part of headnod, or for one step to the broker."""

    part: str
    """Name of the part or step."""

    verdict: Verdict

    message: str
    """One line: what was found and, if necessary, the way out."""
