"""Takes models in, in processes of their own, one at a time.

Alone because it stands between MQTT, which must not wait, and an intake, which
takes seconds. Whoever may write to the broker may send anything here, so what
was refused is followed by a rest that doubles, and only the newest waits.
"""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import threading

import msgspec

from headnod.updates.install_progress import Progress, Stage, Tell
from headnod.updates.installer import InstallRequest

_log = logging.getLogger(__name__)

_PATIENCE = 180.0
"""Seconds that an intake may take: a self-test and a slow card."""

_REST, _LONGEST_REST = 1.0, 60.0
"""Seconds of rest after a refusal: the first, and in the long run."""


class InstallWorker:
    """A thread with an intake at a time."""

    def __init__(self, tell: Tell) -> None:
        """Report each step here; it is called on the porter's thread."""
        self._tell = tell
        self._news = threading.Condition()
        self._next: tuple[InstallRequest, bytes] | None = None
        self._done = ""
        self._installer: subprocess.Popen[bytes] | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="porter", daemon=True)

    def bring(self, order: InstallRequest, bundle: bytes = b"") -> None:
        """Carry out an order as soon as may be; returns at once.

        Args:
            order: What is wanted.
            bundle: What was sent. The same again, as a broker retains it, changes nothing.
        """
        with self._news:
            self._next = order, bundle
            self._news.notify()
            if self._thread.ident is None and not self._closing:
                self._thread.start()

    def close(self) -> None:
        """Stop what is under way; what it began is swept away by the next."""
        with self._news:
            self._closing = True
            if self._installer is not None:
                self._installer.kill()
            self._news.notify()
        if self._thread.ident is not None:
            self._thread.join(5.0)

    def _run(self) -> None:
        rest = 0.0
        while (job := self._taken(rest)) is not None:
            order, bundle = job
            digest = hashlib.sha256(bundle).hexdigest() if bundle else ""
            if bundle and digest == self._done:
                continue
            refused = self._carry_out(order, bundle)
            if not refused:
                self._done = digest
            rest = min(2 * rest or _REST, _LONGEST_REST) if refused else 0.0

    def _taken(self, rest: float) -> tuple[InstallRequest, bytes] | None:
        with self._news:
            self._news.wait_for(lambda: self._closing, rest)
            self._news.wait_for(lambda: self._next is not None or self._closing)
            job, self._next = self._next, None
            return None if self._closing else job

    def _carry_out(self, order: InstallRequest, bundle: bytes) -> bool:
        """One intake; true if it refused."""
        command = [sys.executable, "-m", "headnod.updates.installer"]
        last = Progress(stage=Stage.RECEIVED, message=f"{len(bundle)} bytes" if bundle else "asked for")
        self._tell(last)
        try:
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as installer:  # noqa: S603 - it is our own
                with self._news:
                    self._installer = installer
                    if self._closing:
                        installer.kill()
                watch = threading.Timer(_PATIENCE, installer.kill)
                watch.start()
                try:
                    last = self._followed(installer, order, bundle) or last
                finally:
                    watch.cancel()
        except OSError as error:
            self._tell(Progress(stage=Stage.REFUSED, message=f"no process could be started: {error.strerror}"))
            return True
        if installer.returncode and not self._closing:
            fault = f"the intake ended with status {installer.returncode}"
            self._tell(msgspec.structs.replace(last, stage=Stage.REFUSED, message=fault))
            return True
        return last.stage is Stage.REFUSED

    def _followed(self, installer: subprocess.Popen[bytes], order: InstallRequest, bundle: bytes) -> Progress | None:
        assert installer.stdin is not None  # noqa: S101 - it is a pipe
        assert installer.stdout is not None  # noqa: S101
        last = None
        try:
            installer.stdin.write(msgspec.json.encode(order) + b"\n" + bundle)
            installer.stdin.close()
        except BrokenPipeError:
            _log.debug("the intake ended before it had read all")
        for line in installer.stdout:
            try:
                last = msgspec.json.decode(line, type=Progress)
            except msgspec.MsgspecError:
                # Cut off: its exit status says more.
                break
            self._tell(last)
        return last
