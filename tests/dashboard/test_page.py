"""The page as a person sees it: in headless Chromium, against the real broker."""

import json
import re
import time

import pytest

from headnod.outputs.palette import colour
from support.browser import PATIENCE, Dashboard, Speaker, information, missing, place_for, song, told
from support.estimates import GTZAN
from support.page import answers, card, contrast, evening, expect, expect_shares, expect_text, luminance

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"{missing()} is not installed")

ROOMS = {"kitchen": "jazz", "bar": "reggae", "studio": "metal"}


def test_three_listeners_have_the_right_bars_in_the_right_colours(look, speaker):
    page = look()
    for node, genre in ROOMS.items():
        speaker.hear(node, genre, **{genre: 0.62, "blues": 0.21})
    for node, genre in ROOMS.items():
        expect_text(card(page, node).locator(".genre"), genre)
        expect_text(card(page, node).locator(".bars b"), re.compile(r"62\s%"))
        expect_shares(page, node, dict.fromkeys(GTZAN, 0.0) | {genre: 0.62, "blues": 0.21})
        fill = re.compile(re.escape("rgb({}, {}, {})".format(*colour(genre))))
        expect(card(page, node).locator(".bars .best + i")).to_have_css("background-image", fill)
    expect(page.locator("#summary")).to_have_text("3 listeners · 3 hear music")


def test_bars_follow_what_is_heard(look, speaker):
    page = look()
    speaker.hear("kitchen", "jazz")
    expect_text(card(page, "kitchen").locator(".genre"), "jazz")
    speaker.say("kitchen", "estimate", told("rock", rock=0.9))
    expect_text(card(page, "kitchen").locator(".genre"), "rock")
    expect_text(card(page, "kitchen").locator(".bars b"), re.compile(r"90\s%"))
    expect_shares(page, "kitchen", dict.fromkeys(GTZAN, 0.0) | {"rock": 0.9})


def test_tags_are_chips_and_what_holds_a_genre_back_is_said(look, speaker):
    page = look()
    speaker.hear("kitchen", "jazz")
    expect_text(card(page, "kitchen").locator(".genre"), "jazz")
    expect(card(page, "kitchen").locator(".tags")).to_be_hidden()
    expect(card(page, "kitchen").locator(".held")).to_be_hidden()
    tagged = json.loads(told("unknown", jazz=0.4)) | {"held_by": "threshold", "tags": {"mellow": 0.8, "<b>sad": 0.6}}
    speaker.say("kitchen", "estimate", json.dumps(tagged))
    expect(card(page, "kitchen").locator(".tags li")).to_have_text(["mellow", "<b>sad"])
    expect_text(card(page, "kitchen").locator(".held"), "no genre is probable enough")
    speaker.say("kitchen", "estimate", told("silence"))
    expect(card(page, "kitchen").locator(".tags")).to_be_hidden()


def test_a_script_in_a_payload_does_nothing(look, speaker):
    evil = '<img src=x onerror="window.broken=1"><script>window.broken=1</script>'
    page = look()
    speaker.say("kitchen", "status", "online")
    speaker.say(
        "kitchen", "info", information(evil, "';alert(1)//", board=evil, microphone=evil, model="javascript:alert(1)")
    )
    speaker.say("kitchen", "health", json.dumps({"state": "</p><script>", "message": evil}))
    speaker.say("kitchen", "song", song(evil))
    speaker.say("kitchen", "estimate", told(evil[:32], **{evil[:32]: 0.9, "url(//evil.example)": 0.1}))
    speaker.say("<script>window.broken=1</script>", "status", "online")
    expect_text(card(page, "kitchen").locator(".genre"), "<img src=x")
    card(page, "kitchen").locator("summary").click()
    expect_text(card(page, "kitchen").locator("dd"), "<img src=x")
    assert page.evaluate("window.broken") is None
    assert page.locator(".listeners img, .listeners script").count() == 0
    assert page.locator(".card").count() == 1
    assert look.complaints == []


def test_nothing_inline_would_run_if_it_got_in(look):
    page = look()
    for attempt in ("innerHTML = '<img src=x onerror=window.broken=1>'", "setAttribute('onclick', 'window.broken=1')"):
        page.evaluate(f"try {{ document.body.{attempt} }} catch (refusal) {{ console.error(String(refusal)) }}")
    page.locator("body").click()
    assert page.evaluate("window.broken") is None
    assert "Trusted" in " ".join(look.complaints)
    look.complaints.clear()


def test_a_page_opened_late_sees_the_last_hours(look, speaker):
    now = time.time()
    for step in range(400):
        genre = "jazz" if step < 240 else "silence"
        speaker.say("kitchen", "estimate", told(genre, at=now - 7200 + 9 * step, replayed=True))
    speaker.say("kitchen", "song", song("jazz"))
    speaker.hear("kitchen", "rock")
    speaker.flush()
    page = look()
    expect_text(card(page, "kitchen").locator(".genre"), "rock")
    expect_text(card(page, "kitchen").locator(".songs"), "1 song today")
    timeline = card(page, "kitchen").locator(".timeline")
    expect(timeline).to_have_attribute("aria-label", re.compile("jazz (35|36) min, silence (23|24) min"))
    drawn = re.compile(r"rgb\(0, 255, 238\) 66\.\d+%, rgb\(0, 255, 238\) (76\.\d+|77)%")
    expect(timeline).to_have_css("background-image", drawn)


def test_a_listener_that_goes_is_greyed_since_then_and_its_bars_fall(look, speaker):
    page = look()
    speaker.hear("kitchen", "jazz")
    expect_text(card(page, "kitchen"), "listening")
    speaker.say("kitchen", "status", "offline", retain=True)
    expect_text(card(page, "kitchen").locator(".condition"), re.compile("offline since"))
    expect_shares(page, "kitchen", dict.fromkeys(GTZAN, 0.0))
    expect(card(page, "kitchen").locator(".bars")).to_have_css("opacity", re.compile(r"0\.[0-5]\d*"))
    page.locator("#summary", has_text="1 offline").wait_for()


def test_a_microphone_that_is_muted_is_told(look, speaker):
    page = look()
    speaker.say("kitchen", "status", "online")
    speaker.say("kitchen", "health", json.dumps({"state": "deaf", "message": "the microphone sends exact zeros"}))
    expect_text(card(page, "kitchen").locator(".condition"), "microphone muted")
    expect_text(card(page, "kitchen").locator(".message"), "the microphone sends exact zeros")


def test_the_page_says_that_the_broker_is_away_and_goes_on_when_it_is_back(look, doomed):
    with Dashboard(doomed) as dashboard:
        dashboard.says("MQTT: connected")
        page = look(dashboard=dashboard)
        with Speaker(doomed) as speaker:
            speaker.hear("kitchen", "jazz")
            expect_text(card(page, "kitchen").locator(".genre"), "jazz")
            expect(page.locator("#summary")).to_have_text("1 listener · 1 hears music")
            doomed.kill()
        page.locator("#trouble", has_text="No broker").wait_for()
        expect(page.locator("#summary")).to_have_text("1 listener · what plays now is unknown")
        expect(card(page, "kitchen")).to_have_attribute("data-condition", "stale")
        expect(card(page, "kitchen").locator(".condition")).to_have_text(re.compile(r"last message \d"))
        expect(card(page, "kitchen").locator(".since")).to_have_text(re.compile(r"until \d"))
        expect(card(page, "kitchen").locator(".bars")).to_have_css("filter", "grayscale(1)")
        if picture := place_for("no-broker.png"):
            page.screenshot(path=picture, animations="disabled")
        doomed.start()
        page.locator("#trouble").wait_for(state="hidden")
        expect(page.locator("#summary")).to_have_text("1 listener · 1 hears music")
        with Speaker(doomed) as again:
            again.hear("kitchen", "rock")
            expect_text(card(page, "kitchen").locator(".genre"), "rock")


def test_the_page_says_that_the_dashboard_is_away_and_goes_on_when_it_is_back(look, broker, speaker):
    with Dashboard(broker) as first:
        first.says("MQTT: connected")
        page = look(dashboard=first)
        speaker.hear("kitchen", "jazz")
        speaker.hear("bar", "rock")
        expect_text(card(page, "bar").locator(".genre"), "rock")
    page.locator("#trouble", has_text="does not answer").wait_for()
    expect(card(page, "kitchen")).to_have_attribute("data-condition", "stale")
    speaker.say("bar", "status", b"", retain=True)
    speaker.flush()
    with Dashboard(broker, port=first.port):
        page.locator("#trouble").wait_for(state="hidden")
        card(page, "kitchen").wait_for()
        card(page, "bar").wait_for(state="detached")


def test_the_keyboard_reaches_every_card_and_what_is_in_it(look, speaker):
    page = look()
    for node, genre in ROOMS.items():
        speaker.hear(node, genre)
    card(page, "studio").wait_for()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "filter"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    focused = "document.activeElement.dataset.node"
    assert page.evaluate(focused) in ROOMS
    page.keyboard.press("Home")
    assert page.evaluate(focused) == "bar"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "kitchen"
    page.keyboard.press("End")
    assert page.evaluate(focused) == "studio"
    page.keyboard.press("Enter")
    assert card(page, "studio").locator("details").evaluate("details => details.open")


def test_the_filter_leaves_what_is_meant(look, speaker):
    page = look()
    for node, genre in ROOMS.items():
        speaker.hear(node, genre)
    card(page, "studio").wait_for()
    for words, left in [("kit", {"kitchen"}), ("METAL", {"studio"}), ("", set(ROOMS)), ("none of them", set())]:
        page.locator("#filter").fill(words)
        for node in ROOMS:
            card(page, node).wait_for(state="visible" if node in left else "hidden")


def test_cards_are_in_the_order_that_is_asked_for(look, speaker):
    page = look()
    for node, genre in ROOMS.items():
        speaker.hear(node, genre)
    speaker.say("bar", "status", "offline", retain=True)
    expect_text(card(page, "bar").locator(".condition"), re.compile("offline since"))
    for order, first in [("name", "bar"), ("genre", "kitchen"), ("care", "bar")]:
        page.select_option("#sort", order)
        page.locator(f'#listeners > li:first-child .card[data-node="{first}"]').wait_for()


def test_a_screen_reader_is_told_what_bars_and_timeline_show(look, speaker):
    page = look()
    speaker.hear("kitchen", "jazz", jazz=0.62, rock=0.21, pop=0.1)
    expect_text(card(page, "kitchen").locator(".genre"), "jazz")
    article = page.get_by_role("article", name="kitchen")
    article.get_by_role("heading", name="kitchen").wait_for()
    article.get_by_role("img", name=re.compile(r"jazz 62\s%, rock 21\s%, pop 10\s%")).wait_for()
    article.get_by_role("img", name=re.compile("The last 6 hours: jazz")).wait_for()
    assert page.locator(".card [aria-live], .card [role=status], .card [role=alert]").count() == 0


def test_one_who_wants_no_motion_sees_none(look, speaker):
    page = look(reduced_motion="reduce")
    speaker.hear("kitchen", "jazz")
    expect_text(card(page, "kitchen").locator(".genre"), "jazz")
    still = "getComputedStyle(document.querySelector('.bars i')).transitionDuration === '0s'"
    page.wait_for_function(still, timeout=1000 * PATIENCE)


def test_with_a_password_the_stream_is_open_to_who_knows_it(look, broker, speaker, tmp_path):
    (tmp_path / "password").write_text("correct horse")
    with Dashboard(broker, env={"HEADNOD_DASHBOARD__PASSWORD_FILE": str(tmp_path / "password")}) as locked:
        page = look(dashboard=locked, http_credentials={"username": "me", "password": "correct horse"})
        speaker.hear("kitchen", "jazz")
        expect_text(card(page, "kitchen").locator(".genre"), "jazz")


@pytest.mark.parametrize(
    ("shape", "width", "height", "scheme"),
    [
        ("phone", 360, 780, "dark"),
        ("desktop", 1280, 860, "light"),
        pytest.param("phone", 360, 780, "light", marks=pytest.mark.long),
        pytest.param("desktop", 1280, 860, "dark", marks=pytest.mark.long),
    ],
)
def test_the_page_fits_phone_and_desktop_in_light_and_dark(look, speaker, dashboard, shape, width, height, scheme):
    picture = place_for(f"dashboard-{shape}-{scheme}.png")
    last = evening(speaker, answers() if picture else {})
    # A page that is opened after the last message gets every timeline whole.
    dashboard.sends(lambda listener: listener["node"] == last and listener.get("health", {}).get("state") == "deaf")
    page = look(width, height, scheme=scheme)
    expect_text(card(page, "attic").locator(".genre"), "jazz")
    expect_text(card(page, "attic").locator(".songs"), "songs today")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert (luminance(ground) > luminance(ink)) == (scheme == "light")
    assert contrast(ground, ink) > 7
    soft = card(page, "attic").locator(".since").evaluate("place => getComputedStyle(place).color")
    assert contrast(ground, soft) > 4.5
    expect_text(card(page, "studio").locator(".message"), "exact zeros")
    if picture:
        page.get_by_role("article", name="cellar").get_by_text("offline").first.wait_for()
        page.screenshot(path=picture, animations="disabled")
