"""Retained messages in time: a delayed last will, a latest estimate that expires, and `headnod mqtt forget`."""

import signal
import socket

import pytest

from headnod.config import Config, MqttSection
from headnod.factory.mqtt_factory import example_messages
from headnod.mqtt.broker import Broker as Address
from headnod.mqtt.connection import Will
from headnod.mqtt.homeassistant import discovery
from headnod.mqtt.publisher import STATE_EXPIRY
from support.command_line import fault, run, surroundings
from support.mqtt_broker import HOST, Broker, Subscriber
from support.mqtt_connection import connected, until
from support.mqtt_payloads import KITCHEN
from support.mqtt_payloads import info as kitchen_info
from support.mqtt_publisher import PATIENCE, TOPICS, Ahead, numbered_estimate, online
from support.mqtt_publisher import until as until_true
from support.tcp_proxy import Proxy

WILL = ("a/status", b"offline")


def test_a_connection_that_returns_in_time_cancels_the_delayed_last_will(broker, subscriber, linked, opened):
    proxy = opened.enter_context(Proxy(broker.port))
    link = until(linked(broker, port=proxy.port, will=Will(*WILL, 3600)), connected)
    for count in (2, 3):
        proxy.cut()
        until(link, lambda link: not link.connected)
        proxy.heal()
        until(link, connected)
        assert proxy.connections >= count
    subscriber.publish("a/end", b"")
    subscriber.until_on("a/end", 1, PATIENCE)
    assert subscriber.on("a/status") == []


def test_a_connection_that_stays_away_has_its_last_will_published_after_the_delay(broker, subscriber, linked, opened):
    proxy = opened.enter_context(Proxy(broker.port))
    until(linked(broker, port=proxy.port, will=Will(*WILL, 1)), connected)
    proxy.cut()
    assert subscriber.until_on("a/status", 1, PATIENCE) == [b"offline"]


def test_a_client_that_ends_leaves_no_last_will_to_come(broker, subscriber, linked, opened):
    proxy = opened.enter_context(Proxy(broker.port))
    until(linked(broker, will=Will(*WILL, 1)), connected).close(last=[("a/status", b"closed")])
    # Published later than that of the first could be.
    until(linked(broker, port=proxy.port, client_id="later", will=Will("b/status", b"offline", 2)), connected)
    proxy.cut()
    subscriber.until_on("b/status", 1, PATIENCE)
    assert subscriber.on("a/status") == [b"closed"]


def test_mqtt_3_1_1_has_no_delay_and_works(broker, subscriber, linked, opened):
    proxy = opened.enter_context(Proxy(broker.port))
    until(linked(broker, port=proxy.port, protocol=4, will=Will(*WILL, 3600)), connected)
    proxy.cut()
    assert subscriber.until_on("a/status", 1, PATIENCE) == [b"offline"]


def test_the_latest_estimate_expires(subscriber, started):
    mqtt = started()
    online(subscriber)
    mqtt.show(numbered_estimate(0))
    state = subscriber.until(lambda message: message.topic == TOPICS.state, PATIENCE)
    assert 0 < state.properties.MessageExpiryInterval <= STATE_EXPIRY


def test_an_estimate_that_has_expired_is_not_published_as_the_latest_again(broker, subscriber, started, opened):
    proxy, ahead = opened.enter_context(Proxy(broker.port)), Ahead()
    mqtt = started(port=proxy.port, monotonic=ahead)
    online(subscriber)
    mqtt.show(numbered_estimate(0))
    subscriber.until_on("/state", 1, PATIENCE)
    for seconds, again in ((STATE_EXPIRY - 60, True), (120, False)):
        proxy.cut()
        subscriber.until(lambda message: message.payload == b"offline", PATIENCE)
        subscriber.clear()
        ahead.seconds += seconds
        proxy.heal()
        # Published after the latest estimate.
        subscriber.until(lambda message: message.topic == TOPICS.info, PATIENCE)
        assert bool(subscriber.on("/state")) is again


def test_genre_and_confidence_are_plain_text_if_wanted(broker, subscriber, started):
    mqtt = started(plain=True)
    online(subscriber)
    mqtt.show(numbered_estimate(0))
    assert subscriber.until_on("/genre", 1, PATIENCE) == [b"jazz"]
    assert subscriber.until_on("/confidence", 1, PATIENCE) == [b"0.9"]
    with Subscriber(broker, "+/+/genre", "+/+/confidence", name="late") as late:
        late.until_on("/confidence", 1, PATIENCE)
        assert late.until_on("/genre", 1, PATIENCE) == [b"jazz"]


def test_plain_text_is_not_published_unasked(subscriber, started):
    mqtt = started()
    online(subscriber)
    mqtt.show(numbered_estimate(0))
    subscriber.until_on("/state", 1, PATIENCE)
    subscriber.until_on("/estimate", 1, PATIENCE)
    assert subscriber.on("/genre") == subscriber.on("/confidence") == []


@pytest.mark.parametrize("plain", [False, True])
def test_the_test_of_the_connection_tries_plain_topics_if_they_are_wanted(plain):
    config = Config(mqtt=MqttSection(node="kitchen", plain_topics=plain))
    written = example_messages(config)(lambda _topic, _payload: True)
    assert any(topic.endswith("/genre") for topic in written) is plain


OTHERS = {
    "headnod/lounge/status": b"online",
    "headnod/kitchens/info": b"{}",
    "house/kitchen/status": b"online",
    "homeassistant/device/headnod_lounge/config": b"{}",
    "homeassistant/sensor/headnod_lounge/genre/config": b"{}",
    "elsewhere": b"kept",
}


def retained(broker):
    """Everything that the broker retains."""
    with Subscriber(broker, name="look") as look:
        look.publish("a/end", b"")
        look.until_on("a/end", 1, PATIENCE)
        return {message.topic: message.payload for message in look.messages if message.retain}


def clear(broker, tmp_path, *words, **settings):
    environment = {f"HEADNOD_MQTT__{key.upper()}": str(value) for key, value in settings.items()}
    environment |= {"HEADNOD_MQTT__HOST": HOST, "HEADNOD_MQTT__PORT": str(broker.port)}
    return run("mqtt", "forget", *words, environment=surroundings(tmp_path, **environment))


@pytest.mark.parametrize("form", ["device", "component"])
def test_forget_removes_everything_of_one_listener_and_nothing_of_others(form, broker, subscriber, tmp_path):
    own = dict.fromkeys(KITCHEN.retained, b"offline") | discovery(kitchen_info(), KITCHEN, form=form)
    own |= {KITCHEN.deploy: bytes(1 << 20), KITCHEN.setting("pause"): b"ON", KITCHEN.genre: b"jazz"}
    for topic, payload in (own | OTHERS).items():
        subscriber.publish(topic, payload, retain=True)
    ended = clear(broker, tmp_path, "kitchen")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == sorted(own)
    assert retained(broker) == OTHERS
    assert clear(broker, tmp_path, "kitchen").stdout == "nothing is retained for kitchen\n"


def test_forget_leaves_a_listener_that_is_online_unless_it_is_forced(broker, subscriber, tmp_path):
    subscriber.publish(KITCHEN.status, b"online", retain=True)
    subscriber.publish(KITCHEN.info, b"{}", retain=True)
    ended = clear(broker, tmp_path, "kitchen")
    assert fault(ended).endswith(
        "kitchen is online and would publish everything again (stop it first, or write --force)"
    )
    assert retained(broker) == {KITCHEN.status: b"online", KITCHEN.info: b"{}"}
    assert clear(broker, tmp_path, "kitchen", "--force").returncode == 0
    assert retained(broker) == {}


def test_forget_says_why_it_cannot(broker, tmp_path):
    broker.stop()
    assert "connection refused" in fault(clear(broker, tmp_path, "kitchen"))


@pytest.mark.parametrize("name", ["#", "", "a/b", "kitchen ", "x" * 65])
def test_forget_refuses_what_is_no_name_as_usage(broker, tmp_path, name):
    assert fault(clear(broker, tmp_path, "--", name), 2) == (
        f"headnod: NODE: '{name}' is not a name (up to 64 letters, digits, hyphens and underscores)"
    )


def test_forget_names_what_the_user_may_not_write(tmp_path):
    acl = "user reader\ntopic read #\ntopic readwrite headnod/kitchen/response/#\nuser filler\ntopic readwrite #"
    users = {"filler": "secret", "reader": "secret"}
    password = tmp_path / "password"
    password.write_text("secret")
    with Broker(tmp_path / "broker", users=users, acl=acl) as broker:
        with Subscriber(broker, name="filler", user="filler", password="secret") as filler:
            filler.publish(KITCHEN.status, b"offline", retain=True)
        ended = clear(broker, tmp_path, "kitchen", username="reader", password_file=password)
    assert "headnod/kitchen/status cannot be emptied: not authorized" in fault(ended).lower()


@pytest.mark.parametrize("renamed", [{"node": "lounge"}, {"base": "house/one"}], ids=["node", "base"])
def test_a_listener_with_another_name_takes_everything_of_the_former_one_back(renamed, broker, subscriber, listening):
    former = listening(broker.port, plain_topics="true")
    for ending in ("/estimate", "/config", "/genre"):
        subscriber.until_on(ending, 1, PATIENCE)
    subscriber.publish(KITCHEN.deploy, b"a signed model", retain=True)
    former.send(signal.SIGTERM)
    assert former.ended(PATIENCE)[0] == 0
    subscriber.clear()
    listening(broker.port, **renamed)
    (own, *_) = {*renamed.values()}
    subscriber.until(lambda message: own in message.topic and message.topic.endswith("/estimate"), PATIENCE)

    def left():
        return {topic for topic in retained(broker) if "headnod/kitchen/" in topic or "headnod_kitchen/" in topic}

    until_true(lambda: not left(), report=left)


CLEAN_START, SESSION_EXPIRY, WILL_DELAY = 0x02, b"\x11", b"\x18"
"""Of CONNECT: a flag, and the identifiers of two properties."""


@pytest.mark.parametrize(("delay", "resumed"), [(0, False), (30, True)])
def test_a_delayed_last_will_is_that_of_a_session_which_the_next_connection_resumes(delay, resumed, linked):
    """A broker may publish a last will at once when a clean start ends its session (mosquitto does not)."""
    with socket.create_server((HOST, 0)) as server:
        linked(Address(HOST, server.getsockname()[1], "kitchen"), will=Will(*WILL, delay))
        connection, _ = server.accept()
        with connection:
            connect = connection.recv(4096)
    flags = connect[connect.index(b"MQTT\x05") + 5]
    assert bool(flags & CLEAN_START) is not resumed
    seconds = delay.to_bytes(4, "big")
    assert (SESSION_EXPIRY + seconds in connect, WILL_DELAY + seconds in connect) == (resumed, resumed)
