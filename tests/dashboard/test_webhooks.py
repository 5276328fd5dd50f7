"""Webhooks, received by a real HTTP server."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import queue
import random
from http.server import BaseHTTPRequestHandler

import pytest

from headnod.dashboard.webhooks import WAITING, Webhooks, WebhookSender, post
from support.browser import ListenerPage
from support.http_server import HOST, HttpServer
from support.listener_process import waits_until

KEY = "a key that both know"


class Receiver(HttpServer):
    """A server that keeps what it gets, and answers with the next of these statuses, the last one from then on."""

    def __init__(self, *statuses):
        received = self.received = queue.SimpleQueue()
        answers = list(statuses)

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.put((self.path, self.headers, body))
                self.send_response(answers.pop(0) if len(answers) > 1 else answers[0])
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()

        super().__init__(Handler)
        self.address = f"http://{HOST}:{self.port}/hook?token=t"

    def next(self):
        return self.received.get(timeout=15.0)

    def events(self, number):
        return [json.loads(self.next()[2]) for _ in range(number)]


@pytest.fixture
def receiver():
    with Receiver(200) as receiver:
        yield receiver


class Waits:
    """A clock that is moved by waiting."""

    def __init__(self):
        self.now, self.waits = 1000.0, []

    async def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def deliver(address, *events, key=KEY, until):
    """Send events, until a fact is true; gives the waits between attempts."""
    clock = Waits()

    async def run():
        sender = WebhookSender(address, key, rng=random.Random(0), sleep=clock.sleep, now=lambda: clock.now)
        hooks = Webhooks([sender], now=lambda: clock.now)
        for topic, payload in events:
            hooks.process(topic, json.dumps(payload).encode())
        running = asyncio.create_task(hooks.run())
        assert await asyncio.to_thread(waits_until, until, 20.0)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(run())
    return clock.waits


JAZZ = {"id": "kitchen-b1-1", "node": "kitchen", "genre": "jazz"}


def test_songs_are_sent_in_order_and_signed(receiver):
    deliver(receiver.address, ("song_start", JAZZ), ("song", JAZZ), until=lambda: receiver.received.qsize() == 2)
    path, headers, body = receiver.next()
    assert path == "/hook?token=t"
    assert json.loads(body) == {"event": "song_start", **JAZZ}
    assert (headers["Content-Type"], headers["X-Headnod-Event"]) == ("application/json", "song_start")
    wanted = hmac.new(KEY.encode(), headers["X-Headnod-Timestamp"].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-Headnod-Signature"] == f"sha256={wanted}"
    assert receiver.events(1) == [{"event": "song_end", **JAZZ}]


def test_without_a_key_nothing_is_signed(receiver):
    deliver(receiver.address, ("song", JAZZ), key="", until=lambda: receiver.received.qsize() == 1)
    assert receiver.next()[1]["X-Headnod-Signature"] is None


def health(state):
    return "health", {"node": "kitchen", "ts": "2026-11-22T12:00:00Z", "state": state, "message": "m", "uptime_s": 5}


def test_the_state_of_the_microphone_is_sent_when_it_changes(receiver):
    states = ("starting", "listening", "listening", "waiting_for_microphone", "behind", "waiting_for_microphone")
    events = map(health, (*states, "paused", "listening"))
    deliver(receiver.address, *events, ("estimate", JAZZ), until=lambda: receiver.received.qsize() == 2)
    first, second = receiver.events(2)
    told = dict(health("waiting_for_microphone")[1])
    del told["uptime_s"]
    assert first == {"event": "microphone", **told}
    assert second["state"] == "listening"


def test_what_is_not_accepted_is_sent_again_later_and_under_the_same_id():
    with Receiver(500, 503, 429, 200) as receiver:
        waits = deliver(receiver.address, ("song", JAZZ), until=lambda: receiver.received.qsize() == 4)
        ids = {receiver.next()[1]["X-Headnod-Delivery"] for _ in range(4)}
    assert len(ids) == 1
    assert [round(wait) for wait in waits] == sorted(round(wait) for wait in waits)
    assert 10 <= waits[0] <= 12


@pytest.mark.parametrize("status", [301, 302, 400, 401, 404, 410])
def test_what_is_refused_is_not_sent_again_and_a_redirection_is_not_followed(status):
    with Receiver(status) as receiver:
        other = {**JAZZ, "genre": "rock"}
        waits = deliver(receiver.address, ("song", JAZZ), ("song", other), until=lambda: receiver.received.qsize() == 2)
        assert [each["genre"] for each in receiver.events(2)] == ["jazz", "rock"]
    assert waits == []


def test_after_an_hour_an_event_is_given_up(caplog):
    deliver("http://127.0.0.1:1/secret-path", ("song", JAZZ), until=lambda: "for an hour" in caplog.text)
    assert "the webhook at 127.0.0.1 does not answer (song_end)" in caplog.text
    assert "secret-path" not in caplog.text


def test_events_that_wait_are_bounded(receiver):
    songs = [("song", {**JAZZ, "id": str(number)}) for number in range(WAITING + 50)]
    deliver(receiver.address, *songs, until=lambda: receiver.received.qsize() == WAITING)
    assert receiver.events(1)[0]["id"] == "50"


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/", "http://no-such-host.invalid/", "http://[::1]:1/", "http://ä..b/"]
)
def test_nobody_who_answers_is_no_error(address):
    assert post(address, b"{}", {}) == 0


def test_a_real_listener_sends_the_start_of_a_song(receiver, tmp_path):
    (tmp_path / "key").write_text(KEY)
    env = {
        "HEADNOD_WEB__WEBHOOKS": f"['{receiver.address}']",
        "HEADNOD_WEB__WEBHOOK_KEY_FILE": str(tmp_path / "key"),
    }
    with ListenerPage(env=env) as page:
        began = receiver.received.get(timeout=40.0)
        event = json.loads(began[2])
        assert (event["event"], event["node"]) == ("song_start", "kitchen")
        assert began[1]["X-Headnod-Signature"].startswith("sha256=")
        page.end()
        # The song ends with the listener. An event is sent again if its answer came too late, under the same id.
        ended = event
        while ended == event:
            ended = json.loads(receiver.received.get(timeout=15.0)[2])
    assert (ended["event"], ended["id"], ended["genre"]) == ("song_end", event["id"], event["genre"])
