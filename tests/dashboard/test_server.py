import gzip
import re
import socket
import stat
from urllib.parse import urljoin

import pytest

from support.browser import Dashboard, estimate_json, song

SECRET = "correct horse"  # noqa: S105 - of a dashboard that lives for a test


@pytest.fixture
def locked(broker, tmp_path):
    """A dashboard that asks for a password."""
    file = tmp_path / "password"
    file.write_text(SECRET + "\n")
    with Dashboard(broker, env={"HEADNOD_DASHBOARD__PASSWORD_FILE": str(file)}) as dashboard:
        yield dashboard


def refused(*, broker=None, env=None, host=""):
    """What a dashboard says that does not start, and its exit status."""
    dashboard = Dashboard(broker, env=env, host=host)
    status = dashboard.process.wait(15.0)
    dashboard.close()
    return status, "".join(dashboard.lines)


@pytest.mark.parametrize("path", ["/", "/app.js", "/style.css", "/icon.svg", "/nothing", "/events"])
def test_every_answer_keeps_the_browser_from_doing_anything_else(dashboard, path):
    answer = dashboard.get(path)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "server" not in answer.headers


def test_the_page_loads_nothing_from_elsewhere_and_has_nothing_inline(dashboard):
    page = dashboard.get("/").read().decode()
    assert "http" not in page
    assert "<style" not in page
    assert " style=" not in page
    assert " on" + "click" not in page
    assert page.count("<script") == page.count('<script type="module" src="app.js"></script>') == 1


@pytest.mark.parametrize("path", ["/../server.py", "/static/app.js", "/%2e%2e/server.py", "/index.html/", "/server.py"])
def test_only_the_page_is_served(dashboard, path):
    assert dashboard.get(path).status == 404


def test_a_page_that_is_known_is_not_sent_again(dashboard):
    first = dashboard.get("/app.js")
    again = dashboard.get("/app.js", If_None_Match=first.headers["ETag"])
    assert (again.status, again.read()) == (304, b"")


def test_a_file_is_compressed_for_a_browser_that_takes_it(dashboard):
    plain, compressed = dashboard.get("/style.css"), dashboard.get("/style.css", Accept_Encoding="br, gzip")
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    content = plain.read()
    assert gzip.decompress(packed := compressed.read()) == content
    assert 3 * len(packed) < len(content)


@pytest.mark.parametrize(("path", "status"), [("/kitchen", 200), ("/Room_2-b", 200), ("/a.b", 404), ("/a/b", 404)])
def test_the_address_of_a_listener_is_its_name(dashboard, path, status):
    answer = dashboard.get(path)
    assert answer.status == status
    if status == 200:
        assert answer.read() == dashboard.get("/").read()


@pytest.mark.parametrize("below", ["http://pi.lan/", "https://pi.lan/ingress/x/"])
def test_an_address_with_a_slash_too_many_leads_to_the_listener_below_any_proxy(dashboard, below):
    answer = dashboard.get("/kitchen/")
    assert answer.status == 307
    assert urljoin(f"{below}kitchen/", answer.headers["Location"]) == f"{below}kitchen"


@pytest.mark.parametrize("path", ["//evil.example/", "/api/v1/listeners/", "/style.css/"])
def test_no_other_address_redirects(dashboard, path):
    assert dashboard.get(path).status == 404


def test_every_address_in_the_page_is_relative(dashboard):
    page = dashboard.get("/").read().decode()
    addresses = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert len(addresses) > 8
    assert not [each for each in addresses if each.startswith("/") or "://" in each]


def test_a_browser_receives_what_was_heard_before_it_came_and_then_what_is_heard(dashboard, publisher):
    publisher.publish_estimate("kitchen", "jazz")
    events = dashboard.events()
    seen = {}
    for name, data in events:
        for one in data if name in {"listeners", "changes"} else []:
            seen |= one
        if seen.get("now") and seen["status"]["online"]:
            break
    labels = seen["labels"]["names"]
    assert labels[seen["now"]["genre"]] == ["jazz", "#00ffee"]
    publisher.publish("kitchen", "estimate", estimate_json("rock"))
    changed = next(
        one
        for name, data in events
        if name == "changes"
        for one in data
        if "now" in one and one["now"]["genre"] != seen["now"]["genre"]
    )
    assert labels[changed["now"]["genre"]][0] == "rock"


def test_a_foreign_name_for_this_machine_is_refused(dashboard):
    answer = dashboard.get("/events", Host="evil.example:8137")
    assert answer.status == 421
    assert b"headnod" not in answer.read().replace(b"http://localhost", b"")


def test_with_a_password_nothing_is_shown_without_it(locked):
    for path in ("/events", "/events?watch=1", "/%65vents", "/api/v1/listeners", "/api/v1/nothing", "/api/"):
        answer = locked.get(path)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert locked.get("/", password="wrong horse").status == 401
    assert locked.get("/", password=SECRET).status == 200
    assert next(locked.events(password=SECRET))[0] == "hello"


def test_the_page_with_its_log_in_needs_no_password(locked):
    assert [locked.get(path).status for path in ("/", "/app.js", "/kitchen")] == [200, 200, 200]
    assert locked.json("/api/v1/session") == {
        "role": None,
        "password": True,
        "logged_in": False,
        "csrf": locked.json("/api/v1/session")["csrf"],
        "local": None,
        "remote_history": True,
        "version": "",
    }


def test_a_browser_is_asked_by_the_page_and_not_by_a_window_of_its_own(locked):
    answer = locked.get("/events", Accept_Language="en")
    assert answer.status == 401
    assert "WWW-Authenticate" not in answer.headers


def test_who_logs_in_sees_everything_until_the_log_out(locked):
    headers = locked.log_in(SECRET)
    assert locked.json("/api/v1/session", **headers)["role"] == "owner"
    assert locked.json("/api/v1/session", **headers)["logged_in"]
    assert next(locked.events(**headers))[0] == "hello"
    assert locked.json("/api/v1/session", **headers)["csrf"] == headers["X_CSRF_Token"]
    assert locked.request("DELETE", "/api/v1/session", Cookie=headers["Cookie"]).status == 403
    ended = locked.request("DELETE", "/api/v1/session", **headers)
    assert (ended.status, "Max-Age=0" in ended.headers["Set-Cookie"]) == (200, True)
    assert locked.get("/events", **headers).status == 401


def test_a_cookie_of_before_the_log_in_is_not_used_after_it(locked):
    before = locked.log_in(SECRET)
    answer = locked.request("POST", "/api/v1/session", {"password": SECRET}, Cookie=before["Cookie"])
    assert answer.headers["Set-Cookie"].partition(";")[0] != before["Cookie"]
    assert locked.get("/api/v1/listeners", Cookie=before["Cookie"]).status == 401


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ({"password": "wrong"}, {}, 401),
        ({"password": 5}, {}, 400),
        ({"password": SECRET, "more": 1}, {}, 400),
        ([], {}, 400),
        ({"password": "x" * 20_000}, {}, 413),
        ({"password": SECRET}, {"Content_Type": "text/plain"}, 415),
        ({"password": SECRET}, {"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"password": SECRET}, {"Sec_Fetch_Site": "cross-site"}, 403),
        ({"password": SECRET}, {"Sec_Fetch_Site": "same-origin"}, 200),
    ],
)
def test_a_log_in_is_json_from_the_page_itself(locked, body, headers, status):
    answer = locked.request("POST", "/api/v1/session", body, **headers)
    assert answer.status == status
    assert ("Set-Cookie" in answer.headers) is (status == 200)
    assert SECRET not in answer.read().decode()


def test_guessing_is_answered_five_times(locked):
    assert [locked.get("/", password=f"guess {number}").status for number in range(7)] == [401] * 5 + [429] * 2
    assert locked.request("POST", "/api/v1/session", {"password": SECRET}).status == 429
    assert locked.get("/", password=SECRET).headers["Retry-After"] == "60"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])  # noqa: S104 - to be refused
def test_it_is_open_to_others_with_a_password_only(broker, host):
    status, said = refused(broker=broker, host=host)
    assert status == 2
    assert said.count("\n") == 1
    assert f"'{host}' is open to others, and dashboard.password_file is empty" in said


def test_with_a_password_it_is_open_to_others(broker, tmp_path):
    file = tmp_path / "password"
    file.write_text(SECRET)
    env = {"HEADNOD_DASHBOARD__PASSWORD_FILE": str(file)}
    with Dashboard(broker, host="0.0.0.0", env=env) as dashboard:  # noqa: S104 - with a password
        assert dashboard.get("/", password=SECRET, Host="dash.lan").status == 200


def test_systemd_may_hand_the_password_over(broker, tmp_path):
    (tmp_path / "dashboard_password").write_text(SECRET)
    with Dashboard(broker, env={"CREDENTIALS_DIRECTORY": str(tmp_path)}) as dashboard:
        assert dashboard.get("/events").status == 401
        assert dashboard.get("/", password=SECRET).status == 200


def test_without_a_broker_set_it_says_how_to_set_one():
    status, said = refused()
    assert status == 78
    assert "mqtt.host" in said
    assert "Traceback" not in said


def test_a_port_that_is_taken_is_one_line(broker):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, said = refused(broker=broker, env={"HEADNOD_DASHBOARD__PORT": str(port)})
    assert status == 1
    way_out = "(dashboard.host and dashboard.port choose)"
    assert said == f"headnod: cannot listen at 127.0.0.1 port {port}: Address already in use {way_out}\n"


def test_a_broker_that_is_away_is_no_reason_not_to_serve(doomed):
    doomed.stop()
    with Dashboard(doomed) as dashboard:
        dashboard.wait_for_line("no connection to")
        name, hello = next(dashboard.events())
        assert name == "hello"
        assert str(doomed.port) in hello["reason"]


def test_asked_to_end_it_ends_at_once_though_browsers_look(broker):
    with Dashboard(broker) as dashboard:
        events = dashboard.events()
        assert next(events)[0] == "hello"
        assert dashboard.end() == 0
    assert not any("Traceback" in line or "rror" in line for line in dashboard.lines)


def test_the_password_of_the_broker_reaches_no_browser(tmp_path):
    from support.mqtt_broker import Broker

    file = tmp_path / "mqtt"
    file.write_text("hush-hush-hush\n")
    file.chmod(stat.S_IRUSR)
    with Broker(tmp_path / "broker", users={"dash": "another-one"}) as broker:
        env = {"HEADNOD_MQTT__USERNAME": "dash", "HEADNOD_MQTT__PASSWORD_FILE": str(file)}
        with Dashboard(broker, env=env) as dashboard:
            dashboard.wait_for_line("no connection to")
            name, hello = next(dashboard.events())
            assert name == "hello"
            assert hello["reason"]
            assert "hush" not in str(hello) + "".join(dashboard.lines)


def test_songs_that_ended_today_are_counted(dashboard, publisher):
    publisher.publish("kitchen", "song", song("jazz"))
    for name, data in dashboard.events():
        songs = [one["songs"] for one in data if one.get("songs")] if name in {"listeners", "changes"} else []
        if songs:
            assert songs[0][0][1:] == [1, 200]
            break
