"""What passes between those who publish, the link and its connections.

Alone because all of them know it, and none of it knows paho.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from headnod.retry import Cause

if TYPE_CHECKING:
    from headnod.mqtt.broker_limits import Limits

Acknowledged = Callable[[str | None], None]
"""Is called with None when the broker has the message, and else with why it has not: why
the broker refused it, or `LOST` and why nobody can know, or `TOO_LARGE` and by how much."""

LOST = "lost: "
"""What the reason begins with if the broker did not refuse: it was away, or went before it answered."""


TOO_LARGE = "too large: "
"""What the reason begins with if the message is larger than the broker takes, and sending it again would not help."""


class Message(NamedTuple):
    """What somebody published."""

    topic: str
    """Where."""

    payload: bytes
    """What."""

    retained: bool
    """It was published before we subscribed."""


class Request(NamedTuple):
    """What shall be published."""

    topic: str
    """Where."""

    payload: bytes
    """What."""

    qos: int = 1
    """1 is acknowledged, 0 is not."""

    retain: bool = False
    """The broker keeps it for those who come later."""

    expiry: int | None = None
    """Seconds after which the broker drops it undelivered (MQTT 5)."""

    acknowledged: Acknowledged | None = None
    """Is told what became of it."""


class Ending(NamedTuple):
    """Why a connection ended."""

    cause: Cause
    """What it means for the next."""

    reason: str
    """One line for a person."""

    unexplained: bool = False
    """The broker, or something in between, closed the connection and gave no reason."""


class Listener(Protocol):
    """Who is told what happens; none of these raises."""

    def up(self, limits: Limits) -> None:
        """The broker has let us in, and announced its limits."""

    def heard(self, message: Message) -> None:
        """Something was published that we subscribed to."""

    def settled(self, request: Request, refusal: str | None) -> None:
        """The broker has a message, or will not have it, or was lost before it said so."""

    def doubtful(self, cause: str, message: str) -> None:
        """Something that a person should know."""
