"""The broker's kit, set up by the commands of its README: it lets nobody speak as another, and survives a kill."""

import socket
import subprocess
from contextlib import closing

import pytest

from headnod.mqtt.homeassistant import birth, discovery
from headnod.mqtt.topics import Topics, channel
from support.firmware_kits import KITS, Kit
from support.mqtt_broker import HOST, Broker, missing
from support.mqtt_payloads import KITCHEN, info

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")

USERS = ("kitchen", "livingroom", "homeassistant", "nodered", "dashboard", "telegraf", "workstation")


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    with Kit(tmp_path_factory.mktemp("kit") / "etc") as running:
        yield running


def test_the_commands_make_a_password_for_everybody_and_leave_hashes_only(kit):
    assert set(kit.passwords) == set(USERS)
    assert len(set(kit.passwords.values())) == len(USERS)
    kept = (kit.folder / "passwords").read_text()
    assert not any(password in kept for password in kit.passwords.values())


def test_nobody_comes_in_without_the_right_password(kit):
    assert "not authori" in kit.publish("kitchen", KITCHEN.state, password=USERS[1]).lower()
    anonymous = ["mosquitto_pub", "-V", "5", "-h", HOST, "-p", str(kit.port), "-t", KITCHEN.state, "-m", "x"]
    assert subprocess.run(anonymous, capture_output=True, check=False, timeout=30).returncode != 0


def test_the_certificate_is_believed_by_its_name_and_its_address(kit):
    for host in (HOST, "localhost"):
        told = subprocess.run(
            [
                *("mosquitto_pub", "-h", host, "-p", str(kit.tls_port), "--cafile", kit.folder / "certs" / "ca.crt"),
                *(
                    "-q",
                    "1",
                    "-t",
                    KITCHEN.response("test"),
                    "-m",
                    "x",
                    "-u",
                    "kitchen",
                    "-P",
                    kit.passwords["kitchen"],
                ),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert (told.returncode, told.stderr) == (0, "")


def test_what_is_not_encrypted_is_for_this_machine_alone(kit):
    lines = (KITS / "mosquitto" / "mosquitto.conf").read_text().splitlines()
    assert [line for line in lines if line.startswith("listener")] == ["listener 1883 127.0.0.1", "listener 8883"]
    with closing(socket.create_connection((HOST, kit.tls_port), timeout=5.0)) as plain:
        plain.sendall(b"\x10\x10\x00\x04MQTT\x05\x02\x00\x0f\x00\x00\x03abc")
        assert answer(plain)[:1] != b"\x20"


def answer(connection):
    """What comes before the other end hangs up."""
    try:
        return connection.recv(64)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("topic", [KITCHEN.status, KITCHEN.state, KITCHEN.estimate, KITCHEN.song, KITCHEN.info])
def test_a_listener_writes_its_own_topics_and_no_other_does(kit, topic):
    assert kit.publish("kitchen", topic) == ""
    for other in ("livingroom", "dashboard", "telegraf", "homeassistant", "nodered"):
        assert "Not authorized" in kit.publish(other, topic), other


@pytest.mark.parametrize("form", ["device", "component"])
def test_a_listener_announces_itself_and_nobody_else(kit, form):
    for topic in discovery(info(), KITCHEN, form=form):
        assert kit.publish("kitchen", topic) == ""
    for topic in discovery(info(node="livingroom"), Topics("headnod", "livingroom"), form=form):
        assert "Not authorized" in kit.publish("kitchen", topic)


@pytest.mark.parametrize(
    ("user", "may"), [("homeassistant", True), ("nodered", True), ("dashboard", False), ("telegraf", False)]
)
def test_a_command_comes_from_those_who_may(kit, user, may):
    for topic in (KITCHEN.setting("pause"), KITCHEN.request("health")):
        assert ("Not authorized" not in kit.publish(user, topic)) is may


def test_models_are_sent_by_the_workstation_alone_and_heard_by_listeners(kit):
    for topic in (channel("headnod", "stable"), channel("headnod", "canary"), KITCHEN.deploy):
        assert kit.publish("workstation", topic) == ""
        for other in ("livingroom", "dashboard", "telegraf", "homeassistant", "nodered"):
            assert "Not authorized" in kit.publish(other, topic), other
    with kit.subscriber("kitchen", channel("headnod", "+")) as subscriber:
        kit.publish("workstation", channel("headnod", "stable"))
        subscriber.until(lambda message: message.topic == channel("headnod", "stable"), 60.0)


def test_a_listener_hears_its_own_commands_and_nobody_elses(kit):
    livingroom = Topics("headnod", "livingroom")
    with kit.subscriber("kitchen", "headnod/#", birth()) as subscriber:
        for topic in (livingroom.setting("pause"), livingroom.state, KITCHEN.setting("pause"), birth()):
            user = "livingroom" if topic == livingroom.state else "homeassistant"
            assert kit.publish(user, topic) == ""
        subscriber.until(lambda message: message.topic == birth(), 60.0)
        assert {message.topic.split("/")[1] for message in subscriber.messages} == {"kitchen", "status"}


def test_those_who_read_hear_everything(kit):
    for user in ("homeassistant", "nodered", "dashboard", "telegraf"):
        with kit.subscriber(user, "headnod/#") as subscriber:
            assert kit.publish("kitchen", KITCHEN.estimate) == ""
            subscriber.until(lambda message: message.topic == KITCHEN.estimate, 60.0)


def test_what_was_saved_survives_a_kill(tmp_path):
    with Kit(tmp_path / "etc", autosave=1) as kit:
        kit.subscriber("telegraf", "headnod/+/estimate").close()
        assert kit.publish("kitchen", KITCHEN.status, options=["-r"]) == ""
        for _ in range(5):
            assert kit.publish("kitchen", KITCHEN.estimate) == ""
        assert_saved_within(kit, 15.0)
        kit.restart(by=Broker.kill)
        with kit.subscriber("telegraf", "headnod/+/estimate") as subscriber:
            assert len(subscriber.until_on("/estimate", 5, 60.0)) == 5
        with kit.subscriber("dashboard", "headnod/+/status") as subscriber:
            assert subscriber.until(lambda message: message.payload == b"x", 60.0).retain


def assert_saved_within(kit, seconds):
    """Wait for the broker's own save, as autosave_interval says."""
    deadline = subprocess.run(
        ["timeout", str(seconds), "bash", "-c", 'until [[ -s "$0" ]]; do sleep 0.2; done', kit.database], check=False
    )
    assert deadline.returncode == 0, f"nothing was saved within {seconds} s"
