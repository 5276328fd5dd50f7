"""A message to publish, and the limits of a broker that it is fitted to.

MQTT 5 lets a broker announce limits in CONNACK; a client that exceeds one is disconnected.
The limits are read at each connection, since they may have changed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

Acknowledged = Callable[[str | None], None]
"""Called once with None when the broker has the message, and else with the reason why it has not: that of the
broker, or `LOST` or `TOO_LARGE` followed by details."""

LOST = "lost: "
"""Prefix of the reason if there was no connection, or it ended before the broker answered."""

TOO_LARGE = "too large: "
"""Prefix of the reason if the message is larger than the broker accepts, so that it can never be delivered."""

_LARGEST = 268_435_460
"""Bytes of the largest packet of MQTT."""

_LENGTHS = (128, 16_384, 2_097_152)
"""Lengths from which the length field of a packet has another byte."""

_EXPIRY_BYTES = 5


class Request(NamedTuple):
    """A message to publish."""

    topic: str
    payload: bytes
    qos: int = 1
    """1 is acknowledged, 0 is not."""

    retain: bool = False
    """The broker keeps it for later subscribers."""

    expiry: int | None = None
    """Seconds after which the broker drops it undelivered (MQTT 5)."""

    acknowledged: Acknowledged | None = None


@dataclass(frozen=True)
class Limits:
    """The limits of one connection; the defaults are those of a broker that announces none."""

    receive_maximum: int = 65_535
    """Messages that may be unacknowledged at once."""

    maximum_packet_size: int = _LARGEST
    """Bytes of the largest packet."""

    maximum_qos: int = 2
    """Highest QoS of a message."""

    retain_available: bool = True
    """The broker keeps retained messages."""

    wildcards_available: bool = True
    """A subscription may contain `+` and `#`."""

    keepalive: int | None = None
    """The broker's keepalive in seconds, in place of ours; 0 is none, None is ours."""

    modern: bool = True
    """Packets are those of MQTT 5."""

    refused_size: int = _LARGEST + 1
    """Bytes of the smallest packet that was refused as too large, whatever was announced."""

    def announced(self, properties: object) -> Limits:
        """The limits of a new connection; a size that was refused before is not tried again.

        Args:
            properties: Those of CONNACK, as attributes. A value that the standard forbids is ignored.
        """
        return Limits(
            receive_maximum=getattr(properties, "ReceiveMaximum", 0) or Limits.receive_maximum,
            maximum_packet_size=getattr(properties, "MaximumPacketSize", 0) or Limits.maximum_packet_size,
            maximum_qos=getattr(properties, "MaximumQoS", Limits.maximum_qos),
            retain_available=bool(getattr(properties, "RetainAvailable", 1)),
            wildcards_available=bool(getattr(properties, "WildcardSubscriptionAvailable", 1)),
            keepalive=getattr(properties, "ServerKeepAlive", None),
            modern=self.modern,
            refused_size=self.refused_size,
        )

    def without(self, size: int) -> Limits:
        """The same, after a packet of this size was refused as too large."""
        return replace(self, refused_size=min(self.refused_size, size))

    def fit(self, request: Request) -> Request:
        """The message with a QoS and a retain flag that the broker accepts."""
        qos, retain = min(request.qos, self.maximum_qos), request.retain and self.retain_available
        return request._replace(qos=qos, retain=retain, expiry=request.expiry if self.modern else None)

    def size(self, request: Request) -> int:
        """Bytes of the PUBLISH packet of a fitted message."""
        length = 2 + len(request.topic.encode()) + len(request.payload) + (2 if request.qos else 0)
        if self.modern:
            length += 1 + (_EXPIRY_BYTES if request.expiry is not None else 0)
        return 2 + bisect_right(_LENGTHS, length) + length

    @property
    def largest(self) -> int:
        """Bytes of the largest packet that may be sent."""
        return min(self.maximum_packet_size, self.refused_size - 1)

    def fits(self, topic: str, payload: bytes) -> bool:
        """Whether a retained message of this topic and payload is small enough."""
        return self.size(self.fit(Request(topic, payload, retain=True))) <= self.largest

    @property
    def losses(self) -> list[str]:
        """What does not work within these limits, in words."""
        losses = []
        if self.maximum_qos == 0:
            losses.append("it accepts QoS 0 only: nothing is acknowledged, a lost connection loses messages")
        if not self.retain_available:
            losses.append("it retains nothing: later subscribers see the listener only from its next message on")
        if not self.wildcards_available:
            losses.append("it has no wildcard subscriptions: only topics without wildcards are subscribed to")
        return losses

    @property
    def effects(self) -> list[str]:
        """The same, and what is done differently."""
        if self.largest >= _LARGEST:
            return self.losses
        size = f"it accepts packets of up to {self.largest} bytes: larger messages are not published, and discovery"
        return [f"{size} that is larger is published as one message per entity", *self.losses]
