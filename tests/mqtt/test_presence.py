"""What is published about the listener itself: status, health, info, answers."""

import time

import msgspec

from headnod.escaping import SILENCE
from headnod.pipeline.estimate import State
from support.command_line import PROMPT
from support.mqtt_broker import Broker, Subscriber
from support.mqtt_publisher import (
    PATIENCE,
    TOPICS,
    condition,
    decoded,
    info,
    numbered_estimate,
    online,
    publisher,
    sequences,
    until,
)


def test_who_comes_late_sees_status_state_and_info(broker, subscriber, started):
    mqtt = started()
    online(subscriber)
    mqtt.show(numbered_estimate(0))
    subscriber.until_on("/estimate", 1, PATIENCE)
    subscriber.until_on("/info", 1, PATIENCE)
    with Subscriber(broker, name="late") as late:
        for topic in ("/status", "/state", "/info"):
            late.until_on(topic, 1, PATIENCE)
        assert {message.topic for message in late.messages} == {TOPICS.status, TOPICS.state, TOPICS.info}
        assert all(message.retain for message in late.messages)


def test_health_is_reported_at_every_change_of_state_and_now_and_then(subscriber, started):
    mqtt = started(health_every=1.0)
    online(subscriber)
    mqtt.show_status(condition(State.WAITING, "no microphone is plugged in"))
    mqtt.show_status(condition(State.WAITING, "no microphone is plugged in"))
    waiting = subscriber.until(lambda message: b"waiting_for_microphone" in message.payload, PATIENCE)
    assert decoded([waiting.payload])[0]["message"] == "no microphone is plugged in"
    mqtt.show(numbered_estimate(0))
    subscriber.until(lambda message: message.topic == TOPICS.health and b'"listening"' in message.payload, PATIENCE)
    before = len(subscriber.on("/health"))
    health = decoded(subscriber.until_on("/health", before + 2, PATIENCE))[-1]
    assert health["message"] == ""
    assert health["estimates"] == health["published"] == 1
    assert health["queued"] == health["refused"] == health["discarded"] == 0
    assert health["memory_mb"] > 10


def test_status_is_offline_before_the_end_and_the_end_is_quick(subscriber, started):
    mqtt = started()
    online(subscriber)
    began = time.monotonic()
    mqtt.close()
    mqtt.close()
    assert time.monotonic() - began < PROMPT
    assert subscriber.until(lambda message: message.payload == b"offline", PATIENCE).topic == TOPICS.status


def test_all_is_reported_again_at_every_connection(broker, subscriber, started):
    mqtt = started(wanted=lambda: {"homeassistant/device/headnod_kitchen/config": b"{}"})
    online(subscriber)
    mqtt.show(numbered_estimate(0))
    subscriber.until_on("/config", 1, PATIENCE)
    subscriber.until_on("/state", 1, PATIENCE)
    broker.restart(by=Broker.kill)
    subscriber.clear()
    for topic in ("/status", "/info", "/state", "/health", "/config"):
        subscriber.until(lambda message, topic=topic: message.topic.endswith(topic) and not message.retain, PATIENCE)
    # The broker may repeat what it had not delivered before, so these may have come before the new connection.
    until(lambda: mqtt.health().reconnects == 1, PATIENCE)


def test_a_change_is_reported_and_discovery_only_if_it_says_something_new(subscriber, started):
    facts = {"certainty": 0.45, "labels": ("jazz",)}

    def wanted():
        return {"homeassistant/device/headnod_kitchen/config": msgspec.json.encode(facts["labels"])}

    mqtt = started(info=lambda: info(certainty=facts["certainty"]), wanted=wanted)
    subscriber.until_on("/config", 1, PATIENCE)
    facts["certainty"] = 0.9
    mqtt.changed()
    assert decoded(subscriber.until_on("/info", 2, PATIENCE))[-1]["certainty"] == 0.9
    facts["labels"] = ("jazz", "metal")
    mqtt.changed()
    assert decoded(subscriber.until_on("/config", 2, PATIENCE)) == [["jazz"], ["jazz", "metal"]]
    assert len(subscriber.on("/info")) == 3


def test_home_assistant_receives_discovery_again_after_its_birth_within_thirty_seconds(subscriber, opened, broker):
    class NoDelay:
        """Chance that says: at once for what spreads over thirty seconds."""

        def uniform(self, low, high):
            self.asked = (low, high)
            return low

    rng = NoDelay()
    mqtt = publisher(broker, wanted=lambda: {"homeassistant/device/headnod_kitchen/config": b"{}"}, rng=rng)
    opened.callback(mqtt.close)
    mqtt.start()
    subscriber.until_on("/config", 1, PATIENCE)
    # Once because it is connected, and once because Home Assistant has been told of it.
    subscriber.until_on("/health", 2, PATIENCE)
    subscriber.clear()
    subscriber.publish("homeassistant/status", "offline")
    subscriber.publish("homeassistant/status", "online")
    assert len(subscriber.until_on("/config", 1, PATIENCE)) == 1
    assert rng.asked == (0.0, 30.0)
    subscriber.until_on("/health", 1, PATIENCE)
    assert subscriber.until_on("kitchen/status", 1, PATIENCE)[0] == b"online"


def test_commands_are_heard_and_answered(subscriber, started):
    got = []

    def obey(message):
        got.append((message.topic, message.payload, message.retained))
        return [(TOPICS.response("health"), b'{"status":"ok"}')]

    started(obey=obey)
    online(subscriber)
    subscriber.publish(TOPICS.request("health"), b"{}")
    assert subscriber.until_on("/response/health", 1, PATIENCE) == [b'{"status":"ok"}']
    assert got == [(TOPICS.request("health"), b"{}", False)]


def test_a_command_that_breaks_what_obeys_leaves_all_as_it_was(subscriber, started, caplog):
    def obey(_message):
        raise RuntimeError("injected")

    mqtt = started(obey=obey)
    online(subscriber)
    subscriber.publish(TOPICS.request("health"), b"{}")
    mqtt.show(numbered_estimate(0))
    assert sequences(subscriber.until_on("/estimate", 1, PATIENCE)) == [0]
    assert "a part of MQTT failed" in caplog.text


def test_an_exception_in_what_is_asked_for_facts_does_not_stop_estimates(subscriber, started, caplog):
    calls = []

    def facts():
        calls.append(1)
        if len(calls) < 2:
            raise RuntimeError("injected")
        return info()

    mqtt = started(info=facts)
    online(subscriber)
    mqtt.show(numbered_estimate(0))
    assert sequences(subscriber.until_on("/estimate", 1, PATIENCE)) == [0]
    assert "a part of MQTT failed" in caplog.text


def test_the_last_song_is_retained_and_every_song_is_not(broker, subscriber, started):
    mqtt = started()
    online(subscriber)
    for number in range(10):
        mqtt.show(numbered_estimate(number))
    for number in range(10, 16):
        mqtt.show(numbered_estimate(number, SILENCE))
    (song,) = subscriber.until_on("/song", 1, PATIENCE)
    assert subscriber.until_on("/last_song", 1, PATIENCE) == [song]
    broker.restart()
    subscriber.until(lambda message: message.topic == TOPICS.last_song and not message.retain, PATIENCE)
    with Subscriber(broker, name="late") as late:
        assert late.until_on("/last_song", 1, PATIENCE) == [song]
        assert late.on("kitchen/song") == []
