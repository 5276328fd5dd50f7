"""The controls of the page change the real listener: over HTTP, in processes of their own, and over a restart."""

import json
import shutil
import socket
import sqlite3
import time
import tomllib
from contextlib import closing, suppress
from datetime import datetime, timedelta

import numpy as np
import pytest

from headnod.resources import find_model
from headnod.teaching.corrections import CorrectionStore
from support.alsa_microphone import RATE, alsa_microphone
from support.browser import ListenerPage, long_clip
from support.command_line import PATIENCE
from support.mqtt_broker import Subscriber


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return long_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def state(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


class Controlled:
    """A listener with its page, and a person who has the owner's rights."""

    def __init__(self, clip, state, *words, **env):
        env = {"HEADNOD_HISTORY__PATH": str(state / "history.sqlite")} | env
        self.page = ListenerPage("--audio", str(clip), *words, env=env)

    def __enter__(self):
        self.page.__enter__()
        return self

    def __exit__(self, *_):
        self.page.close()

    def get(self, path):
        return self.page.json(f"/api/v1/{path}")

    def act(self, method, path, body=None, *, status=200):
        token = self.get("session")["csrf"]
        answer = self.page.request(method, f"/api/v1/{path}", body, X_CSRF_Token=token)
        content = json.loads(answer.read())
        assert answer.status == status, content
        return content

    def printed(self):
        """What the listener prints, estimates and status events."""
        for line in self.page.process.stdout:
            yield json.loads(line)

    def until(self, wanted, patience=PATIENCE):
        deadline = time.monotonic() + patience
        for each in self.printed():
            if wanted(each):
                return each
            assert time.monotonic() < deadline, f"not in {each}"
        raise AssertionError("the listener ended")

    def controls_until(self, wanted):
        """The controls as they are pushed to the page, as soon as they fit."""
        if wanted(now := self.get("controls")):
            return now
        deadline = time.monotonic() + PATIENCE
        for name, data in self.page.events():
            if name == "controls" and wanted(data):
                self.page.close_connections()
                return data
            assert time.monotonic() < deadline, f"not in {data}"
        raise AssertionError("the stream of events ended")


@pytest.fixture
def kitchen(clip, state):
    with Controlled(clip, state) as kitchen:
        yield kitchen


def is_estimate(printed):
    return "genre" in printed


def test_a_pause_stops_estimates_and_ends_by_itself(kitchen):
    kitchen.until(is_estimate)
    kitchen.act("PATCH", "controls", {"pause_seconds": 3})
    paused = kitchen.until(lambda each: each["state"] == "paused")
    assert paused["message"].startswith("paused until ")
    found = kitchen.controls_until(lambda now: now["paused"])
    assert 0 < found["paused_until"] - time.time() <= 3
    kitchen.until(is_estimate)
    assert not kitchen.controls_until(lambda now: not now["paused"])["pause_reason"]


def spans_around_now(minutes=30):
    now = datetime.now().astimezone()
    return [[f"{now - timedelta(minutes=minutes):%H:%M}", f"{now + timedelta(minutes=minutes):%H:%M}"]]


def test_quiet_hours_pause_the_listener_and_a_person_resumes_within_them(kitchen):
    kitchen.until(is_estimate)
    kitchen.act("PATCH", "controls", {"quiet_hours": spans_around_now()})
    assert kitchen.until(lambda each: each["state"] == "paused")["message"].startswith("quiet hours until ")
    found = kitchen.controls_until(lambda now: now["quiet_hours"])
    assert (found["quiet_hours"], found["paused"]) == (spans_around_now(), False)
    kitchen.act("PATCH", "controls", {"paused": False})
    kitchen.until(is_estimate)


def test_what_was_set_survives_a_restart_of_the_listener(clip, state):
    wanted = {
        "quiet_hours": [["00:00", "00:01"]],
        "threshold": 0.9,
        "brightness": 0.1,
        "outputs": [{"name": "history", "on": False}],
    }
    with Controlled(clip, state) as kitchen:
        kitchen.act("PATCH", "controls", wanted)
        kitchen.controls_until(lambda now: now["brightness"] == 0.1)
        kitchen.until(lambda _: (state / "settings.json").exists())
        assert kitchen.page.end() == 0
    with Controlled(clip, state) as kitchen:
        found = kitchen.get("controls")
        assert found["quiet_hours"] == wanted["quiet_hours"]
        assert (found["threshold"], found["brightness"]) == (0.9, 0.1)
        assert found["outputs"] == [{"name": "history", "kind": "database", "on": False}]
        kitchen.act("PATCH", "controls", {"outputs": [{"name": "history", "on": True}]})
        kitchen.controls_until(lambda now: now["outputs"][0]["on"])


def test_an_output_that_is_off_writes_nothing(clip, state):
    def rows():
        with closing(sqlite3.connect(state / "history.sqlite")) as db, db:
            return db.execute("SELECT count(*) FROM estimates").fetchone()[0]

    with Controlled(clip, state) as kitchen:
        kitchen.until(lambda _: rows() > 0)
        kitchen.act("PATCH", "controls", {"outputs": [{"name": "history", "on": False}]})
        kitchen.controls_until(lambda now: not now["outputs"][0]["on"])
        before = rows()
        for _ in range(5):
            kitchen.until(is_estimate)
        assert kitchen.page.end() == 0
    assert rows() == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"threshold": 2}, "threshold"),
        ({"quiet_hours": [["7", "8"]]}, "not a span of hours"),
        ({"outputs": [{"name": "oven", "on": True}]}, "there is no output 'oven' (there is history)"),
        ({"paused_until": 1000.0}, "paused_until: is over"),
        ({"volume": 11}, "volume"),
    ],
)
def test_a_change_that_cannot_be_applied_is_refused_with_the_reason(kitchen, change, reason):
    before = kitchen.get("controls")
    answer = kitchen.page.request("PATCH", "/api/v1/controls", change, X_CSRF_Token=kitchen.get("session")["csrf"])
    assert answer.status in {400, 409}
    assert reason in json.loads(answer.read())["error"]
    after = kitchen.get("controls")
    assert [after[key] for key in ("threshold", "quiet_hours", "paused")] == [
        before[key] for key in ("threshold", "quiet_hours", "paused")
    ]


def test_a_value_set_on_the_page_goes_into_the_local_file_and_is_applied(clip, state, tmp_path):
    own = tmp_path / "own.toml"
    own.write_text("[listen]\nlead = 0.2\n")
    with Controlled(clip, state, "--config", str(own)) as kitchen:
        answer = kitchen.act("PATCH", "configuration", {"values": {"listen.lead": 0.1, "history.days": 7}})
        assert answer["file"] == str(state / "headnod.local.toml")
        kitchen.page.wait_for_line("the configuration was read again")
        found = {row["key"]: row for row in kitchen.get("configuration")["values"]}
        assert (found["listen.lead"]["value"], found["listen.lead"]["changeable"]) == (0.1, True)
        assert found["listen.lead"]["origin"].startswith(str(state / "headnod.local.toml"))
        assert found["listen.every"]["origin"] == "HEADNOD_LISTEN__EVERY"
        assert not found["microphone.command"]["changeable"]
        kitchen.act("PATCH", "configuration", {"values": {"listen.lead": None}})
        assert {row["key"]: row["value"] for row in kitchen.get("configuration")["values"]}["listen.lead"] == 0.2
    assert own.read_text() == "[listen]\nlead = 0.2\n"
    assert tomllib.loads((state / "headnod.local.toml").read_text()) == {"history": {"days": 7}}


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("microphone.command", ["sh"], "cannot be set on the page"),
        ("web.address", "0.0.0.0", "cannot be set on the page"),  # noqa: S104 - to be refused
        ("model.keys", [], "cannot be set on the page"),
        ("listen.smoothing", -1, "listen.smoothing"),
        ("history.days", "seven", "history.days"),
        ("listen.quiet_hours", ["7-8"], "not a span of hours"),
        ("microphone.device", "a\x1bb", "cannot be printed"),
    ],
)
def test_dangerous_and_invalid_values_are_refused_and_nothing_is_written(kitchen, state, key, value, reason):
    answer = kitchen.act("PATCH", "configuration", {"values": {key: value}}, status=409)
    assert reason in answer["error"]
    assert not (state / "headnod.local.toml").exists()


def test_choosing_a_microphone_writes_its_name(kitchen, state):
    kitchen.act("POST", "microphone", {"device": "usb:0d8c:0014"})
    assert tomllib.loads((state / "headnod.local.toml").read_text()) == {"microphone": {"device": "usb:0d8c:0014"}}
    kitchen.page.wait_for_line("the configuration was read again")


def test_a_chosen_microphone_is_opened(clip, state, tmp_path):
    rng = np.random.default_rng(1)
    env = alsa_microphone(tmp_path, 0.1 * rng.standard_normal((RATE, 1)).cumsum(axis=0) % 0.3)
    own = tmp_path / "own.toml"
    own.write_text('[microphone]\ndevice = "usb:dead:beef"\n')
    with Controlled(clip, state, "--audio", "mic", "--config", str(own), **env) as kitchen:
        kitchen.until(lambda each: each["state"] == "waiting_for_microphone")
        kitchen.act("POST", "microphone", {"device": "pcm:mic"})
        kitchen.until(is_estimate)
        found = kitchen.get("microphones")
        assert found["chosen"] == "pcm:mic"
        assert "pcm:mic" in {each["name"] for each in found["devices"]}
        assert found["level"] > -60
    assert "dead:beef" in own.read_text()


def test_lights_that_are_off_get_no_frames_until_they_are_on_again(clip, state):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as lamp:
        lamp.bind(("127.0.0.1", 0))
        lamp.settimeout(PATIENCE)
        env = {"HEADNOD_LEDS__KIND": "wled", "HEADNOD_LEDS__HOST": f"127.0.0.1:{lamp.getsockname()[1]}"}
        with Controlled(clip, state, **env) as kitchen:
            assert lamp.recv(2048)
            kitchen.act("PATCH", "controls", {"outputs": [{"name": "leds", "on": False}]})
            found = kitchen.controls_until(lambda now: not now["outputs"][0]["on"])
            assert found["outputs"][0] == {"name": "leds", "kind": "wled", "on": False}
            kitchen.until(is_estimate)
            lamp.setblocking(False)
            with suppress(BlockingIOError):
                while lamp.recv(2048):
                    pass
            for _ in range(4):
                kitchen.until(is_estimate)
            with pytest.raises(BlockingIOError):
                lamp.recv(2048)
            lamp.settimeout(PATIENCE)
            kitchen.act("PATCH", "controls", {"outputs": [{"name": "leds", "on": True}]})
            assert lamp.recv(2048)


@pytest.fixture
def statuses(doomed):
    """What the listener publishes on `status`."""
    with Subscriber(doomed, "headnod/kitchen/status", name="controls") as subscriber:
        yield subscriber


def test_mqtt_is_switched_off_and_on_by_the_page(clip, state, doomed, statuses):
    def published(payload, after=0):
        statuses.until(lambda _: payload in [each.payload for each in statuses.messages[after:]], PATIENCE)

    env = {"HEADNOD_MQTT__HOST": doomed.host, "HEADNOD_MQTT__PORT": str(doomed.port)}
    with Controlled(clip, state, **env) as kitchen:
        published(b"online")
        kitchen.act("PATCH", "controls", {"outputs": [{"name": "mqtt", "on": False}]})
        published(b"offline")
        kitchen.until(is_estimate)
        count = len(statuses.messages)
        kitchen.act("PATCH", "controls", {"outputs": [{"name": "mqtt", "on": True}]})
        published(b"online", count)


def test_as_a_service_a_restart_is_left_to_systemd(clip, state, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        with Controlled(clip, state, NOTIFY_SOCKET=str(tmp_path / "notify")) as kitchen:
            kitchen.until(is_estimate)
            kitchen.act("POST", "restart")
            assert kitchen.page.process.wait(PATIENCE) == 0


def test_models_are_activated_and_rolled_back(kitchen):
    def active():
        return [row["model"] for row in kitchen.get("models")["models"] if row["active"]]

    assert active() == ["genre-2.2.0"]
    kitchen.act("POST", "models/activate", {"model": "genre-small-2.1.0"})
    kitchen.until(lambda each: each.get("model") == "genre-small-2.1.0")
    (row,) = [row for row in kitchen.get("models")["models"] if row["active"]]
    assert (row["origin"], row["probation"]) == ("installed", 10)
    assert kitchen.act("POST", "models/rollback") == {"model": "genre-2.2.0"}
    kitchen.until(lambda each: each.get("model") == "genre-2.2.0")
    refused = kitchen.act("POST", "models/activate", {"model": "/etc/passwd"}, status=409)
    assert "there is no model" in refused["error"]


def test_the_page_receives_why_a_model_was_refused(kitchen, state):
    broken = state / "models" / "broken-1.0.0.7"
    shutil.copytree(find_model("genre-1.0.0"), broken)
    (broken / "model.tflite").write_bytes(b"damaged")
    assert kitchen.get("models")["step"] is None
    kitchen.act("POST", "models/activate", {"model": "broken-1.0.0"})
    kitchen.page.wait_for_line("refused")
    step = kitchen.get("models")["step"]
    assert step["stage"] == "refused"
    assert "model.tflite" in step["message"]


def test_a_restart_keeps_the_process_and_serves_the_page_again(kitchen):
    kitchen.until(is_estimate)
    process = kitchen.page.process.pid
    kitchen.act("POST", "restart")
    kitchen.page.wait_for_line("the page is at", times=2)
    assert kitchen.until(lambda each: each.get("sequence") == 0)
    assert kitchen.page.process.pid == process
    assert kitchen.get("controls")["model"]["active"] == "genre-2.2.0"


def logged(kitchen):
    return kitchen.get("log?hours=1")["lines"]


def test_the_log_of_the_last_hours_is_shown(kitchen):
    kitchen.act("PATCH", "configuration", {"values": {"log.level": "info"}})
    kitchen.page.wait_for_line("the configuration was read again")
    # Standard error is written first, the log of the page after it.
    kitchen.until(lambda _: any("the configuration was read again" in line["message"] for line in logged(kitchen)))
    lines = logged(kitchen)
    assert all(line["level"] and line["time"] > 1e9 for line in lines)
    for hours in ("x", "nan", "inf"):
        answer = kitchen.page.get(f"/api/v1/log?hours={hours}")
        assert (answer.status, json.loads(answer.read())["error"]) == (400, f"hours: '{hours}' is not a number")


def test_a_correction_arrives_with_the_right_windows_and_is_deleted(kitchen, state):
    first = kitchen.until(is_estimate)
    for _ in range(20):
        last = kitchen.until(is_estimate)
    start, end = (datetime.fromisoformat(each["time"]).timestamp() for each in (first, last))
    made = kitchen.act("POST", "corrections", {"start": start - 0.05, "end": end + 0.05, "label": "reggae"})
    assert made["label"] == "reggae"
    store = CorrectionStore(state)
    (found,) = store.all()
    labelled = store.labelled(found.body)
    # A busy machine makes several estimates at once, and reads the two clocks at different moments.
    assert found.windows == len(labelled.times)
    assert abs(found.windows - (last["sequence"] - first["sequence"] + 1)) <= 2
    assert abs(labelled.times[0] - start) < 1.0
    assert abs(labelled.times[-1] - end) < 1.0
    assert start - 0.06 <= labelled.times.min() <= labelled.times.max() <= end + 0.06
    assert labelled.embeddings.shape[1] == 200
    assert not list(state.glob("*.wav")) + list(state.glob("*.flac"))
    assert kitchen.get("corrections")["corrections"][0]["id"] == found.id
    for label, reason in (("", "empty"), ("unknown", "reserved"), ("x" * 65, "label")):
        answer = kitchen.page.request(
            "POST",
            "/api/v1/corrections",
            {"start": start, "end": end, "label": label},
            X_CSRF_Token=kitchen.get("session")["csrf"],
        )
        assert answer.status in {400, 409}
        assert reason in answer.read().decode()
    assert kitchen.act("DELETE", f"corrections/{found.id}") == {"deleted": 1}
    assert kitchen.act("DELETE", "corrections") == {"deleted": 0}


def test_corrections_taught_on_request_change_the_answer_of_the_same_listener(clip, state):
    with Controlled(clip, state, HEADNOD_LISTEN__SMOOTHING="0") as kitchen:
        before = kitchen.until(is_estimate)
        assert before["raw_genre"] != "polka"
        times = [datetime.fromisoformat(kitchen.until(is_estimate)["time"]).timestamp() for _ in range(90)]
        for part in range(4):
            own = times[20 * part : 20 * part + 20]
            kitchen.act("POST", "corrections", {"start": own[0], "end": own[-1], "label": "polka"})
        assert kitchen.act("POST", "teach") == {}
        # Teaching runs at the lowest priority, so a busy machine delays it.
        kitchen.until(lambda each: each.get("model") == "genre-taught-1.0.0", patience=4 * PATIENCE)
        assert kitchen.until(lambda each: is_estimate(each) and each["raw_genre"] == "polka")
        kitchen.until(lambda _: not kitchen.get("teach")["running"])
        result = kitchen.get("teach")["result"]
        assert result["model"] == "genre-taught-1.0.0"
        assert any(line.startswith("polka: 0 of ") for line in result["summary"]), result
        assert "polka" in kitchen.get("controls")["labels"]


def test_suggestions_name_moments_of_the_last_hours(kitchen):
    for _ in range(30):
        kitchen.until(is_estimate)
    found = kitchen.get("suggestions")["suggestions"]
    assert 0 < len(found) <= 10
    assert all(0 < time.time() - each["end"] < 60 for each in found)


def test_without_a_state_folder_what_needs_one_is_refused_with_the_setting(clip):
    with ListenerPage("--audio", str(clip)) as page:
        token = page.json("/api/v1/session")["csrf"]
        answer = page.request("POST", "/api/v1/corrections", {"start": 1, "end": 2, "label": "ska"}, X_CSRF_Token=token)
        assert answer.status == 409
        assert "set history.path" in answer.read().decode()
        assert page.json("/api/v1/controls")["model"]["active"] == "genre-2.2.0"


def test_readers_see_the_controls_and_nothing_of_hosts_and_logs(clip, tmp_path):
    (tmp_path / "owner").write_text("correct horse\n")
    (tmp_path / "reader").write_text("only reading\n")
    env = {
        "HEADNOD_WEB__PASSWORD_FILE": str(tmp_path / "owner"),
        "HEADNOD_WEB__READER_PASSWORD_FILE": str(tmp_path / "reader"),
    }
    with ListenerPage("--audio", str(clip), env=env) as page:
        assert page.get("/api/v1/controls").status == 401
        reader = page.log_in("only reading")
        assert page.get("/api/v1/controls", **reader).status == 200
        for path in ("log", "configuration", "corrections", "microphones", "models"):
            assert page.get(f"/api/v1/{path}", **reader).status == 403, path
        owner = page.log_in("correct horse")
        stolen = {"Cookie": owner["Cookie"], "X_CSRF_Token": reader["X_CSRF_Token"]}
        paths = page.json("/api/v1/openapi.json")["paths"]
        changes = [(method.upper(), path) for path, methods in paths.items() for method in methods if method != "get"]
        changes = [each for each in changes if not each[1].endswith("/session")]
        assert len(changes) >= 10
        for method, path in changes:
            for visitor, status in (({}, 401), (reader, 403), ({"Cookie": owner["Cookie"]}, 403), (stolen, 403)):
                answer = page.request(method, path.replace("{id}", "1"), {}, **visitor)
                assert answer.status == status, (method, path)
                page.close_connections()
        assert page.request("PATCH", "/api/v1/controls", {"threshold": 0.5}, **owner).status == 200
