"""Who may see and change the page of a listener, and how it is served: TLS, embedding, open to others."""

import contextlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys

import pytest
from jsonschema import Draft202012Validator

from headnod.dashboard.routing import REQUEST_SECONDS
from headnod.dashboard.server import OF_ONE, WAITING
from support.browser import CLIP, ListenerPage
from support.certificates import Authority

SECRET, READING = "correct horse", "only reading"


@pytest.fixture
def secrets(tmp_path):
    """The environment of a page with both passwords."""
    (tmp_path / "owner").write_text(SECRET + "\n")
    (tmp_path / "reader").write_text(READING + "\n")
    return {
        "HEADNOD_WEB__PASSWORD_FILE": str(tmp_path / "owner"),
        "HEADNOD_WEB__READER_PASSWORD_FILE": str(tmp_path / "reader"),
    }


def ended(*words, **env):
    """The exit status and the log of a listener that does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "headnod", "listen", "--audio", str(CLIP), "--pace", "fast", "--quiet", *words],
        env=os.environ | {"HEADNOD_CONFIG": os.devnull} | env,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def test_the_reader_sees_everything_and_changes_nothing(secrets):
    with ListenerPage(env=secrets) as page:
        reader, owner = page.log_in(READING), page.log_in(SECRET)
        assert page.json("/api/v1/session", **reader)["role"] == "reader"
        assert page.json("/api/v1/listeners", **reader)[0]["node"] == "kitchen"
        assert page.request("POST", "/api/v1/session", {"password": READING}, **owner).status == 200
        assert page.request("DELETE", "/api/v1/listeners", **reader).status == 403
        assert page.request("DELETE", "/api/v1/listeners", **page.log_in(SECRET)).status == 405


@pytest.mark.parametrize("address", ["0.0.0.0", "[::]"])  # noqa: S104 - to be refused
def test_others_are_let_in_with_a_password_or_in_so_many_words_only(address):
    status, log = ended("--web", f"{address}:8080")
    assert status == 2
    assert log.count("\n") == 1
    assert f"--web: '{address.strip('[]')}' is open to others, and web.password_file is empty" in log


def test_with_a_password_others_are_let_in(secrets):
    with ListenerPage(env=secrets, address="0.0.0.0") as page:  # noqa: S104 - with a password
        assert page.get("/api/v1/listeners", Host="pi.lan").status == 401
        assert page.get("/api/v1/listeners", Host="pi.lan", **page.log_in(READING)).status == 200


def test_the_page_is_embedded_by_the_named_origins_only():
    env = {"HEADNOD_WEB__FRAME_ANCESTORS": "['http://homeassistant.local:8123']"}
    with ListenerPage(env=env) as page:
        policy = page.get("/").headers["Content-Security-Policy"]
        assert "frame-ancestors http://homeassistant.local:8123;" in policy


def test_a_certificate_encrypts_the_page_and_its_cookie(tmp_path, secrets):
    authority = Authority(tmp_path / "authority")
    made = authority.issue("page")
    env = secrets | {"HEADNOD_WEB__CERTIFICATE": str(made.file), "HEADNOD_WEB__KEY": str(made.key)}
    context = ssl.create_default_context(cafile=str(authority.file))
    with ListenerPage(env=env) as page:
        page.wait_for_line(f"the page is at https://127.0.0.1:{page.port}/")
        connection = http.client.HTTPSConnection("127.0.0.1", page.port, context=context, timeout=15.0)
        body = json.dumps({"password": SECRET})
        connection.request("POST", "/api/v1/session", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.headers["Set-Cookie"].endswith("; HttpOnly; SameSite=Strict; Secure")
        connection.close()


ONE = ["127.0.0.1"] * (OF_ONE + 1)
SEVERAL = [f"127.0.0.{2 + number % 5}" for number in range(WAITING + 1)]


@pytest.mark.parametrize("sources", [ONE, SEVERAL], ids=["one", "several"])
def test_of_too_many_tls_handshakes_that_are_never_finished_the_oldest_ends(tmp_path, secrets, sources):
    authority = Authority(tmp_path / "authority")
    made = authority.issue("page")
    env = secrets | {"HEADNOD_WEB__CERTIFICATE": str(made.file), "HEADNOD_WEB__KEY": str(made.key)}
    context = ssl.create_default_context(cafile=str(authority.file))
    with ListenerPage(env=env) as page, contextlib.ExitStack() as stack:
        silent = [socket.create_connection(("127.0.0.1", page.port), source_address=(each, 0)) for each in sources]
        for each in silent:
            stack.enter_context(each)
        silent[0].settimeout(REQUEST_SECONDS / 2)
        assert silent[0].recv(1) == b"", "one more than may wait"
        silent[-1].settimeout(15.0)
        with context.wrap_socket(silent[-1], server_hostname="localhost") as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: pi.lan\r\n\r\n")
            assert connection.recv(15) == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize("kind", ["missing", "no certificate", "foreign key", "key alone"])
def test_a_certificate_that_cannot_be_used_is_named_before_the_start(tmp_path, kind):
    authority = Authority(tmp_path / "authority")
    first, second = authority.issue("first"), authority.issue("second")
    (tmp_path / "text").write_text("hello")
    certificate, key, setting = {
        "missing": (tmp_path / "absent", "", "web.certificate"),
        "no certificate": (tmp_path / "text", "", "web.certificate"),
        "foreign key": (first.file, second.key, "web.certificate"),
        "key alone": ("", second.key, "web.key"),
    }[kind]
    env = {"HEADNOD_WEB__CERTIFICATE": str(certificate), "HEADNOD_WEB__KEY": str(key)}
    status, log = ended("--web", **env)
    assert status == 78
    assert log.count("\n") == 1
    assert setting in log


@pytest.mark.parametrize(
    ("variable", "value", "fault"),
    [
        ("FRAME_ANCESTORS", "['http://ha.local; script-src *']", "web.frame_ancestors: 'http://ha.local; script"),
        ("FRAME_ANCESTORS", "['']", "web.frame_ancestors: ''"),
        ("WEBHOOKS", "['ftp://host/x']", "web.webhooks: 'ftp://host/x"),
        ("WEBHOOKS", "['http://']", "web.webhooks"),
        ("WEBHOOKS", "['http://host:99999/']", "web.webhooks"),
        ("READER_PASSWORD_FILE", "/no/such/file", "web.reader_password_file: /no/such/file"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_before_the_start(variable, value, fault):
    status, log = ended("--web", **{f"HEADNOD_WEB__{variable}": value})
    assert (status, fault in log) == (78, True), log


def test_a_port_that_is_taken_does_not_silence_the_listener():
    with ListenerPage() as first:
        status, log = ended("--web", str(first.port))
        assert status == 0
        assert f"cannot listen at 127.0.0.1 port {first.port}: Address already in use" in log


def test_the_interface_is_described_as_it_is(secrets):
    with ListenerPage(env=secrets) as page:
        owner = page.log_in(SECRET)
        described = page.json("/api/v1/openapi.json")
        assert described["openapi"] == "3.1.0"
        for path, methods in described["paths"].items():
            for method, operation in methods.items():
                answer = page.request(method.upper(), path.replace("{node}", "kitchen"))
                wanted = {True: {200, 400, 403, 404, 415}, False: {401}}["security" in operation]
                assert answer.status in wanted, (method, path)
                page.close_connections()
        schemas = {"$defs": described["components"]["schemas"]}
        answer = described["paths"]["/api/v1/session"]["get"]["responses"]["200"]
        schema = json.loads(
            json.dumps(answer["content"]["application/json"]["schema"] | schemas).replace("components/schemas", "$defs")
        )
        Draft202012Validator(schema).validate(page.json("/api/v1/session", **owner))
