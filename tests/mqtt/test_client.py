"""The client: connects when it can, reports why when it cannot, and survives errors of its callbacks."""

import os
import random
import socket
import statistics
import struct
import threading
import time
from contextlib import suppress

import pytest

from headnod.mqtt.broker import LOST
from headnod.mqtt.broker import Broker as Where
from headnod.mqtt.client import MqttClient
from headnod.mqtt.connection import Will
from support.command_line import PROMPT
from support.mqtt_broker import Broker, ReservedPort, Subscriber
from support.mqtt_connection import PATIENCE, Outcomes, connected, refused, until
from support.tcp_proxy import Proxy

CONNACK = bytes.fromhex("2003000000")
"""Of MQTT 5: success."""

AT_ONCE = struct.pack("ii", 1, 0)
"""A socket that lingers no time resets its connection when it is closed."""

PINGREQ, PINGRESP = bytes.fromhex("c000"), bytes.fromhex("d000")


def test_it_connects_publishes_and_receives_acknowledgements(broker, subscriber, linked):
    told = Outcomes()
    link = until(linked(broker), connected)
    link.publish("a/b", b"1", acknowledged=told)
    assert told.until(1) == [None]
    assert subscriber.until_on("a/b", 1, PATIENCE) == [b"1"]


def test_what_is_published_while_nothing_is_connected_is_reported_at_once_and_not_kept(tmp_path, linked):
    told = Outcomes()
    with Broker(tmp_path / "late", wait=True) as broker:
        link = until(linked(broker), refused)
        link.publish("a/b", b"1", acknowledged=told)
        assert told.outcomes[0].startswith(LOST)
        broker.start()
        until(link, connected)
        with Subscriber(broker) as subscriber:
            link.publish("a/b", b"2", acknowledged=told)
            told.until(2)
            assert subscriber.until_on("a/b", 1, PATIENCE) == [b"2"]


def test_a_broker_that_comes_late_is_found(tmp_path, linked):
    with Broker(tmp_path / "late", wait=True) as broker:
        link = until(linked(broker), refused)
        assert "connection refused" in link.reason
        broker.start()
        until(link, connected)


def test_the_will_is_published_after_a_kill(broker, subscriber):
    child = os.fork()
    if child == 0:
        link = MqttClient(
            Where(broker.host, broker.port, "doomed", keepalive=600),
            will=Will("doomed/status", b"offline"),
            rng=random.Random(1),
        )
        link.start()
        until(link, connected)
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    subscriber.until(lambda message: message.topic == "doomed/status" and message.payload == b"offline", PATIENCE)


def test_closing_publishes_the_last_word_and_no_will(broker, subscriber, linked):
    link = until(linked(broker, will=Will("a/status", b"dead")), connected)
    link.close(last=[("a/status", b"offline")])
    link.close()
    subscriber.until(lambda message: message.payload == b"offline", PATIENCE)
    subscriber.publish("a/end", b"")
    subscriber.until_on("a/end", 1, PATIENCE)
    assert b"dead" not in subscriber.on("a/status")


def test_closing_ends_soon_when_the_broker_hangs(broker, linked):
    link = until(linked(broker), connected)
    broker.freeze()
    began = time.monotonic()
    link.close(last=[("a/status", b"offline")], timeout=1.0)
    assert time.monotonic() - began < PROMPT
    broker.thaw()


@pytest.mark.parametrize("where", ["on_message", "on_connected", "acknowledged"])
def test_an_exception_in_a_callback_is_logged_once_and_changes_nothing(where, broker, subscriber, linked, caplog):
    def fail(*_):
        raise RuntimeError("injected", where)

    told = Outcomes()
    callbacks = {where: fail} if where != "acknowledged" else {}
    link = until(linked(broker, subscriptions=["to/us"], **callbacks), connected)
    for _ in range(3):
        subscriber.publish("to/us", b"hello")
        link.publish("a/b", b"1", acknowledged=fail if where == "acknowledged" else None)
    link.publish("a/b", b"2", acknowledged=told)
    assert told.until(1) == [None]
    assert link.connected
    assert sum("a part of MQTT failed" in record.getMessage() for record in caplog.records) == 1


def test_a_bug_in_the_session_itself_ends_the_connection_and_not_the_link(broker, linked, caplog):
    first = threading.Event()

    def clock():
        # The session asks for the time whenever it looks at what is not acknowledged.
        if first.is_set():
            first.clear()
            raise RuntimeError("injected")
        return time.monotonic()

    link = until(linked(broker, monotonic=clock), connected)
    first.set()
    link.publish("a/b", b"1")
    until(link, lambda link: not link.connected)
    until(link, connected)
    assert "the connection to the broker failed" in caplog.text


def test_what_a_frozen_broker_does_not_acknowledge_is_given_back(broker, linked):
    told = Outcomes()
    link = until(linked(broker, keepalive=1), connected)
    broker.freeze()
    began = time.monotonic()
    link.publish("a/b", b"1", acknowledged=told)
    assert told.until(1)[0].startswith(LOST)
    assert time.monotonic() - began < PROMPT, "the default keepalive would take longer"
    broker.thaw()
    until(link, connected)


def test_publishing_never_waits_for_a_frozen_broker(broker, linked):
    link = until(linked(broker), connected)
    broker.freeze()
    times = []
    for _ in range(2000):
        began = time.perf_counter()
        link.publish("a/b", b"x" * 1000)
        times.append(time.perf_counter() - began)
    broker.thaw()
    # A busy machine delays some calls; waiting for the broker would take seconds in most of them.
    assert statistics.median(times) < 0.5


def test_a_broker_that_answers_pings_and_acknowledges_nothing_is_left(linked):
    told, over = Outcomes(), threading.Event()

    def serve(client):
        client.settimeout(0.5)
        client.recv(4096)
        client.sendall(CONNACK)
        while not over.is_set():
            with suppress(OSError):
                if PINGREQ in client.recv(4096):
                    client.sendall(PINGRESP)

    with socket.create_server(("127.0.0.1", 0)) as server:
        link = linked(Where("127.0.0.1", server.getsockname()[1], "kitchen"), keepalive=1)
        client, _ = server.accept()
        serving = threading.Thread(target=serve, args=(client,))
        serving.start()
        with client:
            until(link, connected)
            link.publish("a/b", b"1", acknowledged=told)
            (reason,) = told.until(1)
            over.set()
            serving.join()
    assert reason == f"{LOST}it has acknowledged nothing for 1 s"


def test_a_connection_that_is_torn_down_is_reported_in_words(linked):
    with socket.create_server(("127.0.0.1", 0)) as server:
        link = linked(Where("127.0.0.1", server.getsockname()[1], "kitchen"))
        client, _ = server.accept()
        client.recv(4096)
        client.sendall(CONNACK)
        until(link, connected)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        client.close()
        until(link, refused)
    assert link.reason.endswith(": the connection was lost: connection reset by peer")


def test_fifty_megabytes_never_arrive_and_the_next_command_does(broker, subscriber, linked):
    got, arrived = [], threading.Event()

    def hear(message):
        got.append(message)
        arrived.set()

    with Proxy(broker.port) as proxy:
        until(linked(broker, port=proxy.port, subscriptions=["to/us"], on_message=hear), connected)
        subscriber.publish("to/us", bytes(50_000_000))
        subscriber.publish("to/us", b"small")
        assert arrived.wait(PATIENCE)
        assert [message.payload for message in got] == [b"small"]
        assert proxy.received < 100_000


def test_mqtt_3_1_1_works_too_and_ignores_what_is_too_large(broker, subscriber, linked):
    got, arrived, told = [], threading.Event(), Outcomes()

    def hear(message):
        got.append(message)
        arrived.set()

    link = until(linked(broker, protocol=4, subscriptions=["to/us"], on_message=hear), connected)
    subscriber.publish("to/us", bytes(100_000))
    subscriber.publish("to/us", b"small")
    assert arrived.wait(PATIENCE)
    assert [message.payload for message in got] == [b"small"]
    link.publish("a/b", b"1", acknowledged=told)
    assert told.until(1) == [None]


def test_a_port_where_nobody_speaks_mqtt_is_called_by_its_name(linked, broker):
    closed = ReservedPort()
    with Proxy(closed.number) as proxy:
        link = until(linked(broker, port=proxy.port), refused)
        assert link.reason
