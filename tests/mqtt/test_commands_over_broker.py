"""Commands over a real broker: messages of strangers harm neither the listener nor its connection."""

import itertools
import json
import threading
import time

import pytest

from support.hostile_commands import hostile
from support.mqtt_broker import Broker
from support.mqtt_payloads import KITCHEN, RecordingControls, commands_for

PATIENCE = 10.0


@pytest.fixture
def broker(tmp_path):
    """One that is never killed, and so saves nothing."""
    with Broker(tmp_path / "broker", durable=False) as started:
        yield started


@pytest.fixture
def controls():
    return RecordingControls()


@pytest.fixture
def link(linked, broker, subscriber, controls):
    """A listener that obeys, and for which a second passes with every message."""
    seconds = itertools.count()
    commands = commands_for(controls, monotonic=lambda: float(next(seconds)))

    def obey(message):
        for topic, payload in commands.handle(message):
            made.publish(topic, payload)

    made = linked(broker, subscriptions=(KITCHEN.settings, KITCHEN.requests), on_message=obey)
    # What is published before it has subscribed is not for it, so somebody asks until there is an answer.
    deadline = time.monotonic() + PATIENCE
    while not subscriber.on("/response/health"):
        assert time.monotonic() < deadline
        subscriber.publish(KITCHEN.request("health"), b"")
    return made


def obeyed(subscriber, controls):
    subscriber.publish(KITCHEN.setting("threshold"), b'{"value": 0.5, "transaction": "good"}')
    answer = subscriber.until(
        lambda message: b"good" in message.payload and "/response/" in message.topic, 3 * PATIENCE
    )
    assert json.loads(answer.payload)["status"] == "ok"
    assert controls.did == [("threshold", 0.5)]


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.long)])
def test_hostile_payloads_change_nothing_and_the_next_good_command_is_applied(link, subscriber, controls, count):
    can_be_sent = (sent for sent in hostile(KITCHEN, 2 * count) if not set(sent.topic) & set("+#\0"))
    subscriber.publish_all((topic, payload) for topic, payload, _ in itertools.islice(can_be_sent, count))
    obeyed(subscriber, controls)
    assert link.connected


def test_many_messages_that_are_too_large_do_not_make_it_deaf(link, subscriber, controls):
    # At QoS 1 mosquitto would count what it withholds as in flight, and after 20 of them deliver nothing more.
    subscriber.publish_all([(KITCHEN.setting("threshold"), b" " * 2100)] * 50)
    obeyed(subscriber, controls)
    assert link.connected


def test_fifty_megabytes_never_arrive_and_the_next_good_command_is_applied(link, subscriber, controls):
    subscriber.publish(KITCHEN.setting("threshold"), b" " * (50 << 20))
    obeyed(subscriber, controls)
    assert link.connected


def test_a_command_that_was_retained_before_is_not_obeyed(linked, broker, subscriber, controls):
    subscriber.publish(KITCHEN.setting("pause"), b"ON", retain=True)
    commands, got = commands_for(controls), threading.Event()

    def obey(message):
        assert message.retained
        assert commands.handle(message) == []
        got.set()

    linked(broker, subscriptions=(KITCHEN.settings,), on_message=obey)
    assert got.wait(PATIENCE)
    assert controls.did == []
