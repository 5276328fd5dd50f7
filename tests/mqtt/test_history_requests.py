"""Requests for the history by MQTT: validated, read beside everything else, and answered page by page."""

import json
import queue
import threading
from datetime import UTC, datetime

import jsonschema
import msgspec
import pytest

from headnod.factory.mqtt_factory import history_handler
from headnod.mqtt.payloads import json_schema
from headnod.outputs.history import summaries
from headnod.outputs.history.summaries import LARGEST, WAITING, HistoryQueryError, HistoryRequests
from support.command_line import PATIENCE
from support.mqtt_payloads import KITCHEN, RecordingControls, Sent, commands_for
from support.year_of_music import write_year

NOW = datetime(2026, 11, 20, 22, tzinfo=UTC)
TO = NOW.timestamp()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("history") / "history.sqlite"
    write_year(path, NOW, days=60)
    return path


class Answers:
    """What is published, and how much the broker accepts."""

    def __init__(self, size=LARGEST + 4096):
        self.published, self._size = queue.SimpleQueue(), size

    def largest_payload(self, topic):
        return self._size - len(topic)

    def publish(self, topic, payload):
        self.published.put((topic, payload))

    def next(self):
        topic, payload = self.published.get(timeout=PATIENCE)
        assert topic == "headnod/kitchen/response/history"
        assert len(payload) <= self._size
        return json.loads(payload)


@pytest.fixture
def requests(path):
    made = HistoryRequests(lambda: path)
    yield made
    made.close()


def asker(requests, clock, size=LARGEST + 4096):
    answers = Answers(size)
    commands = commands_for(
        RecordingControls(), history=history_handler(requests, answers, KITCHEN), monotonic=clock.monotonic
    )

    def ask(**query):
        clock.sleep(1.0)
        refused = commands.handle(Sent(KITCHEN.request("history"), json.dumps(query).encode()))
        return json.loads(refused[0][1]) if refused else answers.next()

    return ask


def all_rows(ask, **query):
    rows, after, pages = [], 0, 0
    while after is not None:
        answer = ask(**query, after=after)
        assert answer["status"] == "ok", answer
        rows += answer["data"]["rows"]
        after, pages = answer["data"].get("next"), pages + 1
    return rows, pages


@pytest.mark.parametrize("part", ["songs", "hours", "days", "firsts", "timeline"])
def test_small_pages_together_are_one_large_page(requests, clock, part):
    ask = asker(requests, clock)
    span = {"part": part, "start": TO - 4 * 86_400, "end": TO}
    whole, one = all_rows(ask, **span)
    parts, many = all_rows(ask, **span, bytes=512, rows=3)
    assert len(whole) > 3
    assert (parts, one) == (whole, 1)
    assert many > 1


def test_rows_are_those_of_the_file(requests, clock, path):
    songs, _ = all_rows(asker(requests, clock), part="songs", start=TO - 86_400, end=TO)
    assert songs == [msgspec.to_builtins(each) for each in summaries.songs(path, TO - 86_400, TO)]


@pytest.mark.parametrize(("part", "dated"), [("hours", False), ("days", True)])
def test_days_have_a_date_and_hours_a_time_alone(requests, clock, part, dated):
    rows, _ = all_rows(asker(requests, clock), part=part, start=TO - 4 * 86_400, end=TO)
    assert {"date" in row for row in rows} == {dated}


def test_the_number_of_rows_can_be_limited(requests, clock):
    answer = asker(requests, clock)(part="songs", rows=3)
    assert len(answer["data"]["rows"]) == 3
    assert answer["data"]["next"] == answer["data"]["rows"][-1]["end"]


def test_a_page_fits_the_largest_packet_of_the_broker(requests, clock):
    songs, pages = all_rows(asker(requests, clock, size=3000), part="songs", start=TO - 4 * 86_400, end=TO)
    assert pages > 3
    assert songs == all_rows(asker(requests, clock), part="songs", start=TO - 4 * 86_400, end=TO)[0]


def test_an_answer_keeps_the_schema_and_repeats_the_transaction(requests, clock):
    answer = asker(requests, clock)(part="firsts", transaction="7")
    assert answer["transaction"] == "7"
    judge = jsonschema.Draft202012Validator(json_schema())
    judge.validate({"response": answer, "history": answer["data"]})


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({}, "part"),
        ({"part": "passwords"}, "passwords"),
        ({"part": "songs", "path": "/etc/passwd"}, "path"),
        ({"part": "songs", "start": "1"}, "float"),
        ({"part": "songs", "start": -1}, ">= 0"),
        ({"part": "songs", "start": 10, "end": 10}, "is not a time"),
        ({"part": "songs", "rows": 501}, "<= 500"),
        ({"part": "songs", "rows": 0}, ">= 1"),
        ({"part": "songs", "bytes": LARGEST + 1}, str(LARGEST)),
        ({"part": "hours"}, "at most 62 days"),
        ({"part": "days", "start": 1, "end": 400 * 86_400}, "at most 373 days"),
        ({"part": "timeline", "start": 1, "end": 9 * 86_400}, "at most 8 days"),
    ],
)
def test_a_request_that_is_not_valid_is_refused_with_its_reason(requests, clock, query, reason):
    answer = asker(requests, clock)(**query, transaction="7")
    assert (answer["status"], answer["transaction"]) == ("error", "7")
    assert reason in answer["error"]


def test_a_listener_without_a_history_and_one_without_a_file_say_so(clock, tmp_path):
    for path, reason in ((None, "keeps no history"), (tmp_path / "gone.sqlite", "gone.sqlite: there is no history")):
        requests = HistoryRequests(lambda path=path: path)
        answer = asker(requests, clock)(part="songs")
        assert reason in answer["error"]
        assert str(tmp_path) not in answer["error"]
        requests.close()


def test_a_damaged_file_is_an_error_and_not_the_end(clock, tmp_path):
    (tmp_path / "history.sqlite").write_bytes(b"SQLite format 3\0" + bytes(8192))
    requests = HistoryRequests(lambda: tmp_path / "history.sqlite")
    ask = asker(requests, clock)
    assert [ask(part="firsts")["status"] for _ in range(2 * WAITING)] == ["error"] * 2 * WAITING
    requests.close()


def test_a_broker_with_tiny_packets_is_named(requests, clock):
    assert "too small" in asker(requests, clock, size=600)(part="songs")["error"]


def test_requests_are_read_elsewhere_and_only_a_few_wait(requests):
    go, answered = threading.Event(), queue.SimpleQueue()

    def slow(page, reason):
        assert go.wait(PATIENCE)
        answered.put((page, reason))

    for _ in range(WAITING):
        requests.submit({"part": "firsts"}, LARGEST, slow)
    with pytest.raises(HistoryQueryError, match="in progress"):
        requests.submit({"part": "firsts"}, LARGEST, slow)
    go.set()
    found = [answered.get(timeout=PATIENCE) for _ in range(WAITING)]
    assert all(page["rows"] and not reason for page, reason in found)
    requests.submit({"part": "firsts"}, LARGEST, slow)
    assert answered.get(timeout=PATIENCE)[0]["rows"]


def test_the_end_of_a_listener_does_not_wait_for_a_request(requests):
    go, answered = threading.Event(), queue.SimpleQueue()

    def slow(page, _reason):
        assert go.wait(PATIENCE)
        answered.put(page)

    requests.submit({"part": "firsts"}, LARGEST, slow)
    requests.close()
    go.set()
    assert answered.get(timeout=PATIENCE)["rows"]
    with pytest.raises(HistoryQueryError, match="the listener is ending"):
        requests.submit({"part": "firsts"}, LARGEST, slow)
