"""Many who may not read the page at once, and one who has logged in."""

import json
import socket

import pytest

from headnod.dashboard.fleet import BROWSERS, RESERVED
from headnod.dashboard.server import OF_ONE, REQUESTS_OF_ONE
from support.browser import ListenerPage

SECRET = "correct horse"  # noqa: S105 - of a page that lives for a test


@pytest.fixture
def page(tmp_path):
    """A page that everyone may read and whose owner has a password."""
    file = tmp_path / "password"
    file.write_text(SECRET)
    env = {"HEADNOD_WEB__PASSWORD_FILE": str(file)}
    with ListenerPage("--web-open", env=env) as page:
        yield page


@pytest.fixture
def connect(page):
    made = []

    def connected(sent, *, source):
        made.append(socket.create_connection(("127.0.0.1", page.port), source_address=(source, 0)))
        made[-1].settimeout(15.0)
        made[-1].sendall(sent)
        return made[-1]

    yield connected
    for each in made:
        each.close()


EVENTS = b"GET /events HTTP/1.1\r\nHost: pi.lan\r\n\r\n"


def status(connection):
    """The status of the answer; None if it is closed without one."""
    try:
        return int(connection.recv(12).split()[1])
    except (OSError, IndexError):
        return None


def sources(number):
    return [f"127.0.{number}.{each}" for each in range(1, 14)]


def test_one_who_has_logged_in_is_served_while_strangers_take_all_they_can(page, connect):
    owner = page.log_in(SECRET)
    streams = [connect(EVENTS, source=source) for source in sources(1) for _ in range(16)][:200]
    open_streams = [status(each) for each in streams].count(200)
    # The same address as the owner's guesses, waits and reads.
    for number in range(140):
        connect(b"GET / HTTP/1.1\r\nX-a: ", source="127.0.0.1" if number % 2 else f"127.0.2.{number}")
    statuses = [page.request("POST", "/api/v1/session", {"password": "wrong"}).status for _ in range(1000)]
    page.close_connections()
    assert open_streams == BROWSERS - RESERVED
    assert statuses == [401] * 5 + [429] * 995
    assert page.json("/api/v1/session", **owner)["role"] == "owner"
    watching = page.events("/events?watch=1", **owner)
    assert "spectrum" in {next(watching)[0] for _ in range(20)}
    assert page.json("/api/v1/listeners", **owner)[0]["node"] == "kitchen"
    assert sum("wrong password from 127.0.0.1" in line for line in page.lines) == 1


def test_an_address_has_room_for_its_owner_beside_its_strangers(page, connect):
    owner = page.log_in(SECRET)
    streams = [connect(EVENTS, source="127.0.0.1") for _ in range(2 * OF_ONE)]
    assert [status(each) for each in streams].count(200) == REQUESTS_OF_ONE
    assert page.get("/api/v1/listeners").status == 503
    assert page.get("/api/v1/listeners", **owner).status == 200


def test_a_stranger_may_read_and_not_change(page):
    session = page.json("/api/v1/session")
    assert session["role"] == "reader"
    answer = page.request("PATCH", "/api/v1/controls", {"paused": True}, X_CSRF_Token=session["csrf"])
    assert (answer.status, json.loads(answer.read())["error"][:14]) == (403, "Only the owner")
