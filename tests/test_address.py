"""Addresses as people write them: understood, or refused with the right spelling."""

import socket

import pytest

from headnod.address import is_local, page_url, split_address
from headnod.config import Config, MqttSection, load
from headnod.config.layers import environment_layer, file_layer
from headnod.errors import ConfigError
from headnod.factory.mqtt_factory import broker, client_id
from headnod.mqtt.topics import Topics


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("broker.lan", "broker.lan", 0),
        ("broker.lan:1884", "broker.lan", 1884),
        ("192.0.2.7", "192.0.2.7", 0),
        ("192.0.2.7:1", "192.0.2.7", 1),
        ("::1", "::1", 0),
        ("[::1]", "::1", 0),
        ("[::1]:65535", "::1", 65535),
        ("fe80::1%eth0", "fe80::1%eth0", 0),
        ("küche.fritz.box", "küche.fritz.box", 0),
        (f"{'x' * 63}.lan.", f"{'x' * 63}.lan.", 0),
    ],
)
def test_an_address_is_a_host_and_perhaps_a_port(text, host, port):
    assert split_address(text) == (host, port)


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        ("mqtt://broker.lan:1884", 'host = "broker.lan", port = 1884'),
        ("MQTTS://broker.lan", 'host = "broker.lan", tls = true'),
        ("mqtt://me:secret@broker.lan/", 'host = "broker.lan", username = "me", and the password'),
        ("ssl://[::1]:8883", 'host = "::1", port = 8883, tls = true'),
        ("ws://broker.lan:9001", 'host = "broker.lan", port = 9001, transport = "websockets")'),
        ("wss://broker.lan/mqtt", 'host = "broker.lan", transport = "websockets", tls = true)'),
        ("wss://broker.lan/live/mqtt", 'transport = "websockets", path = "/live/mqtt", tls = true)'),
        ("https://broker.lan", "not MQTT over TCP"),
        ("broker.lan:", "from 1 to 65535"),
        ("broker.lan:0", "from 1 to 65535"),
        ("broker.lan:65536", "from 1 to 65535"),
        ("broker.lan:mqtt", "from 1 to 65535"),
        ("[::1]:", "write [::1]:1883"),
        ("[::1", "write [::1]:1883"),
        ("[broker.lan]:1883", "write [::1]:1883"),
        ("::1:x", "[::1]:1883"),
        ("broker.lan/mqtt", "write broker.lan"),
        ("me@broker.lan", "write broker.lan"),
        ("me:secret@broker.lan:1883", "holds a login (write broker.lan:1883 alone"),
        ("me:secret@[::1]", "write [::1] alone"),
        ("unix:///run/mosquitto.sock", 'write transport = "unix", host = "/run/mosquitto.sock"'),
        (" broker.lan", "write broker.lan"),
        (":1883", "write broker.lan"),
        ("..", "write broker.lan"),
        (f"{'x' * 64}.lan", "write broker.lan"),
    ],
)
def test_anything_else_is_refused_with_the_right_spelling(text, way_out):
    with pytest.raises(ValueError, match=r"^'") as refused:
        split_address(text)
    assert way_out in str(refused.value)
    assert "secret" not in str(refused.value)


def test_the_configuration_refuses_such_a_host_and_says_where_it_is_written(tmp_path):
    path = tmp_path / "headnod.toml"
    path.write_text('[mqtt]\nnode = "kitchen"\nhost = "mqtt://broker.lan:1883"\n')
    with pytest.raises(ConfigError, match="write host") as refused:
        load(file_layer(path, required=True))
    assert str(refused.value).startswith(f"{path}:3: mqtt.host: 'mqtt://...'")


def test_two_ports_that_differ_are_refused():
    said = {"HEADNOD_MQTT__HOST": "broker.lan:1884", "HEADNOD_MQTT__PORT": "1883"}
    with pytest.raises(ConfigError, match=r"HEADNOD_MQTT__HOST: mqtt\.host: 'broker\.lan:1884' names port 1884"):
        load(environment_layer(said))
    assert load(environment_layer({**said, "HEADNOD_MQTT__PORT": "1884"})).config.mqtt.port == 1884


@pytest.mark.parametrize(
    ("settings", "port"), [({}, 1883), ({"tls": True}, 8883), ({"port": 7}, 7), ({"host": "[::1]:9", "tls": True}, 9)]
)
def test_the_port_is_that_of_the_address_or_the_usual_one(settings, port):
    section = MqttSection(**{"host": "::1", **settings})
    reached = broker(section, client_id="x")
    assert (reached.host, reached.port) == ("::1", port)


def test_a_configuration_that_begins_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "headnod.toml"
    path.write_bytes(b'\xef\xbb\xbf[mqtt]\nhost = "broker.lan"\n')
    assert load(file_layer(path, required=True)).config == Config(mqtt=MqttSection(host="broker.lan"))


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfgeheim\r\n", b"geheim\n", b"geheim"])
def test_a_byte_order_mark_is_no_part_of_a_password(tmp_path, content):
    (tmp_path / "secret").write_bytes(content)
    section = MqttSection(host="broker.lan", username="kitchen", password_file=str(tmp_path / "secret"))
    assert broker(section, client_id="x").password == "geheim"  # noqa: S105 - of this test alone


def test_a_password_in_utf_16_is_refused_without_being_quoted(tmp_path):
    (tmp_path / "secret").write_bytes("geheim\r\n".encode("utf-16"))
    section = MqttSection(host="broker.lan", username="kitchen", password_file=str(tmp_path / "secret"))
    with pytest.raises(ConfigError, match="is not UTF-8 text") as refused:
        broker(section, client_id="x")
    assert "geheim" not in str(refused.value)


def test_no_two_bases_nodes_or_roles_make_one_client_id():
    bases, nodes, roles = (
        ("headnod", "a", "a/b", "a-b", "a_b", "headnod/a"),
        ("b", "b-c", "a-b", "kitchen"),
        ("", "deploy"),
    )
    ids = {client_id(Topics(base, node), role) for base in bases for node in nodes for role in roles}
    assert len(ids) == len(bases) * len(nodes) * len(roles)
    assert client_id(Topics("headnod", "kitchen")) == "headnod-kitchen"


def test_a_page_at_all_addresses_has_the_name_that_avahi_announces_or_an_address(tmp_path):
    announced, silent = tmp_path / "socket", tmp_path / "absent"
    announced.touch()
    host = socket.gethostname().partition(".")[0]
    assert page_url("0.0.0.0", 8080, avahi=announced) == f"http://{host}.local:8080/"  # noqa: S104 - is not bound
    assert page_url("::", 8080, tls=True, avahi=announced) == f"https://{host}.local:8080/"
    alone = page_url("0.0.0.0", 8080, avahi=silent)  # noqa: S104
    assert "0.0.0.0" not in alone  # noqa: S104
    assert page_url("192.168.1.7", 80, avahi=announced) == "http://192.168.1.7:80/"


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - is not bound
        ("::", False),
        ("192.168.1.2", False),
        ("dash.lan", False),
        ("", False),
    ],
)
def test_only_loopback_is_this_machine_alone(host, local):
    assert is_local(host) is local
