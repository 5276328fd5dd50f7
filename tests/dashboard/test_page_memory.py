"""Memory of the page: the process of a real listener, and eight hours of events with a clock that is passed in.

It is measured with the byte code that an installation has: a process that compiles modules keeps up to 6 MiB more.
"""

import asyncio
import contextlib
import gc
import json
import logging
import os
import re
import socket
import subprocess
import sys
import tracemalloc
from datetime import UTC
from pathlib import Path

import msgspec
import pytest

from headnod.dashboard import PageSettings
from headnod.dashboard.fleet import EventStream, Fleet
from headnod.dashboard.listener_state import HOURS
from headnod.dashboard.page_process import ListenerLink
from headnod.dashboard.routing import RequestError
from headnod.mqtt.broker import Broker
from support.browser import ListenerPage, PageServer, estimate_json, information, song
from support.dashboard_fleet import NOON

_log = logging.getLogger(__name__)

MOST = 27.0
"""MiB (PSS) that the process may take."""

ROOT = Path(__file__).parents[2]
INSTALLATIONS = ("scripts/install", "Dockerfile", "homeassistant-addon/Dockerfile")

PATHS = (
    "/",
    "/app.js",
    "/nothing.html",
    "/metrics",
    "/api/v1/openapi.json",
    "/api/v1/listeners/kitchen/songs",
    "/api/v1/listeners/kitchen/week.svg",
)


def proportional(pid):
    """Memory of a process in MiB, pages that others share divided among them."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024


def compiling(path):
    """The command with which an installation compiles the modules of the page."""
    (command,) = re.findall(r"-c '(import headnod\.[^']+)'", (ROOT / path).read_text())
    return command


def compiled(command, **env):
    """Run a command of Python that writes byte code; gives its environment."""
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": ""} | env
    subprocess.run([sys.executable, "-P", "-c", command], env=environment, check=True)
    return environment


@pytest.mark.parametrize("installation", INSTALLATIONS)
def test_an_installation_compiles_every_module_of_the_page(tmp_path, doomed, pair, installation):
    assert "-m compileall -q" in (ROOT / installation).read_text()
    environment = compiled(compiling(installation), PYTHONPYCACHEPREFIX=str(tmp_path / "code"))
    before = set(tmp_path.rglob("*.pyc"))
    ours, its = pair
    broker = msgspec.to_builtins(Broker(doomed.host, doomed.port, "page"))
    ours.send(msgspec.json.encode(PageSettings(section="web", address="127.0.0.1", port=0, node="a", broker=broker)))
    page = PageServer()
    page.start([], environment, module="headnod.dashboard", stdin=its.fileno())
    with contextlib.closing(page):
        page.wait_for_line("MQTT: connected")
        page.wait_for_line("the page is at")
        page.port = int(re.search(r"the page is at http://[^:]+:(\d+)", "".join(page.lines))[1])
        for path in PATHS:
            page.get(path)
    # Debian compiles the standard library, and compileall all of headnod.
    added = {str(path) for path in set(tmp_path.rglob("*.pyc")) - before}
    assert not [path for path in added if "site-packages/" in path]


@pytest.mark.parametrize("with_broker", [False, True], ids=["alone", "broker"])
def test_the_process_of_the_page_is_small(tmp_path, request, with_broker):
    (tmp_path / "password").write_text("correct horse")
    compiled(compiling("scripts/install"))
    env = {
        "PYTHONDONTWRITEBYTECODE": "",
        "HEADNOD_HISTORY__PATH": str(tmp_path / "history.sqlite"),
        "HEADNOD_WEB__PASSWORD_FILE": str(tmp_path / "password"),
    }
    if with_broker:
        broker = request.getfixturevalue("doomed")
        env |= {"HEADNOD_MQTT__HOST": broker.host, "HEADNOD_MQTT__PORT": str(broker.port)}
    with ListenerPage(env=env) as page:
        owner = page.log_in("correct horse")
        for _ in range(16):
            stream = page.events("/events?watch=1", **owner)
            assert next(stream)[0] == "hello"
        for path in PATHS:
            assert page.get(path, **owner).status in {200, 404}
        taken = proportional(page.server)
        _log.info("the page takes %.1f MiB", taken)
        assert taken <= MOST
        maps = Path(f"/proc/{page.server}/maps").read_text()
        assert not [name for name in ("numpy", "litert", "soundfile", "cryptography") if name in maps]


def test_without_the_page_there_is_no_process():
    with ListenerPage(web=False) as alone:
        next(alone.estimates())
        assert alone.children == []


@pytest.fixture
def pair():
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, its:
        yield ours, its


class Afternoon:
    """One listener: an estimate in three seconds, songs, health and spectrum; and browsers that come and go."""

    def __init__(self, ours, its):
        self.now, self._ours = NOON, ours
        self.fleet = Fleet("headnod", now=lambda: self.now, monotonic=lambda: self.now, zone=UTC)
        self.stream = EventStream(self.fleet, str, now=lambda: self.now)
        settings = PageSettings(section="web", address="", port=0, node="kitchen")
        self.link = ListenerLink(its, self.fleet, settings, on_live=self.stream.send_live)
        self.sizes = []

    def send(self, topic, payload):
        self._ours.send(b'{"topic":"%b","payload":%b}' % (topic.encode(), payload))

    def play(self, second):
        self.now += 3.0
        genre = ("jazz", "rock", "silence")[second // 240 % 3]
        self.send("estimate", estimate_json(genre, at=self.now))
        self.send("spectrum", b'{"level":-20.0,"mel":"AAAA","seconds":0.2}')
        if second % 240 == 0:
            self.send("song", song(genre, ended=self.now, name=str(self.now)))
            self.send("health", json.dumps({"state": "listening", "uptime_s": second}).encode())

    async def look(self):
        """A browser that comes, gets what there is, and goes."""
        with self.stream.subscriber(watches=True) as subscriber:
            events = subscriber.events()
            for _ in range(4):
                await anext(events)
            self.stream.tick()
            subscriber.disconnect()
            await events.aclose()

    async def hours(self, count):
        running = asyncio.create_task(self.link.run())
        self.send("info", information("jazz", "rock"))
        for second in range(0, count * 3600, 3):
            self.play(second)
            for _ in range(4):
                await asyncio.sleep(0)
            if second % 30 == 0:
                await self.look()
            if second % 3600 == 0:
                gc.collect()
                self.sizes.append(tracemalloc.get_traced_memory()[0])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_eight_hours_of_events_do_not_make_it_grow(pair):
    day = Afternoon(*pair)
    tracemalloc.start()
    try:
        # The timeline is full after its hours; from then on nothing may be added.
        asyncio.run(day.hours(HOURS + 9))
    finally:
        tracemalloc.stop()
    (kitchen,) = [one for some in day.fleet.snapshot() for one in some]
    assert day.now - kitchen["now"]["time"] < 30
    assert kitchen["songs"]
    full, *later = day.sizes[HOURS:]
    assert len(later) == 8
    assert max(later) - full < 64 * 1024, [size // 1024 for size in day.sizes]


def test_a_spectrum_that_was_refused_to_one_browser_is_sent_to_the_next(pair):
    ours, its = pair
    settings = PageSettings(section="web", address="", port=0, node="kitchen")
    link = ListenerLink(its, Fleet("headnod", zone=UTC), settings)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            its.send(b"{}")
            sent += 1
    with pytest.raises(RequestError, match="busy"), link.watching():
        pytest.fail("the listener reads nothing")
    for _ in range(sent):
        assert ours.recv(100) == b"{}"
    with link.watching():
        assert json.loads(ours.recv(100)) == {"watch": True}
    assert json.loads(ours.recv(100)) == {"watch": False}
