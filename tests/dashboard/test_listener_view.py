"""The page of one listener, in headless Chromium, at the real `headnod listen --web` with a year of history."""

import csv
import io
import math
import os
import re
import signal
from datetime import UTC, datetime, timedelta

import pytest

from headnod.outputs.history.records import read_songs
from support.browser import ListenerPage, long_clip, missing, place_for
from support.command_line import PATIENCE
from support.estimates import GTZAN
from support.page import expect, expect_text, one, wait_until
from support.year_of_music import write_year

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"{missing()} is not installed")

OWNER, READER = "correct horse", "battery staple"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("listener")
    write_year(folder / "history.sqlite", datetime.now(UTC), until=timedelta(minutes=5))
    return folder


@pytest.fixture(scope="module")
def listener(folder):
    audio = ["--audio", str(long_clip(folder))]
    with ListenerPage(*audio, env={"HEADNOD_HISTORY__PATH": str(folder / "history.sqlite")}) as page:
        page.discard()
        yield page


@pytest.fixture
def visit(look, listener):
    def visit(tab="", **options):
        page = look(dashboard=listener, path=tab and f"#{tab}", **options)
        if not tab:
            expect_text(one(page).locator(".condition"), "listening")
        return page

    return visit


def songs_of_today(folder):
    midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    return [song for song in read_songs(folder / "history.sqlite") if song.end > midnight]


def test_the_songs_of_today_are_listed_with_their_tags_the_latest_first(visit, folder):
    page = visit()
    today = songs_of_today(folder)
    if not today:
        pytest.skip("it is too early in the day for songs")
    rows = one(page).locator("#songs tbody tr:not(.present)")
    rows.first.wait_for()
    latest = today[-1]
    expect(rows.first).to_contain_text(latest.genre)
    # JavaScript rounds halves up, Python to even.
    expect(rows.first).to_contain_text(f"{math.floor(100 * latest.stability + 0.5)}\u202f%")
    expect(rows.first.locator(".song-tags")).to_have_text(re.compile("guitar|mellow|heavy|quiet"))
    expect(page.locator("#today-sum")).to_have_text(re.compile(r"\d+ songs?, "))
    if len(today) > 13:
        page.get_by_role("button", name="earlier songs").click()
        assert rows.count() >= len(today)


def test_the_spectrum_moves_and_the_level_is_measured_while_the_view_is_open(visit):
    page = visit()
    expect(page.locator(".sound")).to_have_attribute("data-picture", "live")
    expect(page.get_by_role("meter")).to_have_attribute("aria-valuenow", re.compile(r"-[1-4]\d"))
    filled = (
        "document.getElementById('spectrum').getContext('2d').getImageData(0, 0, 600, 192).data"
        ".filter((byte, index) => index % 4 === 3 && byte === 255).length"
    )
    first = page.evaluate(filled)
    wait_until(page, f"{filled} > {first} + 400")


def test_the_timeline_of_a_day_comes_from_the_history(visit):
    page = visit()
    page.get_by_role("button", name="24 h").click()
    expect(page.get_by_role("slider", name="Timeline")).to_have_attribute("aria-valuetext", re.compile(r" \d+ (h|min)"))
    wait_until(page, "document.querySelectorAll('#legend li').length > 2")


def test_days_and_weeks_are_stacked_columns_of_genres(visit):
    page = visit("history")
    expect(page.locator(".stack")).to_have_count(24)
    page.get_by_role("button", name="Week", exact=True).click()
    expect(page.locator(".stack")).to_have_count(7)
    page.get_by_role("button", name="Earlier", exact=True).click()
    full = page.locator(".stack:has(i)").first
    expect(full).to_have_attribute("aria-label", re.compile(rf"({'|'.join(GTZAN)}) \d+ (h|min)"))
    full.click()
    expect(page.locator(".stack")).to_have_count(24)
    expect(page.locator("#history .songs tbody tr").first).to_contain_text(re.compile("|".join(GTZAN)))


def test_a_day_of_the_calendar_is_opened_by_click_and_by_keyboard(visit):
    page = visit("history")
    days = page.locator(".calendar button[style*='--strength']")
    days.first.wait_for()
    assert 100 < days.count() <= 366
    label = days.nth(40).get_attribute("aria-label")
    assert re.search(r"\d{4}: .*mostly", label), label
    days.nth(40).click()
    expect(page.locator("#chart-title")).to_have_text(label.split(":")[0])
    page.locator(".calendar [aria-current]").focus()
    page.keyboard.press("ArrowLeft")
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("Enter")
    expect(page.locator("#chart-title")).to_have_text(focused.split(":")[0])


def test_first_songs_and_the_card_of_the_week_are_shown(visit):
    page = visit("history")
    expect(page.locator(".firsts li")).to_have_count(len(GTZAN))
    wait_until(page, "document.querySelector('.week').naturalWidth === 1200")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download SVG").click()
    assert re.fullmatch(r"kitchen-\d{4}-\d\d-\d\d\.svg", download.value.suggested_filename)


def test_all_songs_are_downloaded_as_csv(visit, folder):
    page = visit("history")
    with page.expect_download() as download:
        page.get_by_role("link", name="All songs as CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    there = list(read_songs(folder / "history.sqlite"))
    assert len(there) - 1 <= len(rows) <= len(there)
    assert (rows[0]["genre"], float(rows[0]["stability"])) == (there[0].genre, there[0].stability)


def test_the_page_is_out_of_date_at_once_when_its_server_is_killed_and_comes_back(visit, listener):
    page = visit()
    os.kill(listener.server, signal.SIGKILL)
    page.locator("#trouble", has_text="does not answer").wait_for()
    expect(one(page)).to_have_attribute("data-condition", "stale")
    expect(one(page).locator(".hero")).to_have_css("border-top-style", "dashed")
    page.locator("#trouble").wait_for(state="hidden", timeout=2000 * PATIENCE)
    expect_text(one(page).locator(".condition"), "listening")


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("locked")
    (folder / "owner").write_text(OWNER)
    (folder / "reader").write_text(READER)
    passwords = {"PASSWORD_FILE": folder / "owner", "READER_PASSWORD_FILE": folder / "reader"}
    env = {f"HEADNOD_WEB__{key}": str(path) for key, path in passwords.items()}
    with ListenerPage("--audio", str(long_clip(folder)), env=env) as page:
        page.discard()
        yield page


def test_a_person_logs_in_and_out(look, locked):
    # The refused password, the requests without a session, and the history, which this listener does not keep.
    look.expected += ["status of 401", "status of 403", "status of 404"]
    page = look(dashboard=locked)
    page.get_by_label("Password").fill("wrong horse")
    page.keyboard.press("Enter")
    expect_text(page.get_by_role("alert"), "the password is wrong")
    page.get_by_label("Password").fill(OWNER)
    page.keyboard.press("Enter")
    expect_text(one(page).locator(".condition"), "listening")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Password").wait_for()


def test_a_reader_sees_everything_and_changes_nothing(look, locked):
    # The requests without a session, and the history, which this listener does not keep.
    look.expected += ["status of 401", "status of 403", "status of 404"]
    page = look(dashboard=locked)
    page.get_by_label("Password").fill(READER)
    page.keyboard.press("Enter")
    expect_text(one(page).locator(".condition"), "listening")
    expect(one(page).locator(".correct-now")).to_be_hidden()
    expect(one(page).locator(".pause-now")).to_be_hidden()


@pytest.mark.parametrize(
    ("shape", "width", "height"), [("desktop", 1440, 900), pytest.param("phone", 390, 844, marks=pytest.mark.long)]
)
@pytest.mark.parametrize("tab", ["", pytest.param("history", marks=pytest.mark.long)])
def test_every_view_fits_the_screen(visit, shape, width, height, tab):
    page = visit(tab, width=width, height=height, scheme="dark")
    page.locator(".firsts li" if tab else ".sound[data-picture=live]").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if picture := place_for(f"listener-{shape}-{tab or 'now'}.png"):
        page.screenshot(path=picture, animations="disabled", full_page=True)
