"""What a broker announced in CONNACK, and a message fitted to it.

MQTT 5 lets a broker bound what it takes; a client that exceeds a bound is
disconnected. The session reads the bounds at each connection, since they may have
changed, and everything that is published goes through `fit`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from headnod.mqtt.messages import Request

_LARGEST = 268_435_460
"""Bytes of the largest packet that MQTT has."""

_LENGTHS = (128, 16_384, 2_097_152)
"""Lengths of a packet from which its length takes another byte."""

_EXPIRY_BYTES = 5


@dataclass(frozen=True)
class Limits:
    """The bounds of one connection; the defaults are those of a broker that announces none."""

    receive_maximum: int = 65_535
    """Messages that may wait for its acknowledgement at once."""

    maximum_packet_size: int = _LARGEST
    """Bytes of the largest packet that it takes."""

    maximum_qos: int = 2
    """The greatest QoS of a message."""

    retain_available: bool = True
    """It keeps retained messages."""

    wildcards_available: bool = True
    """A subscription may have `+` and `#` in it."""

    keepalive: int | None = None
    """Seconds within which it wants to receive something, in place of ours; 0 is never, None is ours."""

    modern: bool = True
    """Packets are those of MQTT 5."""

    refused_size: int = _LARGEST + 1
    """Bytes of the smallest packet that it refused as too large, whatever it announced."""

    def announced(self, properties: object) -> Limits:
        """The limits of a new connection; what was refused as too large before is not tried again.

        Args:
            properties: Those of CONNACK, as attributes. A value that the standard forbids counts as none.
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
        """The same, now that a packet of so many bytes was refused as too large."""
        return replace(self, refused_size=min(self.refused_size, size))

    def fit(self, request: Request) -> Request:
        """The message with a QoS and a retain flag that the broker takes."""
        qos, retain = min(request.qos, self.maximum_qos), request.retain and self.retain_available
        return request._replace(qos=qos, retain=retain, expiry=request.expiry if self.modern else None)

    def size(self, request: Request) -> int:
        """Bytes of the PUBLISH packet of a message that fits otherwise."""
        length = 2 + len(request.topic.encode()) + len(request.payload) + (2 if request.qos else 0)
        if self.modern:
            length += 1 + (_EXPIRY_BYTES if request.expiry is not None else 0)
        return 2 + sum(length >= bound for bound in _LENGTHS) + length

    @property
    def largest(self) -> int:
        """Bytes of the largest packet that may be sent."""
        return min(self.maximum_packet_size, self.refused_size - 1)

    def fits(self, topic: str, payload: bytes) -> bool:
        """A retained message of this topic and payload is not too large."""
        return self.size(self.fit(Request(topic, payload, retain=True))) <= self.largest

    @property
    def losses(self) -> list[str]:
        """What cannot be done within these limits, each in a few words for a person."""
        losses = []
        if self.maximum_qos == 0:
            losses.append(
                "it takes QoS 0 only: nothing is acknowledged, and what is on its way is lost with a connection"
            )
        if not self.retain_available:
            losses.append("it retains nothing: who subscribes later sees the listener with its next message only")
        if not self.wildcards_available:
            losses.append("it has no wildcard subscriptions: only topics that are written out are subscribed to")
        return losses

    @property
    def effects(self) -> list[str]:
        """The same, and what is done differently."""
        if self.largest >= _LARGEST:
            return self.losses
        size = f"it takes packets of up to {self.largest} bytes: larger messages are left out, and discovery that is"
        return [f"{size} larger is sent as one message per entity", *self.losses]
