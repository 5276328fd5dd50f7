"""`headnod listen --web`: the page of a real listener, without a broker."""

import json
import os
import signal
import subprocess
import sys
from itertools import islice

import pytest

from support.browser import CLIP, ListenerPage


@pytest.fixture(scope="module")
def shared():
    with ListenerPage() as page:
        yield page


@pytest.fixture
def page(shared):
    yield shared
    shared.close_connections()


def parts(events):
    """The parts of listeners that a page gets, with the labels known so far."""
    labels = []
    for name, data in events:
        for one in data if name in {"listeners", "changes"} else []:
            if "labels" in one:
                labels = [label for label, _ in one["labels"]["names"]]
            yield one, labels


def essence(estimate):
    """What an estimate says, without its times."""
    return {key: estimate[key] for key in ("sequence", "genre", "confidence", "scores", "level", "raw_genre")}


def test_the_page_shows_what_the_listener_estimates_without_a_broker(page):
    shown = set()
    for one, labels in parts(page.events()):
        assert one["node"] == "kitchen"
        if one.get("now"):
            shown.add((labels[one["now"]["genre"]], one["now"]["confidence"]))
        if len(shown) > 3:
            break
    printed = set()
    for estimate in page.estimates():
        printed.add((estimate["genre"], round(estimate["confidence"], 3)))
        if shown <= printed:
            break
    assert shown <= printed


def test_the_listener_is_online_with_its_info(page):
    (kitchen,) = page.json("/api/v1/listeners")
    assert (kitchen["node"], kitchen["status"]["online"]) == ("kitchen", True)
    assert kitchen["info"]["every_s"] == 0.3
    assert kitchen["health"]["state"] == "listening"


def test_the_same_files_are_served_as_by_the_dashboard(page):
    assert page.get("/").read().startswith(b"<!doctype html>")
    assert page.get("/app.js").status == 200


def test_the_session_names_the_listener(page):
    session = page.json("/api/v1/session")
    assert (session["role"], session["password"], session["local"]) == ("owner", False, "kitchen")


def test_the_history_of_the_listener_is_served(tmp_path):
    with ListenerPage(env={"HEADNOD_HISTORY__PATH": str(tmp_path / "history.sqlite")}) as page:
        # It is written when the first estimate is.
        next(page.estimates())
        page.sends(lambda one: one.get("now"))
        assert page.json("/api/v1/listeners/kitchen/songs") == []
        assert page.get("/api/v1/listeners/porch/songs").status == 404
        assert page.get("/api/v1/listeners/kitchen/songs?format=csv").read().startswith(b"start,end,genre")


def test_the_spectrum_is_sent_to_a_page_that_asks_for_it(page):
    columns = [data for name, data in islice(page.events("/events?watch=1"), 12) if name == "spectrum"]
    assert columns
    assert all(-100 < column["level"] <= 0 for column in columns)
    page.close_connections()
    assert "spectrum" not in {name for name, _ in islice(page.events(), 8)}


def test_a_killed_web_server_changes_no_estimate_and_comes_back():
    with ListenerPage() as page:
        printed = page.estimates()
        made = [essence(each) for each in islice(printed, 3)]
        os.kill(page.server, signal.SIGKILL)
        made += [essence(each) for each in islice(printed, 12)]
        page.wait_for_line("the page is at", times=2)
        assert page.json("/api/v1/session")["local"] == "kitchen"
    alone = subprocess.run(
        [sys.executable, "-m", "headnod", "listen", "--json", "--audio", str(CLIP), "--pace", "fast", "--every", "0.3"],
        env=os.environ | {"HEADNOD_CONFIG": os.devnull},
        capture_output=True,
        check=True,
    )
    assert made == [essence(json.loads(line)) for line in alone.stdout.splitlines()][: len(made)]


def test_a_change_of_the_model_logs_nobody_out():
    with ListenerPage() as page:
        server, token = page.server, page.json("/api/v1/session")["csrf"]
        (before,) = page.json("/api/v1/listeners")
        other = "genre-1.0.0"
        changed = page.request("POST", "/api/v1/models/activate", {"model": other}, X_CSRF_Token=token)
        assert changed.status == 200, changed.read()
        page.sends(lambda one: one.get("info", {}).get("model") == other)
        assert before["info"]["model"] != other
        assert page.server == server
        assert page.json("/api/v1/session")["csrf"] == token


def test_with_the_listener_the_web_server_ends():
    with ListenerPage() as page:
        server = page.server
        assert page.end() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)


def test_a_listener_that_is_killed_with_a_command_unread_ends_the_page_without_an_error():
    with ListenerPage() as page:
        page.process.send_signal(signal.SIGSTOP)
        assert page.get("/events?watch").status == 200
        page.process.kill()
    assert "failed" not in "".join(page.lines)


def test_a_page_of_a_microphone_keeps_its_history_in_the_users_state_folder(tmp_path):
    command = json.dumps(["cat", str(CLIP)])
    environment = {"XDG_STATE_HOME": str(tmp_path), "HEADNOD_MICROPHONE__COMMAND": command}
    with ListenerPage("--audio", "mic", env=environment) as page:
        assert len(list(islice(page.estimates(), 3))) == 3
        assert page.json("/api/v1/listeners/kitchen/songs") == []
        page.end()
    printed = subprocess.run(
        [sys.executable, "-m", "headnod", "history", "--estimates", "--json"],
        env=os.environ | environment | {"HEADNOD_CONFIG": os.devnull},
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(printed.stdout.splitlines()) >= 3
    assert (tmp_path / "headnod").stat().st_mode & 0o077 == 0


def test_a_page_of_a_file_keeps_no_history(tmp_path):
    with ListenerPage(env={"XDG_STATE_HOME": str(tmp_path)}) as page:
        assert len(list(islice(page.estimates(), 1))) == 1
        assert page.get("/api/v1/listeners/kitchen/songs").status == 404
    assert list(tmp_path.iterdir()) == []
