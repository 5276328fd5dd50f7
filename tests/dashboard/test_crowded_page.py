"""The page of a house with 200 listeners stays one that answers at once."""

import json
import time

import pytest

from support.browser import Dashboard, Publisher, estimate_json, information, missing
from support.estimates import GTZAN
from support.mqtt_broker import Broker
from support.page import longest, resident

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"{missing()} is not installed")

LONG_TASK = 50.0
"""Milliseconds."""

TRACED = ["toplevel", "devtools.timeline"]


@pytest.mark.long
def test_with_200_listeners_no_task_is_longer_than_50_ms(browser, tmp_path):
    visits = []
    # Hours of 200 listeners are told within seconds, and of more than 1,000 messages that wait a broker drops the rest.
    patient = Broker(tmp_path / "broker", durable=False, settings="max_queued_messages 0")
    with patient as broker, Dashboard(broker) as dashboard, Publisher(broker) as publisher:
        dashboard.wait_for_line("MQTT: connected")
        # A busy machine makes some task long at some time; what is the page's own doing is long each time.
        while len(visits) < 3 and not any(visit["cpu"] <= LONG_TASK for visit in visits):
            page, visit = crowded(browser, dashboard, publisher, 200)
            visits.append(visit)
            page.close()
        print(f"\nlongest tasks in ms: {visits}, resident {resident(dashboard.process.pid):.1f} MiB")  # noqa: T201 - figures
    assert min(visit["cpu"] for visit in visits) <= LONG_TASK


def crowded(browser, dashboard, publisher, count):
    """A page that so many listeners are on, and its longest task while it opens, scrolls, filters and sorts."""
    rooms = [f"room-{number:03d}" for number in range(count)]
    now = time.time()
    for number, node in enumerate(rooms):
        publisher.publish(node, "info", information(*GTZAN))
        for step in range(60):
            genre = GTZAN[(number + step) % 10]
            publisher.publish(
                node, "estimate", estimate_json(genre, node=node, at=now - 20_000 + 330 * step, replayed=True)
            )
        publisher.publish_estimate(node, GTZAN[number % 10])
    publisher.flush()
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    browser.start_tracing(page=page, categories=TRACED)
    page.goto(dashboard.url)
    page.locator(".card").nth(count - 1).wait_for(state="attached")
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for number, node in enumerate(rooms):
            publisher.publish(node, "estimate", estimate_json(GTZAN[(number + int(end)) % 10], node=node))
        publisher.flush()
        page.mouse.wheel(0, 700)
        page.wait_for_timeout(3000)
    page.keyboard.press("/")
    page.keyboard.type("jazz", delay=100)
    page.wait_for_timeout(1000)
    page.select_option("#sort", "genre")
    page.wait_for_timeout(1500)
    return page, longest(json.loads(browser.stop_tracing()))
