from base64 import b64encode

import pytest

from headnod.dashboard.auth import LINES, TRIES, WINDOW_SECONDS, Authenticator, AuthResult, is_local
from headnod.errors import ConfigError
from headnod.factory.page_factory import password_from

SECRET = "correct horse"  # noqa: S105 - of an access that lives for a test


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def basic(password, user="me"):
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def authorize(access, *, host="localhost", authorization="", address="10.0.0.7"):
    return access.authorize(host=host, authorization=authorization, address=address)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8137", "LOCALHOST", "127.0.0.1:8137", "[::1]:8137", "localhost."]
)
def test_without_a_password_this_machine_may_look(clock, host):
    assert authorize(Authenticator(None, monotonic=clock), host=host) is AuthResult.ALLOWED


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:8137", "localhost.evil.example", "127.0.0.1.evil.example", "[::2]"]
)
def test_without_a_password_a_foreign_name_for_this_machine_is_refused(clock, host):
    assert authorize(Authenticator(None, monotonic=clock), host=host) is AuthResult.WRONG_HOST


def test_with_a_password_any_name_will_do_and_any_user(clock):
    access = Authenticator(SECRET, monotonic=clock)
    assert authorize(access, host="dash.lan", authorization=basic(SECRET)) is AuthResult.ALLOWED
    assert authorize(access, host="dash.lan", authorization=basic(SECRET, user="")) is AuthResult.ALLOWED


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
    assert authorize(Authenticator(SECRET, monotonic=clock), authorization=authorization) is AuthResult.NO_PASSWORD


def test_a_password_may_have_colons_and_umlauts(clock):
    assert (
        authorize(Authenticator("a:b:grün!", monotonic=clock), authorization=basic("a:b:grün!")) is AuthResult.ALLOWED
    )


def test_whoever_guesses_waits_and_the_right_password_is_not_told_apart(clock):
    access = Authenticator(SECRET, monotonic=clock)
    for _ in range(TRIES):
        assert authorize(access, authorization=basic("wrong")) is AuthResult.NO_PASSWORD
    assert authorize(access, authorization=basic(SECRET)) is AuthResult.TOO_MANY
    clock.now = WINDOW_SECONDS
    assert authorize(access, authorization=basic(SECRET)) is AuthResult.ALLOWED


def test_one_who_guesses_does_not_lock_out_another(clock):
    access = Authenticator(SECRET, monotonic=clock)
    for _ in range(TRIES + 1):
        authorize(access, authorization=basic("wrong"), address="10.0.0.66")
    assert authorize(access, authorization=basic(SECRET), address="10.0.0.7") is AuthResult.ALLOWED


def test_a_house_of_ipv6_is_one_guesser(clock):
    access = Authenticator(SECRET, monotonic=clock)
    for number in range(TRIES):
        authorize(access, authorization=basic("wrong"), address=f"fd00::1:{number}")
    assert authorize(access, authorization=basic(SECRET), address="fd00::ffff") is AuthResult.TOO_MANY
    assert authorize(access, authorization=basic(SECRET), address="fd00:0:0:1::1") is AuthResult.ALLOWED


def test_asking_without_a_password_is_no_guess(clock):
    access = Authenticator(SECRET, monotonic=clock)
    for _ in range(10 * TRIES):
        authorize(access)
    assert authorize(access, authorization=basic(SECRET)) is AuthResult.ALLOWED


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - is not bound
        ("::", False),
        ("192.168.1.2", False),
        ("dash.lan", False),
        ("", False),
    ],
)
def test_only_loopback_is_this_machine_alone(host, local):
    assert is_local(host) is local


def test_the_password_is_the_first_line_of_its_file(tmp_path):
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\nnot this\n")
    assert password_from(file) == SECRET


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
        password_from(file)
    assert "1234567" not in str(refusal.value)


def test_a_password_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"dashboard.password_file: .*/absent: no such file"):
        password_from(tmp_path / "absent")


def test_a_wrong_password_is_logged_with_its_address_and_without_itself(clock, caplog):
    access = Authenticator(SECRET, monotonic=clock)
    authorize(access, authorization=basic("hunter2secret", user="mallory"), address="192.0.2.7")
    assert "wrong password from 192.0.2.7" in caplog.text
    assert "hunter2secret" not in caplog.text
    assert "mallory" not in caplog.text


def test_the_right_password_and_a_browser_that_has_none_yet_are_not_logged(clock, caplog):
    access = Authenticator(SECRET, monotonic=clock)
    authorize(access)
    authorize(access, authorization=basic(SECRET))
    assert caplog.records == []


def test_the_line_of_the_last_try_says_that_the_address_has_to_wait(clock, caplog):
    access = Authenticator(SECRET, monotonic=clock)
    for _ in range(TRIES + 3):
        authorize(access, authorization=basic("wrong"))
    lines = [record.getMessage() for record in caplog.records]
    assert [("refused" in line) for line in lines] == [False] * (TRIES - 1) + [True]


def test_guesses_from_everywhere_are_few_lines_a_minute(clock, caplog):
    access = Authenticator(SECRET, monotonic=clock)
    for host in range(200):
        authorize(access, authorization=basic("wrong"), address=f"192.0.2.{host}")
    assert len(caplog.records) == LINES
    clock.now = WINDOW_SECONDS - 0.01
    authorize(access, authorization=basic("wrong"), address="198.51.100.1")
    assert len(caplog.records) == LINES
    clock.now = WINDOW_SECONDS
    authorize(access, authorization=basic("wrong"), address="198.51.100.2")
    assert len(caplog.records) == LINES + 1
