"""The page with an odd history, whose songs are of 1970 or the future and have hostile labels; and below a proxy."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta

import pytest

from headnod.outputs.history import HistoryFile
from headnod.outputs.history.records import write
from headnod.pipeline.estimate import Song
from headnod.teaching.corrections import CorrectionStore
from support.browser import ListenerPage, long_clip, missing
from support.ingress_proxy import IngressProxy
from support.page import expect, expect_text, one, wait_until

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"{missing()} is not installed")

LONG = "x" * 64
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
SONGS = {
    "jazz": datetime(1970, 1, 1, 0, 5, tzinfo=UTC),
    '=HYPERLINK("http://evil.example")': datetime(2013, 3, 31, 1, tzinfo=UTC),
    "<img src=x onerror=alert(1)>": NOON - timedelta(hours=1),
    LONG: NOON,
    "rock": datetime.now(UTC) + timedelta(days=400),
}
PHONE = {"width": 320, "height": 640}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    file, songs = HistoryFile(folder / "history.sqlite"), []
    for genre, start in SONGS.items():
        end = start + timedelta(minutes=10)
        songs.append(Song(start=start, end=end, genre=genre, stability=0.9, estimates=200, tags=("@tag", "mellow")))
    with file.transaction() as db:
        write(db, [], songs)
    file.close()
    return folder


@pytest.fixture(scope="module")
def listener(folder):
    env = {"HEADNOD_HISTORY__PATH": str(folder / "history.sqlite")}
    with ListenerPage("--audio", str(long_clip(folder)), env=env) as page:
        page.discard()
        yield page


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def choose_day(page, when):
    page.get_by_label("Date", exact=True).fill(f"{when.astimezone():%Y-%m-%d}")


def test_every_view_fits_a_phone_of_320_pixels(look, listener):
    page = look(**PHONE, dashboard=listener)
    page.locator(".sound[data-picture=live]").wait_for()
    assert fits(page)
    for tab, last in (("Corrections", "#kept-title"), ("Settings", ".keys tbody tr"), ("History", ".firsts li")):
        page.get_by_role("link", name=tab).click()
        page.locator(last).first.wait_for()
        assert fits(page), tab
    choose_day(page, NOON)
    rows = page.locator("#history .songs tbody tr")
    expect(rows).to_have_count(2)
    assert fits(page)
    assert rows.first.get_by_role("button").bounding_box()["height"] < 40


def test_years_of_history_are_a_choice_and_dates_of_other_years_have_theirs(look, listener):
    page = look(dashboard=listener, path="#history")
    firsts = page.locator(".firsts li")
    expect(firsts).to_have_count(len(SONGS))
    for genre in ("jazz", "=HYPERLINK", "rock"):
        expect(firsts.filter(has_text=genre).locator("time")).to_have_text(re.compile(r"\b(1970|2013|20[23]\d)\b"))
    page.get_by_label("Year", exact=True).select_option("2013")
    page.locator(".calendar button[style*='--strength']").click()
    expect(page.locator("#history .songs tbody tr")).to_contain_text(["=HYPERLINK"])
    assert fits(page)


def test_a_song_of_the_future_is_among_the_years_the_days_and_all_songs(look, listener):
    page = look(dashboard=listener, path="#history")
    page.get_by_label("Year", exact=True).select_option(f"{SONGS['rock'].astimezone():%Y}")
    page.locator(".calendar button[style*='--strength']").click()
    expect(page.locator("#history .songs tbody tr")).to_contain_text(["rock"])
    page.get_by_role("button", name="Today", exact=True).click()
    expect(page.get_by_label("Date", exact=True)).to_have_value(f"{datetime.now().astimezone():%Y-%m-%d}")
    with page.expect_download() as download:
        page.get_by_role("link", name="All songs as CSV").click()
    assert len(download.value.path().read_text().splitlines()) == 1 + len(SONGS)


def test_hours_of_a_listener_in_a_zone_with_half_an_hour_are_drawn(look, listener):
    page = look(dashboard=listener, path="#history", timezone_id="Asia/Kolkata")
    choose_day(page, NOON)
    filled = page.locator(".stack:has(i)")
    expect(filled).to_have_count(2)
    expect(filled.first).to_have_attribute("aria-label", re.compile("<img src=x.* 10 min"))


def test_a_song_of_the_future_is_no_first_time_of_this_week(listener):
    card = listener.get("/api/v1/listeners/kitchen/week.svg").read().decode()
    first = re.search("For the first time: ([^<]*)", card)[1]
    assert "rock" not in first
    assert "&lt;img" in first


def test_long_labels_stay_in_their_place_on_the_card(look, listener):
    page = look(dashboard=listener, path="api/v1/listeners/kitchen/week.svg")
    texts = page.evaluate(
        "[...document.querySelectorAll('text')].map(each => [each.textContent, each.getBBox()])"
        ".map(([text, box]) => [text, box.x, box.x + box.width, box.y])"
    )
    # Names beside bars end before them, and the title before the chart.
    beside = [right for _, left, right, top in texts if left == 64 and 300 < top < 520]
    assert len(beside) == 2
    assert max(beside) < 224
    assert max(right for _, left, right, _ in texts if left == 64) < 640


def test_no_cell_of_the_songs_is_a_formula(listener):
    body = listener.get("/api/v1/listeners/kitchen/songs?from=0&format=csv").read().decode()
    rows = list(csv.reader(io.StringIO(body)))
    assert len(rows) == len(SONGS)
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]


def test_a_new_label_of_64_letters_is_typed_and_stored(look, listener, folder):
    page = look(dashboard=listener)
    page.get_by_role("button", name="This is not right").click()
    page.locator("dialog").get_by_text("Something else", exact=True).click()
    page.get_by_label("A new label").press_sequentially(LONG.replace("x", "y"))
    page.get_by_role("button", name="Save the correction").click()
    page.locator("dialog").wait_for(state="detached")
    assert CorrectionStore(folder).all()[-1].label == LONG.replace("x", "y")


def test_everything_works_below_the_ingress_of_home_assistant(look, listener):
    with IngressProxy(listener.port) as proxy:
        proxy.port = listener.port
        page = look(dashboard=proxy)
        expect_text(one(page).locator(".condition"), "listening")
        page.evaluate("window.loaded = 'once'")
        page.get_by_role("link", name="History").click()
        page.locator(".firsts li").first.wait_for()
        wait_until(page, "document.querySelector('.week').naturalWidth === 1200")
        with page.expect_download() as download:
            page.get_by_role("link", name="All songs as CSV").click()
        assert download.value.path().read_text().startswith("start,")
        page.locator(".brand").click()
        page.get_by_role("button", name="Pause", exact=True).click()
        page.get_by_role("button", name="Resume").click()
        expect_text(one(page).locator(".condition"), "listening")
        # No link has loaded the page anew.
        assert page.evaluate("window.loaded") == "once"
        page.goto(f"{proxy.url}kitchen")
        expect_text(one(page).locator(".condition"), "listening")
    assert proxy.outside == []
    assert {"/events", "/api/v1/session", "/api/v1/controls", "/kitchen"} <= {
        path.partition("?")[0] for path in proxy.paths
    }


def test_an_answer_that_is_cut_off_is_a_fault_that_is_shown_and_the_session_is_requested_again(look, listener):
    with IngressProxy(listener.port) as proxy:
        proxy.port = listener.port
        proxy.cut_off["/api/v1/session"] = 1
        page = look(dashboard=proxy)
        expect_text(one(page).locator(".condition"), "listening")
        # Only the session says that the browser may change something.
        page.get_by_role("button", name="Pause", exact=True).click()
        page.get_by_role("button", name="Resume").click()
        expect_text(one(page).locator(".condition"), "listening")
        proxy.cut_off["/api/v1/controls"] = 1
        page.get_by_role("button", name="Pause", exact=True).click()
        expect_text(page.locator("#trouble"), "The answer cannot be read")
        page.get_by_role("button", name="Resume").click()
        expect_text(one(page).locator(".condition"), "listening")
    assert proxy.paths.count("/api/v1/session") == 2
