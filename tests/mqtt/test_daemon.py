"""The whole listener with a broker: started, stopped, killed, and commanded."""

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from headnod.mqtt.payloads import EstimatePayload
from headnod.resources import demo_clip
from support.command_line import PATIENCE, PROMPT
from support.listener_process import STARTING, Listening, children, is_estimate
from support.mqtt_broker import Broker, ReservedPort, Subscriber
from support.mqtt_publisher import TOPICS, sequences, until

NODE = "headnod/kitchen"


def decoded(payloads):
    return [json.loads(payload) for payload in payloads]


def ids_on_disk(state):
    with closing(sqlite3.connect(f"file:{state}/mqtt.sqlite?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT payload FROM queue WHERE topic LIKE '%/estimate' ORDER BY number").fetchall()
    return [json.loads(payload)["id"] for (payload,) in rows]


def test_a_host_is_enough_to_publish(broker, subscriber, listening):
    listening(broker.port)
    estimates = subscriber.until_on("/estimate", 3, STARTING)[:3]
    assert sequences(estimates) == [0, 1, 2]
    assert msgspec.json.decode(estimates[0], type=EstimatePayload).node == "kitchen"
    assert subscriber.until_on("kitchen/status", 1, 60.0)[-1] == b"online"
    assert decoded(subscriber.until_on("/info", 1, 60.0))[0]["model"] == "fixed-1.0.0"
    subscriber.until(lambda message: message.topic.startswith("homeassistant/"), 60.0)


def test_without_a_host_nothing_of_mqtt_is_loaded(tmp_path):
    program = (
        "import sys; from headnod.__main__ import main; status = main(sys.argv[1:]); "
        "print(status, sorted(m for m in sys.modules if m.startswith(('paho', 'headnod.mqtt'))))"
    )
    words = ["listen", "--audio", str(demo_clip()), "--quiet"]
    ran = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path
    )
    assert ran.stdout.split(maxsplit=1) == ["0", "[]\n"]


def test_sigterm_says_offline_and_ends_soon(broker, subscriber, listening):
    listener = listening(broker.port)
    subscriber.until_on("/estimate", 2, STARTING)
    listener.send(signal.SIGTERM)
    status, took = listener.ended(PATIENCE)
    assert (status, took < PROMPT) == (0, True)
    assert subscriber.until(lambda message: message.payload == b"offline", 60.0).topic == f"{NODE}/status"
    with Subscriber(broker, f"{NODE}/status", name="late") as late:
        assert late.until_on("/status", 1, 60.0) == [b"offline"], "it is retained"


def test_sigterm_ends_the_listener_soon_while_the_broker_hangs(broker, subscriber, listening, state):
    listener = listening(broker.port)
    subscriber.until_on("/estimate", 2, STARTING)
    broker.freeze()
    listener.clear()
    made = [listener.until(is_estimate, 60.0) for _ in range(4)]
    listener.send(signal.SIGTERM)
    status, took = listener.ended(PATIENCE)
    broker.thaw()
    assert (status, took < PROMPT) == (0, True)
    waiting = [int(each.rpartition("-")[2]) for each in ids_on_disk(state)]
    assert set(waiting) >= {made[-2]["sequence"]}, "what was not delivered is kept"


def test_after_a_kill_the_broker_says_offline_within_a_second(broker, subscriber, listening):
    listener = listening(broker.port)
    subscriber.until_on("/estimate", 1, STARTING)
    listener.send(signal.SIGKILL)
    subscriber.until(lambda message: message.payload == b"offline", 60.0)


@pytest.mark.long
def test_listening_begins_although_no_broker_is_there(listening):
    port = ReservedPort()
    listener = listening(port.number)
    listener.until(is_estimate, STARTING)
    listener.until(is_estimate, 60.0)
    assert "connection refused" in listener.logged("no connection", 5.0)
    assert listener.log().count("MQTT") == 1


def written(state):
    """When something was last written; the file itself is the listener's alone while it runs."""
    return max((file.stat().st_mtime_ns for file in state.glob("mqtt.sqlite*")), default=0)


def killed_while_offline(turns, port, listening, state):
    """Ids of estimates that are on disk after so many kills."""
    for _ in range(turns):
        listener = listening(port)
        listener.until(is_estimate, STARTING)
        begun = written(state)
        until(lambda begun=begun: written(state) > begun, 60.0)
        listener.send(signal.SIGKILL)
        listener.ended(5.0)
    return ids_on_disk(state)


@pytest.mark.long
@pytest.mark.parametrize("turns", [1, 20])
def test_what_was_on_disk_when_it_was_killed_arrives_once(turns, tmp_path, listening, state, opened):
    broker = opened.enter_context(Broker(tmp_path / "late", wait=True))
    waiting = killed_while_offline(turns, broker.port, listening, state)
    assert len(waiting) >= turns
    broker.start()
    subscriber = opened.enter_context(Subscriber(broker))
    listener = listening(broker.port)
    until(lambda: set(waiting) <= {each["id"] for each in decoded(subscriber.on("/estimate"))}, 60.0)
    arrived = [each["id"] for each in decoded(subscriber.on("/estimate"))]
    assert arrived[: len(waiting)] == waiting, "in order"
    assert len(set(arrived)) == len(arrived), "once each"
    assert all(each["replayed"] for each in decoded(subscriber.on("/estimate"))[: len(waiting)])
    listener.send(signal.SIGTERM)
    assert listener.ended(5.0)[0] == 0
    assert not set(ids_on_disk(state)) & set(waiting), "what has arrived is not kept"


def test_commands_change_threshold_brightness_pause_and_model_and_it_goes_on(broker, subscriber, listening):
    listener = listening(broker.port)
    subscriber.until_on("/estimate", 1, STARTING)

    def told(key, value):
        subscriber.until(
            lambda message: message.topic.endswith("/info") and json.loads(message.payload).get(key) == value, 10.0
        )

    subscriber.publish(f"{NODE}/set/threshold", "0.999")
    told("certainty", 0.999)
    subscriber.publish(f"{NODE}/set/brightness", "0.25")
    told("brightness", 0.25)
    subscriber.publish(f"{NODE}/set/pause", "ON")
    told("paused", True)
    subscriber.until(lambda message: message.topic.endswith("/health") and b'"state":"paused"' in message.payload, 60.0)
    for _ in range(3):
        # What was made just before it may still be on its way when the first of these is said.
        paused = len(subscriber.on("/estimate"))
        listener.until(lambda said: said["state"] == "paused", 60.0)
    assert len(subscriber.on("/estimate")) == paused
    subscriber.publish(f"{NODE}/set/pause", "OFF")
    told("paused", False)
    subscriber.until_on("/estimate", paused + 1, 60.0)
    subscriber.publish(f"{NODE}/request/activate", json.dumps({"model": "genre-0.0.1"}))
    assert decoded(subscriber.until_on("/response/activate", 1, 60.0))[0]["status"] == "error"
    there = decoded(subscriber.on("/info"))[0]["models"][0]
    subscriber.publish(f"{NODE}/request/activate", json.dumps({"model": there}))
    assert decoded(subscriber.until_on("/response/activate", 2, 60.0))[1]["status"] == "ok"
    told("model", there)
    subscriber.until(
        lambda message: message.topic.endswith("/estimate") and there.encode() in message.payload, STARTING
    )
    numbers = sequences(subscriber.on("/estimate"))
    assert numbers == list(range(len(numbers))), "no estimate is missing and none comes twice"
    assert {each["genre"] for each in decoded(subscriber.on("/estimate"))[-1:]} <= {"unknown", "silence"}


@pytest.mark.long
def test_reloading_moves_it_to_another_broker(tmp_path, opened, environment, subscriber, broker, playing):
    other = opened.enter_context(Broker(tmp_path / "other"))
    there = opened.enter_context(Subscriber(other))
    config = tmp_path / "headnod.toml"
    config.write_text(f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n')
    log = tmp_path / "headnod.log"
    listener = opened.enter_context(Listening(*playing, "--config", str(config), environment=environment, log=log))
    subscriber.until_on("/estimate", 1, STARTING)
    config.write_text(f'[mqtt]\nhost = "127.0.0.1"\nport = {other.port}\n')
    listener.send(signal.SIGHUP)
    there.until_on("/estimate", 2, 60.0)
    assert subscriber.on("/status")[-1] == b"offline"
    assert there.on("/status")[-1] == b"online"


def test_discovery_that_is_switched_off_takes_back_what_was_reported(broker, subscriber, state, listening):
    for discovery in ("true", "false"):
        listener = listening(broker.port, discovery=discovery)
        told = subscriber.until_on("/config", 1, STARTING)
        assert [bool(payload) for payload in told] == [discovery == "true"]
        listener.send(signal.SIGTERM)
        listener.ended(5.0)
        subscriber.clear()
    # The listener's own retained topics stay, in case it gets another name.
    assert set(json.loads((state / "discovery.json").read_bytes())) == {*TOPICS.retained, TOPICS.deploy}
    with Subscriber(broker, "homeassistant/#", f"{NODE}/info", name="late") as late:
        late.until_on("/info", 1, 60.0)
        assert late.on("/config") == []


@pytest.mark.long
def test_the_daemon_takes_less_than_64_megabytes_with_mqtt_connected(broker, subscriber, listening, environment):
    """Proportional set size of all its processes, the one that holds the microphone included."""
    played = ["sox", "-q", str(demo_clip()), "-t", "raw", "-r", "22050", "-c", "1", "-b", "16", "-e", "signed", "-"]
    environment["HEADNOD_MICROPHONE__COMMAND"] = json.dumps([*played, "repeat", "99"])
    listener = listening(broker.port, "--audio", "mic")
    subscriber.until_on("/estimate", 20, 60.0)
    mebibytes = sum(proportional(pid) for pid in [listener.pid, *children(listener.pid)])
    assert mebibytes < 64, f"{mebibytes:.1f} MiB"


def proportional(pid):
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
