"""What the publisher publishes, and when, through a real broker."""

import statistics
import threading
import time

import msgspec
import pytest

from broker import Broker, Heard
from headnod.estimate import SILENCE, State
from publishing import (
    BEGAN,
    EVERY,
    TOPICS,
    Ahead,
    condition,
    info,
    publisher,
    said,
    saves,
    sequences,
    until,
    without_repeats,
)

PATIENCE = 10.0


@pytest.fixture
def started(broker, opened):
    """Makes publishers that run, and are closed in the end."""

    def start(path=None, *, obey=None, **how):
        made = publisher(broker, path, **how)
        opened.callback(made.close)
        made.start(obey)
        return made

    return start


def online(heard):
    heard.until(lambda message: message.topic == TOPICS.status and message.payload == b"online", PATIENCE)


def decoded(payloads):
    return [msgspec.json.decode(payload) for payload in payloads]


def test_an_estimate_is_published_once_and_is_the_state_too(heard, started):
    mqtt = started()
    online(heard)
    mqtt.show(said(7))
    (estimate,) = decoded(heard.until_on("/estimate", 1, PATIENCE))
    (state,) = decoded(heard.until_on("/state", 1, PATIENCE))
    assert estimate == state
    assert estimate["id"] == "kitchen-b007-7"
    assert estimate["replayed"] is False
    assert estimate["scores_jazz"] == 0.9


def test_who_comes_late_sees_status_state_and_info(broker, heard, started):
    mqtt = started()
    online(heard)
    mqtt.show(said(0))
    heard.until_on("/estimate", 1, PATIENCE)
    heard.until_on("/info", 1, PATIENCE)
    with Heard(broker, name="late") as late:
        for topic in ("/status", "/state", "/info"):
            late.until_on(topic, 1, PATIENCE)
        assert {message.topic for message in late.messages} == {TOPICS.status, TOPICS.state, TOPICS.info}
        assert all(message.retain for message in late.messages)


def test_an_estimate_expires_at_the_broker_after_a_day(heard, started):
    mqtt = started()
    online(heard)
    mqtt.show(said(0))
    estimate = heard.until(lambda message: message.topic == TOPICS.estimate, PATIENCE)
    assert 86_000 < estimate.properties.MessageExpiryInterval <= 86_400


def test_a_song_is_told_when_it_ends(heard, started):
    mqtt = started()
    online(heard)
    for number in range(3, 13):
        mqtt.show(said(number))
    for number in range(13, 18):
        mqtt.show(said(number, SILENCE))
    (song,) = decoded(heard.until_on("/song", 1, PATIENCE))
    assert song["id"] == "kitchen-b007-3"
    assert song["genre"] == "jazz"
    assert song["duration_s"] == 9 * EVERY
    assert song["stability"] == 1.0
    assert song["replayed"] is False


def test_a_song_of_two_hours_is_told_too(tmp_path, opened):
    broker = opened.enter_context(Broker(tmp_path / "quick", durable=False))
    heard = opened.enter_context(Heard(broker, "+/+/song"))
    mqtt = publisher(broker, rate=2000.0)
    opened.callback(mqtt.close)
    mqtt.start()
    for number in range(2400):
        mqtt.show(said(number))
    for number in range(2400, 2405):
        mqtt.show(said(number, SILENCE))
    (song,) = decoded(heard.until_on("/song", 1, 30.0))
    assert song["id"] == "kitchen-b007-0"
    assert song["duration_s"] == 2399 * EVERY


def test_the_song_that_plays_at_the_end_is_told_too(heard, started):
    mqtt = started()
    online(heard)
    for number in range(10):
        mqtt.show(said(number))
    mqtt.close()
    assert len(heard.until_on("/song", 1, PATIENCE)) == 1
    assert sequences(heard.on("/estimate")) == list(range(10))


def test_health_is_told_at_every_change_of_state_and_now_and_then(heard, started):
    mqtt = started(health_every=1.0)
    online(heard)
    mqtt.tell(condition(State.WAITING, "no microphone is plugged in"))
    mqtt.tell(condition(State.WAITING, "no microphone is plugged in"))
    waiting = heard.until(lambda message: b"waiting_for_microphone" in message.payload, PATIENCE)
    assert decoded([waiting.payload])[0]["message"] == "no microphone is plugged in"
    mqtt.show(said(0))
    heard.until(lambda message: message.topic == TOPICS.health and b'"listening"' in message.payload, PATIENCE)
    before = len(heard.on("/health"))
    health = decoded(heard.until_on("/health", before + 2, PATIENCE))[-1]
    assert health["message"] == ""
    assert health["estimates"] == health["published"] == 1
    assert health["queued"] == health["refused"] == health["discarded"] == 0
    assert health["memory_mb"] > 10


def test_status_is_offline_before_the_end_and_the_end_is_quick(heard, started):
    mqtt = started()
    online(heard)
    began = time.monotonic()
    mqtt.close()
    mqtt.close()
    assert time.monotonic() - began < 2.0
    assert heard.until(lambda message: message.payload == b"offline", PATIENCE).topic == TOPICS.status


def test_all_is_told_again_at_every_connection(broker, heard, started):
    mqtt = started(wanted=lambda: {"homeassistant/device/headnod_kitchen/config": b"{}"})
    online(heard)
    mqtt.show(said(0))
    heard.until_on("/config", 1, PATIENCE)
    heard.until_on("/state", 1, PATIENCE)
    broker.restart(by=Broker.kill)
    heard.forget()
    for topic in ("/status", "/info", "/state", "/health", "/config"):
        heard.until(lambda message, topic=topic: message.topic.endswith(topic) and not message.retain, PATIENCE)
    assert mqtt.health().reconnects == 1


def test_a_change_is_told_and_discovery_only_if_it_says_something_new(heard, started):
    facts = {"certainty": 0.45, "labels": ("jazz",)}

    def wanted():
        return {"homeassistant/device/headnod_kitchen/config": msgspec.json.encode(facts["labels"])}

    mqtt = started(info=lambda: info(certainty=facts["certainty"]), wanted=wanted)
    heard.until_on("/config", 1, PATIENCE)
    facts["certainty"] = 0.9
    mqtt.changed()
    assert decoded(heard.until_on("/info", 2, PATIENCE))[-1]["certainty"] == 0.9
    facts["labels"] = ("jazz", "metal")
    mqtt.changed()
    assert decoded(heard.until_on("/config", 2, PATIENCE)) == [["jazz"], ["jazz", "metal"]]
    assert len(heard.on("/info")) == 3


def test_home_assistant_is_told_again_after_its_birth_within_thirty_seconds(heard, opened, broker):
    class NoDelay:
        """Chance that says: at once for what spreads over thirty seconds."""

        def uniform(self, low, high):
            self.asked = (low, high)
            return low

    rng = NoDelay()
    mqtt = publisher(broker, wanted=lambda: {"homeassistant/device/headnod_kitchen/config": b"{}"}, rng=rng)
    opened.callback(mqtt.close)
    mqtt.start()
    heard.until_on("/config", 1, PATIENCE)
    # Once because it is connected, and once because Home Assistant has been told of it.
    heard.until_on("/health", 2, PATIENCE)
    heard.forget()
    heard.publish("homeassistant/status", "offline")
    heard.publish("homeassistant/status", "online")
    assert len(heard.until_on("/config", 1, PATIENCE)) == 1
    assert rng.asked == (0.0, 30.0)
    heard.until_on("/health", 1, PATIENCE)
    assert heard.until_on("kitchen/status", 1, PATIENCE)[0] == b"online"


def test_commands_are_heard_and_answered(heard, started):
    got = []

    def obey(message):
        got.append((message.topic, message.payload, message.retained))
        return [(TOPICS.response("health"), b'{"status":"ok"}')]

    started(obey=obey)
    online(heard)
    heard.publish(TOPICS.request("health"), b"{}")
    assert heard.until_on("/response/health", 1, PATIENCE) == [b'{"status":"ok"}']
    assert got == [(TOPICS.request("health"), b"{}", False)]


def test_a_command_that_breaks_what_obeys_leaves_all_as_it_was(heard, started, caplog):
    def obey(_message):
        raise RuntimeError("injected")

    mqtt = started(obey=obey)
    online(heard)
    heard.publish(TOPICS.request("health"), b"{}")
    mqtt.show(said(0))
    assert sequences(heard.until_on("/estimate", 1, PATIENCE)) == [0]
    assert "a part of MQTT failed" in caplog.text


def test_an_exception_in_what_is_asked_for_facts_does_not_stop_estimates(heard, started, caplog):
    calls = []

    def facts():
        calls.append(1)
        if len(calls) < 2:
            raise RuntimeError("injected")
        return info()

    mqtt = started(info=facts)
    online(heard)
    mqtt.show(said(0))
    assert sequences(heard.until_on("/estimate", 1, PATIENCE)) == [0]
    assert "MQTT: a part of it failed" in caplog.text


def test_showing_never_waits_for_a_frozen_broker_which_gets_all_when_it_thaws(broker, heard, started, tmp_path):
    ahead = Ahead()
    mqtt = started(tmp_path / "mqtt.sqlite", keepalive=1, rate=400.0, ahead=ahead)
    for number in range(5):
        mqtt.show(said(number))
    until(lambda: mqtt.health().published == 5)
    broker.freeze()
    times, end = [], time.monotonic() + 2.5
    while time.monotonic() < end:
        began = time.perf_counter()
        mqtt.show(said(5 + len(times)))
        times.append(time.perf_counter() - began)
        threading.Event().wait(0.02)
    # A machine that is busy with other things may hold up some of them, but a frozen broker would all.
    assert statistics.median(times) < 0.005
    assert max(times) < 0.5
    saves(mqtt, ahead, len(times))
    broker.thaw()
    count = 5 + len(times)
    until(lambda: len(set(sequences(heard.on("/estimate")))) == count, 20.0)
    assert without_repeats(sequences(heard.on("/estimate"))) == list(range(count))


def test_what_the_access_list_refuses_is_counted_kept_and_delivered_when_it_is_allowed(tmp_path, opened):
    acl = "user kitchen\ntopic write headnod/kitchen/{}\nuser all\ntopic readwrite #\n"
    users = {"kitchen": "secret", "all": "secret"}
    broker = opened.enter_context(Broker(tmp_path / "strict", users=users, acl=acl.format("song")))
    heard = opened.enter_context(Heard(broker, user="all", password="secret"))
    mqtt = publisher(broker, tmp_path / "mqtt.sqlite", username="kitchen", password="secret")
    opened.callback(mqtt.close)
    mqtt.start()
    for number in range(10):
        mqtt.show(said(number))
    for number in range(10, 15):
        mqtt.show(said(number, SILENCE))
    heard.until_on("/song", 1, PATIENCE)
    until(lambda: mqtt.health().refused >= 1 and mqtt.health().published == 1)
    assert mqtt.health().queued == 15
    broker.allow(acl.format("#"))
    broker.restart()
    assert sequences(heard.until_on("/estimate", 15, PATIENCE)) == list(range(15))
    assert decoded(heard.on("/estimate"))[0]["replayed"] is True
    until(lambda: mqtt.health().published == 16)
    assert mqtt.health().queued == 0


def test_times_are_those_of_the_estimates(heard, started):
    mqtt = started()
    online(heard)
    mqtt.show(said(100))
    (estimate,) = decoded(heard.until_on("/estimate", 1, PATIENCE))
    assert estimate["time_unix"] == BEGAN.timestamp() + 300.0
    assert estimate["monotonic"] == 300.0
