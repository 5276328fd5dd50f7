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


class Late:
    """Chance that takes as long as it may."""

    def uniform(self, _low, high):
        return high


class House:
    """An announcer, and what became of it."""

    def __init__(self, wanted, *before):
        self.clock, self.link, self.wanted, self.introduced = ManualClock(), MqttClient(), wanted, []
        self.ledger = RetainedTopics(None)
        self.ledger.complete(before)
        self.announcer = DiscoveryPublisher(
            Discovery(lambda _fits: self.wanted, self.ledger, "homeassistant/status"),
            self.link,
            on_announced=lambda: self.introduced.append(self.clock.seconds),
            rng=Late(),
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
def house():
    return House({CONFIG: b"{}"})


def test_nothing_is_told_before_somebody_says_so(house):
    assert house.pass_time(100.0) == math.inf
    assert house.link.published == []


def test_home_assistant_is_introduced_once_it_had_time_to_subscribe(house):
    house.announcer.publish_soon()
    assert house.announcer.run() == PAUSE
    assert (house.link.published, house.introduced) == ([(CONFIG, b"{}")], [])
    assert house.pass_time(100.0) == math.inf
    assert house.introduced == [PAUSE]


def test_after_a_birth_it_is_told_again_and_introduced_again(house):
    house.announcer.publish_after_birth()
    house.pass_time(SPREAD - 0.1)
    assert house.link.published == []
    house.pass_time(100.0)
    assert house.link.published == [(CONFIG, b"{}")]
    assert house.introduced == [SPREAD + PAUSE]


def test_it_is_introduced_after_the_last_of_several_steps():
    house = House({CONFIG: b"{}"}, OLD)
    house.announcer.publish_soon()
    house.pass_time(100.0)
    assert house.link.published == [(OLD, b""), (CONFIG, b"{}")]
    assert house.introduced == [2 * PAUSE]


def test_where_nothing_is_wanted_what_was_told_is_taken_back_and_nobody_is_introduced():
    house = House({}, CONFIG)
    house.announcer.publish_soon()
    assert house.pass_time(100.0) == math.inf
    assert house.link.published == [(CONFIG, b"")]
    assert house.ledger.topics == frozenset()
    assert house.introduced == []


def test_what_is_not_connected_waits(house):
    house.announcer.publish_soon()
    house.link.connected = False
    assert house.pass_time(100.0) == math.inf
    house.link.connected = True
    house.pass_time(100.0)
    assert house.link.published == [(CONFIG, b"{}")]
