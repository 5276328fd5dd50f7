"""The page as a person sees it: in headless Chromium, against the real broker. Many listeners are a grid of cards."""

import json
import re
import time

import pytest

from headnod.outputs import GENRES, colour, hexadecimal
from support.browser import Dashboard, Publisher, estimate_json, information, missing, place_for, song
from support.estimates import GTZAN
from support.page import (
    answers,
    card,
    contrast,
    evening,
    expect,
    expect_shares,
    expect_text,
    luminance,
    one,
    wait_until,
)

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"{missing()} is not installed")

ROOMS = {"kitchen": "jazz", "bar": "reggae", "studio": "metal"}


def fill_rooms(publisher):
    for node, genre in ROOMS.items():
        publisher.publish_estimate(node, genre, **{genre: 0.62, "blues": 0.21, "pop": 0.1, "rock": 0.05})


def test_a_card_has_the_three_most_probable_genres_in_its_bars(look, publisher):
    page = look()
    fill_rooms(publisher)
    for node, genre in ROOMS.items():
        expect_text(card(page, node).locator(".genre"), genre)
        expect_shares(card(page, node), {genre: 0.62, "blues": 0.21, "pop": 0.1})
    expect(page.locator("#summary")).to_have_text("3 listeners · music at 3")


def test_one_listener_fills_the_page(look, publisher):
    page = look()
    publisher.publish("kitchen", "info", information(*GTZAN, certainty=0.45))
    publisher.publish_estimate("kitchen", "jazz", jazz=0.62, blues=0.21)
    expect_text(one(page).locator(".answer"), "jazz")
    expect(page.locator("#title")).to_have_text("kitchen")
    expect(page.locator("#listeners")).to_be_hidden()
    expect(one(page).locator(".reason")).to_have_text(
        re.compile(r"Above the threshold of 45\s%, and 41 points ahead of blues")
    )
    expect_shares(one(page).locator(".all"), dict.fromkeys(GTZAN, 0.0) | {"jazz": 0.62, "blues": 0.21})
    publisher.publish("kitchen", "estimate", estimate_json("rock", rock=0.9))
    expect_text(one(page).locator(".answer"), "rock")
    expect_text(one(page).locator(".all .bars b"), re.compile(r"90\s%"))


def test_a_card_leads_to_the_address_of_its_listener_and_back(look, publisher, dashboard):
    page = look()
    fill_rooms(publisher)
    card(page, "kitchen").locator(".node").click()
    expect_text(one(page).locator(".answer"), "jazz")
    assert page.url == f"{dashboard.url}kitchen"
    page.reload()
    expect_text(one(page).locator(".answer"), "jazz")
    page.go_back()
    card(page, "bar").wait_for()
    expect(one(page)).to_be_hidden()


def test_the_address_of_an_unknown_listener_waits_for_it(look, publisher):
    fill_rooms(publisher)
    page = look(path="attic")
    expect_text(page.locator("#empty"), 'There is no listener "attic" yet.')
    publisher.publish_estimate("attic", "pop")
    expect_text(one(page).locator(".answer"), "pop")


@pytest.mark.parametrize("node", ["events", "api"])
def test_a_listener_with_the_name_of_another_address_can_be_shown(look, publisher, node):
    page = look()
    fill_rooms(publisher)
    publisher.publish_estimate(node, "pop")
    card(page, node).locator(".node").click()
    expect_text(one(page).locator(".answer"), "pop")
    page.reload()
    expect_text(one(page).locator(".answer"), "pop")


def test_tags_are_chips_and_the_reason_is_given_why_no_genre_is_named(look, publisher):
    page = look()
    publisher.publish_estimate("kitchen", "jazz")
    expect_text(one(page).locator(".answer"), "jazz")
    expect(one(page).locator(".tags")).to_be_hidden()
    tagged = json.loads(estimate_json("unknown", jazz=0.4)) | {
        "held_by": "threshold",
        "tags": {"mellow": 0.8, "<b>sad": 0.6},
    }
    publisher.publish("kitchen", "estimate", json.dumps(tagged))
    expect(one(page).locator(".tags li")).to_have_text(["mellow", "<b>sad"])
    expect_text(one(page).locator(".reason"), "No genre is probable enough: jazz is below the threshold")
    publisher.publish("kitchen", "estimate", estimate_json("silence"))
    expect(one(page).locator(".tags")).to_be_hidden()


@pytest.mark.parametrize(
    ("genre", "scores", "words"),
    [
        ("jazz", {"jazz": 0.3, "pop": 0.5}, "jazz stays: pop is more probable, but not by enough."),
        ("jazz", {"jazz": 0.2, "pop": 0.3}, "jazz stays: sound that is not music is more probable, but not by enough."),
        ("jazz", {"jazz": 0.3, "pop": 0.1}, "jazz stays: sound that is not music is more probable, but not by enough."),
        ("unknown", {"pop": 0.5}, "Sound that is not music stays: pop is more probable, but not by enough."),
    ],
)
def test_the_answer_that_stays_and_the_more_probable_one_are_named(look, publisher, genre, scores, words):
    page = look()
    held = json.loads(estimate_json(genre, **scores)) | {"held_by": "lead"}
    publisher.publish("kitchen", "estimate", json.dumps(held))
    expect_text(one(page).locator(".reason"), words)


def test_a_script_in_a_payload_does_nothing(look, publisher):
    evil = '<img src=x onerror="window.broken=1"><script>window.broken=1</script>'
    page = look()
    publisher.publish("kitchen", "status", "online")
    publisher.publish(
        "kitchen", "info", information(evil, "';alert(1)//", board=evil, microphone=evil, model="javascript:alert(1)")
    )
    publisher.publish("kitchen", "health", json.dumps({"state": "</p><script>", "message": evil}))
    publisher.publish("kitchen", "song", song(evil))
    publisher.publish("kitchen", "estimate", estimate_json(evil[:32], **{evil[:32]: 0.9, "url(//evil.example)": 0.1}))
    publisher.publish("<script>window.broken=1</script>", "status", "online")
    expect_text(one(page).locator(".answer"), "<img src=x")
    expect_text(one(page).locator("dd"), "<img src=x")
    assert page.evaluate("window.broken") is None
    assert page.locator("main img, main script").count() == 0
    assert page.locator(".card").count() == 1
    assert look.complaints == []


def test_nothing_inline_would_run_if_it_got_in(look):
    look.expected.append("Trusted")
    page = look()
    for attempt in ("innerHTML = '<img src=x onerror=window.broken=1>'", "setAttribute('onclick', 'window.broken=1')"):
        page.evaluate(f"try {{ document.body.{attempt} }} catch (refusal) {{ console.error(String(refusal)) }}")
    page.locator("body").click()
    assert page.evaluate("window.broken") is None
    assert "Trusted" in " ".join(look.complaints)


def test_a_page_opened_late_has_the_last_hours(look, publisher):
    now = time.time()
    for step in range(400):
        genre = "jazz" if step < 240 else "silence"
        publisher.publish("kitchen", "estimate", estimate_json(genre, at=now - 7200 + 9 * step, replayed=True))
    publisher.publish("kitchen", "song", song("jazz"))
    publisher.publish_estimate("kitchen", "rock")
    publisher.flush()
    page = look()
    expect_text(one(page).locator(".answer"), "rock")
    expect_text(one(page).locator("#songs"), "1 song")
    timeline = one(page).locator(".timeline")
    expect(timeline).to_have_attribute("aria-valuetext", re.compile("jazz (35|36) min, silence (23|24) min"))
    drawn = re.compile(r"rgb\(\d+, \d+, \d+\) 66\.\d+%, rgb\(\d+, \d+, \d+\) (76\.\d+|77)%")
    expect(timeline).to_have_css("background-image", drawn)
    expect(one(page).locator("#legend li").first).to_have_text(re.compile("jazz(35|36) min"))


def test_the_timeline_is_read_run_by_run_with_the_keyboard(look, publisher):
    now = time.time()
    for step in range(200):
        publisher.publish(
            "kitchen",
            "estimate",
            estimate_json("jazz" if step < 100 else "pop", at=now - 1800 + 9 * step, replayed=True),
        )
    publisher.publish_estimate("kitchen", "pop")
    publisher.flush()
    page = look()
    expect_text(one(page).locator(".answer"), "pop")
    page.get_by_role("slider", name="Timeline").focus()
    expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", re.compile(r": pop, 1[45] min"))
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", re.compile(r": jazz, 1[45] min"))


def test_a_listener_that_goes_is_grey_since_then_and_its_bars_fall(look, publisher):
    page = look()
    fill_rooms(publisher)
    expect_text(card(page, "kitchen"), "listening")
    publisher.publish("kitchen", "status", "offline", retain=True)
    expect_text(card(page, "kitchen").locator(".condition"), re.compile("offline since"))
    expect(card(page, "kitchen").locator(".bars")).to_be_hidden()
    expect(card(page, "kitchen").locator(".timeline")).to_have_css("filter", re.compile("grayscale"))
    page.locator("#summary", has_text="1 offline").wait_for()


def test_the_state_of_a_muted_microphone_is_shown(look, publisher):
    page = look()
    publisher.publish("kitchen", "status", "online")
    publisher.publish("kitchen", "health", json.dumps({"state": "deaf", "message": "the microphone sends exact zeros"}))
    expect_text(one(page).locator(".condition"), "microphone muted")
    expect_text(one(page).locator(".message"), "the microphone sends exact zeros")


def test_without_the_broker_the_page_is_out_of_date_until_it_is_back(look, doomed):
    with Dashboard(doomed) as dashboard:
        dashboard.wait_for_line("MQTT: connected")
        page = look(dashboard=dashboard)
        with Publisher(doomed) as publisher:
            fill_rooms(publisher)
            expect_text(card(page, "kitchen").locator(".genre"), "jazz")
            expect(page.locator("#summary")).to_have_text("3 listeners · music at 3")
            doomed.kill()
        page.locator("#trouble", has_text="No broker").wait_for()
        expect(page.locator("#summary")).to_have_text("3 listeners · what plays now is unknown")
        expect(card(page, "kitchen")).to_have_attribute("data-condition", "stale")
        expect(card(page, "kitchen")).to_have_css("border-left-style", "dashed")
        expect(card(page, "kitchen").locator(".condition")).to_have_text(re.compile(r"last message \d"))
        expect(card(page, "kitchen").locator(".since")).to_have_text(re.compile(r"until \d"))
        expect(card(page, "kitchen").locator(".bars")).to_have_css("filter", re.compile("grayscale"))
        doomed.start()
        page.locator("#trouble").wait_for(state="hidden")
        expect(page.locator("#summary")).to_have_text("3 listeners · music at 3")
        with Publisher(doomed) as again:
            again.publish_estimate("kitchen", "rock")
            expect_text(card(page, "kitchen").locator(".genre"), "rock")


def test_without_the_dashboard_the_page_is_out_of_date_until_it_is_back(look, broker, publisher):
    with Dashboard(broker) as first:
        first.wait_for_line("MQTT: connected")
        page = look(dashboard=first)
        publisher.publish_estimate("kitchen", "jazz")
        publisher.publish_estimate("bar", "rock")
        expect_text(card(page, "bar").locator(".genre"), "rock")
    page.locator("#trouble", has_text="does not answer").wait_for()
    expect(card(page, "kitchen")).to_have_attribute("data-condition", "stale")
    publisher.publish("bar", "status", b"", retain=True)
    publisher.flush()
    with Dashboard(broker, port=first.port):
        page.locator("#trouble").wait_for(state="hidden")
        # It is alone now.
        expect(page.locator("#title")).to_have_text("kitchen")
        card(page, "bar").wait_for(state="detached")


def test_the_keyboard_reaches_every_card(look, publisher):
    page = look()
    fill_rooms(publisher)
    card(page, "studio").wait_for()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "filter"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    focused = "document.activeElement.textContent"
    assert page.evaluate(focused) in ROOMS
    page.keyboard.press("Home")
    assert page.evaluate(focused) == "bar"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "kitchen"
    page.keyboard.press("End")
    assert page.evaluate(focused) == "studio"
    page.keyboard.press("Enter")
    expect_text(one(page).locator(".answer"), "metal")


def test_the_keyboard_reaches_a_card_that_the_filter_keeps(look, publisher):
    page = look()
    fill_rooms(publisher)
    for node in ROOMS:
        card(page, node).wait_for()
    page.keyboard.press("/")
    for words, node in (("kitchen", "kitchen"), ("studio", "studio"), ("bar", "bar")):
        page.locator("#filter").fill(words)
        expect(page.locator("#listeners > li:visible")).to_have_count(1)
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == node
        page.locator("#filter").focus()


def test_the_filter_keeps_the_matching_cards(look, publisher):
    page = look()
    fill_rooms(publisher)
    card(page, "studio").wait_for()
    for words, left in [("kit", {"kitchen"}), ("METAL", {"studio"}), ("", set(ROOMS)), ("none of them", set())]:
        page.locator("#filter").fill(words)
        for node in ROOMS:
            card(page, node).wait_for(state="visible" if node in left else "hidden")


def test_cards_are_sorted(look, publisher):
    page = look()
    fill_rooms(publisher)
    publisher.publish("bar", "status", "offline", retain=True)
    expect_text(card(page, "bar").locator(".condition"), re.compile("offline since"))
    for order, first in [("name", "bar"), ("genre", "kitchen"), ("care", "bar")]:
        page.select_option("#sort", order)
        page.locator(f'#listeners > li:first-child .card[data-node="{first}"]').wait_for()


def test_a_screen_reader_gets_bars_and_timeline_in_words(look, publisher):
    page = look()
    publisher.publish_estimate("kitchen", "jazz", jazz=0.62, rock=0.21, pop=0.1)
    expect_text(one(page).locator(".answer"), "jazz")
    page.get_by_role("article", name=re.compile("jazz")).wait_for()
    page.get_by_role("img", name=re.compile(r"jazz 62\s%, rock 21\s%, pop 10\s%")).first.wait_for()
    expect(page.locator("#spoken")).to_have_text(re.compile("jazz since"))
    publisher.publish_estimate("bar", "pop")
    page.goto(page.url)
    article = page.get_by_role("article", name="kitchen")
    article.get_by_role("heading", name="kitchen").wait_for()
    article.get_by_role("img", name=re.compile("The last 6 hours: jazz")).wait_for()
    # Of many listeners no change is read aloud.
    assert page.locator(".card [aria-live], .card [role=status], .card [role=alert]").count() == 0


def test_with_reduced_motion_nothing_moves(look, publisher):
    page = look(reduced_motion="reduce")
    publisher.publish_estimate("kitchen", "jazz")
    expect_text(one(page).locator(".answer"), "jazz")
    still = "getComputedStyle(document.querySelector('.all i')).transitionDuration === '0s'"
    wait_until(page, still)


def colours_of(page, hexes):
    return page.evaluate(
        "async (hexes) => { const { drawn } = await import('./palette.js'); return hexes.map(drawn); }", hexes
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_stands_out_from_its_ground_and_from_the_others(look, scheme):
    page = look(scheme=scheme)
    drawn = colours_of(page, [hexadecimal(colour(genre)) for genre in GENRES])
    grounds = page.evaluate(
        "['--card', '--track'].map((name) => { const place = document.createElement('p');"
        " place.style.color = `var(${name})`; document.body.append(place); return getComputedStyle(place).color; })"
    )
    rgb = [f"rgb({int(each[1:3], 16)}, {int(each[3:5], 16)}, {int(each[5:], 16)})" for each in drawn]
    weakest = min((contrast(each, grounds[0]), genre) for each, genre in zip(rgb, GENRES, strict=True))
    assert weakest[0] >= 3, weakest
    assert min(contrast(each, grounds[1]) for each in rgb) >= 2.5
    assert len(set(drawn)) == len(GENRES)


@pytest.mark.parametrize(
    ("shape", "width", "height", "scheme"),
    [
        ("phone", 360, 780, "dark"),
        ("desktop", 1280, 860, "light"),
        pytest.param("phone", 360, 780, "light", marks=pytest.mark.long),
        pytest.param("desktop", 1280, 860, "dark", marks=pytest.mark.long),
    ],
)
def test_the_grid_fits_phone_and_desktop_in_light_and_dark(look, publisher, dashboard, shape, width, height, scheme):
    picture = place_for(f"grid-{shape}-{scheme}.png")
    last = evening(publisher, answers() if picture else {})
    # A page that is opened after the last message gets every timeline whole.
    dashboard.sends(lambda listener: listener["node"] == last and listener.get("health", {}).get("state") == "deaf")
    page = look(width, height, scheme=scheme)
    expect_text(card(page, "attic").locator(".genre"), "jazz")
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
