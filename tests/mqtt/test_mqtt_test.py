"""`headnod mqtt test` as a person meets it: lines, JSON, exit status, and no password in any of them."""

import json
import os
import subprocess
import sys

import pytest

from broker import HOST, Broker, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")

SECRET = "a-secret-of-the-kitchen"  # noqa: S105 - of this test's broker alone


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path / "broker", users={"kitchen": SECRET}, acl="pattern readwrite headnod/%u/#") as running:
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
