"""A broker that refuses the client, or accepts another with its client id: rare attempts, and the right reason."""

import random
import socket
import threading
from collections import Counter

import pytest

from headnod.mqtt.broker import Broker as Where
from headnod.mqtt.client import MqttClient
from headnod.mqtt.connection import Will
from headnod.retry import Backoff, Cause
from support.limiting_broker import StrictBroker
from support.mqtt_broker import Broker
from support.mqtt_connection import Outcomes, connected, refused, until
from support.tcp_proxy import Proxy

CONNACK, TAKEN_OVER = bytes.fromhex("2003000000"), bytes.fromhex("e0028e00")
"""Of MQTT 5: success, and DISCONNECT with reason 0x8E."""


def test_an_acl_refusal_is_reported_as_what_it_is(tmp_path, linked):
    told = Outcomes()
    acl = "user kitchen\ntopic write ours/#\n"
    with Broker(tmp_path / "strict", users={"kitchen": "secret"}, acl=acl) as broker:
        link = until(linked(broker, username="kitchen", password="secret"), connected)
        link.publish("theirs/x", b"1", acknowledged=told)
        link.publish("ours/x", b"1", acknowledged=told)
        assert told.until(2) == ["not authorized", None]


@pytest.mark.parametrize("login", [{}, {"username": "kitchen", "password": "wrong"}, {"username": "nobody"}])
def test_a_wrong_login_is_tried_seldom_and_told_once(login, tmp_path, linked, caplog):
    with Broker(tmp_path / "strict", users={"kitchen": "secret"}) as broker, Proxy(broker.port) as proxy:
        link = until(linked(broker, port=proxy.port, **login), refused)
        assert "not authorized" in link.reason or "password" in link.reason
        link.publish("a/b", b"estimate")
        link.close()
        assert b"estimate" not in proxy.sent
    assert sum("no connection" in record.getMessage() for record in caplog.records) == 1
    assert "secret" not in caplog.text
    assert "wrong" not in caplog.text


def test_a_refusal_is_tried_at_most_twelve_times_in_ten_minutes():
    back_off, passed, tries = Backoff(random.Random(1)), 0.0, 0
    while passed < 600.0:
        tries += 1
        passed += back_off.after(Cause.REFUSED)
    assert tries <= 12


def test_a_broker_that_is_away_is_looked_for_every_few_seconds():
    back_off = Backoff(random.Random(1))
    waits = [back_off.after(Cause.NETWORK) for _ in range(6)]
    assert waits[0] < 1.3
    assert max(waits) <= 4.8


def test_a_spread_of_attempts_is_even_over_all_of_it():
    """After a blackout, in no second come more than a few of thousands of listeners."""
    waits = [Backoff(random.Random(number), spread=100.0).after(Cause.NETWORK) for number in range(10_000)]
    in_seconds = Counter(int(wait) for wait in waits)
    assert min(waits) >= 1.0
    assert set(in_seconds) == set(range(1, 100))
    assert max(in_seconds.values()) < 1.5 * 10_000 / 99
    # What only a person can change is not tried more often.
    assert Backoff(random.Random(1), spread=1.0).after(Cause.REFUSED) >= 10.0


class Chance:
    """Chance that always gives the end, or the beginning, of a range."""

    def __init__(self, *, late):
        self._late = late

    def uniform(self, low, high):
        return high if self._late else low


def test_the_first_attempt_is_spread_too_and_closing_does_not_wait_for_it(broker, opened):
    where = Where(broker.host, broker.port, "kitchen", spread=3600.0)
    early, late = (MqttClient(where, rng=Chance(late=late)) for late in (False, True))
    for client in (early, late):
        opened.callback(client.close)
        client.start()
    until(early, connected)
    assert late.reason.endswith("connecting")
    late.close()
    assert not late.connected


def test_a_taken_over_client_id_waits_a_minute():
    back_off = Backoff(random.Random(1))
    assert all(60.0 <= back_off.after(Cause.TAKEN_OVER) <= 72.0 for _ in range(4))


@pytest.mark.long
def test_a_taken_over_client_id_waits_a_minute_and_is_reported_once(broker, linked, caplog):
    """mosquitto 2.0.11 gives no reason: after a third brief connection a client waits."""
    linked(broker, client_id="twin")
    client = linked(broker, client_id="twin")
    until(client, lambda _: "use the client id twin too" in caplog.text, within=20.0)
    # Each takes the id over from the other in turn, until the first of them was disconnected three times.
    until(client, lambda _: broker.log.count("already connected") == 5, within=20.0)
    threading.Event().wait(6.0)
    assert broker.log.count("already connected") == 5
    assert sum("twin too" in record.getMessage() for record in caplog.records) <= 2


def test_a_broker_that_says_that_our_id_was_taken_over_is_left_alone_for_a_minute(linked):
    with socket.create_server(("127.0.0.1", 0)) as server:
        link = linked(Where("127.0.0.1", server.getsockname()[1], "twin"))
        client, _ = server.accept()
        with client:
            client.recv(4096)
            client.sendall(CONNACK + TAKEN_OVER)
            until(link, lambda link: "session taken over" in link.reason)
        server.settimeout(1.5)
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_password_is_in_no_text_of_the_broker():
    assert "secret" not in repr(Where("localhost", 1883, "kitchen", "kitchen", "secret"))


@pytest.mark.parametrize("dumb", [True, False])
def test_a_broker_that_knows_mqtt_3_alone_is_reported_as_such(dumb, opened, linked, caplog):
    broker = opened.enter_context(StrictBroker(modern=False, dumb=dumb))
    until(linked(broker), lambda link: "set mqtt.protocol = 4" in link.reason)
    until(linked(broker, protocol=4), connected)
    assert sum("set mqtt.protocol = 4" in each for each in caplog.messages) == 1


def test_no_other_client_is_named_where_the_broker_gave_a_reason(opened, linked, caplog):
    broker = opened.enter_context(StrictBroker(receive_maximum=1, silent=True))
    link = linked(broker)
    for count in range(1, 4):
        until(link, lambda link, count=count: link.connected and len(broker.connects) == count)
        link.publish("a/b", b"1")
        link.publish("a/b", b"2")
        broker.until(lambda broker, count=count: len(broker.sent_away) == count)
    until(link, refused)
    assert "receive maximum exceeded" in link.reason
    assert not any("client" in each for each in caplog.messages)


def test_another_client_is_a_possibility_and_no_cause_where_the_broker_gave_none(opened, linked, caplog):
    broker = opened.enter_context(StrictBroker())
    link = linked(broker)
    for count in (1, 2):
        until(link, lambda link, count=count: link.connected and len(broker.connects) == count)
        assert not any("client" in each for each in caplog.messages)
        broker.cut()
        until(link, refused)
    causes = "the connection was lost (again within 5 minutes, without a reason; possible causes: does another"
    until(link, lambda link: causes in link.reason)


@pytest.mark.parametrize("setting", ["retain_available false", "max_qos 0"])
def test_what_mqtt_3_does_not_say_of_a_last_will_is_asked(setting, tmp_path, opened, linked):
    broker = opened.enter_context(Broker(tmp_path / "broker", settings=setting, durable=False))
    link = linked(broker, protocol=4, will=Will("a/status", b"offline"))
    until(link, lambda link: "MQTT 5 would say so: see mqtt.protocol" in link.reason)
    until(linked(broker, client_id="modern", will=Will("a/status", b"offline")), connected)
