"""The client's thread: it calls its owner's work whatever the connection does, and loses nothing between threads."""

import contextlib
import socket
import threading
import time
from types import SimpleNamespace

import pytest

from headnod.mqtt.client import ConnectionState
from headnod.mqtt.queue import LATE
from support.mqtt_broker import HOST, Broker, ReservedPort
from support.mqtt_connection import PATIENCE, connected, refused
from support.mqtt_connection import until as until_client
from support.mqtt_publisher import Ahead, numbered_estimate, publisher, until

NOBODY = SimpleNamespace(host=HOST, port=None)
"""An address, of which each test names the port."""


@pytest.fixture
def silent_port():
    """A port at which a connection is neither accepted nor refused."""
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind((HOST, 0))
        full.listen(0)
        for _ in range(2):
            each = waiting.enter_context(socket.socket())
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        yield full.getsockname()[1]


def test_messages_of_several_threads_are_published_once_each_and_in_order(tmp_path, opened, linked):
    broker = opened.enter_context(Broker(tmp_path / "quick", durable=False))
    arrived, all_of_them, each = [], threading.Event(), 300

    def hear(message):
        arrived.append(message.topic)
        if len(arrived) == 4 * each:
            all_of_them.set()

    until_client(linked(broker, client_id="reader", subscriptions=["from/+/+"], qos=1, on_message=hear), connected)
    client = until_client(linked(broker), connected)

    def publish(name):
        for number in range(each):
            assert client.publish(f"from/{name}/{number}", b"")

    threads = [threading.Thread(target=publish, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all_of_them.wait(3 * PATIENCE), len(arrived)
    for name in "abcd":
        assert [topic for topic in arrived if topic[5] == name] == [f"from/{name}/{number}" for number in range(each)]


def test_work_goes_on_while_there_is_no_connection(linked):
    calls = threading.Semaphore(0)

    def work():
        calls.release()
        return 0.05

    closed = ReservedPort()
    client = linked(NOBODY, port=closed.number, work=work)
    until_client(client, refused)
    for _ in range(5):
        assert calls.acquire(timeout=PATIENCE)
    assert client.state is ConnectionState.DISCONNECTED


def test_work_that_fails_is_logged_once_and_called_again_after_a_second(broker, linked, caplog):
    times, thrice = [], threading.Event()

    def work():
        times.append(time.monotonic())
        if len(times) > 6:
            thrice.set()
        raise RuntimeError("injected")

    until_client(linked(broker, work=work), connected)
    assert thrice.wait(PATIENCE)
    assert caplog.text.count("a part of MQTT failed") == 1
    assert times[-1] - times[0] > 1.0


def test_what_waits_is_on_disk_within_seconds_although_the_attempt_to_connect_hangs(silent_port, opened, tmp_path):
    ahead = Ahead()
    mqtt = publisher(NOBODY, tmp_path / "mqtt.sqlite", port=silent_port, ahead=ahead)
    opened.callback(mqtt.close)
    mqtt.start()
    mqtt.show(numbered_estimate(0))
    ahead.seconds += LATE
    mqtt.show(numbered_estimate(1))
    until(lambda: mqtt.health().queued_on_disk == 2, report=mqtt.health)
    assert any(thread.name.startswith("connecting to") for thread in threading.enumerate()), "the attempt hangs no more"


def test_closing_does_not_wait_for_an_attempt_that_hangs(silent_port, linked):
    client = linked(NOBODY, port=silent_port)
    client.close(timeout=1.0)
    # An attempt that hangs is not waited for: it would have failed.
    assert client.ending.reason == "closed"
    assert client.state is ConnectionState.CLOSED
    assert not client.publish("a/b", b"")


def test_the_owner_is_called_last_and_once(broker, linked):
    ends = []
    client = until_client(linked(broker, on_end=lambda: ends.append(client.state)), connected)
    client.close()
    client.close()
    assert ends == [ConnectionState.DISCONNECTED]
