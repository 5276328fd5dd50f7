"""The command `headnod mqtt test`: lines, JSON, exit status, and no password in any output."""

import json
import os
import re
import subprocess
import sys

import pytest

from support.limiting_broker import StrictBroker
from support.mqtt_broker import HOST, Broker, Subscriber, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")

SECRET = "a-secret-of-the-kitchen"  # noqa: S105 - of this test's broker alone


@pytest.fixture
def broker(tmp_path):
    with Broker(
        tmp_path / "broker",
        users={"kitchen": SECRET},
        acl="pattern readwrite headnod/%u/#\nuser kitchen\ntopic write homeassistant/#\n",
    ) as running:
        yield running


@pytest.fixture
def password(tmp_path):
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    return file


def headnod(*words, credentials="", **settings):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HEADNOD_")}
    environment["CREDENTIALS_DIRECTORY"] = str(credentials)
    said = {f"HEADNOD_MQTT__{key.upper()}": str(value) for key, value in settings.items()}
    ended = subprocess.run(
        [sys.executable, "-m", "headnod", "mqtt", "test", *words],
        env=environment | said,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert SECRET not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended


def test_a_line_a_step_and_0_when_all_is_well(broker, password):
    ended = headnod(host=HOST, port=broker.port, node="kitchen", username="kitchen", password_file=password)
    assert ended.returncode == 0
    assert [line.split()[0] for line in ended.stdout.splitlines()] == ["ok", "ok", "-", "ok", "ok", "ok"]
    assert "as 'kitchen'" in ended.stdout
    assert ended.stderr == ""


def test_every_topic_that_may_not_be_written_is_named(broker, password):
    broker.allow("user kitchen\ntopic readwrite headnod/kitchen/#\n")
    broker.restart()
    settings = {"host": HOST, "port": broker.port, "node": "kitchen", "username": "kitchen", "password_file": password}
    ended = headnod(**settings)
    assert "homeassistant/device/headnod_kitchen/config may not be written: not authorized" in ended.stdout
    assert "user 'kitchen' must write homeassistant/#, or set mqtt.discovery = false" in ended.stdout
    assert ended.returncode == 0, "without Home Assistant the listener does all else"
    assert "homeassistant" not in headnod(**settings, discovery="false").stdout
    broker.allow("user kitchen\ntopic readwrite headnod/kitchen/estimate\ntopic read headnod/kitchen/#\n")
    broker.restart()
    ended = headnod(**settings)
    assert ended.returncode == 1
    lines = [line.split(maxsplit=2) for line in ended.stdout.splitlines()]
    refused = [message for mark, step, message in lines if (mark, step) == ("FAULT", "rights")]
    first, *topics = refused
    assert first.startswith(
        f"{len(topics)} topics may not be written: not authorized (user 'kitchen' must write headnod"
    )
    for topic in ("health", "info", "model", "response/info", "shadow", "song", "state", "status"):
        assert f"headnod/kitchen/{topic}" in topics


@pytest.mark.parametrize("dumb", [True, False])
def test_a_broker_that_knows_mqtt_3_alone_is_named_with_its_setting(dumb):
    with StrictBroker(modern=False, dumb=dumb) as older:
        settings = {"host": HOST, "port": older.port, "node": "kitchen"}
        ended = headnod(**settings)
        assert ended.returncode == 1
        assert "set mqtt.protocol = 4" in ended.stdout
        assert headnod(**settings, protocol=4).returncode == 0


def test_a_quota_is_not_taken_for_a_missing_right():
    with StrictBroker(refused={"/estimate": 0x97}) as full:
        ended = headnod(host=HOST, port=full.port, node="kitchen")
    assert "headnod/kitchen/estimate may not be written: quota exceeded\n" in ended.stdout
    assert "must write" not in ended.stdout


def test_limits_and_what_does_not_fit_are_reported():
    with StrictBroker(maximum_packet_size=600, retain_available=0) as strict:
        ended = headnod(host=HOST, port=strict.port, node="kitchen")
    lines = {}
    for line in ended.stdout.splitlines():
        step = line.split()[1]
        lines[step] = f"{lines[step]} {line}" if step in lines else line
    assert "packets of up to 600 bytes" in lines["limits"]
    assert "it retains nothing" in lines["limits"]
    assert lines["sizes"].startswith("FAULT")
    assert "headnod/kitchen/info" in lines["sizes"]
    assert re.fullmatch(r"ok +rights +\d+ topics may be written", lines["rights"]), "a size is no right"
    assert strict.sent_away == []


def test_no_right_is_claimed_where_nothing_is_acknowledged():
    with StrictBroker(maximum_qos=0) as strict:
        ended = headnod(host=HOST, port=strict.port, node="kitchen")
    assert "warning  rights       at QoS 0 the broker does not report what it refuses" in ended.stdout
    assert "may be written" not in ended.stdout
    assert {each.qos for each in strict.published} == {0}


def test_a_size_that_is_refused_without_being_announced_is_found(tmp_path):
    with Broker(tmp_path / "small", settings="message_size_limit 500") as small:
        ended = headnod(host=HOST, port=small.port, node="kitchen", discovery="false")
    assert ended.returncode == 1
    assert "the size of the largest message, are not accepted: lost" in ended.stdout


def test_what_is_retained_stays_as_it_is(broker, password):
    retained = {
        "homeassistant/device/headnod_kitchen/config": b'{"of": "the listener"}',
        **{f"headnod/kitchen/{topic}": topic.encode() for topic in ("status", "state", "info", "model", "shadow")},
    }
    broker.allow("user kitchen\ntopic readwrite #\n")
    broker.restart()
    login = {"user": "kitchen", "password": SECRET}
    with Subscriber(broker, name="before", **login) as subscriber:
        for topic, payload in retained.items():
            subscriber.publish(topic, payload, retain=True)
        settings = {"host": HOST, "port": broker.port, "node": "kitchen", "username": "kitchen"}
        assert headnod(**settings, password_file=password).returncode == 0
    with Subscriber(broker, name="after", **login) as subscriber:
        subscriber.publish("end", b"end")
        subscriber.until(lambda message: message.topic == "end", 60.0)
        assert {message.topic: message.payload for message in subscriber.messages if message.retain} == retained


def test_a_json_object_a_step_and_1_where_the_way_ends(broker, password):
    password.write_text("another\n")
    ended = headnod("--json", host=HOST, port=broker.port, node="kitchen", username="kitchen", password_file=password)
    steps = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == 1
    assert [step["step"] for step in steps] == ["name", "connection", "certificate", "login"]
    assert steps[-1]["verdict"] == "fault"
    assert ended.stderr == ""


def test_the_password_may_come_from_systemd(broker, password):
    credential = password.rename(password.with_name("mqtt_password"))
    ended = headnod(host=HOST, port=broker.port, node="kitchen", username="kitchen", credentials=credential.parent)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({}, "mqtt.host: no broker is set"),
        ({"host": HOST, "node": "a/b"}, "mqtt.node: 'a/b'"),
        ({"host": HOST, "node": "a", "tls": "true", "ca_file": "/nonexistent/ca.crt"}, "mqtt.ca_file: /nonexistent"),
        ({"host": HOST, "node": "a", "username": "a", "password_file": "/nonexistent/pw"}, "mqtt.password_file: /none"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_78_and_one_line(settings, complaint):
    ended = headnod(**settings)
    assert ended.returncode == 78
    assert ended.stderr.count("\n") == 1
    assert complaint in ended.stderr


@pytest.mark.parametrize(
    ("text", "settings", "complaint"),
    [
        (SECRET, {}, "a password needs mqtt.username too"),
        (f"{SECRET}\nmore\n", {"username": "kitchen"}, "is not one line"),
        ("\n", {"username": "kitchen"}, "is not one line"),
    ],
)
def test_a_password_file_that_means_nothing_is_refused(password, text, settings, complaint):
    password.write_text(text)
    ended = headnod(host=HOST, node="kitchen", password_file=password, **settings)
    assert ended.returncode == 78
    assert complaint in ended.stderr
