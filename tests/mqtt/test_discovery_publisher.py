"""When discovery is published: with a manual clock, and a client that records messages."""

import math

import pytest

from headnod.mqtt.broker import Limits
from headnod.mqtt.discovery import PAUSE, SPREAD, Discovery, DiscoveryPublisher, RetainedTopics
from headnod.testing import ManualClock

CONFIG, OLD = "homeassistant/device/headnod_kitchen/config", "ha/device/headnod_kitchen/config"


class MqttClient:
    """Takes everything and acknowledges it at once, while it is connected."""

    def __init__(self):
        self.connected, self.published, self.limits = True, [], Limits()

    def publish(self, topic, payload, *, retain, acknowledged):
        assert retain
        self.published.append((topic, payload))
        acknowledged(None)


class LongestDelay:
    """Chance that takes as long as it may."""

    def uniform(self, _low, high):
        return high


class DiscoverySetup:
    """An announcer, and what became of it."""

    def __init__(self, wanted, *before):
        self.clock, self.link, self.wanted, self.introduced = ManualClock(), MqttClient(), wanted, []
        self.ledger = RetainedTopics(None)
        self.ledger.complete(before)
        self.announcer = DiscoveryPublisher(
            Discovery(lambda _fits: self.wanted, self.ledger, "homeassistant/status"),
            self.link,
            on_announced=lambda: self.introduced.append(self.clock.seconds),
            rng=LongestDelay(),
            monotonic=self.clock.monotonic,
        )

    def pass_time(self, seconds):
        """Let it run whenever it wants to, for so long; gives when it wants to again."""
        end = self.clock.seconds + seconds
        while self.clock.seconds + (wait := self.announcer.run()) <= end:
            self.clock.seconds += wait
        self.clock.seconds = end
        return wait


@pytest.fixture
def setup():
    return DiscoverySetup({CONFIG: b"{}"})


def test_nothing_is_reported_before_somebody_says_so(setup):
    assert setup.pass_time(100.0) == math.inf
    assert setup.link.published == []


def test_home_assistant_is_introduced_once_it_had_time_to_subscribe(setup):
    setup.announcer.publish_soon()
    assert setup.announcer.run() == PAUSE
    assert (setup.link.published, setup.introduced) == ([(CONFIG, b"{}")], [])
    assert setup.pass_time(100.0) == math.inf
    assert setup.introduced == [PAUSE]


def test_after_a_birth_it_is_reported_again_and_introduced_again(setup):
    setup.announcer.publish_after_birth()
    setup.pass_time(SPREAD - 0.1)
    assert setup.link.published == []
    setup.pass_time(100.0)
    assert setup.link.published == [(CONFIG, b"{}")]
    assert setup.introduced == [SPREAD + PAUSE]


def test_it_is_introduced_after_the_last_of_several_steps():
    setup = DiscoverySetup({CONFIG: b"{}"}, OLD)
    setup.announcer.publish_soon()
    setup.pass_time(100.0)
    assert setup.link.published == [(OLD, b""), (CONFIG, b"{}")]
    assert setup.introduced == [2 * PAUSE]


def test_where_nothing_is_wanted_what_was_reported_is_taken_back_and_nobody_is_introduced():
    setup = DiscoverySetup({}, CONFIG)
    setup.announcer.publish_soon()
    assert setup.pass_time(100.0) == math.inf
    assert setup.link.published == [(CONFIG, b"")]
    assert setup.ledger.topics == frozenset()
    assert setup.introduced == []


def test_what_is_not_connected_waits(setup):
    setup.announcer.publish_soon()
    setup.link.connected = False
    assert setup.pass_time(100.0) == math.inf
    setup.link.connected = True
    setup.pass_time(100.0)
    assert setup.link.published == [(CONFIG, b"{}")]
