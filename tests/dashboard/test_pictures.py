"""The pictures of the documents: `HEADNOD_PICTURES=docs python -m pytest tests/dashboard/test_pictures.py`."""

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import soundfile

from headnod import GenreModel, ListenerSettings, listen
from headnod.audio.audio_file import audio_file
from headnod.pipeline.estimate import utc_now
from headnod.resources import DEFAULT_MODEL, find_model
from support.browser import ListenerPage, estimate_json, information, missing, place_for, song
from support.estimates import GTZAN
from support.page import AUDIO, card, expect, expect_text, one, wait_until
from support.year_of_music import write_year

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=f"{missing()} is not installed"),
    pytest.mark.skipif(place_for("") is None, reason="HEADNOD_PICTURES names no folder for pictures"),
    pytest.mark.skipif(not AUDIO.exists(), reason=f"{AUDIO} is absent: there is no music for the pictures"),
]

MINUTE = 60.0
FLOORS = ("", "-2", "-3", "-4", "-5")
PLACES = ("attic", "bar", "bedroom", "cellar", "garden", "hall", "kitchen", "office", "studio", "terrace")
LOCALE = {"locale": "en-GB"}


def sure_files(genre, number):
    """Files of the genre, of one sample rate, that the default model is surest of."""
    model, found = GenreModel.load(find_model(DEFAULT_MODEL)), []
    for path in sorted((AUDIO / genre).iterdir()):
        with audio_file(path, model.front_end.sample_rate) as blocks:
            scores = [each.scores[genre] for each in listen(blocks, model, ListenerSettings(), now=utc_now)]
        if scores and soundfile.info(path).samplerate == 22050:
            found.append((float(np.mean(scores)), path))
    return [path for _, path in sorted(found, reverse=True)[:number]]


@pytest.fixture(scope="module")
def listener(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_year(folder / "history.sqlite", datetime.now(UTC), until=timedelta(minutes=2))
    pieces = [soundfile.read(path, dtype="float32") for path in sure_files("jazz", 6)]
    soundfile.write(folder / "jazz.flac", np.concatenate([piece for piece, _ in pieces] * 6), pieces[0][1])
    env = {"HEADNOD_HISTORY__PATH": str(folder / "history.sqlite"), "HEADNOD_LISTEN__EVERY": "3"}
    with ListenerPage("--audio", str(folder / "jazz.flac"), env=env) as page:
        page.discard()
        yield page


def take(page, name, *, full=False):
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=place_for(f"page-{name}.png"), animations="disabled", full_page=full)


def test_one_listener(look, listener):
    desktops = {scheme: look(1440, 900, scheme=scheme, dashboard=listener, **LOCALE) for scheme in ("light", "dark")}
    phones = {scheme: look(390, 844, scheme=scheme, dashboard=listener, **LOCALE) for scheme in ("light", "dark")}
    for page in (*desktops.values(), *phones.values()):
        # Until the spectrum of a minute is there.
        wait_until(
            page,
            "document.getElementById('spectrum').getContext('2d').getImageData(2, 96, 1, 1).data[3] === 255",
            patience=2 * MINUTE,
        )
        expect_text(one(page).locator(".answer"), "jazz")
    for shape, pages in (("desktop", desktops), ("phone", phones)):
        for scheme, page in pages.items():
            take(page, f"{shape}-{scheme}")


def test_history(look, listener):
    page = look(1440, 900, dashboard=listener, path="#history", **LOCALE)
    page.get_by_role("button", name="Week", exact=True).click()
    expect(page.locator(".stack")).to_have_count(7)
    wait_until(page, "document.querySelector('.week').naturalWidth === 1200")
    take(page, "history")


def test_a_correction(look, listener):
    page = look(1440, 900, dashboard=listener, **LOCALE)
    page.get_by_role("button", name="Correct jazz").first.click()
    page.locator("dialog").get_by_text("blues", exact=True).click()
    take(page, "correction")


def test_fifty_listeners(look, publisher, dashboard):
    now = time.time()
    rng = np.random.default_rng(3)
    for number, (place, floor) in enumerate((place, floor) for place in PLACES for floor in FLOORS):
        node, favourite = f"{place}{floor}", GTZAN[int(rng.integers(len(GTZAN)))]
        publisher.publish(node, "status", "offline" if number % 17 == 9 else "online", retain=True)
        publisher.publish(node, "info", information(*GTZAN, every_s=60))
        at = now - 21_000
        while at < now - 60:
            style = ["silence", "unknown", favourite, GTZAN[int(rng.integers(len(GTZAN)))]][
                int(rng.choice(4, p=[0.15, 0.1, 0.55, 0.2]))
            ]
            until = min(at + float(rng.integers(120, 1500)), now - 60)
            style = favourite if until > now - 600 else style
            while at < until:
                publisher.publish(node, "estimate", estimate_json(style, node=node, at=at, replayed=True))
                at += MINUTE
        rest = rng.dirichlet(np.full(len(GTZAN), 0.4)) * 0.3
        scores = {label: round(float(each), 3) for label, each in zip(GTZAN, rest, strict=True)}
        playing = "silence" if number % 11 == 5 else favourite
        publisher.publish(
            node,
            "estimate",
            estimate_json(
                playing,
                node=node,
                **({} if playing == "silence" else scores | {favourite: round(float(rng.uniform(0.5, 0.8)), 2)}),
            ),
        )
        publisher.publish(node, "health", '{"state": "listening"}')
        publisher.publish(node, "song", song(favourite, name=node))
    publisher.flush()
    dashboard.sends(
        lambda listener: listener["node"] == node and listener.get("health", {}).get("state") == "listening"
    )
    for shape, width, height, scheme in (("desktop", 1440, 900, "light"), ("phone", 390, 844, "dark")):
        page = look(width, height, scheme=scheme, **LOCALE)
        expect_text(card(page, "attic").locator(".condition"), "listening")
        wait_until(page, "document.querySelectorAll('.card .timeline[style]').length > 3")
        take(page, f"grid-{shape}-{scheme}")
