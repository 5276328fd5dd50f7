"""Controls and corrections on the page, in headless Chromium, change the real listener."""

import json
import queue
import re
import sqlite3
import threading
import time
import tomllib
from contextlib import closing
from datetime import datetime

import pytest

from headnod.clock import Clock
from headnod.teaching.corrections import NOT_MUSIC, CorrectionStore
from support.browser import ListenerPage, long_clip, missing
from support.command_line import PATIENCE
from support.ingress_proxy import IngressProxy
from support.page import expect, expect_text, one, wait_until

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"{missing()} is not installed")

SHOWN = """() => {
    window.shown = [];
    const record = () => window.shown.push(document.querySelector('[aria-label="listen.lead"]').value);
    new MutationObserver(record).observe(document.querySelector("#settings"), { childList: true, subtree: true });
}"""
"""Records each value of a key that the page draws from now on."""

SPECTRUM_SHOWN = "Boolean(document.querySelector('#settings .meter')?.style.getPropertyValue('--level'))"

CHANGES = 16
"""Largest number of changes of settings before the correction."""

ASKED = 4000
"""Milliseconds after which a question is withdrawn."""

ASK_AND_DRAW_AGAIN = """async () => {
    const button = () => document.querySelector('[data-key="activate genre-1.0.0"]');
    const read = (tab) => {
        location.hash = tab;
        return fetch("api/v1/models").then((answer) => answer.text());
    };
    const began = performance.now(), first = button();
    first.click();
    await read("history");
    while (first.isConnected) await read(location.hash === "#history" ? "settings" : "history");
    return [button().textContent, performance.now() - began];
}"""
"""Asks whether to activate a model, opens other tabs until the models are drawn again, and gives question and time."""


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def listener(state):
    settings = {"HEADNOD_HISTORY__PATH": str(state / "history.sqlite"), "HEADNOD_LEDS__KIND": "none"}
    with ListenerPage("--audio", str(long_clip(state)), env=settings) as page:
        # A full pipe would stop the listener.
        page.printed, page.estimates_made = queue.Queue(), []
        reader = threading.Thread(target=read_lines, args=(page,), daemon=True)
        reader.start()
        yield page
        page.process.kill()
        reader.join()


def read_lines(page):
    for line in page.process.stdout:
        printed = json.loads(line)
        page.printed.put(printed)
        if "genre" in printed:
            page.estimates_made.append(printed["monotonic"])


@pytest.fixture
def visit(look, listener):
    def visit(tab=""):
        page = look(dashboard=listener, path=tab and f"#{tab}")
        expect_text(page.locator("#tabs"), "Settings")
        return page

    return visit


def setting(page, name):
    return page.locator("#settings .setting", has=page.get_by_text(name, exact=True))


def controls(listener):
    return listener.json("/api/v1/controls")


def controls_until(page, listener, wanted):
    """The controls of the listener, as soon as they are as wanted."""
    deadline = time.monotonic() + PATIENCE
    while not wanted(found := controls(listener)):
        assert time.monotonic() < deadline, found
        page.wait_for_timeout(20)
    return found


def printed_until(listener, wanted):
    """The next line of the listener that fits."""
    while not listener.printed.empty():
        listener.printed.get()
    deadline = time.monotonic() + 2 * PATIENCE
    while not wanted(line := listener.printed.get(timeout=PATIENCE)):
        assert time.monotonic() < deadline, line
    return line


def test_pause_and_resume(visit, listener):
    page = visit()
    page.get_by_role("button", name="Pause", exact=True).click()
    printed_until(listener, lambda each: each["state"] == "paused")
    expect_text(one(page).locator(".condition"), "paused")
    page.get_by_role("button", name="Resume").click()
    printed_until(listener, lambda each: "genre" in each)
    expect_text(one(page).locator(".condition"), "listening")


def test_a_pause_of_an_hour_ends_by_itself_in_an_hour(visit, listener):
    page = visit("settings")
    setting(page, "Pause").get_by_role("button", name="For an hour").click()
    expect_text(setting(page, "Pause").locator(".note"), "paused until ")
    paused = controls(listener)
    now = page.evaluate("Date.now() / 1000")
    assert 3500 < paused["paused_until"] - now < 3700
    setting(page, "Pause").get_by_role("button", name="Resume").click()
    controls_until(page, listener, lambda now: not now["paused"])
    setting(page, "Pause").get_by_role("button", name="For an hour").wait_for()


def test_quiet_hours_are_added_changed_and_removed(visit, listener):
    page = visit("settings")
    hours = setting(page, "Quiet hours")
    hours.get_by_role("button", name="Add").click()
    hours.get_by_label("Quiet from").fill("01:30")
    hours.get_by_label("Quiet from").blur()
    expect(hours.get_by_label("Quiet to")).to_have_value("07:00")
    controls_until(page, listener, lambda now: now["quiet_hours"] == [["01:30", "07:00"]])
    hours.get_by_role("button", name="Remove the quiet hours").click()
    expect(hours.get_by_label("Quiet from")).to_have_count(0)


def test_the_threshold_is_that_of_the_listener(visit, listener):
    page = visit("settings")
    slider = page.get_by_role("slider", name="Threshold")
    slider.focus()
    before = float(slider.input_value())
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    slider.blur()
    wanted = round(before + 0.05, 2)
    controls_until(page, listener, lambda now: round(now["threshold"], 2) == wanted)


def test_an_output_is_switched_off_and_on(visit, listener):
    page = visit("settings")
    switch = page.get_by_role("switch", name="history")
    expect(switch).to_be_checked()
    switch.click()
    expect(switch).not_to_be_checked()
    controls_until(page, listener, lambda now: not now["outputs"][0]["on"])
    page.get_by_role("switch", name="history").click()
    controls_until(page, listener, lambda now: now["outputs"][0]["on"])


def test_the_place_of_the_microphone_is_judged(visit):
    page = visit("settings")
    expect(page.locator(".placement .condition")).to_have_text(
        re.compile("Music is hardly louder|Placed well|Too loud|Loud enough")
    )
    expect(page.locator(".placement .note")).to_have_text(re.compile(r"(noise floor .\d+ dBFS, )?loud music .\d+ dBFS"))


def test_a_value_of_the_configuration_goes_into_the_local_file(visit, state):
    page = visit("settings")
    page.get_by_label("Filter keys").fill("listen.lead")
    field = page.get_by_label("listen.lead")
    field.fill("0.125")
    field.press("Tab")
    row = page.locator("#settings tr", has=page.get_by_text("listen.lead", exact=True))
    expect_text(row, "headnod.local.toml")
    assert tomllib.loads((state / "headnod.local.toml").read_text()) == {"listen": {"lead": 0.125}}
    row.get_by_role("button", name="Undo").click()
    expect_text(row, "default")
    assert page.get_by_text("mqtt.host", exact=True).is_hidden()


def test_an_answer_from_before_a_change_is_not_shown_after_it(look, listener):
    with IngressProxy(listener.port) as proxy:
        page = look(dashboard=proxy, path="#settings")
        field = page.get_by_label("listen.lead")
        expect(field).to_have_value("0.35")
        late = proxy.held["/api/v1/configuration"] = threading.Event()
        with page.expect_request("**/api/v1/configuration"):
            page.get_by_role("link", name="History").click()
            page.get_by_role("link", name="Settings").click()
        field.fill("0.125")
        field.press("Tab")
        undo = page.locator("#settings tr", has=page.get_by_text("listen.lead", exact=True)).get_by_role("button")
        expect(undo).to_have_text("Undo")
        page.evaluate(SHOWN)
        with page.expect_response("**/api/v1/configuration") as response:
            late.set()
        response.value.finished()
        # By the time of another answer the page has read the late one.
        page.evaluate("fetch('api/v1/session').then((answer) => answer.text())")
        assert set(page.evaluate("shown")) <= {"0.125"}
        undo.click()
        expect(undo).to_have_count(0)


def test_the_log_of_the_last_hours_is_shown(visit):
    page = visit("settings")
    expect_text(page.get_by_role("region", name="Lines of the log"), "the configuration was read again")


def test_a_song_is_corrected_and_its_windows_arrive_in_the_state_folder(visit, listener, state):
    page = visit()
    estimates = [printed_until(listener, lambda each: "genre" in each) for _ in range(10)]
    page.get_by_role("button", name="This is not right").click()
    page.locator("dialog").get_by_text("reggae", exact=True).click()
    page.get_by_role("button", name="Save the correction").click()
    page.locator("dialog").wait_for(state="detached")
    (stored,) = CorrectionStore(state).all()
    assert (stored.label, stored.source) == ("reggae", "person")
    # The song that plays, from its first estimate to the one that the page had.
    made = [datetime.fromisoformat(each["time"]).timestamp() for each in (estimates[0], estimates[-1])]
    assert stored.start < made[0] < stored.end + 1
    assert abs(stored.end - made[1]) < 15.0
    # Those of its estimates: a song goes on through a pause, which has none, and each change of settings loses one. The
    # last ones were made without a change.
    clock = Clock()
    offset = clock.now().timestamp() - clock.monotonic()
    within = [moment for moment in listener.estimates_made if stored.start <= moment + offset <= stored.end]
    assert len(estimates) - 1 <= stored.windows <= len(within) + 1
    assert len(within) - stored.windows <= CHANGES
    with closing(sqlite3.connect(state / "corrections.sqlite")) as db, db:
        (times,) = db.execute("SELECT length(times) / 8 FROM corrections").fetchone()
    assert times == stored.windows


def test_corrections_are_listed_and_deleted_after_a_question(visit, state):
    page = visit("corrections")
    row = page.locator("#corrections tbody tr")
    expect_text(row, "reggae")
    delete = row.get_by_role("button")
    delete.click()
    expect(delete).to_have_text("Really delete?")
    # Without an answer, the question disappears.
    expect(delete).to_have_text("Delete", timeout=3 * ASKED)
    assert len(CorrectionStore(state).all()) == 1
    delete.click()
    delete.click()
    expect_text(page.locator("#corrections"), "Nothing was corrected yet.")
    assert CorrectionStore(state).all() == []


@pytest.mark.parametrize(
    ("choice", "text", "label"), [("Not music", "", NOT_MUSIC), ("Something else", "bossa nova", "bossa nova")]
)
def test_a_moment_can_be_no_music_or_get_a_new_label(visit, state, choice, text, label):
    page = visit()
    page.get_by_role("button", name="This is not right").click()
    page.locator("dialog").get_by_text(choice, exact=True).click()
    if text:
        page.get_by_label("A new label").fill(text)
    page.get_by_role("button", name="Save the correction").click()
    page.locator("dialog").wait_for(state="detached")
    assert CorrectionStore(state).all()[-1].label == label


def test_a_tab_is_read_when_it_is_opened_and_not_at_other_events(visit):
    page = visit("settings")
    # The stream starts twice, the second time with the spectrum.
    wait_until(page, SPECTRUM_SHOWN)
    requests = []
    page.on("request", lambda request: requests.append(request.url.rpartition("/")[2]))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.evaluate("fetch('api/v1/session').then((answer) => answer.text())")
    # Help with placing the microphone is read every five seconds.
    assert set(requests) <= {"session", "microphones"}
    page.get_by_role("link", name="History").click()
    with page.expect_request("**/api/v1/configuration"):
        page.get_by_role("link", name="Settings").click()


def test_the_settings_are_read_once_at_the_start(look, listener):
    with IngressProxy(listener.port) as proxy:
        page = look(dashboard=proxy, path="#settings")
        wait_until(page, SPECTRUM_SHOWN)
        assert proxy.paths.count("/api/v1/configuration") == 1


def test_a_question_stays_open_when_its_button_is_drawn_again(visit):
    page = visit("settings")
    expect(setting(page, "genre-1.0.0").get_by_role("button")).to_have_text("Activate")
    while True:
        text, milliseconds = page.evaluate(ASK_AND_DRAW_AGAIN)
        if milliseconds < ASKED:
            break
    assert text == "Really activate?"


def test_models_are_listed_and_one_is_activated_after_a_question(visit, listener):
    page = visit("settings")
    expect(setting(page, "genre-2.2.0").locator(".badge.on")).to_have_text("active")
    activate = setting(page, "genre-1.0.0").get_by_role("button")
    # Two presses: the question between them is withdrawn after 4 s.
    activate.dblclick()
    printed_until(listener, lambda each: each.get("model") == "genre-1.0.0")
    # Installed now, and shipped still.
    expect(setting(page, "genre-1.0.0").locator(".badge.on").first).to_have_text("active")
