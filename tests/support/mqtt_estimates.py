"""What has arrived at a subscriber."""

import msgspec

from support.mqtt_publisher import TOPICS, sequences, until

PATIENCE = 15.0
"""Seconds within which something has to come."""


class Arrived:
    """Sequence numbers of estimates that arrived, once each and as they came."""

    def __init__(self, heard):
        self._heard, self._read, self._numbers = heard, 0, {}

    def numbers(self):
        payloads = self._heard.on("/estimate")
        self._numbers.update(dict.fromkeys(sequences(payloads[self._read :])))
        self._read = len(payloads)
        return list(self._numbers)


def all_of(heard, count, within=PATIENCE):
    """Sequence numbers of the first `count` estimates, once each and as they came."""
    arrived = Arrived(heard)
    missing = lambda: sorted(set(range(count)) - set(arrived.numbers()))[:50]  # noqa: E731
    until(lambda: len(arrived.numbers()) >= count, within, told=missing)
    return arrived.numbers()


def decoded(payloads):
    return [msgspec.json.decode(payload) for payload in payloads]


def online(heard):
    """Wait until the listener says that it is there."""
    heard.until(lambda message: message.topic == TOPICS.status and message.payload == b"online", PATIENCE)
