"""The Home Assistant add-on: its options, their translations, and its start with the supervisor's MQTT service."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import yaml

from headnod import __version__
from headnod.config import load
from headnod.config.layers import environment_layer
from headnod.config.validation import config_errors
from headnod.factory.mqtt_factory import page_url
from headnod.resources import demo_clip
from support.http_server import HttpServer
from support.mqtt_broker import HOST, Broker, Subscriber
from support.mqtt_broker import missing as no_broker
from support.radio_server import answer, radio_server

ADDON = Path(__file__).parents[1] / "homeassistant-addon"
CONFIG = yaml.safe_load((ADDON / "config.yaml").read_text())
HOST_NAME = "local-headnod"
SECRET = "hunter2 of the kitchen"  # noqa: S105 - of this test's broker alone


@pytest.fixture(scope="module")
def start():
    spec = importlib.util.spec_from_file_location("addon_run", ADDON / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def options(**changed):
    return CONFIG["options"] | changed


def configured(start, folder, broker=None, **changed):
    return load(environment_layer(start.variables(options(**changed), broker, folder, HOST_NAME))).config


def test_the_version_is_that_of_headnod():
    assert CONFIG["version"] == __version__
    assert f"## {__version__}\n" in (ADDON / "CHANGELOG.md").read_text()


def test_every_option_has_a_type_and_a_translation():
    assert {name for name, kind in CONFIG["schema"].items() if not kind.endswith("?")} == set(CONFIG["options"])
    for path in (ADDON / "translations").glob("*.yaml"):
        assert set(yaml.safe_load(path.read_text())["configuration"]) == set(CONFIG["schema"]), path.name
    documented = (ADDON / "DOCS.md").read_text()
    assert all(
        re.search(rf"^\| .*\b{name}\b", documented, re.MULTILINE) for name in CONFIG["options"] if name != "address"
    )


def test_bounds_of_options_are_those_of_the_configuration(start, tmp_path):
    for name in ("every", "smoothing", "silence"):
        least, most = re.fullmatch(r"float\((.+),(.+)\)", CONFIG["schema"][name]).groups()
        for value in (float(least), float(most)):
            assert getattr(configured(start, tmp_path, **{name: value}).listen, name) == value


@pytest.mark.parametrize("source", ["microphone", "output", "address"])
def test_every_source_is_a_valid_configuration(start, tmp_path, source):
    config = configured(start, tmp_path, source=source, address="rtsp://camera/live" if source == "address" else "")
    assert (config.web.enabled, config.web.open, config.web.frame_ancestors) == (True, True, ("'self'",))
    assert [error for error in config_errors(config) if "is not a program" not in str(error)] == []
    assert ("--device=@DEFAULT_MONITOR@" in config.microphone.command) == (source == "output")
    assert bool(config.microphone.address) == (source == "address")


def test_home_assistant_links_the_device_to_the_ingress_of_the_add_on(start, tmp_path):
    assert page_url(configured(start, tmp_path).web) == "homeassistant://hassio/ingress/local_headnod"


def test_secrets_are_files_in_memory_and_no_variables(start, tmp_path):
    broker = {"host": "core-mosquitto", "port": 1883, "ssl": False, "username": "addons", "password": SECRET}
    made = start.variables(options(page_password=SECRET), broker, tmp_path, HOST_NAME)
    assert SECRET not in json.dumps(made)
    for name in ("HEADNOD_MQTT__PASSWORD_FILE", "HEADNOD_WEB__PASSWORD_FILE"):
        path = Path(made[name])
        assert (path.read_text(), path.stat().st_mode & 0o777) == (SECRET, 0o600)


@contextmanager
def supervisor(data):
    """The one answer of the supervisor that the add-on asks for."""
    asked = []

    class Answer(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            asked.append((self.path, self.headers["Authorization"]))
            self.send_response(200 if data else 400)
            self.end_headers()
            self.wfile.write(json.dumps({"result": "ok", "data": data}).encode())

    with HttpServer(Answer) as server:
        yield f"http://{HOST}:{server.port}", asked


def test_without_a_broker_the_page_works_alone(start, capsys):
    with supervisor(None) as (address, asked):
        assert start.mqtt_service(address, "token") is None
    assert asked == [("/services/mqtt", "Bearer token")]
    assert "estimates are on the page only" in capsys.readouterr().err


@pytest.mark.skipif(bool(no_broker()), reason=f"not installed: {no_broker()}")
def test_the_add_on_listens_and_logs_in_at_the_broker_of_the_supervisor(tmp_path):
    with ExitStack() as stack:
        broker = stack.enter_context(Broker(tmp_path / "broker", users={"addons": SECRET, "test": "test"}))
        subscriber = stack.enter_context(Subscriber(broker, user="test", password="test"))
        radio = stack.enter_context(radio_server())
        song = radio.on("/song.ogg", answer(demo_clip().read_bytes(), kind="audio/ogg"))
        data = {"host": HOST, "port": broker.port, "ssl": False, "username": "addons", "password": SECRET}
        address, _ = stack.enter_context(supervisor(data))
        path = tmp_path / "options.json"
        path.write_text(json.dumps(options(source="address", address=song, room="kitchen")))
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "ADDON_OPTIONS": str(path),
            "ADDON_SUPERVISOR": address, "SUPERVISOR_TOKEN": "token", "RUNTIME_DIRECTORY": str(tmp_path),
            "STATE_DIRECTORY": str(tmp_path), "HEADNOD_CONFIG": "/dev/null", "HEADNOD_WEB__ENABLED": "false",
        }  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, ADDON / "run.py"], env=environment, stderr=subprocess.PIPE, text=True
        )
        try:
            subscriber.until(
                lambda message: message.topic == "headnod/kitchen/estimate" and b'"genre":"metal"' in message.payload,
                60.0,
            )
            lines = Path(f"/proc/{process.pid}/cmdline").read_text() + Path(f"/proc/{process.pid}/environ").read_text()
            assert SECRET not in lines
            assert "SUPERVISOR_TOKEN" not in lines
        finally:
            process.terminate()
            _, log = process.communicate(timeout=30)
        assert process.returncode == 0, log
        assert SECRET not in log
