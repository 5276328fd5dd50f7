"""A real Home Assistant core, in a Debian of its own, that a test asks for its states and calls services of."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from support import debian_roots as roots
from support.mqtt_broker import HOST, ReservedPort

RELEASE = "2025.12.*"
"""The first release that has every option of discovery, and the last one for Debian's Python 3.13."""

STARTING, PATIENCE = 180.0, 60.0
"""Seconds that a busy machine may take for its start, and for anything else."""

_FOLDER = "/opt/homeassistant"
_PACKAGES = ("python3", "python3-venv", "python3-dev", "gcc", "libc6-dev", "libpcap0.8", "tzdata")
_CONFIGURATION = """\
homeassistant: {{name: Test, time_zone: UTC}}
http: {{server_port: {http}}}
probe: {{port: {probe}}}
{more}
"""
_PROBE = '''\
"""Answers a test: states and registries, a connection to a broker, calls of services."""

import asyncio
import json

from homeassistant.helpers import device_registry, entity_registry


async def async_setup(hass, config):
    async def serve(reader, writer):
        while line := await reader.readline():
            try:
                answer = await handle(hass, json.loads(line))
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            writer.write(json.dumps(answer, default=str).encode() + b"\\n")
            await writer.drain()
        writer.close()

    await asyncio.start_server(serve, "127.0.0.1", config["probe"]["port"])
    return True


async def handle(hass, asked):
    if "broker" in asked:
        flow = await hass.config_entries.flow.async_init("mqtt", context={"source": "user"})
        done = await hass.config_entries.flow.async_configure(flow["flow_id"], asked["broker"])
        return {"type": str(done["type"]), "errors": done.get("errors")}
    if "call" in asked:
        await hass.services.async_call(*asked["call"], blocking=True)
        return {}
    devices = device_registry.async_get(hass).devices.values()
    entities = entity_registry.async_get(hass).entities.values()
    return {
        "running": hass.is_running,
        "states": {each.entity_id: [each.state, dict(each.attributes)] for each in hass.states.async_all()},
        "devices": {each.name: [each.area_id, each.configuration_url, each.hw_version] for each in devices},
        "entities": {each.entity_id: [each.unique_id, each.disabled] for each in entities},
    }
'''


def root() -> Path:
    """A Debian with Home Assistant; ten minutes when it is made, and then kept."""
    made = roots.kept() / "trixie-homeassistant"
    if not made.exists():
        unfinished = made.with_name(f"{made.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        subprocess.run(["cp", "-a", "--reflink=auto", roots.bare("trixie"), unfinished], check=True)
        install = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "--no-install-recommends")
        _run(unfinished, "apt-get", "update")
        _run(unfinished, *install, *_PACKAGES)
        _run(unfinished, "python3", "-m", "venv", _FOLDER)
        pip = ("env", "TMPDIR=/var/tmp", f"{_FOLDER}/bin/pip", "install", "-q", "--no-cache-dir")
        _run(unfinished, *pip, f"homeassistant=={RELEASE}", "aiohttp_cors")
        (constraints,) = unfinished.glob(f"{_FOLDER[1:]}/lib/*/site-packages/homeassistant/package_constraints.txt")
        pinned = [
            line
            for line in constraints.read_text().splitlines()
            if line.startswith(("home-assistant-frontend==", "paho-mqtt=="))
        ]
        _run(unfinished, *pip, *pinned)
        unfinished.rename(made)
    return made


def _run(system: Path, *words: str) -> None:
    ended = roots.run(system, *words)
    assert ended.returncode == 0, (words, ended.stderr[-2000:])


class HomeAssistantCore:
    """Home Assistant with a folder of its own; it is started at once, and may be started again."""

    def __init__(self, system: Path, folder: Path, *, more: str = ""):
        self._system, self.folder = system, folder
        self._http, self._probe = ReservedPort(), ReservedPort()
        probe = folder / "custom_components" / "probe"
        probe.mkdir(parents=True)
        manifest = {"domain": "probe", "name": "Probe", "version": "1.0.0", "requirements": [], "dependencies": []}
        (probe / "manifest.json").write_text(json.dumps(manifest))
        (probe / "__init__.py").write_text(_PROBE)
        ports = {"http": self._http.number, "probe": self._probe.number}
        (folder / "configuration.yaml").write_text(_CONFIGURATION.format(**ports, more=more))
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and return when it runs."""
        words = [*roots.NSPAWN, "--pipe", "-D", self._system, f"--bind={self.folder}:/config"]
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [*words, f"{_FOLDER}/bin/hass", "-c", "/config", "--skip-pip"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "SYSTEMD_NSPAWN_LOCK": "0"},
            )
        self.until(lambda: self.ask()["running"], STARTING)

    def stop(self) -> None:
        """End it in peace."""
        if self._process is not None:
            with suppress(OSError, AssertionError):
                self.call("homeassistant", "stop")
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(PATIENCE)
            self._process = None

    def connect(self, port: int) -> None:
        """Connect it to a broker, as a person would on its page."""
        assert self.ask(broker={"broker": HOST, "port": port})["type"] == "create_entry"

    def call(self, domain: str, service: str, **data: Any) -> None:
        """Call a service."""
        answer = self.ask(call=[domain, service, data])
        assert "error" not in answer, answer

    def state(self, entity: str) -> str | None:
        """The state of an entity; None if there is none."""
        return self.ask()["states"].get(entity, [None])[0]

    def attributes(self, entity: str) -> dict[str, Any]:
        return self.ask()["states"][entity][1]

    def ask(self, **question: Any) -> dict[str, Any]:
        with socket.create_connection((HOST, self._probe.number), timeout=PATIENCE) as connection:
            connection.sendall(json.dumps(question).encode() + b"\n")
            with connection.makefile() as answers:
                return json.loads(answers.readline())

    def until(self, there: Callable[[], object], within: float = PATIENCE) -> None:
        """Ask again and again until it is so."""
        deadline = time.monotonic() + within
        while True:
            with suppress(OSError, json.JSONDecodeError, KeyError):
                if there():
                    return
            assert time.monotonic() < deadline, f"not so within {within:g} s: {self.log[-3000:]}"
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.3)
            assert self._process.poll() is None, self.log[-3000:]

    @property
    def log(self) -> str:
        return (self.folder / "output").read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_):
        self.stop()
