import asyncio
import json

import pytest

from headnod.dashboard.fleet import BROWSERS, EventStream, Fleet
from support.browser import estimate_json

NOON = 1_800_000_000.0


class Scene:
    """A stream whose clock and broker obey."""

    def __init__(self):
        self.reason = ""
        self.set_by = 0.0
        self.fleet = Fleet("headnod", now=lambda: NOON + self.set_by, monotonic=lambda: NOON)
        self.stream = EventStream(self.fleet, lambda: self.reason, now=lambda: NOON)

    def publish_estimate(self, genre, node="kitchen", at=NOON):
        self.fleet.process(f"headnod/{node}/estimate", estimate_json(genre, node=node, at=at), retained=False)


@pytest.fixture
def scene():
    return Scene()


async def take(events, count):
    """So many of a browser's events, as name and data."""
    found = []
    while len(found) < count:
        lines = (await asyncio.wait_for(anext(events), 5.0)).decode().splitlines()
        if lines[0].startswith("event"):
            found.append((lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))))
    return found


def names(found):
    return [name for name, _ in found]


def test_a_browser_receives_everything_first_and_then_what_changes(scene):
    async def look():
        scene.publish_estimate("jazz")
        scene.stream.tick()
        with scene.stream.subscriber() as browser:
            events = browser.events()
            beginning = await take(events, 3)
            scene.publish_estimate("rock", at=NOON + 3)
            scene.stream.tick()
            return beginning + await take(events, 1)

    found = asyncio.run(look())
    assert names(found) == ["hello", "listeners", "ready", "changes"]
    assert found[1][1][0]["node"] == "kitchen"
    assert found[3][1][0].keys() == {"node", "labels", "now"} or found[3][1][0].keys() == {"node", "now"}


def test_many_listeners_come_a_few_at_a_time(scene):
    async def look():
        for number in range(45):
            scene.publish_estimate("jazz", node=f"room-{number}")
        with scene.stream.subscriber() as browser:
            return await take(browser.events(), 5)

    found = asyncio.run(look())
    assert [len(listeners) for name, listeners in found if name == "listeners"] == [20, 20, 5]


def test_changes_of_one_moment_are_reported_together(scene):
    async def look():
        with scene.stream.subscriber() as browser:
            events = browser.events()
            await take(events, 2)
            for number in range(5):
                for _ in range(10):
                    scene.publish_estimate("jazz", node=f"room-{number}")
            scene.stream.tick()
            return await take(events, 1)

    [(_, changed)] = asyncio.run(look())
    assert len(changed) == 5


def test_a_page_learns_why_there_is_no_broker(scene):
    async def look():
        with scene.stream.subscriber() as browser:
            events = browser.events()
            await take(events, 2)
            scene.reason = "broker.lan:1883: connection refused"
            scene.stream.tick()
            return await take(events, 1)

    assert asyncio.run(look()) == [("link", {"reason": "broker.lan:1883: connection refused"})]


def test_a_browser_that_does_not_keep_up_is_let_go_and_the_others_are_not(scene):
    async def look():
        with scene.stream.subscriber() as slow, scene.stream.subscriber() as quick:
            events = quick.events()
            await take(events, 2)
            for step in range(200):
                scene.publish_estimate("jazz", at=NOON + step)
                scene.stream.tick()
                await take(events, 1)
            return slow.gone.is_set(), quick.gone.is_set()

    assert asyncio.run(look()) == (True, False)


def test_so_many_browsers_and_no_more(scene):
    async def look():
        from contextlib import ExitStack

        with ExitStack() as stack:
            taken = [stack.enter_context(scene.stream.subscriber()) for _ in range(BROWSERS)]
            with scene.stream.subscriber() as one_more:
                assert None not in taken
                assert one_more is None
        with scene.stream.subscriber() as later:
            assert later is not None

    asyncio.run(look())


@pytest.mark.parametrize("step", [-7200.0, 30.0])
def test_pages_begin_again_when_the_clock_is_set(scene, step):
    async def look():
        scene.publish_estimate("jazz")
        with scene.stream.subscriber() as browser:
            before = await take(browser.events(), 3)
            scene.set_by = step
            scene.stream.tick()
            gone = browser.gone.is_set()
        with scene.stream.subscriber() as again:
            return before, gone, await take(again.events(), 3)

    before, gone, after = asyncio.run(look())
    assert gone
    assert after[1][1][0]["now"]["time"] - before[1][1][0]["now"]["time"] == step


def test_pages_stay_while_the_clock_is_not_set(scene):
    async def look():
        with scene.stream.subscriber() as browser:
            scene.set_by = 0.5
            scene.stream.tick()
            return browser.gone.is_set()

    assert not asyncio.run(look())
