"""A dashboard that is served, browsers that look at it, and listeners that tell it something."""

from __future__ import annotations

import http.client
import json
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from headnod import Estimate
from headnod.mqtt.payloads import encode, estimate_payload
from support.command_line import PATIENCE
from support.estimates import estimate
from support.mqtt_broker import Broker, ReservedPort, at_once

(CLIP,) = Path(__file__).parents[2].glob("demo/*.ogg")
CHROMIUM = shutil.which("chromium")

# Without a sandbox because tests may be root; the rest keeps Chromium from looking for hosts of its maker.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def estimate_json(
    genre: str, *, node: str = "kitchen", at: float | None = None, replayed: bool = False, **scores
) -> bytes:
    """An estimate as it is published: heard now, or at a time in seconds since 1970."""
    time_unix = time.time() if at is None else at
    scores = scores or ({} if genre == "silence" else {genre: 0.75, "blues": 0.05})
    changes = {"time_unix": time_unix, "replayed": replayed, "id": f"{node}-b1-{time_unix}"}
    return published(estimate(genre, **scores), node, **changes)


def published(estimate: Estimate, node: str, **changes) -> bytes:
    """An estimate as a listener publishes it, with changed fields."""
    return encode(estimate_payload(estimate, node=node, boot="b1") | changes)


def song(genre: str, *, ended: float | None = None, name: str = "1", **changes) -> bytes:
    """A song as it is published."""
    end = datetime.fromtimestamp(time.time() if ended is None else ended, UTC)
    fields = {"id": f"kitchen-b1-{name}", "end": end.isoformat(), "duration_s": 200.0, "genre": genre, **changes}
    return json.dumps(fields).encode()


def information(*labels: str, **changes) -> bytes:
    """What a listener is, as it is published."""
    return json.dumps({"labels": labels, "every_s": 3.0, "version": "0.1.0", **changes}).encode()


class Publisher:
    """Publishes for any number of listeners."""

    def __init__(self, broker: Broker):
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"speaker-{id(self)}", protocol=paho.MQTTv5)
        self._client.on_socket_open = at_once
        self._nodes: set[str] = set()
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()

    def publish(self, node: str, topic: str, payload: bytes | str, *, retain: bool = False):
        self._nodes.add(node)
        self._client.publish(f"headnod/{node}/{topic}", payload, 1, retain)

    def publish_estimate(self, node: str, genre: str, **changes):
        """Publish that the listener is online, and an estimate."""
        self.publish(node, "status", "online", retain=True)
        self.publish(node, "estimate", estimate_json(genre, node=node, **changes))

    def flush(self):
        """Return when the broker has everything that was published so far."""
        self._client.publish("elsewhere", b"", 1).wait_for_publish(PATIENCE)

    def delete_listeners(self):
        """Delete every listener that it published for."""
        for node in self._nodes:
            self.publish(node, "status", b"", retain=True)
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._client.disconnect()
        self._client.loop_stop()


class PageServer:
    """A process that serves the page, and what it logs."""

    port = 0
    process: subprocess.Popen

    def start(self, words: list[str], env: dict[str, str], *, module: str = "headnod", **options: Any):
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *words],
            env=env,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            **options,
        )
        self.lines: list[str] = []
        self._open: list[Any] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def _read(self):
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()

    def wait_for_line(self, words: str, *, times: int = 1):
        """Wait until it has said this."""
        with self._news:
            there = self._news.wait_for(lambda: sum(words in line for line in self.lines) >= times, PATIENCE)
        assert there, f"it never said {words!r}: {''.join(self.lines)[-2000:]}"

    def get(self, path: str = "/", **options: str | None) -> http.client.HTTPResponse:
        """Its answer; the body can be read."""
        return self.request("GET", path, **options)

    def log_in(self, password: str) -> dict[str, str]:
        """The headers of a browser that has logged in."""
        answer = self.request("POST", "/api/v1/session", {"password": password})
        content = json.loads(answer.read())
        assert answer.status == 200, content
        return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0], "X_CSRF_Token": content["csrf"]}

    def request(
        self, method: str, path: str, body: object = None, *, password: str | None = None, **headers: str
    ) -> http.client.HTTPResponse:
        """Its answer to any request; a body is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        if password is not None:
            headers["Authorization"] = "Basic " + b64encode(f"anybody:{password}".encode()).decode()
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            headers.setdefault("Content_Type", "application/json")
        connection.request(method, path, content, {key.replace("_", "-"): value for key, value in headers.items()})
        answer = connection.getresponse()
        self._open += [answer, connection]
        return answer

    def json(self, path: str, **options: str | None) -> Any:
        """Its answer, which is JSON."""
        answer = self.get(path, **options)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        return json.loads(answer.read())

    def events(self, path: str = "/events", **options):
        """The events of a browser that has just come, as name and data."""
        answer = self.get(path, **options)
        assert answer.status == 200, answer.read()
        name = ""
        while line := answer.readline().decode():
            field, _, value = line.rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                yield name, json.loads(value)

    def sends(self, wanted: Callable[[dict[str, Any]], bool]):
        """Wait until it sends a browser the parts of a listener for which this is true."""
        for name, data in self.events():
            if name in {"listeners", "changes"} and any(map(wanted, data)):
                break
        self.close_connections()

    def close_connections(self):
        """Close all connections to it."""
        for each in self._open:
            each.close()
        self._open.clear()

    def end(self) -> int:
        """Ask it to end; gives its exit status."""
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def __exit__(self, *_):
        self.close()

    def close(self):
        """End it, and whoever looks at it."""
        self.close_connections()
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stderr.close()


class Dashboard(PageServer):
    """`headnod dashboard` in a process of its own."""

    def __init__(self, broker: Broker | None, *, port: int = 0, env: dict[str, str] | None = None, host: str = ""):
        self._reserved = ReservedPort()
        self.port = port or self._reserved.number
        settings = {"HEADNOD_DASHBOARD__PORT": str(self.port), "HEADNOD_CONFIG": os.devnull}
        if broker is not None:
            settings |= {"HEADNOD_MQTT__HOST": broker.host, "HEADNOD_MQTT__PORT": str(broker.port)}
        self.start(["dashboard", *(["--host", host] if host else [])], os.environ | settings | (env or {}))

    def wait_until_empty(self):
        """Wait until it knows no listener."""
        look, deadline = threading.Event(), time.monotonic() + PATIENCE
        while known := self._known():
            assert time.monotonic() < deadline, f"it still knows {known}"
            look.wait(0.02)

    def _known(self) -> list[str]:
        """What a browser that has just come is told of listeners."""
        nodes = []
        for name, data in self.events():
            if name == "ready":
                break
            nodes += [one["node"] for one in data] if name == "listeners" else []
        self.close_connections()
        return nodes

    def __enter__(self):
        self.wait_for_line("the dashboard is at")
        return self


def long_clip(folder: Path) -> Path:
    """The demo clip, repeated for ten minutes."""
    import numpy as np
    import soundfile

    audio, rate = soundfile.read(CLIP, dtype="float32")
    path = folder / "music.flac"
    soundfile.write(path, np.tile(audio, (math.ceil(600 * rate / len(audio)), *[1] * (audio.ndim - 1))), rate)
    return path


class ListenerPage(PageServer):
    """`headnod listen --web` in a process of its own, with the demo clip as it sounds."""

    def __init__(self, *words: str, env: dict[str, str] | None = None, address: str = "", web: bool = True):
        self._reserved = ReservedPort()
        self.port = self._reserved.number
        self._web = web
        settings = {"HEADNOD_CONFIG": os.devnull, "HEADNOD_MQTT__NODE": "kitchen", "HEADNOD_LISTEN__EVERY": "0.3"}
        audio = ["--audio", str(CLIP), "--pace", "real"]
        self.start(
            ["listen", "--json", *(["--web", f"{address}:{self.port}"] if web else []), *audio, *words],
            os.environ | settings | (env or {}),
            stdout=subprocess.PIPE,
        )

    def estimates(self):
        """What the listener prints."""
        for line in self.process.stdout:
            if "genre" in (found := json.loads(line)):
                yield found

    @property
    def children(self) -> list[int]:
        """Process ids of what the listener started."""
        found = [each.read_text().split() for each in Path(f"/proc/{self.process.pid}/task").glob("*/children")]
        return [int(pid) for pids in found for pid in pids]

    def discard(self):
        """Read what the listener prints and forget it, because a full pipe would stop the listener."""
        threading.Thread(target=lambda: all(True for _ in self.process.stdout), daemon=True).start()

    @property
    def server(self) -> int:
        """Process id of the web server."""
        (child,) = self.children
        return child

    def __enter__(self):
        if self._web:
            self.wait_for_line("the page is at")
        return self

    def close(self):
        super().close()
        self.process.stdout.close()


@contextmanager
def chromium():
    """A browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def missing() -> str:
    """What tests with a browser lack, or nothing."""
    try:
        import playwright  # noqa: F401
    except ImportError:
        return "playwright"
    return "" if CHROMIUM else "chromium"


def place_for(picture: str) -> Path | None:
    """Where a picture of the page goes, if pictures are wanted."""
    folder = os.environ.get("HEADNOD_PICTURES")
    return Path(folder) / picture if folder else None
