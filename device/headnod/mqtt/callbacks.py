"""What a link calls when something happens to its connection.

Nothing that is called may end the link's thread: an exception is logged, once a
cause and five minutes. A message that the broker refuses is logged here too, once a
topic and five minutes, whichever part of headnod published it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from headnod.mqtt.broker_limits import Limits
from headnod.mqtt.messages import LOST, TOO_LARGE, Message, Request
from headnod.retry import RateLimitedLogger

T = TypeVar("T")


class Callbacks:
    """The listener of every connection of a link."""

    def __init__(
        self,
        up: Callable[[Limits], None],
        on_message: Callable[[Message], None] | None,
        *,
        largest: int,
        complaints: RateLimitedLogger,
    ) -> None:
        """Tell of a connection that has begun, and of messages of so many bytes at most."""
        self.up, self._on_message, self._largest, self._complaints = up, on_message, largest, complaints

    def heard(self, message: Message) -> None:
        """Something was published that we subscribed to."""
        if len(message.payload) > self._largest:
            self.doubtful("large", f"{len(message.payload)} bytes on {message.topic[:80]} are too many to be read")
        elif (hear := self._on_message) is not None:
            self.guarded(lambda: hear(message))

    def settled(self, request: Request, refusal: str | None) -> None:
        """The broker has a message, or will not have it, or was lost before it said so."""
        if refusal is not None and not refusal.startswith(LOST):
            self.doubtful(f"publish {request.topic}", _refused(request.topic, refusal))
        if (tell := request.acknowledged) is not None:
            self.guarded(lambda: tell(refusal))

    def doubtful(self, cause: str, message: str) -> None:
        """Something that a person should know."""
        self._complaints.warn(cause, f"MQTT: {message}")

    def guarded(self, call: Callable[[], T]) -> T | None:
        """What it gives, or None if it raises."""
        try:
            return call()
        except Exception as error:
            self._complaints.warn(repr(error), "a part of MQTT failed", error=error)
            return None


def _refused(topic: str, refusal: str) -> str:
    if refusal.startswith(TOO_LARGE):
        return f"{topic} is not published: {refusal.removeprefix(TOO_LARGE)}"
    hint = " (does the broker's access list let this user write there?)" if "not authorized" in refusal else ""
    return f"the broker refuses {topic}: {refusal}{hint}"
