"""Corrections of a listener by MQTT: requested part by part from the real commands over a real broker."""

import itertools
import json
from datetime import UTC, datetime

import numpy as np
import pytest

from headnod.clock import Clock
from headnod.config import MqttSection
from headnod.errors import ConfigError
from headnod.listener_commands import ListenerCommands
from headnod.log import RecentLog
from headnod.mqtt.broker import Broker as Address
from headnod.pipeline.level_meter import PlacementMeter
from headnod.resources import demo_clip
from headnod.teaching.correction_commands import CorrectionCommands
from headnod.teaching.corrections import CorrectionStore, EmbeddedWindows, RecentWindows
from support import mqtt_broker as brokers
from support.listener_process import STARTING
from support.mqtt_payloads import KITCHEN, RecordingControls, Sent, commands_for
from support.mqtt_publisher import publisher

fetching = pytest.importorskip("headnod_train.teaching.listener_corrections")

REQUEST = KITCHEN.request(fetching.VERB)


def windows(start, count, *, body="b" * 64, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, 200)).astype(np.float16)
    return EmbeddedWindows("genre-2.0.0", body, (), start + 3.0 * np.arange(count), values, np.empty((count, 0)))


def fill(folder, *, body="b" * 64):
    """Three corrections: the second overlaps the first, the third is a media player's."""
    store = CorrectionStore(folder)
    for place, (start, count, label, source) in enumerate(
        [(1e9, 60, "reggae", "person"), (1e9 + 90, 40, "日本", "person"), (1e9 + 500, 5, "jazz", "player")]
    ):
        context = windows(1e9 + 3_000, 4 * place, body=body, seed=9)
        given = windows(start, count, body=body, seed=place)
        store.add(given, label, start=start, end=start + 3 * count, made=2e9, source=source, context=context)
    return store


@pytest.fixture
def listener(state, broker, opened):
    """The MQTT output and the commands of a listener; gives the function that starts them."""

    def start(where=broker):
        corrections = CorrectionCommands(RecentWindows(Clock()), state, Clock(), teaching=lambda _: None)
        more = ListenerCommands(
            None, None, corrections, None, clock=Clock(), placement=PlacementMeter(), log=RecentLog(), overlay=None
        )
        seconds = itertools.count()
        commands = commands_for(RecordingControls(), more, monotonic=lambda: float(next(seconds)))
        made = publisher(where)
        opened.callback(made.close)
        made.start(commands.handle)
        return commands

    return start


def fetch(where, **how):
    address = Address(where.host, where.port, "teach", how.pop("username", ""), how.pop("password", ""))
    return fetching.fetch(address, KITCHEN, pause=lambda _: None, **how)


def same(found, expected):
    assert (found.model, found.body, found.labels) == (expected.model, expected.body, expected.labels)
    for name in ("times", "embeddings", "weights", "groups", "context_times", "context_embeddings"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_corrections_arrive_as_they_are_stored(listener, broker, state):
    store = fill(state)
    listener()
    found, left_out = fetch(broker)
    same(found, store.labelled("b" * 64))
    assert left_out == 0


def test_corrections_of_other_networks_are_counted_and_left_out(listener, broker, state):
    fill(state, body="a" * 64)
    store = fill(state)
    listener()
    found, left_out = fetch(broker)
    np.testing.assert_array_equal(found.embeddings, store.labelled("b" * 64).embeddings)
    assert left_out == 3


@pytest.mark.parametrize("setting", ["max_packet_size 3000", "max_packet_size 40000"])
def test_parts_are_as_small_as_the_broker_accepts(listener, tmp_path, state, setting):
    store = fill(state)
    with brokers.Broker(tmp_path / "small", settings=setting, durable=False) as small:
        listener(small)
        same(fetch(small)[0], store.labelled("b" * 64))


def test_an_answer_that_is_too_large_is_refused_and_requested_in_smaller_parts(listener, tmp_path, state, opened):
    fill(state)
    with brokers.Broker(tmp_path / "small", settings="max_packet_size 3000", durable=False) as small:
        listener(small)
        subscriber = opened.enter_context(brokers.Subscriber(small))
        subscriber.until_on("/status", 1, 10.0)
        subscriber.publish(REQUEST, b'{"most": 20000}')
        answer = json.loads(subscriber.until_on("/response/export_corrections", 1, 10.0)[0])
        assert answer["status"] == "error"
        assert "the broker accepts packets of up to 3000" in answer["error"]


def test_a_user_without_the_right_to_request_gets_no_corrections(listener, tmp_path, state):
    fill(state)
    acl = "topic readwrite headnod/#\nuser guest\ntopic read headnod/#\n"
    with brokers.Broker(tmp_path / "rights", acl=acl, durable=False) as closed:
        listener(closed)
        with pytest.raises(fetching.ListenerCorrectionsError, match=r"May the user write to headnod/kitchen/request"):
            fetch(closed, username="guest", attempt=0.2)


def test_nothing_corrected_is_reported(listener, broker):
    listener()
    with pytest.raises(fetching.ListenerCorrectionsError, match="no corrections yet"):
        fetch(broker)


@pytest.mark.parametrize(
    "payload",
    [b'{"most": 0}', b'{"most": 98305}', b'{"offset": -1}', b'{"after": true}', b'{"after": 9223372036854775808}',
     b'{"path": "x"}', b"[]"],
)  # fmt: skip
def test_requests_beyond_the_bounds_are_refused(listener, state, payload):
    fill(state)
    ((_, answer),) = listener().handle(Sent(REQUEST, payload))
    assert json.loads(answer)["status"] == "error"


GOOD = {
    "id": 1, "made": 2e9, "start": 1e9, "end": 1e9 + 9, "label": "dub", "source": "person", "model": "m",
    "body": "b", "windows": 1, "context_windows": 0, "size": 12, "content": "AAAAAAAAAAAAAAAA",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"content": "AAAAAAAAAAAAAAB8"}, "out of range"),
        ({"content": "//////////8AAAAA"}, "out of range"),
        ({"windows": 40_001}, "more than 40000 windows"),
        ({"windows": 0}, "more than 40000 windows"),
        ({"size": 1 << 40}, "more than 40000 windows or 256 MiB"),
        ({"context_windows": -1}, "is not valid"),
        ({"context_windows": 1 << 60}, "is not valid"),
        ({"made": 1e300}, "is not valid"),
        ({"label": "a\nb"}, "label"),
        ({"source": "a stranger"}, "its answer is not valid"),
        ({"content": ""}, "wrong size"),
        ({"content": "A" * 160_000, "size": 120_000}, "wrong size"),
        ({"content": "no base64"}, "its answer is not valid"),
    ],
)
def test_hostile_answers_are_refused(linked, broker, changes, reason):
    def answer(message):
        request = json.loads(message.payload)
        data = {} if request["after"] else {**GOOD, **changes}
        said = {"schema": 1, "status": "ok", "transaction": request["transaction"], "data": data}
        made.publish(KITCHEN.response(fetching.VERB), json.dumps(said).encode())

    made = linked(broker, subscriptions=(KITCHEN.requests,), on_message=answer)
    assert made.wait_connected(10.0)
    if reason is None:
        assert fetch(broker)[0].labels == ("dub",)
        return
    with pytest.raises(Exception, match=reason) as raised:
        fetch(broker)
    assert type(raised.value).__module__.startswith("headnod")


def test_an_address_names_broker_user_and_listener():
    section = MqttSection(host="configured", port=1999, base="house/one", username="me", tls=True)
    named = fetching.split_url("mqtt://you@broker.lan:1884/kitchen", section)
    assert (named.host, named.port, named.base, named.node) == ("broker.lan", 1884, "house/one", "kitchen")
    assert (named.username, named.tls) == ("you", True)
    named = fetching.split_url("mqtt:///two/three/hall", section)
    assert (named.host, named.port, named.base, named.node) == ("configured", 1999, "two/three", "hall")
    assert fetching.split_url("mqtts://[::1]/hall", MqttSection()).tls


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://broker/kitchen", "not the address of a listener"),
        ("mqtt://broker", "not the address of a listener"),
        ("mqtt://me:secret@broker/kitchen", "no password"),
        ("mqtt://bro ker/kitchen", "not a host name"),
        ("mqtt://broker:99999/kitchen", "99999"),
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(url, reason):
    with pytest.raises(ConfigError, match=reason) as refused:
        fetching.split_url(url, MqttSection())
    assert "secret" not in str(refused.value)


def test_a_model_is_taught_from_the_corrections_of_the_real_listener(broker, subscriber, listening, tmp_path, capsys):
    from headnod_train.__main__ import main

    listening(broker.port, "--audio", str(demo_clip()), "--pace", "real", "--every", "0.3")
    first, *_, last = (json.loads(each) for each in subscriber.until_on("/estimate", 12, STARTING + 60.0))
    start, end = (datetime.fromisoformat(each["ts"]).astimezone(UTC).timestamp() for each in (first, last))
    correct = {"start": start, "end": end + 0.01, "label": "organ"}
    subscriber.publish("headnod/kitchen/request/correct", json.dumps(correct))
    assert json.loads(subscriber.until_on("/response/correct", 1, 20.0)[0])["status"] == "ok"
    url = f"mqtt://127.0.0.1:{broker.port}/kitchen"
    assert main(["teach", "--corrections", url, "--name", "ours", "--models", str(tmp_path / "models")]) == 0
    said = capsys.readouterr()
    assert "windows of 1 corrections received" in said.err
    assert "ours-1.0.0" in said.out
    assert (tmp_path / "models" / "ours-1.0.0").is_dir()
