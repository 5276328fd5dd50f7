"""The history of a listener elsewhere: a real listener, a real broker, and the real dashboard."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from headnod.outputs.history import HistoryFile, summaries
from headnod.outputs.history.records import write
from headnod.pipeline.estimate import Song
from support.browser import Dashboard, ListenerPage, long_clip, missing
from support.command_line import PATIENCE
from support.mqtt_broker import Broker
from support.mqtt_broker import missing as missing_broker
from support.year_of_music import write_year

NOW = datetime.now(UTC)
TO = NOW.timestamp()
PATH = "/api/v1/listeners/attic/"


def elsewhere(broker, path, folder=None, **env):
    """A listener in the attic with a history."""
    where = {"HEADNOD_MQTT__HOST": broker.host, "HEADNOD_MQTT__PORT": str(broker.port)}
    named = {"HEADNOD_MQTT__NODE": "attic", "HEADNOD_HISTORY__PATH": str(path)}
    # The demo clip alone would end before the tests do.
    listener = ListenerPage("--audio", str(long_clip(folder or path.parent)), env=where | named | env, web=False)
    listener.discard()
    return listener


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    path = tmp_path_factory.mktemp("attic") / "history.sqlite"
    write_year(path, NOW, days=40, until=timedelta(minutes=5))
    return path


@pytest.fixture(scope="module")
def attic(tmp_path_factory, history):
    """A dashboard that shows the listener in the attic."""
    if lacking := missing_broker():
        pytest.skip(f"{lacking} is not installed")
    with (
        Broker(tmp_path_factory.mktemp("attic") / "broker", durable=False) as broker,
        elsewhere(broker, history),
        Dashboard(broker) as dashboard,
    ):
        shows(dashboard, "attic")
        dashboard.broker = broker
        yield dashboard


def shows(dashboard, node):
    """Wait until a listener is online there."""
    dashboard.sends(lambda one: one["node"] == node and bool((one.get("status") or {}).get("online")))


def asked(dashboard, part):
    answer = dashboard.get(PATH + part)
    return answer.status, json.loads(answer.read())


def test_every_part_is_that_of_the_listeners_own_file(attic, history):
    first = TO - 7 * 86_400
    there = summaries.songs(history, first, TO - 600, limit=10_000)
    assert len(there) > 20
    songs = attic.json(f"{PATH}songs?from={first}&to={TO - 600}")
    assert songs == [json.loads(json.dumps(each)) for each in map(as_builtins, there)]
    hours = attic.json(f"{PATH}hours?from={first}&to={TO - 600}")
    assert hours == [*map(as_builtins, summaries.buckets(history, first, TO - 600, "hour", zone=None))]
    timeline = attic.json(f"{PATH}timeline?from={first}&to={TO - 600}")
    numbers, begin, runs = iter(timeline["runs"]), 0, []
    for gap, length, number in zip(numbers, numbers, numbers, strict=True):
        begin += gap
        runs.append((begin, begin := begin + length, timeline["names"][number]))
    assert runs == summaries.runs(history, first, TO - 600)
    assert timeline["names"] == list(dict.fromkeys(genre for _, _, genre in runs))
    firsts = attic.json(f"{PATH}firsts")
    assert [each for each in firsts if each["time"] < TO - 600] == [
        each for each in summaries.firsts(history) if each["time"] < TO - 600
    ]
    days = attic.json(f"{PATH}days")
    assert [each["date"] for each in days] == sorted({each["date"] for each in days})
    assert len(days) > 20
    assert attic.get(f"{PATH}week.svg").read().startswith(b"<svg")


def as_builtins(row):
    return {name: getattr(row, name) for name in row.__struct_fields__}


def test_songs_of_many_pages_arrive_once_and_in_order(attic, history):
    there = summaries.songs(history, 0, TO - 600, limit=10_000)
    assert len(there) > summaries.SONGS
    csv = attic.get(f"{PATH}songs?from=1&to={TO - 600}&format=csv").read().decode().splitlines()
    assert len(csv) == 1 + len(there)
    songs = attic.json(f"{PATH}songs?from=1&to={TO - 600}")
    assert [each["end"] for each in songs] == [each.end for each in there]


def test_requests_of_many_browsers_at_once_are_all_answered(attic):
    found, lock = [], threading.Lock()

    def look():
        status, body = asked(attic, f"hours?from={TO - 86_400}&to={TO - 600}")
        with lock:
            found.append((status, json.dumps(body)))

    browsers = [threading.Thread(target=look) for _ in range(6)]
    for each in browsers:
        each.start()
    for each in browsers:
        each.join()
    assert {status for status, _ in found} == {200}
    assert len({body for _, body in found}) == 1


def test_the_session_says_that_other_histories_can_be_read(attic):
    assert attic.json("/api/v1/session")["remote_history"] is True


def test_an_unknown_listener_has_no_history(attic):
    assert attic.get("/api/v1/listeners/cellar/songs").status == 404


def test_a_listener_without_a_history_says_so(attic, tmp_path):
    with elsewhere(attic.broker, "", tmp_path, HEADNOD_MQTT__NODE="shed"):
        shows(attic, "shed")
        answer = attic.get("/api/v1/listeners/shed/songs")
        assert answer.status == 503
        assert "keeps no history" in json.loads(answer.read())["error"]


def test_an_offline_listener_is_named_at_once(dashboard, publisher):
    publisher.publish("attic", "status", "offline", retain=True)
    dashboard.sends(lambda one: one["node"] == "attic")
    status, body = asked(dashboard, "songs")
    assert status == 503
    assert body["error"] == "'attic' is offline: its history can be read when it is back"


class Answering:
    """Answers requests for a history as it is told, in place of a listener."""

    def __init__(self, broker, answer):
        self.requests = []
        self._answer = answer
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="answering", protocol=paho.MQTTv5)
        subscribed = threading.Event()
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect(broker.host, broker.port)
        self._client.subscribe("headnod/attic/request/history", 1)
        self._client.loop_start()
        assert subscribed.wait(PATIENCE)

    def _on_message(self, _client, _data, message):
        request = json.loads(message.payload)
        self.requests.append(request)
        payload = self._answer(request)
        if payload is not None:
            self._client.publish("headnod/attic/response/history", payload, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._client.disconnect()
        self._client.loop_stop()


def ok(rows, **more):
    def answer(request):
        data = {"part": request["part"], "rows": rows, **more}
        return json.dumps({"schema": 1, "status": "ok", "transaction": request["transaction"], "data": data})

    return answer


SONG = {"start": 100.0, "end": 200.0, "genre": "jazz", "confidence": 0.5, "stability": 0.9, "tags": ["piano"]}


@pytest.fixture
def there(dashboard, publisher):
    publisher.publish("attic", "status", "online", retain=True)
    dashboard.sends(lambda one: one["node"] == "attic")
    return dashboard


def test_an_older_listener_is_named(broker, there):
    def refuse(request):
        error = "there is no request/history (there is health, info)"
        return json.dumps({"status": "error", "error": error, "transaction": request["transaction"]})

    with Answering(broker, refuse):
        status, body = asked(there, "firsts")
    assert (status, "older" in body["error"]) == (503, True)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(ok([{**SONG, "stability": 2.0}]), id="out of range"),
        pytest.param(ok([{**SONG, "end": 1e300}]), id="no time"),
        pytest.param(ok([{**SONG, "genre": "x" * 65}]), id="long label"),
        pytest.param(ok([{**SONG, "tags": ["x"] * 40}]), id="many tags"),
        pytest.param(ok([SONG] * 501), id="many rows"),
        pytest.param(ok([], next=5.0), id="endless and empty"),
        pytest.param(ok([SONG], next=0.0), id="next goes back"),
        pytest.param(ok({"songs": []}), id="no list"),
        pytest.param(ok([[[[]]]]), id="nested"),
    ],
)
def test_a_hostile_answer_is_refused(broker, there, answer):
    with Answering(broker, answer):
        status, body = asked(there, "songs?from=1&to=1000")
        assert status == 503
        assert body["error"] == "the answer of 'attic' is not a valid history"


@pytest.mark.parametrize("hostile", ["[" * 20_000 + "]" * 20_000, "{", '{"rows": [1e999]}', "x" * 70_000])
def test_what_is_no_answer_at_all_is_not_waited_for_for_ever(broker, there, hostile):
    def answer(request):
        return f'{{"status": "ok", "transaction": "{request["transaction"]}", "data": {hostile}}}'

    with Answering(broker, answer):
        status, body = asked(there, "firsts")
    assert status == 503
    assert "does not answer" in body["error"] or "not a valid history" in body["error"]


def test_texts_of_an_answer_are_shown_without_control_characters(broker, there):
    with Answering(broker, ok([{**SONG, "genre": "ja\u202ezz", "tags": ["pi\nano"]}])):
        (song,) = there.json(f"{PATH}songs?from=1&to=1000")
    assert (song["genre"], song["tags"]) == ("jazz", ["piano"])


def test_an_answer_with_another_transaction_is_ignored_and_one_request_is_in_flight(broker, there):
    answers, arrived = iter(range(100)), []

    def answer(request):
        # The second is never answered, like all that follow: each waits until the one before was given up.
        arrived.append(time.monotonic())
        if next(answers):
            return json.dumps({"status": "ok", "transaction": "0" * 16, "data": {"rows": []}})
        return ok([{"genre": "jazz", "time": 100.0}])(request)

    with Answering(broker, answer) as answering:
        assert there.json(f"{PATH}firsts") == [{"genre": "jazz", "time": 100.0}]
        results = []
        others = [threading.Thread(target=lambda: results.append(asked(there, "firsts"))) for _ in range(3)]
        for each in others:
            each.start()
        for each in others:
            each.join()
        assert {status for status, _ in results} == {503}
        assert all("does not answer" in body["error"] for _, body in results)
        # Requests in flight together would arrive in steps of 0.25 s; the last may be sent at the end of its time.
        assert 3 <= len(answering.requests) <= 4
        assert arrived[2] - arrived[1] > 2


def test_a_page_that_may_not_ask_says_why(tmp_path):
    if lacking := missing_broker():
        pytest.skip(f"{lacking} is not installed")
    users = {"page": "secret", "attic": "secret"}
    acl = "user page\ntopic read headnod/#\nuser attic\ntopic readwrite headnod/#\n"
    with Broker(tmp_path / "broker", users=users, acl=acl) as broker:
        (tmp_path / "password").write_text("secret")
        (tmp_path / "password").chmod(0o600)
        login = {"HEADNOD_MQTT__USERNAME": "page", "HEADNOD_MQTT__PASSWORD_FILE": str(tmp_path / "password")}
        with (
            elsewhere(broker, tmp_path / "history.sqlite", **login | {"HEADNOD_MQTT__USERNAME": "attic"}),
            Dashboard(broker, env=login) as page,
        ):
            shows(page, "attic")
            status, body = asked(page, "songs")
            assert status == 503
            assert "does not accept the request" in body["error"]


def test_answers_fit_a_broker_with_small_packets(tmp_path):
    if lacking := missing_broker():
        pytest.skip(f"{lacking} is not installed")
    path, songs = tmp_path / "history.sqlite", 60
    start = NOW - timedelta(hours=10)
    file = HistoryFile(path)
    with file.transaction() as db:
        made = [
            Song(
                start=start + timedelta(minutes=5 * n),
                end=start + timedelta(minutes=5 * n + 4),
                genre="jazz",
                stability=0.9,
                estimates=80,
            )
            for n in range(songs)
        ]
        write(db, [], made)
    file.close()
    with (
        Broker(tmp_path / "broker", settings="max_packet_size 4000") as broker,
        elsewhere(broker, path),
        Dashboard(broker) as page,
    ):
        shows(page, "attic")
        found = page.json(f"{PATH}songs?from={TO - 43_200}&to={TO - 3600}")
    assert len(found) == songs


@pytest.mark.skipif(bool(missing()), reason=f"{missing()} is not installed")
def test_the_page_shows_the_history_of_a_listener_elsewhere(attic, look):
    page = look(dashboard=attic, path="attic")
    page.locator("#tabs a[data-tab=history]").click()
    page.locator("#history").get_by_text("jazz").first.wait_for()
    assert "cannot be shown" not in page.locator("#history").inner_text()
