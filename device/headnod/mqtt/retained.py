"""The retained messages of a listener: which there are, and their removal.

A broker keeps a retained message for ever, and Home Assistant its entity. After a change
of node, base, discovery prefix or form a listener empties its former topics; `headnod mqtt
forget` does so for a listener that is gone.
"""

from __future__ import annotations

import logging
import random
import re
import secrets
import threading
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgspec

from headnod.errors import HeadnodError
from headnod.files import write_atomically
from headnod.mqtt.broker import Broker
from headnod.mqtt.client import Message, MqttClient
from headnod.mqtt.homeassistant import object_id
from headnod.mqtt.topics import ONLINE, Topics

_log = logging.getLogger(__name__)

MIGRATE = b'{"migrate_discovery": true}'
"""Announces to Home Assistant that an entity moves to another topic and keeps its settings."""

_LARGEST = 1 << 22
"""Bytes of the largest packet that is read: signed models are retained too."""

_DEVICE = re.compile(r"\A(?P<prefix>.+)/device/(?P<object>[^/]+)/config\Z")
_COMPONENT = re.compile(r"\A(?P<prefix>.+)/[^/]+/(?P<object>[^/]+)/[^/]+/config\Z")


class RetainedTopics:
    """The topics of discovery, and of the listener itself under any name it had."""

    def __init__(self, path: Path | None, *, own: Iterable[str] = ()) -> None:
        """Read the topics.

        Args:
            path: Their file; None keeps them in memory, so a change of name between two runs leaves topics behind.
            own: Topics retained under the present name by other parts; they are in no plan.
        """
        self._path, self._own = path, frozenset(own)
        self._topics = set(self._read())

    @property
    def topics(self) -> frozenset[str]:
        """All that was published and not removed."""
        return frozenset(self._topics)

    def plan(self, wanted: Mapping[str, bytes]) -> list[dict[str, bytes]]:
        """What to publish so that exactly `wanted` remains.

        Topics that are no longer wanted are emptied first. If only the form of discovery
        changed, they are first marked as moving and emptied last, so that Home Assistant
        keeps the user's changes to the entities.

        Returns:
            Steps of payloads by topic, all to be retained, with `PAUSE` between them; usually one.
        """
        outdated = sorted(self._topics - wanted.keys() - self._own)
        self._save(self._topics | wanted.keys() | self._own)
        owners = {_owner(topic) for topic in wanted}
        moving = [topic for topic in outdated if _owner(topic) in owners]
        steps = (
            {topic: MIGRATE if topic in moving else b"" for topic in outdated},
            dict(wanted),
            dict.fromkeys(moving, b""),
        )
        return [step for step in steps if step]

    def complete(self, wanted: Iterable[str]) -> None:
        """Drop the removed topics, now that the broker has acknowledged the whole plan."""
        self._save(set(wanted) | self._own)

    def _save(self, topics: set[str]) -> None:
        if topics == self._topics:
            return
        self._topics = topics
        if self._path is None:
            return
        try:
            write_atomically(self._path, msgspec.json.encode(sorted(topics)))
        except OSError as error:
            message = "%s: %s; messages retained under a former name may remain at the broker"
            _log.warning(message, self._path, error.strerror)

    def _read(self) -> list[str]:
        if self._path is None:
            return []
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[str])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.warning("%s: cannot be read (%s) and is replaced", self._path, error)
            return []


class RetainedError(HeadnodError):
    """The retained messages of a listener cannot be removed."""


def remove_retained(
    broker: Broker, topics: Topics, *, prefix: str, force: bool = False, rng: random.Random, timeout: float = 10.0
) -> list[str]:
    """Empty every topic that the broker retains for a listener, discovery included.

    Args:
        broker: Where to connect, and as whom.
        topics: The topics of the listener.
        prefix: The discovery prefix.
        force: Also if the listener is online, according to its `status`.
        rng: For the client.
        timeout: Seconds that each answer may take.

    Returns:
        The topics that were emptied.

    Raises:
        RetainedError: There is no connection, the listener is online, or the broker refuses.
    """
    found: dict[str, bytes] = {}
    marker, token, read = topics.response("forget"), secrets.token_hex(8).encode(), threading.Event()

    def received(message: Message) -> None:
        if message.topic == marker and message.payload == token:
            read.set()
        elif message.retained:
            found[message.topic] = message.payload

    client = MqttClient(
        replace(broker, client_id=f"{broker.client_id}.forget-{secrets.token_hex(2)}"),
        subscriptions=[topics.under("#"), *(f"{prefix}/{levels}/config" for levels in _discovery_levels(topics))],
        on_message=received,
        rng=rng,
        largest=_LARGEST,
    )
    with closing(client):
        client.start()
        if not client.wait_connected(timeout, attempts=1):
            raise RetainedError(client.reason)
        # The broker sends what it retains before any later message.
        client.publish(marker, token)
        if not read.wait(timeout):
            message = f"{topics.under('#')} cannot be read and written by this user (see mqtt.username)"
            raise RetainedError(message)
        if found.get(topics.status) == ONLINE.encode() and not force:
            message = f"{topics.node} is online and would publish everything again (stop it first, or write --force)"
            raise RetainedError(message)
        # The status comes last: if something is refused before it, the listener stays visible.
        for each in sorted(found, key=lambda topic: topic == topics.status):
            if (refusal := client.publish_and_wait(each, b"", retain=True, timeout=timeout)) is not None:
                message = f"{each} cannot be emptied: {refusal}"
                raise RetainedError(message)
    return sorted(found)


def _discovery_levels(topics: Topics) -> tuple[str, str]:
    return f"device/{object_id(topics)}", f"+/{object_id(topics)}/+"


def _owner(topic: str) -> tuple[str, str]:
    """Prefix and listener of a discovery topic of either form."""
    found = _DEVICE.match(topic) or _COMPONENT.match(topic)
    return (found["prefix"], found["object"]) if found else ("", topic)
