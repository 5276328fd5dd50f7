"""Sinks: each shows estimates in its own way, and depends on no other sink and on no model."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol

from headnod.errors import HeadnodError
from headnod.pipeline.estimate import Estimate, StatusEvent

_log = logging.getLogger(__name__)


class Sink(Protocol):
    """A destination of estimates."""

    def show(self, estimate: Estimate) -> None:
        """Show an estimate."""

    def show_status(self, status: StatusEvent) -> None:
        """Show why there are no estimates; the last estimate is out of date."""

    def close(self) -> None:
        """Turn everything off and send what is left; may be called twice."""


def show_all(sinks: Iterable[Sink], event: Estimate | StatusEvent) -> list[Sink]:
    """Show an event on every sink; one that raises does not affect the others.

    Returns:
        The sinks that still work: one that raised is closed and left out.
    """
    working = []
    for sink in sinks:
        try:
            if isinstance(event, Estimate):
                sink.show(event)
            else:
                sink.show_status(event)
        except BrokenPipeError:
            # The reader of a pipe ended, as `| head -1` does: no fault.
            close_all([sink])
        except (HeadnodError, OSError) as error:
            _log.warning("%s; %s is left out from now on", error, type(sink).__name__)
            close_all([sink])
        except Exception:
            _log.exception("%s failed and is left out from now on", type(sink).__name__)
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
