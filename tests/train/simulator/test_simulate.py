"""`headnod-train simulate` speaks as listeners do, loses nothing, and leaves nothing behind."""

import json
import re
import signal
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest

from headnod.mqtt.payloads import EstimatePayload, HealthPayload, InfoPayload, SongPayload, encode, estimate_payload
from headnod.testing import ManualClock
from headnod_train.simulator.simulation import LABELS, SimulatedListener
from support.command_line import PATIENCE
from support.mqtt_broker import HOST, Broker, ReservedPort, Subscriber, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")

KINDS = {
    "info": InfoPayload,
    "state": EstimatePayload,
    "estimate": EstimatePayload,
    "health": HealthPayload,
    "song": SongPayload,
}


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path / "broker") as running:
        yield running


def simulation(*words, port):
    command = [sys.executable, "-m", "headnod_train", "simulate", *map(str, words), "--broker", f"{HOST}:{port}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def simulated(*words, port, within):
    with simulation(*words, port=port) as running:
        out, err = running.communicate(timeout=within)
    assert "Traceback" not in err
    return running.returncode, out, err


def numbers(line):
    """Estimates, messages, acknowledged and lost, as the last line tells them."""
    told = re.search(r"(\d+) estimates, .*; (\d+) messages in all, (\d+) acknowledged, (\d+) lost$", line.strip())
    return tuple(map(int, told.groups()))


def heard_of(seed, estimates):
    """What one listener says, by a clock that passes at once."""
    clock, listener = ManualClock(), SimulatedListener("sim", boot="b", every=3.0, rng=np.random.default_rng(seed))
    for _ in range(estimates):
        yield listener.next_estimate(clock.now(), clock.monotonic())
        clock.sleep(3.0)


def test_every_payload_is_one_that_a_listener_could_have_sent(broker):
    with Subscriber(broker, "headnod/#") as subscriber:
        status, out, _ = simulated(5, "--every", 0.2, "--seconds", 2, port=broker.port, within=PATIENCE)
        estimates, published, acknowledged, lost = numbers(out)
        subscriber.until_on("/status", 15, PATIENCE)
        told = [message for message in subscriber.messages if message.payload and not message.topic.endswith("/status")]
    assert (status, lost, published) == (0, 0, acknowledged)
    assert estimates == 50
    for message in told:
        msgspec.json.decode(message.payload, type=KINDS[message.topic.rpartition("/")[2]])
    ids = [json.loads(payload)["id"] for payload in subscriber.on("/estimate")]
    assert len(ids) == len(set(ids)) == 50
    numbered = Counter(one.rpartition("-")[0] for one in ids)
    assert set(numbered.values()) == {10}
    assert subscriber.on("sim-0001/status") == [b"online", b"offline", b""]


def test_nothing_is_retained_when_it_has_ended(broker):
    simulated(3, "--every", 0.1, "--seconds", 0.5, port=broker.port, within=PATIENCE)
    with Subscriber(broker, "headnod/#", name="later") as subscriber:
        subscriber.publish("headnod/end", "end")
        subscriber.until(lambda message: message.topic == "headnod/end")
        assert [message.topic for message in subscriber.messages] == ["headnod/end"]


def test_ctrl_c_ends_it_with_a_goodbye_and_the_sum(broker):
    with Subscriber(broker, "headnod/#") as subscriber, simulation(2, "--every", 0.1, port=broker.port) as running:
        subscriber.until_on("/estimate", 4, PATIENCE)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=PATIENCE)
        subscriber.until(lambda message: message.payload == b"offline")
    assert running.returncode == 0, err
    assert numbers(out)[3] == 0


def test_a_broker_that_goes_away_is_reported_and_the_status_is_1(broker):
    with (
        Subscriber(broker, "headnod/+/estimate") as subscriber,
        simulation(2, "--every", 0.1, port=broker.port) as running,
    ):
        subscriber.until_on("/estimate", 4, PATIENCE)
        broker.kill()
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 1
    assert numbers(out)[3] > 0
    assert "messages were lost" in err


def test_no_broker_at_all_is_one_line():
    port = ReservedPort()
    status, out, err = simulated(2, "--seconds", 1, port=port.number, within=PATIENCE)
    assert (status, out) == (1, "")
    assert "connection refused" in err.splitlines()[-1]


@pytest.mark.parametrize("words", [["0"], ["many"], ["2", "--every", "0"], ["2", "--seconds", "nan"]])
def test_what_cannot_be_simulated_is_wrong_usage(words):
    assert simulated(*words, port=1883, within=PATIENCE)[0] == 2


def test_one_seed_is_one_music_and_another_is_another():
    def genres(seed):
        return [estimate.genre for estimate, _ in heard_of(seed, 200)]

    assert genres(1) == genres(1)
    assert genres(1) != genres(2)


def test_genres_change_as_slowly_as_music_does():
    genres = [estimate.genre for estimate, _ in heard_of(3, 2000)]
    changes = sum(one != other for one, other in pairwise(genres))
    assert 2000 / 80 / 2 < changes < 2000 / 5
    assert set(genres) <= {*LABELS, "silence", "unknown"}
    assert len(set(genres)) > 8


def test_scores_move_as_slowly_as_a_smoothed_listeners_do():
    estimates = [estimate for estimate, _ in heard_of(5, 300)]
    steps = [
        max(abs(one.scores[label] - other.scores[label]) for label in LABELS)
        for one, other in pairwise(estimates)
        if one.confidence and other.confidence
    ]
    assert 0.0 < max(steps) < 0.31


def test_songs_end_and_carry_the_id_of_their_first_estimate():
    pairs = list(heard_of(4, 500))
    songs = [song for _, song in pairs if song is not None]
    assert len(songs) > 5
    ids = {estimate_payload(estimate, node="sim", boot="b")["id"]: estimate for estimate, _ in pairs}
    assert all(ids[song.id].genre == song.genre and ids[song.id].time == song.start for song in songs)
    assert all(encode(song) for song in songs)


@pytest.mark.long
def test_a_thousand_listeners_lose_nothing_in_two_minutes(tmp_path):
    shipped = Path(__file__).parents[3] / "firmware_config" / "mosquitto" / "mosquitto.conf"
    kept = [line for line in shipped.read_text().splitlines() if line.startswith(("autosave", "max_"))]
    with Broker(tmp_path, settings="\n".join(["autosave_on_changes false", *kept])) as broker:
        with Subscriber(broker, "headnod/+/estimate") as subscriber:
            status, out, err = simulated(1000, "--seconds", 120, port=broker.port, within=300)
            estimates, published, acknowledged, lost = numbers(out)
            ids = Counter(
                json.loads(payload)["id"] for payload in subscriber.until_on("/estimate", estimates, PATIENCE)
            )
        memory = Path(f"/proc/{broker.pid}/status").read_text()
    sys.stderr.write(f"{out}{next(line for line in memory.splitlines() if line.startswith('VmHWM'))}\n{err}")
    assert (status, lost, published) == (0, 0, acknowledged)
    assert estimates == 40_000
    assert len(ids) == 40_000
    assert set(ids.values()) == {1}
    assert max(int(one.rpartition("-")[2]) for one in ids) == 39


def test_listeners_with_connections_of_their_own_lose_nothing_and_leave_nothing(broker):
    with Subscriber(broker, "headnod/+/status") as subscriber:
        words = ("--every", 0.5, "--seconds", 2, "--own-connections")
        status, out, err = simulated(50, *words, port=broker.port, within=PATIENCE)
        assert (status, err) == (0, "")
        assert out.splitlines()[0].startswith("50 connections in ")
        assert out.splitlines()[2].startswith("400 acknowledged: median ")
        assert out.splitlines()[3].startswith("200 of 200 estimates collected, 0 lost: median ")
        subscriber.until_on("sim-000050/status", 2, PATIENCE)
        # Online, then emptied: a normal end publishes no last will.
        assert subscriber.on("sim-000050/status") == [b"online", b""]
    with Subscriber(broker, "headnod/#", name="later") as later:
        later.publish("headnod/end", "end")
        later.until(lambda message: message.topic == "headnod/end", PATIENCE)
        assert [message.topic for message in later.messages] == ["headnod/end"]


def test_estimates_of_connected_listeners_are_payloads_with_ids_of_their_own(broker):
    with Subscriber(broker, "headnod/+/estimate") as subscriber:
        words = ("--every", 0.5, "--seconds", 2, "--own-connections")
        assert simulated(40, *words, port=broker.port, within=PATIENCE)[0] == 0
        payloads = [payload for payload in subscriber.until_on("/estimate", 161, PATIENCE) if payload != b"end"]
    estimates = [msgspec.json.decode(payload, type=EstimatePayload) for payload in payloads]
    assert len({estimate.id for estimate in estimates}) == len(estimates) == 160
    assert {estimate.node for estimate in estimates} == {f"sim-{number:06}" for number in range(1, 41)}
    assert all(estimate.id == f"{estimate.node}-{estimate.boot}-{estimate.seq}" for estimate in estimates)


def test_the_last_will_of_a_listener_that_is_killed_is_published(broker):
    with Subscriber(broker, "headnod/+/status") as subscriber:
        words = ("--every", 0.5, "--seconds", 600, "--own-connections")
        with simulation(20, *words, port=broker.port) as running:
            subscriber.until_on("/status", 20, PATIENCE)
            running.kill()
        subscriber.until(
            lambda message: message.topic.endswith("sim-000020/status") and message.payload == b"offline", PATIENCE
        )


def test_a_broker_that_accepts_too_few_connections_is_named(tmp_path):
    with Broker(tmp_path / "small", settings="max_connections 10") as broker:
        words = ("--seconds", 1, "--own-connections")
        status, out, err = simulated(20, *words, port=broker.port, within=4 * PATIENCE)
    assert (status, out) == (1, "")
    assert "the broker accepted " in err


def test_connections_without_an_end_are_wrong_usage():
    status, _, err = simulated(2, "--own-connections", port=1883, within=PATIENCE)
    assert status != 0
    assert "needs --seconds" in err
