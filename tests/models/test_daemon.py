"""The listener that runs: new models by MQTT and by command line, while it hears music."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest
import soundfile

import signing
from broker import Broker, Heard, missing
from headnod.bundles.store import Store
from headnod.shipped import demo_clip
from listening import STARTING, Listening, held, is_estimate
from signing import good, public, sent

HEADNOD = (sys.executable, "-m", "headnod")
STABLE, OWN = "headnod/deploy/stable", "headnod/kitchen/deploy"

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path / "broker", durable=False) as started:
        yield started


@pytest.fixture
def heard(broker):
    with Heard(broker) as all_of_it:
        yield all_of_it


@pytest.fixture
def music(tmp_path):
    """The demo clip as a microphone that never ends."""
    raw = tmp_path / "music.raw"
    with raw.open("wb") as file:
        samples, rate = soundfile.read(demo_clip(), dtype="int16")
        mono = samples[:: max(rate // 22_050, 1), 0]
        for _ in range(16):
            file.write(mono.astype("<i2").tobytes())
    return raw


@pytest.fixture
def configured(tmp_path, broker):
    """Writes the configuration of a listener that takes signed models."""
    base = signing.write(good("0.1.0", serial=0, key=None, labels=("calm", "loud")), tmp_path / "base")

    def configured(more="", every=0.25, probation=4):
        path = tmp_path / "headnod.toml"
        path.write_text(
            f'[model]\nname = "{base}"\nkeys = ["{public()}"]\nprobation = {probation}\n{more}\n'
            f"[listen]\nevery = {every}\nsilence = -90.0\nabove_noise = 0.0\n"
            f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\nnode = "kitchen"\n'
        )
        return path

    return configured


@pytest.fixture
def environment(tmp_path, state):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEADNOD_", "NOTIFY_"))}
    return {**kept, "STATE_DIRECTORY": str(state), "RUNTIME_DIRECTORY": str(tmp_path)}


@pytest.fixture
def listening(tmp_path, configured, environment, music):
    """Starts listeners that hear the clip at the pace of music."""
    started = []

    def listening(**how):
        path = configured(**how)
        words = ("--audio", "-", "--rate", "22050", "--pace", "real", "--config", str(path))
        with music.open("rb") as stdin:
            listener = Listening(*words, environment=environment, log=tmp_path / "log", stdin=stdin)
        started.append(listener)
        return listener

    yield listening
    for listener in started:
        listener.__exit__()


@pytest.fixture
def headnod(environment, tmp_path):
    """Runs `headnod models` beside the listener."""

    def run(*words, status=0):
        command = [*HEADNOD, "models", *map(str, words), "--config", str(tmp_path / "headnod.toml")]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert ended.returncode == status, ended.stderr
        return ended.stdout + ended.stderr

    return run


def told(message):
    return json.loads(message.payload)


def until_stage(heard, stage, model, within=30.0):
    return told(
        heard.until(
            lambda message: (
                message.topic == "headnod/kitchen/model"
                and told(message)["stage"] == stage
                and told(message)["model"] == model
            ),
            within,
        )
    )


def stages(heard):
    return [each["stage"] for each in map(json.loads, heard.on("kitchen/model")) if each["model"] == "fixed-2.0.0"]


def of_model(version):
    return lambda said: is_estimate(said) and said["model"] == f"fixed-{version}"


def test_a_model_that_is_sent_is_tried_put_to_use_and_kept_and_no_window_is_lost(heard, listening):
    listener = listening()
    before = listener.until(is_estimate, STARTING)
    assert before["model"] == "fixed-0.1.0"
    heard.publish(STABLE, sent(version="2.0.0", serial=7), retain=True)
    kept = until_stage(heard, "kept", "fixed-2.0.0")
    said = [before, *listener.everything_until(of_model("2.0.0"), 10.0)]
    assert [each["sequence"] for each in said] == list(range(before["sequence"], before["sequence"] + len(said)))
    assert max(after["seconds"] - each["seconds"] for each, after in pairwise(said)) < 0.35
    assert {tuple(each["scores"]) for each in said} == {("calm", "loud"), ("jazz", "metal")}
    assert all((each["model"] == "fixed-2.0.0") == ("jazz" in each["scores"]) for each in said)
    assert list(dict.fromkeys(stages(heard))) == ["verified", "tested", "probation", "kept"]
    assert kept["serial"] == 7
    # Home Assistant's options follow.
    config = heard.until(
        lambda message: message.topic.startswith("homeassistant/device/") and b'"metal"' in message.payload, 10.0
    )
    assert told(config)["components"]["genre"]["options"] == ["jazz", "metal", "silence", "unknown"]
    info = heard.until(lambda message: message.topic.endswith("/info") and told(message)["serial"] == 7, 5.0)
    assert told(info)["labels"] == ["jazz", "metal"]
    assert told(info)["channel"] == "stable"


@pytest.mark.long
def test_what_was_retained_is_taken_at_the_start_and_a_restart_changes_nothing(heard, listening):
    heard.publish(OWN, sent(version="2.0.0", serial=7), retain=True)
    listener = listening()
    until_stage(heard, "kept", "fixed-2.0.0")
    listener.send(signal.SIGTERM)
    assert listener.ended(5.0)[0] == 0
    heard.forget()
    listener = listening()
    assert listener.until(is_estimate, STARTING)["model"] == "fixed-2.0.0"
    until_stage(heard, "kept", "fixed-2.0.0")
    assert not {"tested", "probation", "refused"} & set(stages(heard))


@pytest.mark.parametrize(
    ("bundle", "why"),
    [
        (signing.join(good("2.0.0", key=signing.STRANGER)), "by none of the 1 keys"),
        pytest.param(signing.join(good("2.0.0", key=None)), "is not signed", marks=pytest.mark.long),
        pytest.param(b"\0" * 5000, "is no headnod bundle", marks=pytest.mark.long),
        (signing.join(signing.bad("nan")), "nan"),
    ],
)
def test_what_is_refused_is_told_and_the_listener_goes_on(heard, listening, bundle, why):
    listener = listening()
    listener.until(is_estimate, STARTING)
    heard.publish(STABLE, bundle)
    refused = heard.until(
        lambda message: message.topic == "headnod/kitchen/model" and told(message)["stage"] == "refused", 20.0
    )
    assert why in told(refused)["message"]
    listener.forget()
    assert listener.until(is_estimate, 5.0)["model"] == "fixed-0.1.0"
    assert listener.process.poll() is None


def test_a_model_whose_answers_collapse_gives_way_to_the_former(heard, listening, state):
    listener = listening()
    listener.until(is_estimate, STARTING)
    heard.publish(STABLE, signing.join(signing.collapsed(serial=3)), retain=True)
    listener.until(of_model("6.6.6"), 30.0)
    back = until_stage(heard, "rolled_back", "fixed-6.6.6")
    assert "its answers have collapsed" in back["message"]
    listener.until(of_model("0.1.0"), 5.0)
    assert [each.name for each in (state / "models").iterdir() if each.name.startswith("fixed")] == []


def test_a_listener_that_is_killed_twice_on_probation_begins_with_the_former_model(heard, listening):
    listener = listening(probation=1000)
    listener.until(is_estimate, STARTING)
    heard.publish(OWN, sent(version="2.0.0", serial=7))
    for version in ("2.0.0", "2.0.0"):
        listener.until(of_model(version), 30.0)
        listener.send(signal.SIGKILL)
        listener.ended(5.0)
        listener = listening(probation=1000)
    assert listener.until(is_estimate, STARTING)["model"] == "fixed-0.1.0"
    assert "ended badly 2 times" in until_stage(heard, "rolled_back", "fixed-2.0.0")["message"]


def test_where_updates_are_offered_home_assistant_starts_them(heard, listening):
    listener = listening(more='updates = "offer"')
    listener.until(is_estimate, STARTING)
    heard.publish(STABLE, sent(version="2.0.0", serial=7), retain=True)
    until_stage(heard, "offered", "fixed-2.0.0")
    listener.forget()
    assert listener.until(is_estimate, 5.0)["model"] == "fixed-0.1.0"
    offered = told(
        heard.until(
            lambda message: message.topic.endswith("/info") and told(message)["latest_model"] == "fixed-2.0.0", 10.0
        )
    )
    assert offered["model"] == "fixed-0.1.0"
    config = heard.until(
        lambda message: message.topic.startswith("homeassistant/device/") and b"fixed-2.0.0" in message.payload, 10.0
    )
    update = told(config)["components"]["update"]
    heard.publish(update["command_topic"], update["payload_install"])
    until_stage(heard, "kept", "fixed-2.0.0")
    listener.until(of_model("2.0.0"), 10.0)


@pytest.mark.long
def test_a_command_beside_it_changes_the_model_of_the_listener_that_runs(listening, headnod, tmp_path):
    (tmp_path / "two.bundle").write_bytes(sent(version="2.0.0", serial=7))
    listener = listening()
    listener.until(is_estimate, STARTING)
    assert "probation" in headnod("install", tmp_path / "two.bundle")
    listener.until(of_model("2.0.0"), 10.0)
    listener.logged("has stood its probation", 10.0)
    headnod("rollback")
    listener.until(of_model("0.1.0"), 10.0)


@pytest.mark.long
def test_a_shadow_hears_along_and_tells_how_it_agrees(heard, listening, headnod, tmp_path):
    (tmp_path / "two.bundle").write_bytes(sent(version="2.0.0", serial=7, labels=("calm", "loud")))
    listener = listening()
    listener.until(is_estimate, STARTING)
    assert "no shadow has heard music here yet" in headnod("shadow", status=1)
    headnod("install", tmp_path / "two.bundle", "--keep-current")
    headnod("shadow", "fixed-2.0.0", "--every", "1")
    said = told(heard.until(lambda message: message.topic == "headnod/kitchen/shadow", 15.0))
    assert (said["shadow"], said["model"], said["windows"]) == ("fixed-2.0.0", "fixed-0.1.0", 1)
    assert "fixed-2.0.0 agrees with fixed-0.1.0 on" in headnod("shadow")
    assert listener.until(is_estimate, 5.0)["model"] == "fixed-0.1.0"
    headnod("shadow", "--stop")


@pytest.mark.long
def test_a_command_of_two_kilobytes_is_still_too_large(heard, listening):
    listener = listening()
    listener.until(is_estimate, STARTING)
    heard.publish("headnod/kitchen/set/threshold", b" " * 4000 + b"0.5")
    heard.publish("headnod/kitchen/set/threshold", b"0.25")
    heard.until(lambda message: message.topic.endswith("/info") and told(message)["certainty"] == 0.25, 10.0)
    assert len(heard.on("/response/threshold")) == 1


@pytest.mark.parametrize(("swaps", "seconds"), [(6, 4.0), pytest.param(100, 300.0, marks=pytest.mark.long)])
def test_swaps_while_listening_lose_no_window_and_leak_nothing(listening, headnod, state, tmp_path, swaps, seconds):
    listener = listening()
    for version, serial, labels in (("2.0.0", 7, ("jazz", "metal")), ("3.0.0", 8, ("high", "low", "noisy"))):
        (tmp_path / "bundle").write_bytes(sent(version=version, serial=serial, labels=labels))
        headnod("install", tmp_path / "bundle", "--keep-current")
    said = [listener.until(is_estimate, STARTING)]
    store, sizes, began = Store(state), [], time.monotonic()
    for turn in range(swaps):
        name = ("fixed-2.0.0.7", "fixed-3.0.0.8")[turn % 2]
        with store.changing():
            store.switch(name)
        said += listener.everything_until(of_model(name.partition("-")[2][:5]), 20.0)
        if turn >= 4:
            sizes.append(held(listener.pid))
        pause = began + (turn + 1) * seconds / swaps
        while time.monotonic() < pause:
            said.append(listener.until(is_estimate, 10.0))
    labels = {"fixed-0.1.0": 2, "fixed-2.0.0": 2, "fixed-3.0.0": 3}
    assert [each["sequence"] for each in said] == list(range(said[0]["sequence"], said[0]["sequence"] + len(said)))
    assert max(after["seconds"] - each["seconds"] for each, after in pairwise(said)) < 0.35
    assert all(len(each["scores"]) == labels[each["model"]] for each in said)
    assert sizes[-1].mebibytes - sizes[0].mebibytes < 10.0
    assert sizes[-1].files == sizes[0].files
    assert sizes[-1].threads <= sizes[0].threads
    print(f"{swaps} swaps: {len(said)} windows, RSS {sizes[0].mebibytes:.1f} to {sizes[-1].mebibytes:.1f} MiB")  # noqa: T201


@pytest.mark.long
def test_ten_thousand_damaged_messages_leave_the_listener_as_it_was(heard, listening, state):
    listener = listening()
    listener.until(is_estimate, STARTING)
    before = held(listener.pid)
    damaged = signing.mutations(sent(version="2.0.0", serial=7), 10_000, seed=1)
    heard.publish_all((STABLE, each) for each in damaged)
    listener.forget()
    assert listener.until(is_estimate, 10.0)["model"] == "fixed-0.1.0"
    assert listener.process.poll() is None
    assert not (state / "serial.json").exists()
    assert held(listener.pid).mebibytes - before.mebibytes < 15.0
