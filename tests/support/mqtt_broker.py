"""Debian's mosquitto on loopback, that a test may stop, kill, freeze and bring back.

Each broker has a folder and a port of its own, so tests do not meet. What it holds
survives a kill: it saves at every change.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from support.certificates import Certificate
from support.mqtt_subscriber import STARTING, Subscriber, at_once

__all__ = ["HOST", "STARTING", "Broker", "ReservedPort", "Subscriber", "at_once", "missing"]

HOST = "127.0.0.1"

# A package manager puts it where only root looks.
_PROGRAM = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def missing() -> str:
    """What is not installed, or nothing."""
    wanted = {"mosquitto": _PROGRAM, "mosquitto_passwd": shutil.which("mosquitto_passwd")}
    return ", ".join(name for name, found in wanted.items() if found is None)


class Broker:
    """A mosquitto; it starts at once unless it is told to wait.

    Args:
        folder: Where it keeps its files.
        users: Passwords by user; without any, everybody is let in.
        acl: Lines of mosquitto's access list.
        certificate: Speaks TLS with it.
        authority: Wants certificates of clients that this authority signed.
        settings: Further lines of mosquitto.conf.
        durable: Save at every change, so that a kill costs nothing; it is slow.
        wait: Start later, by `start`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, str] | None = None,
        acl: str = "",
        certificate: Certificate | None = None,
        authority: Path | None = None,
        settings: str = "",
        durable: bool = True,
        wait: bool = False,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.host, self._reserved = folder, HOST, ReservedPort()
        self.port = self._reserved.number
        self._users, self._certificate, self._authority, self._settings = users or {}, certificate, authority, settings
        self._durable = durable
        self._process: subprocess.Popen | None = None
        self.allow(acl)
        self._configure()
        if not wait:
            self.start()

    def allow(self, acl: str):
        """Change the access list; a running broker reads it at `reload`."""
        self._acl = acl
        (self.folder / "acl").write_text(acl)
        (self.folder / "acl").chmod(0o600)

    def _configure(self):
        folder = self.folder
        lines = [
            f"listener {self.port} {HOST}",
            f"allow_anonymous {'false' if self._users else 'true'}",
            *("persistence true", f"persistence_location {folder}/"),
            *(("autosave_interval 1", "autosave_on_changes true") if self._durable else ()),
            self._settings,
        ]
        if os.getuid() == 0:
            # Else it would become another user, who cannot write into a test's folder.
            lines.append("user root")
        if self._users:
            passwords = folder / "passwords"
            passwords.write_text("".join(f"{user}:{password}\n" for user, password in self._users.items()))
            passwords.chmod(0o600)
            subprocess.run(["mosquitto_passwd", "-U", passwords], check=True)
            lines.append(f"password_file {passwords}")
        if self._acl:
            lines.append(f"acl_file {folder / 'acl'}")
        if self._certificate is not None:
            lines += [f"certfile {self._certificate.file}", f"keyfile {self._certificate.key}"]
        if self._authority is not None:
            lines += [f"cafile {self._authority}", "require_certificate true"]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        """What it said so far."""
        return (self.folder / "log").read_text(errors="replace")

    def start(self):
        """Start it, and return when it takes connections."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_PROGRAM, "-c", self.folder / "mosquitto.conf"], stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + STARTING
        while True:
            with suppress(OSError), socket.create_connection((HOST, self.port), timeout=1.0):
                return
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)
            ended = self._process.returncode is not None or time.monotonic() > deadline
            assert not ended, f"mosquitto did not start: {self.log[-500:]}"

    def stop(self):
        """End it as its service would."""
        self._end(signal.SIGTERM)

    def kill(self):
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def restart(self, *, by: Callable[[Self], None] | None = None):
        """End it, by SIGTERM or otherwise, and start it again."""
        (by or Broker.stop)(self)
        self.start()

    def freeze(self):
        """Let it take connections and answer none."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def reload(self):
        """Let it read its access list and passwords again."""
        self._process.send_signal(signal.SIGHUP)

    def _end(self, by: signal.Signals):
        if self._process is not None:
            self._process.send_signal(by)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(STARTING)
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_):
        self.kill()


class ReservedPort:
    """A port of loopback that nobody else gets while this object is kept.

    A socket that is bound and never listens holds it: connections are refused, and a
    server that sets SO_REUSEADDR, as nearly all do, may listen there.
    """

    def __init__(self):
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind((HOST, 0))
        self.number = self._held.getsockname()[1]

    def __del__(self):
        self._held.close()
