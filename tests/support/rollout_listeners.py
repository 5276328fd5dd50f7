"""Listeners as far as a rollout sees them: real links, real stores and signatures, and no music."""

from __future__ import annotations

import random
import threading
from pathlib import Path

from headnod.errors import HeadnodError
from headnod.factory.mqtt_factory import LARGEST_BUNDLE, progress_payload
from headnod.mqtt.broker import Broker as Where
from headnod.mqtt.client import MqttClient
from headnod.mqtt.connection import Will
from headnod.mqtt.payloads import encode
from headnod.mqtt.topics import Topics, channel
from headnod.updates.bundle import split
from headnod.updates.installer import Installer
from headnod.updates.state import Stage, UpdateProgress
from support import signed_bundles
from support.command_line import PATIENCE
from support.mqtt_publisher import info


class TrustingInstaller(Installer):
    """An intake that believes: fifty self-tests at once are no matter of a rollout."""

    def _test(self, _name):
        self.report(Stage.TESTED, "believed")


class Listener:
    """One of them.

    Args:
        fails: What its probation finds.
        deaf: It never says how it came out.
    """

    def __init__(self, broker, state: Path, node: str, *, channel_="stable", fails="", deaf=False, tried=False):
        self.topics, self.node, self._fails, self._deaf, self._channel = (
            Topics("headnod", node),
            node,
            fails,
            deaf,
            channel_,
        )
        state.mkdir(parents=True)
        self.received: list[str] = []
        kind = Installer if tried else TrustingInstaller
        self.installer = kind(state, [signed_bundles.public()], self._tell, budget=1.0, windows=4)
        self._link = MqttClient(
            Where(broker.host, broker.port, f"sim-{node}"),
            will=Will(self.topics.status, b"offline"),
            subscriptions=(channel("headnod", channel_), self.topics.deploy),
            qos=1,
            on_message=self._take,
            on_connected=self._arrive,
            rng=random.Random(node),
            largest=LARGEST_BUNDLE + 1024,
        )
        self.there = threading.Event()
        self._link.start()

    @property
    def current(self):
        return self.installer.store.current

    def _arrive(self):
        self._publish(self.topics.status, b"online")
        facts = info(node=self.node, channel=self._channel, updates="activate", model="fixed-0.1.0")
        self._publish(self.topics.info, encode(facts), self.there.set)

    def _publish(self, topic, payload, then=lambda: None):
        self._link.publish(topic, payload, retain=True, acknowledged=lambda _: then())

    def _tell(self, progress: UpdateProgress):
        if not (self._deaf and progress.stage is not Stage.VERIFIED):
            self._publish(self.topics.model, progress_payload(progress, self.topics))

    def _take(self, message):
        self.received.append(message.topic)
        if not message.payload:
            return
        try:
            self.installer.start_probation(self.installer.install(split(message.payload)))
            if self._fails:
                self.installer.store.roll_back(self._fails)
            else:
                self.installer.store.keep()
                self.installer.report(Stage.KEPT, "all well")
        except HeadnodError as error:
            self.installer.report(Stage.REFUSED, str(error))

    def close(self):
        self._link.close(last=[(self.topics.status, b"offline")])


def there(*listeners):
    """The same listeners, once all are there."""
    for each in listeners:
        assert each.there.wait(PATIENCE)
    return listeners
