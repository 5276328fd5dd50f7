"""Another client that calls itself what we do, told from a broker that is merely unwell.

Alone because it is a guess: mosquitto 2.0.11 does not say that another client took
our place, it just goes on to live.
"""

from __future__ import annotations

from headnod.mqtt.broker import Broker, is_there
from headnod.mqtt.messages import Ending
from headnod.mqtt.patience import Cause

_TIMES = 3
"""After so many connections in a row that were over at once, somebody else must have our client id."""


class Twin:
    """Counts connections that a broker which is there ended as soon as they were made."""

    def __init__(self, broker: Broker) -> None:
        """Suspect nobody yet."""
        self._broker, self._times = broker, 0

    @property
    def possible(self) -> bool:
        """The last connection was such a one."""
        return self._times > 0

    def judge(self, ending: Ending, *, brief: bool) -> Ending:
        """Why a connection ended, if one looks at those before it too.

        Args:
            ending: Why it ended by itself.
            brief: It was ended by the broker or the network, shortly after it was made.
        """
        thrown_out = brief and ending.cause is Cause.NETWORK and is_there(self._broker)
        self._times = self._times + 1 if thrown_out else 0
        if self._times < _TIMES:
            return ending
        question = f"does another client call itself {self._broker.client_id} too?"
        return Ending(Cause.TAKEN_OVER, f"it ends every connection as soon as it is made ({question})")
