"""Runs installations one at a time, each in a subprocess, for a listener that must not wait.

Anyone who may publish to the broker may send a bundle. After a refusal the next installation therefore waits, and the
wait doubles; of the requests that arrive meanwhile only the newest is run.
"""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import threading

import msgspec
from msgspec.structs import replace

from headnod.updates.installer import InstallRequest
from headnod.updates.state import Report, Stage, UpdateProgress

_log = logging.getLogger(__name__)

_TIMEOUT = 180.0
"""Seconds for one installation: a self-test and a slow card."""

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
"""Seconds to wait after a refusal: at first, and at most."""


class InstallWorker:
    """A thread that runs installer processes."""

    def __init__(self, report: Report) -> None:
        """Report each step; `report` is called on the worker's thread."""
        self._report = report
        self._changed = threading.Condition()
        self._next: tuple[InstallRequest, bytes] | None = None
        self._installed = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="install", daemon=True)

    def submit(self, request: InstallRequest, bundle: bytes = b"") -> None:
        """Run an installation as soon as possible; returns at once.

        Args:
            request: What to do.
            bundle: The bundle. The one that was installed last, as a broker retains it, is not installed again.
        """
        with self._changed:
            self._next = request, bundle
            self._changed.notify()
            if self._thread.ident is None and not self._closing:
                self._thread.start()

    def close(self) -> None:
        """Stop the running installation; the next one removes its leftovers."""
        with self._changed:
            self._closing = True
            if self._process is not None:
                self._process.kill()
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(5.0)

    def _run(self) -> None:
        wait = 0.0
        while (job := self._next_job(wait)) is not None:
            request, bundle = job
            digest = hashlib.sha256(bundle).hexdigest() if bundle else ""
            if bundle and digest == self._installed:
                continue
            if self._install(request, bundle):
                self._installed, wait = digest, 0.0
            else:
                wait = min(2 * wait or _FIRST_WAIT, _LONGEST_WAIT)

    def _next_job(self, wait: float) -> tuple[InstallRequest, bytes] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing, wait)
            self._changed.wait_for(lambda: self._next is not None or self._closing)
            job, self._next = self._next, None
            return None if self._closing else job

    def _install(self, request: InstallRequest, bundle: bytes) -> bool:
        """Run one installation; false if it was refused."""
        last = UpdateProgress(stage=Stage.RECEIVED, message=f"{len(bundle)} bytes" if bundle else "requested")
        self._report(last)
        command = [sys.executable, "-m", "headnod.updates.installer"]
        try:
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own program
                with self._changed:
                    self._process = process
                    if self._closing:
                        process.kill()
                timeout = threading.Timer(_TIMEOUT, process.kill)
                timeout.start()
                try:
                    last = self._follow(process, request, bundle) or last
                finally:
                    timeout.cancel()
        except OSError as error:
            self._report(replace(last, stage=Stage.REFUSED, message=f"no process could be started: {error.strerror}"))
            return False
        if process.returncode and not self._closing:
            message = f"the installer ended with status {process.returncode}"
            self._report(replace(last, stage=Stage.REFUSED, message=message))
            return False
        return last.stage is not Stage.REFUSED

    def _follow(
        self, process: subprocess.Popen[bytes], request: InstallRequest, bundle: bytes
    ) -> UpdateProgress | None:
        """Report the steps of an installer process; gives the last one."""
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        assert process.stdout is not None  # noqa: S101
        last = None
        try:
            process.stdin.write(msgspec.json.encode(request) + b"\n" + bundle)
            process.stdin.close()
        except BrokenPipeError:
            _log.debug("the installer ended before it had read the whole bundle")
        for line in process.stdout:
            try:
                last = msgspec.json.decode(line, type=UpdateProgress)
            except msgspec.MsgspecError:
                # The line is cut off; the exit status gives the reason.
                break
            self._report(last)
        return last
