"""The whole listener with a broker that requires a login, and with settings that cannot be used."""

import subprocess
import sys

import pytest

from support.listener_process import STARTING
from support.mqtt_broker import Broker, ReservedPort, Subscriber

HEADNOD = (sys.executable, "-m", "headnod")


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"node": "a/b"}, "mqtt.node"),
        ({"base": "head+nod"}, "mqtt.base"),
        ({"discovery_prefix": "home/#"}, "mqtt.discovery_prefix: 'home/#'"),
        ({"discovery_prefix": "headnod"}, "mqtt.base: 'headnod' lies inside mqtt.discovery_prefix"),
        ({"tls": "true", "ca_file": "/nowhere/ca.crt"}, "mqtt.ca_file: /nowhere/ca.crt"),
        ({"username": "kitchen", "password_file": "/nowhere/password"}, "mqtt.password_file: /nowhere/password"),
    ],
)
def test_a_setting_that_cannot_be_is_reported_in_one_line_with_status_78(settings, fault, listening):
    port = ReservedPort()
    listener = listening(port.number, **settings)
    assert listener.ended(STARTING)[0] == 78
    assert fault in listener.log()
    assert len(listener.log().splitlines()) == 1


@pytest.mark.long
def test_the_password_is_read_from_its_file_and_shown_nowhere(tmp_path, opened, listening, environment):
    users = {"kitchen": "tr0ub4dor", "all": "secret"}
    broker = opened.enter_context(Broker(tmp_path / "strict", users=users))
    subscriber = opened.enter_context(Subscriber(broker, user="all", password="secret"))
    file = tmp_path / "password"
    file.write_text("tr0ub4dor\n")
    listener = listening(broker.port, username="kitchen", password_file=file, node="kitchen")
    subscriber.until_on("/estimate", 1, STARTING)
    shown = subprocess.run(
        [*HEADNOD, "config", "show"],
        env={**environment, "HEADNOD_MQTT__PASSWORD_FILE": str(file), "HEADNOD_MQTT__USERNAME": "kitchen"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(file) in shown.stdout
    published = b"".join(bytes(message.payload) for message in subscriber.messages).decode()
    for place in (shown.stdout, shown.stderr, listener.log(), published):
        assert "tr0ub4dor" not in place


@pytest.mark.long
def test_systemd_hands_the_password_over(tmp_path, opened, listening, environment):
    broker = opened.enter_context(Broker(tmp_path / "strict", users={"kitchen": "tr0ub4dor", "all": "secret"}))
    subscriber = opened.enter_context(Subscriber(broker, user="all", password="secret"))
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "mqtt_password").write_text("tr0ub4dor")
    environment["CREDENTIALS_DIRECTORY"] = str(tmp_path / "credentials")
    listening(broker.port, username="kitchen")
    subscriber.until_on("/estimate", 1, STARTING)
