"""Connections that never finish their request, at a dashboard that is served."""

import socket

import pytest

from headnod.dashboard.routing import REQUEST_SECONDS
from headnod.dashboard.server import OF_ONE, WAITING, listen_at
from support.browser import Dashboard

HALF = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-a: "


@pytest.fixture
def connect(dashboard):
    made = []

    def connected(sent=HALF, *, source="127.0.0.1"):
        made.append(socket.create_connection(("127.0.0.1", dashboard.port), source_address=(source, 0)))
        made[-1].settimeout(3 * REQUEST_SECONDS)
        made[-1].sendall(sent)
        return made[-1]

    yield connected
    for each in made:
        each.close()


def is_closed(connection):
    """Whether the other side closes it; waits for that."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def test_the_page_is_served_beside_many_requests_that_are_never_finished(dashboard, connect):
    for _ in range(140):
        connect()
    assert dashboard.get("/").status == 200


def test_the_oldest_unfinished_request_makes_room_for_the_next(dashboard, connect):
    first, *others = [connect() for _ in range(OF_ONE)]
    assert dashboard.get("/").status == 200
    connect()
    assert is_closed_early(first)
    assert is_answered(others[-1])


def test_the_oldest_unfinished_request_of_all_addresses_makes_room_for_the_next(connect):
    sources = [f"127.0.0.{2 + number}" for number in range(WAITING // OF_ONE)]
    first, second, third, *_ = [connect(source=source) for source in sources for _ in range(OF_ONE)]
    assert is_answered(first), "so many may wait"
    for source in ("127.0.1.1", "127.0.1.2"):
        connect(source=source)
    assert is_closed_early(second), "one more than may wait"
    assert is_answered(third)


def is_answered(connection):
    """Whether an unfinished request is answered once it is finished."""
    try:
        connection.sendall(b"b\r\n\r\n")
        return connection.recv(15) == b"HTTP/1.1 200 OK"
    except OSError:
        return False


def is_closed_early(connection):
    """Whether a connection is closed long before its time is over."""
    connection.settimeout(REQUEST_SECONDS / 2)
    return is_closed(connection)


@pytest.mark.parametrize("sent", [b"", HALF], ids=["silent", "half"])
def test_a_request_that_does_not_come_in_time_is_given_up(dashboard, connect, sent):
    assert is_closed(connect(sent))
    assert dashboard.get("/").status == 200


def test_bytes_that_trickle_in_do_not_stretch_the_time(connect):
    connection = connect()
    connection.settimeout(0.5)
    for _ in range(round(3 * REQUEST_SECONDS)):
        try:
            connection.sendall(b"b")
            if connection.recv(1) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    else:
        pytest.fail("the connection is still open")


def test_a_browser_that_watches_is_kept_while_others_never_finish(dashboard, connect):
    events = dashboard.events()
    assert next(events)[0] == "hello"
    for _ in range(3 * OF_ONE):
        connect()
    # Before it come the listeners of the broker, if there are some.
    assert any(name == "ready" for name, _ in events)


def test_a_name_is_served_at_each_of_its_addresses():
    listening = listen_at("localhost", 0)
    ports = {each.getsockname()[1] for each in listening}
    assert len(ports) == 1
    assert "127.0.0.1" in {each.getsockname()[0] for each in listening}
    for each in listening:
        socket.create_connection(each.getsockname()[:2]).close()
        each.close()


LOG_IN = b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
INVALID = {
    "TLS": b"\x16\x03\x01 and more",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "WebSocket": b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "half a body": LOG_IN + b'Content-Length: 99\r\n\r\n{"password":',
    "half of the chunks": LOG_IN + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    "no length": LOG_IN + b"Content-Length: many\r\n\r\n",
}


def test_requests_that_are_not_valid_write_nothing_to_the_log(broker):
    with Dashboard(broker) as page:
        page.wait_for_line("MQTT: connected")
        before = len(page.lines)
        for sent in INVALID.values():
            with socket.create_connection(("127.0.0.1", page.port)) as connection:
                connection.settimeout(3 * REQUEST_SECONDS)
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
        assert page.get("/").status == 200
        page.end()
    assert page.lines[before:] == []
