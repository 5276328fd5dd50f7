"""Estimates out: each sink shows what was heard in its own way.

A sink eats estimates and conditions, and knows no other sink, no configuration
and no model.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol

from headnod.errors import HeadnodError
from headnod.pipeline.estimate import Estimate, StatusEvent

_log = logging.getLogger(__name__)


class Sink(Protocol):
    """Where estimates are shown."""

    def show(self, estimate: Estimate) -> None:
        """Show what was heard."""

    def show_status(self, condition: StatusEvent) -> None:
        """Show why nothing is heard: what was shown before is no longer true."""

    def close(self) -> None:
        """Leave nothing lit and nothing unsent; may be called twice."""


def show_all(sinks: Iterable[Sink], heard: Estimate | StatusEvent) -> list[Sink]:
    """Show it everywhere; a broken sink does not silence the others.

    Returns:
        The sinks that still work: one that raised is closed and left out.
    """
    working = []
    for sink in sinks:
        try:
            if isinstance(heard, Estimate):
                sink.show(heard)
            else:
                sink.show_status(heard)
        except BrokenPipeError:
            # The reader of a pipe went away, as `| head -1` does: its wish, no fault.
            close_all([sink])
        except HeadnodError as error:
            _log.warning("%s; %s is left out from now on", error, type(sink).__name__)
            close_all([sink])
        except Exception:
            _log.exception("%s broke and is left out from now on", type(sink).__name__)
            close_all([sink])
        else:
            working.append(sink)
    return working


def close_all(sinks: Iterable[Sink]) -> None:
    """Close every sink, also after one that cannot be closed."""
    for sink in sinks:
        try:
            sink.close()
        except BrokenPipeError:
            pass
        except Exception:
            _log.exception("%s could not be closed", type(sink).__name__)
