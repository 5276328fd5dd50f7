"""Quiet hours: spans of local time, such as `22:00-07:00`, in which no estimates are made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, time, timedelta

_SPAN = re.compile(r"\A([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)\Z")


def span_fault(span: str) -> str | None:
    """Why a text is no span of quiet hours, as the end of a sentence; None for a valid one.

    >>> span_fault("22:00-07:00"), span_fault("7-8")
    (None, "'7-8' is not a span of hours such as 22:00-07:00")
    """
    match = _SPAN.match(span)
    if match is None:
        return f"{span[:20]!r} is not a span of hours such as 22:00-07:00"
    return f"'{span}' ends when it begins" if match.group(1, 2) == match.group(3, 4) else None


def quiet_until(now: datetime, spans: Sequence[str]) -> datetime | None:
    """The end of the quiet hours that a local time is in; None if it is in none.

    >>> night = datetime(2026, 11, 27, 23, 30)
    >>> quiet_until(night, ["22:00-07:00"])
    datetime.datetime(2026, 11, 28, 7, 0)

    Args:
        now: Local time.
        spans: Such as `22:00-07:00`; the end may be on the next day.
    """
    ends = []
    for span in spans:
        begin, end = (time.fromisoformat(text) for text in span.split("-"))
        today = now.replace(hour=end.hour, minute=end.minute, second=0, microsecond=0)
        clock = now.time()
        if begin < end and begin <= clock < end:
            ends.append(today)
        elif begin > end and clock >= begin:
            ends.append(today + timedelta(days=1))
        elif begin > end and clock < end:
            ends.append(today)
    return max(ends, default=None)
