"""Places on the dashboard page, what they must become, and measurements of the page."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from pathlib import Path

import pytest

from headnod import GenreModel, ListenerSettings, listen
from headnod.audio.audio_file import audio_file
from headnod.pipeline.estimate import utc_now
from headnod.resources import DEFAULT_MODEL, find_model
from support.browser import PATIENCE, estimate_json, information, published, song
from support.estimates import GTZAN


def card(page, node):
    return page.locator(f'.card[data-node="{node}"]')


def one(page):
    """The view of one listener."""
    return page.locator("#now")


def shares(place):
    """The bars of a place as it draws them, by label."""
    return place.locator(".bars").evaluate(
        "bars => Object.fromEntries([...bars.querySelectorAll('span')].map(label => ["
        "label.textContent, Number(label.nextElementSibling.style.getPropertyValue('--share'))]))"
    )


def expect_text(place, words):
    place.get_by_text(words).first.wait_for()


def expect(place):
    """What a place must become, before patience ends."""
    from playwright.sync_api import expect

    expect.set_options(timeout=1000 * PATIENCE)
    return expect(place)


def wait_until(page, expression, *, patience=PATIENCE):
    """Until an expression is true on the page, whose policy lets it evaluate no text itself."""
    deadline = time.monotonic() + patience
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(20)


def expect_shares(place, wanted):
    """Bars are drawn when a frame has time for them."""
    deadline = time.monotonic() + PATIENCE
    while (found := shares(place)) != wanted:
        assert time.monotonic() < deadline, found
        place.page.wait_for_timeout(20)


AUDIO = Path(__file__).parents[3] / "shared" / "data" / "gtzan" / "audio"


def longest(trace):
    """The longest task of the page's main thread: on the clock, and of its own processor time."""
    events = trace["traceEvents"]
    mains = {
        (e["pid"], e["tid"]) for e in events if e["name"] == "thread_name" and e["args"]["name"] == "CrRendererMain"
    }
    busy = Counter((e["pid"], e["tid"]) for e in events if e.get("ph") == "X")
    main = max(mains, key=lambda each: busy[each])
    tasks = [e for e in events if e["name"].endswith("RunTask") and e.get("ph") == "X" and (e["pid"], e["tid"]) == main]
    assert len(tasks) > 1000
    return {"wall": max(e["dur"] for e in tasks) / 1000, "cpu": max(e.get("tdur", 0) for e in tasks) / 1000}


def resident(pid):
    """MiB that a process has in memory."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


HOUSE = {
    "attic": "jazz",
    "bar": "reggae",
    "cellar": "metal",
    "garden": "country",
    "kitchen": "disco",
    "studio": "silence",
}
"""What plays in the rooms of a house."""


def answers():
    """The estimates of the default model for music of each genre, for the pictures of the documents."""
    found = {}
    model = GenreModel.load(find_model(DEFAULT_MODEL))
    if not AUDIO.exists():
        pytest.skip(f"{AUDIO} is absent: there is no music for the pictures")
    for genre in set(HOUSE.values()) & set(GTZAN):
        for file in sorted((AUDIO / genre).iterdir(), key=lambda file: (file.suffix, file.name)):
            with audio_file(file, model.front_end.sample_rate) as blocks:
                estimates = list(listen(blocks, model, ListenerSettings(), now=utc_now))
            if estimates and estimates[-1].genre == genre:
                found[genre] = estimates[-1]
                break
    return found


def evening(publisher, answers):
    """Publish the estimates of a house on an evening; gives the listener of the last message.

    The estimate of the present is that of `answers` for the genre, or else made up.
    """
    now = time.time()
    for place, (node, genre) in enumerate(HOUSE.items()):
        publisher.publish(node, "status", "offline" if node == "cellar" else "online", retain=True)
        publisher.publish(
            node,
            "info",
            information(
                *GTZAN,
                every_s=60,
                board="Raspberry Pi 4 Model B",
                model=find_model(DEFAULT_MODEL).name,
                microphone="usb:0d8c:013c",
            ),
        )
        muted = (
            {"state": "deaf", "message": "the microphone sends exact zeros: is it muted?"}
            if node == "studio"
            else {"state": "listening"}
        )
        lives = {"temperature_c": 47.0 + place, "cpu_percent": 3.0, "memory_mb": 51.0, "uptime_s": 9e5}
        at = now - 19_000
        for step in range(40):
            style = [genre, GTZAN[(3 * step + place) % 10], genre, "silence", "unknown"][(step * (place + 2)) % 5]
            until = min(at + 240 + 137 * ((step * 7 + place) % 9), now - 600)
            while at < until:
                publisher.publish(node, "estimate", estimate_json(style, node=node, at=at, replayed=True))
                at += 60
            if style in GTZAN:
                publisher.publish(node, "song", song(style, name=f"{node}{step}"))
        while at < now - 4:
            publisher.publish(node, "estimate", estimate_json(genre, node=node, at=at, replayed=True))
            at += 60
        scores = {label: 0.004 + 0.01 * ((5 * place + 3 * each) % 7) for each, label in enumerate(GTZAN)}
        made_up = estimate_json(genre, node=node, **({} if genre == "silence" else scores | {genre: 0.71}))
        publisher.publish(node, "estimate", published(answers[genre], node) if genre in answers else made_up)
        publisher.publish(node, "health", json.dumps(lives | muted))
    publisher.flush()
    return node


def luminance(css):
    """Relative luminance of a colour, as WCAG 2 has it."""
    channels = [int(number) / 255 for number in re.findall(r"\d+", css)[:3]]
    linear = [each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    """Contrast of two colours, as WCAG 2 has it."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)
