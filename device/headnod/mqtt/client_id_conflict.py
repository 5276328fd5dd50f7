"""Connections that are closed again and again without a reason, as when two clients have one client id.

mosquitto 2.0.11 does not say that another client took over our id, it just closes
the connection; so does a broker that is sent more than it takes by MQTT 3.1.1, and
a proxy that gives up. The log says what was seen, and these as possibilities.
"""

from __future__ import annotations

from collections import deque

from headnod.mqtt.broker import Broker, path_exists
from headnod.mqtt.messages import Ending
from headnod.retry import Cause

_TIMES, _BRIEF_TIMES = 2, 3
"""Unexplained ends after which possible causes are named, and brief ones after which the next try waits a minute."""

_WHILE = 300.0
"""Seconds within which they come."""

_LARGE = 4096
"""Bytes from which the size of a message may be the cause."""


class Twin:
    """Counts connections that a broker which can be reached closed without a reason."""

    def __init__(self, broker: Broker) -> None:
        """Begin without any."""
        self._broker, self._brief = broker, 0
        self._ends: deque[float] = deque(maxlen=_TIMES)
        self._pending = 0
        self.too_large = 0
        """Bytes of a message that was not acknowledged when two connections in a row were closed; 0 without one."""

    @property
    def possible(self) -> bool:
        """The last connection was closed so, shortly after it was made."""
        return self._brief > 0

    def judge(self, ending: Ending, *, brief: bool, now: float, pending: int) -> Ending:
        """Why a connection ended, with possible causes where it was not the first.

        Args:
            ending: Why it ended by itself.
            brief: It was ended by the other side, shortly after it was made.
            now: Seconds of a clock that is never set.
            pending: Bytes of the largest message that was not acknowledged.
        """
        former, self._pending, self.too_large = self._pending, 0, 0
        if not (ending.unexplained and path_exists(self._broker)):
            self._brief = 0
            return ending
        if brief and pending >= _LARGE:
            self._pending, self.too_large = pending, pending if pending == former else 0
        self._ends.append(now)
        self._brief = self._brief + 1 if brief else 0
        if len(self._ends) < _TIMES or now - self._ends[0] > _WHILE:
            return ending
        questions = [f"does another client call itself {self._broker.client_id} too?"]
        if pending >= _LARGE:
            questions.append(f'is a message of {pending} bytes too large for it? see mqtt.discovery_form = "component"')
        # The same words each time: the log names a cause once in five minutes.
        seen = f"again within {_WHILE / 60:.0f} minutes, without a reason"
        cause = Cause.TAKEN_OVER if self._brief >= _BRIEF_TIMES else ending.cause
        return Ending(cause, f"{ending.reason} ({seen}; possible causes: {' '.join(questions)})", unexplained=True)
