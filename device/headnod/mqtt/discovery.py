"""Retained messages: Home Assistant discovery, how it is published, and the removal of all of them.

Discovery is published at every connection, after a start of Home Assistant and after a change. A broker keeps a
retained message for ever, and Home Assistant its entity. After a change of node, base, discovery prefix or form a
listener empties its former topics; `headnod mqtt forget` does so for a listener that is gone.
"""

from __future__ import annotations

import functools
import logging
import math
import random
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from headnod.errors import HeadnodError
from headnod.files import write_atomically
from headnod.mqtt.broker import Broker
from headnod.mqtt.client import MqttClient
from headnod.mqtt.connection import Message
from headnod.mqtt.homeassistant import Fits, object_id
from headnod.mqtt.topics import ONLINE, Topics

_log = logging.getLogger(__name__)

MIGRATE = b'{"migrate_discovery": true}'
"""Announces to Home Assistant that an entity moves to another topic and keeps its settings."""

_LARGEST = 1 << 22
"""Bytes of the largest packet that is read: signed models are retained too."""

_TIMEOUT = 10.0
"""Seconds that each answer of the broker may take while retained messages are removed."""

_DEVICE = re.compile(r"\A(?P<prefix>.+)/device/(?P<object>[^/]+)/config\Z")
_COMPONENT = re.compile(r"\A(?P<prefix>.+)/[^/]+/(?P<object>[^/]+)/[^/]+/config\Z")

PAUSE = 2.0
"""Seconds that Home Assistant needs to remove an entity; announced again at once, it is skipped."""

SPREAD = 30.0
"""Seconds over which listeners spread their announcements after a start of Home Assistant."""


class RetainedTopics:
    """The topics of discovery, and of the listener itself under any name it had."""

    def __init__(self, path: Path | None, *, own: Iterable[str] = ()) -> None:
        """Read the topics.

        Without a file they are in memory, so a change of name between two runs leaves topics behind. `own` has topics
        that other parts retain under the present name; they are in no plan.
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
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            _log.warning("%s: cannot be read (%s) and is replaced", self._path, reason)
            return []


class RetainedError(HeadnodError):
    """The retained messages of a listener cannot be removed."""


def remove_retained(
    broker: Broker, topics: Topics, *, prefix: str, force: bool = False, rng: random.Random
) -> list[str]:
    """Empty every topic that the broker retains for a listener, discovery included; `force` also if it is online.

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
        subscriptions=[
            topics.under("#"),
            f"{prefix}/device/{object_id(topics)}/config",
            f"{prefix}/+/{object_id(topics)}/+/config",
        ],
        on_message=received,
        rng=rng,
        largest=_LARGEST,
    )
    with closing(client):
        client.start()
        if not client.wait_connected(_TIMEOUT, attempts=1):
            raise RetainedError(client.reason)
        # The broker sends what it retains before any later message.
        client.publish(marker, token)
        if not read.wait(_TIMEOUT):
            raise RetainedError(f"{topics.under('#')} cannot be read and written by this user (see mqtt.username)")
        if found.get(topics.status) == ONLINE.encode() and not force:
            raise RetainedError(
                f"{topics.node} is online and would publish everything again (stop it first, or write --force)"
            )
        # The status comes last: if something is refused before it, the listener stays visible.
        for each in sorted(found, key=lambda topic: topic == topics.status):
            if (refusal := client.publish_and_wait(each, b"", retain=True, timeout=_TIMEOUT)) is not None:
                raise RetainedError(f"{each} cannot be emptied: {refusal}")
    return sorted(found)


def _owner(topic: str) -> tuple[str, str]:
    """Prefix and listener of a discovery topic of either form."""
    found = _DEVICE.match(topic) or _COMPONENT.match(topic)
    return (found["prefix"], found["object"]) if found else ("", topic)


@dataclass(frozen=True)
class Discovery:
    """What to announce to Home Assistant."""

    messages: Callable[[Fits], Mapping[str, bytes]]
    """Payloads by topic, within the limits of the broker; empty removes what was announced before."""

    retained: RetainedTopics
    """What was announced before."""

    birth: str
    """The topic of Home Assistant's birth message; empty if discovery is off."""


class DiscoveryPublisher:
    """Publishes discovery step by step."""

    def __init__(
        self,
        discovery: Discovery,
        client: MqttClient,
        *,
        on_announced: Callable[[], None],
        rng: random.Random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to publish; `on_announced` is called when Home Assistant has had time to subscribe."""
        self._discovery, self._client, self._on_announced = discovery, client, on_announced
        self._rng, self._monotonic = rng, monotonic
        self._due = self._subscribed = math.inf
        self._steps: list[dict[str, bytes]] = []
        self._published: dict[str, bytes] = {}
        self._unacknowledged = self._plans = 0

    def publish_soon(self) -> None:
        """Publish at the next `run`."""
        self._due = self._monotonic()
        self._steps = []

    def publish_if_changed(self) -> None:
        """Publish at the next `run` if the messages have changed."""
        if self._messages() != self._published:
            self.publish_soon()

    def publish_after_birth(self) -> None:
        """Publish within `SPREAD` seconds: Home Assistant has started."""
        if self._due == math.inf:
            self._due = self._monotonic() + self._rng.uniform(0.0, SPREAD)

    def run(self) -> float:
        """Publish what is due; returns the seconds until more is, infinite if nothing is."""
        if min(self._due, self._subscribed) == math.inf or not self._client.connected:
            return math.inf
        now = self._monotonic()
        if self._subscribed <= now:
            self._subscribed = math.inf
            self._on_announced()
        if self._due <= now:
            self._publish_step(now)
        return min(self._due, self._subscribed) - now

    def _messages(self) -> dict[str, bytes]:
        return dict(self._discovery.messages(self._client.limits.fits))

    def _publish_step(self, now: float) -> None:
        if not self._steps:
            self._published = self._messages()
            self._steps = self._discovery.retained.plan(self._published)
            self._unacknowledged = sum(len(step) for step in self._steps)
            self._plans += 1
        step, *self._steps = self._steps or [{}]
        self._due = now + PAUSE if self._steps else math.inf
        self._subscribed = now + PAUSE if self._published and not self._steps else math.inf
        for topic, payload in step.items():
            acknowledged = functools.partial(self._acknowledged, self._plans)
            self._client.publish(topic, payload, retain=True, acknowledged=acknowledged)

    def _acknowledged(self, plan: int, refusal: str | None) -> None:
        if refusal is None and plan == self._plans:
            self._unacknowledged -= 1
            if not self._unacknowledged and not self._steps:
                self._discovery.retained.complete(self._published)
