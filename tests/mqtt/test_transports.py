"""WebSocket and Unix socket: client, last will and checks work as over TCP."""

import contextlib
import random
import socket
import threading

import pytest

from headnod.config import MqttSection
from headnod.errors import ConfigError
from headnod.factory.mqtt_factory import broker as broker_of
from headnod.mqtt.broker import Broker as Address
from headnod.mqtt.broker import Tls
from headnod.mqtt.broker_check import check_broker
from headnod.mqtt.client import MqttClient
from headnod.mqtt.connection import speaks_older
from headnod.mqtt.topics import Topics
from headnod.pipeline.estimate import utc_now
from support.mqtt_broker import HOST, Broker, ReservedPort, Subscriber
from support.mqtt_connection import PATIENCE, Outcomes, connected, refused, until
from support.mqtt_publisher import until as until_true

KITCHEN = Topics("headnod", "kitchen")


def until_listening(address):
    """mosquitto opens one listener after the other."""

    def listening():
        with contextlib.suppress(OSError):
            address.open_socket(1.0).close()
            return True
        return False

    until_true(listening, PATIENCE, report=lambda: address)


@pytest.fixture
def addresses(tmp_path, authority, opened):
    """A broker's address by transport: with and without TLS."""
    plain, secured = ReservedPort(), ReservedPort()
    certificate = authority.issue("websockets")
    path = tmp_path / "broker.sock"
    settings = [f"listener {plain.number} {HOST}", "protocol websockets"]
    settings += [f"listener {secured.number} {HOST}", "protocol websockets"]
    settings += [f"certfile {certificate.file}", f"keyfile {certificate.key}"]
    settings += [f"listener 0 {path}"]
    broker = opened.enter_context(Broker(tmp_path / "broker", settings="\n".join(settings), durable=False))
    tls = Tls(ca=authority.file)
    ways = {
        "websockets": Address(HOST, plain.number, "kitchen", transport="websockets"),
        "secure websockets": Address(HOST, secured.number, "kitchen", transport="websockets", tls=tls),
        "unix": Address(str(path), 1, "kitchen", transport="unix"),
    }
    for way in ways.values():
        until_listening(way)
    return broker, ways


@pytest.fixture
def client(opened):
    def make(address, **how):
        made = MqttClient(address, rng=random.Random(1), **how)
        opened.callback(made.close)
        made.start()
        return made

    return make


TRANSPORTS = ("websockets", "secure websockets", "unix")


@pytest.mark.parametrize("protocol", [5, 4])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_messages_of_any_size_arrive_in_both_directions(transport, protocol, addresses, client):
    broker, ways = addresses
    ours = Address(**{**vars(ways[transport]), "protocol": protocol})
    payloads = [bytes([number]) * size for number, size in enumerate([0, 1, 125, 126, 2000, 70_000])]
    got, all_of_them, told = [], threading.Event(), Outcomes()

    def receive(message):
        got.append(message.payload)
        if len(got) == len(payloads):
            all_of_them.set()

    with Subscriber(broker, "from/us") as subscriber:
        link = until(client(ours, subscriptions=["to/us"], qos=1, on_message=receive, largest=100_000), connected)
        for payload in payloads:
            link.publish("from/us", payload, acknowledged=told)
        assert told.until(len(payloads)) == [None] * len(payloads)
        assert subscriber.until_on("from/us", len(payloads), PATIENCE) == payloads
        # The broker has read SUBSCRIBE, too, which was sent before these messages and after the client was connected.
        for payload in payloads:
            subscriber.publish("to/us", payload)
        assert all_of_them.wait(PATIENCE)
        assert got == payloads


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_broker_that_went_away_is_found_again(transport, addresses, client):
    broker, ways = addresses
    link = until(client(ways[transport]), connected)
    broker.restart()
    until(link, connected, 3 * PATIENCE)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_step_of_the_check_works(transport, addresses):
    _, ways = addresses
    steps = list(check_broker(ways[transport], KITCHEN, rng=random.Random(1), now=utc_now, timeout=PATIENCE))
    assert {step.verdict for step in steps} <= {"well", "none"}, steps
    assert steps[-1].part == "round trip"
    assert ("name" in {step.part for step in steps}) == (transport != "unix")


def test_a_certificate_that_is_not_trusted_ends_a_secure_websocket(addresses, client):
    _, ways = addresses
    link = until(client(Address(**{**vars(ways["secure websockets"]), "tls": Tls()})), refused)
    assert "its certificate is not valid" in link.reason


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nSec-WebSocket-Accept:\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nSec-WebSocket-Accept: \xff\xfe\r\n\r\n",
        b"",
    ],
)
def test_a_server_without_websockets_at_the_path_is_named_with_the_setting(answer, client, caplog):
    with socket.create_server((HOST, 0)) as server:
        link = client(Address(HOST, server.getsockname()[1], "kitchen", transport="websockets", path="/elsewhere"))
        connection, _ = server.accept()
        with connection:
            request = connection.recv(4096)
            connection.sendall(answer)
        until(link, refused)
    assert request.startswith(b"GET /elsewhere HTTP/1.1\r\n")
    assert link.reason.endswith(
        "/elsewhere: it accepts no WebSocket at /elsewhere (does this port serve WebSockets, and is mqtt.path right?)"
    )
    assert "Traceback" not in caplog.text


def test_a_socket_that_is_absent_or_no_socket_is_named(tmp_path):
    absent = Address(str(tmp_path / "absent"), 1, "kitchen", transport="unix")
    *_, step = check_broker(absent, KITCHEN, rng=random.Random(1), now=utc_now)
    assert (step.part, step.verdict) == ("connection", "fault")
    assert f"{tmp_path}/absent: there is no such socket" in step.message
    (tmp_path / "file").touch()
    other = Address(str(tmp_path / "file"), 1, "kitchen", transport="unix")
    *_, step = check_broker(other, KITCHEN, rng=random.Random(1), now=utc_now)
    assert "nothing listens there (does the broker run, and is this the path of its socket?" in step.message


@pytest.mark.parametrize(("length", "refused"), [(107, False), (108, True)])
def test_the_path_of_a_socket_is_as_long_as_the_system_takes(length, refused, tmp_path):
    path = str(tmp_path / "socket")
    path += "t" * (length - len(path))
    with socket.socket(socket.AF_UNIX) as server:
        if refused:
            with pytest.raises(OSError, match="too long"):
                server.bind(path)
            with pytest.raises(ValueError, match="107 bytes at most"):
                MqttSection(host=path, transport="unix")
        else:
            server.bind(path)
            MqttSection(host=path, transport="unix")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_broker_of_mqtt_3_1_1_is_recognised_over_every_transport(transport, addresses):
    assert speaks_older(addresses[1][transport])


@pytest.mark.parametrize(
    "answer", [b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00", b"HTTP/1.1 400 Bad Request\r\n\r\n", b""]
)
def test_what_refuses_mqtt_3_1_1_or_is_no_broker_is_not_called_one(answer):
    with socket.create_server((HOST, 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        serving = threading.Thread(target=serve)
        serving.start()
        assert not speaks_older(Address(HOST, server.getsockname()[1], "kitchen"), timeout=PATIENCE)
        serving.join()


def test_a_refusal_of_the_login_is_an_answer_too():
    with socket.create_server((HOST, 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                assert b"secret" not in connection.recv(4096)
                connection.sendall(b"\x20\x02\x00\x05")

        serving = threading.Thread(target=serve)
        serving.start()
        ours = Address(HOST, server.getsockname()[1], "kitchen", username="me", password="secret")
        assert speaks_older(ours, timeout=PATIENCE)
        serving.join()


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({"host": "b.lan", "transport": "websockets"}, "ws://b.lan:80/mqtt"),
        ({"host": "b.lan", "transport": "websockets", "tls": True, "path": "/ws"}, "wss://b.lan:443/ws"),
        ({"host": "b.lan:9001", "transport": "websockets"}, "ws://b.lan:9001/mqtt"),
        ({"host": "::1", "transport": "websockets", "port": 8083}, "ws://[::1]:8083/mqtt"),
        ({"host": "/run/m.sock", "transport": "unix"}, "/run/m.sock"),
        ({"path": "/run/m.sock", "transport": "unix"}, "/run/m.sock"),
        ({"host": "::1"}, "[::1]:1883"),
        ({"host": "b.lan", "tls": True}, "b.lan:8883"),
    ],
)
def test_the_configuration_names_the_address(settings, address):
    assert str(broker_of(MqttSection(**settings), client_id="kitchen")) == address


@pytest.mark.parametrize(
    ("settings", "way_out"),
    [
        ({"host": "/run/m.sock"}, 'write transport = "unix"'),
        ({"host": "b.lan", "transport": "unix"}, "is not the path of a socket"),
        ({"host": "/run/m.sock", "transport": "unix", "tls": True}, "write tls = false"),
    ],
)
def test_settings_that_exclude_each_other_are_refused_with_the_way_out(settings, way_out):
    with pytest.raises(ValueError, match=way_out):
        MqttSection(**settings)


def test_no_transport_reads_a_missing_certificate_as_trust(addresses, tmp_path):
    _, ways = addresses
    with pytest.raises(ConfigError, match="ca_file"):
        MqttClient(
            Address(**{**vars(ways["secure websockets"]), "tls": Tls(ca=tmp_path / "absent.pem")}),
            rng=random.Random(1),
        )
