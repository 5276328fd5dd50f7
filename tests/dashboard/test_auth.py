from base64 import b64encode

import pytest

from headnod.dashboard.auth import (
    IDLE_SECONDS,
    LINES,
    SESSIONS,
    TRIES,
    WINDOW_SECONDS,
    Authenticator,
    Role,
    Sessions,
)
from headnod.dashboard.routing import RequestError
from headnod.errors import ConfigError
from headnod.factory.page_factory import password_from

SECRET = "correct horse"  # noqa: S105 - of an access that lives for a test
READING = "only reading"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def access(clock, password=SECRET, **options):
    return Authenticator(password, sessions=Sessions(8080, secure=False, monotonic=clock), monotonic=clock, **options)


def basic(password, user="me"):
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def identify(page, *, host="localhost", authorization="", cookie="", address="10.0.0.7"):
    return page.identify(host=host, authorization=authorization, cookie=cookie, address=address)


def status(page, method="GET", *, csrf=None, **options):
    """The HTTP status of a request, with the token of the page if no other is given."""
    try:
        visitor = identify(page, **options)
        page.authorize(visitor, method, csrf=page.sessions.csrf(visitor.token) if csrf is None else csrf)
    except RequestError as error:
        return error.status
    return 200


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8137", "LOCALHOST", "127.0.0.1:8137", "[::1]:8137", "localhost."]
)
def test_without_a_password_this_machine_may_look(clock, host):
    assert status(access(clock, None), host=host) == 200


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:8137", "localhost.evil.example", "127.0.0.1.evil.example", "[::2]"]
)
def test_without_a_password_a_foreign_name_for_this_machine_is_refused(clock, host):
    assert status(access(clock, None), host=host) == 421


def test_with_a_password_any_name_will_do_and_any_user(clock):
    page = access(clock)
    assert status(page, host="dash.lan", authorization=basic(SECRET)) == 200
    assert status(page, host="dash.lan", authorization=basic(SECRET, user="")) == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic !!!",
        "Basic " + "A" * 9000,
        "Bearer correct horse",
        basic(""),
        basic(SECRET + "r"),
        basic("kör"),
        "Basic /////w==",
    ],
)
def test_anything_but_the_password_is_asked_for_it(clock, authorization):
    assert status(access(clock), authorization=authorization) == 401


def test_a_password_may_have_colons_and_umlauts(clock):
    assert status(access(clock, "a:b:grün!"), authorization=basic("a:b:grün!")) == 200


def test_whoever_guesses_waits_and_the_right_password_is_not_distinguished(clock):
    page = access(clock)
    for _ in range(TRIES):
        assert status(page, authorization=basic("wrong")) == 401
    assert status(page, authorization=basic(SECRET)) == 429
    clock.now = WINDOW_SECONDS
    assert status(page, authorization=basic(SECRET)) == 200


def test_one_who_guesses_does_not_lock_out_another(clock):
    page = access(clock)
    for _ in range(TRIES + 1):
        status(page, authorization=basic("wrong"), address="10.0.0.66")
    assert status(page, authorization=basic(SECRET), address="10.0.0.7") == 200


def test_a_house_of_ipv6_is_one_guesser(clock):
    page = access(clock)
    for number in range(TRIES):
        status(page, authorization=basic("wrong"), address=f"fd00::1:{number}")
    assert status(page, authorization=basic(SECRET), address="fd00::ffff") == 429
    assert status(page, authorization=basic(SECRET), address="fd00:0:0:1::1") == 200


def test_clients_of_ipv4_at_a_socket_of_ipv6_are_several_guessers(clock):
    page = access(clock)
    for _ in range(TRIES):
        status(page, authorization=basic("wrong"), address="::ffff:192.0.2.66")
    assert status(page, authorization=basic(SECRET), address="192.0.2.66") == 429
    assert status(page, authorization=basic(SECRET), address="::ffff:192.0.2.67") == 200


def test_asking_without_a_password_is_no_guess(clock):
    page = access(clock)
    for _ in range(10 * TRIES):
        status(page)
    assert status(page, authorization=basic(SECRET)) == 200


def test_the_password_is_the_first_line_of_its_file(tmp_path):
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\nnot this\n")
    assert password_from(file, "web.password_file") == SECRET


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "shorter than 8"),
        (b"1234567\n", "shorter than 8"),
        (b"x" * 4_097, "longer than 4096 bytes"),
        (b"\xff\xfe12345678", "is not UTF-8 text"),
    ],
)
def test_a_password_that_cannot_be_one_is_refused_unseen(tmp_path, content, fault):
    file = tmp_path / "password"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=fault) as refusal:
        password_from(file, "web.password_file")
    assert "1234567" not in str(refusal.value)


def test_a_password_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"web.password_file: .*/absent: no such file"):
        password_from(tmp_path / "absent", "web.password_file")


def test_a_wrong_password_is_logged_with_its_address_and_without_itself(clock, caplog):
    page = access(clock)
    status(page, authorization=basic("hunter2secret", user="mallory"), address="192.0.2.7")
    assert "wrong password from 192.0.2.7" in caplog.text
    assert "hunter2secret" not in caplog.text
    assert "mallory" not in caplog.text


def test_the_right_password_and_a_browser_that_has_none_yet_are_not_logged(clock, caplog):
    page = access(clock)
    status(page)
    status(page, authorization=basic(SECRET))
    assert caplog.records == []


def test_an_address_has_one_line_a_minute_however_often_it_guesses(clock, caplog):
    page = access(clock)
    for _ in range(1000):
        status(page, authorization=basic("wrong"))
    (record,) = caplog.records
    assert record.getMessage() == "wrong password from 10.0.0.7 (more than 5 within 60 s are refused)"
    clock.now = WINDOW_SECONDS
    status(page, authorization=basic("wrong"))
    assert len(caplog.records) == 2


def test_guesses_from_everywhere_are_few_lines_a_minute(clock, caplog):
    page = access(clock)
    for host in range(200):
        status(page, authorization=basic("wrong"), address=f"192.0.2.{host}")
    assert len(caplog.records) == LINES
    clock.now = WINDOW_SECONDS - 0.01
    status(page, authorization=basic("wrong"), address="198.51.100.1")
    assert len(caplog.records) == LINES
    clock.now = WINDOW_SECONDS
    status(page, authorization=basic("wrong"), address="198.51.100.2")
    assert len(caplog.records) == LINES + 1


def session(page, role=Role.OWNER):
    """The cookie of somebody who has logged in."""
    return page.sessions.set_cookie(page.sessions.open(role)).partition(";")[0]


def test_a_session_is_served_while_its_address_guesses(clock):
    page = access(clock)
    cookie = session(page)
    for _ in range(TRIES):
        status(page, authorization=basic("wrong"))
    assert status(page) == 401
    with pytest.raises(RequestError, match="too many"):
        page.check(SECRET, "10.0.0.7")
    assert status(page, cookie=cookie) == 200


@pytest.mark.parametrize(("password", "role"), [(SECRET, Role.OWNER), (READING, Role.READER)])
def test_each_password_has_its_role(clock, password, role):
    assert access(clock, reader=READING).check(password, "10.0.0.7") is role


@pytest.mark.parametrize("password", ["", SECRET.upper()])
def test_any_other_password_is_wrong(clock, password):
    with pytest.raises(RequestError, match="wrong"):
        access(clock, reader=READING).check(password, "10.0.0.7")


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "PUT"])
def test_only_the_owner_may_change_and_only_with_the_token_of_the_page(clock, method):
    page = access(clock, reader=READING)
    owner, reader = session(page), session(page, Role.READER)
    assert status(page, method, cookie=owner) == 200
    assert status(page, method, cookie=owner, csrf="") == 403
    assert status(page, method, cookie=owner, csrf=page.sessions.csrf("")) == 403
    assert status(page, method, cookie=reader) == 403
    assert status(page, method, authorization=basic(SECRET)) == 200
    assert status(page, method, authorization=basic(READING)) == 403
    assert status(page, method) == 401
    assert status(page, "GET", cookie=reader, csrf="") == 200


def test_an_open_page_may_be_read_by_everyone_and_changed_by_the_owner(clock):
    page = access(clock, everyone=Role.READER)
    assert status(page, "GET", host="pi.lan") == 200
    assert status(page, "POST", host="pi.lan") == 403
    assert status(page, "POST", host="pi.lan", cookie=session(page)) == 200
    nobody_owns = access(clock, None, everyone=Role.READER)
    assert status(nobody_owns, "POST", host="localhost") == 403
    assert not nobody_owns.has_password


def test_this_machine_alone_is_the_owner_without_a_password(clock):
    page = access(clock, None)
    assert status(page, "POST") == 200
    assert status(page, "POST", csrf="") == 403


def test_who_has_logged_in_is_trusted_and_everyone_is_not(clock):
    page = access(clock, reader=READING, everyone=Role.READER)
    assert page.is_trusted(identify(page, cookie=session(page)))
    assert not page.is_trusted(identify(page))
    assert not access(clock).is_trusted(identify(access(clock)))
    assert access(clock, None).is_trusted(identify(access(clock, None)))


def test_a_session_ends_when_it_is_closed_or_not_used(clock):
    sessions = Sessions(8080, secure=False, monotonic=clock)
    closed, idle, used = (sessions.open(Role.OWNER) for _ in range(3))
    sessions.close(closed)
    clock.now = IDLE_SECONDS
    assert sessions.role(used) is Role.OWNER
    clock.now += 1.0
    assert [sessions.role(token) for token in (closed, idle, used, "")] == [None, None, Role.OWNER, None]


def test_the_session_that_was_used_longest_ago_makes_room(clock):
    sessions = Sessions(8080, secure=False, monotonic=clock)
    first, second, *_ = [sessions.open(Role.READER) for _ in range(SESSIONS)]
    sessions.role(first)
    sessions.open(Role.READER)
    assert len(sessions) == SESSIONS
    assert sessions.role(first) is Role.READER
    assert sessions.role(second) is None


def test_readers_who_log_in_often_log_no_owner_out(clock):
    sessions = Sessions(8080, secure=False, monotonic=clock)
    owner, first = sessions.open(Role.OWNER), sessions.open(Role.READER)
    for _ in range(SESSIONS):
        sessions.open(Role.READER)
    assert (sessions.role(owner), sessions.role(first)) == (Role.OWNER, None)


@pytest.mark.parametrize("secure", [False, True])
def test_the_cookie_is_for_this_page_only(clock, secure):
    cookie = Sessions(8080, secure=secure, monotonic=clock).set_cookie("abc")
    assert cookie.startswith("headnod_8080=abc; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict")
    assert cookie.endswith("; Secure") is secure
    assert "Max-Age=0" in Sessions(8080, secure=secure, monotonic=clock).set_cookie("")


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("headnod_8080=abc", "abc"),
        ('other={"a": 1}; headnod_8080=abc; more=1', "abc"),
        ("headnod_8081=abc", ""),
        ("headnod_8080", ""),
        ("", ""),
        (";;=;", ""),
        ("x" * 5000 + "; headnod_8080=abc", ""),
    ],
)
def test_the_token_is_found_among_the_cookies_of_the_host(clock, header, token):
    assert Sessions(8080, secure=False, monotonic=clock).token_of(header) == token
