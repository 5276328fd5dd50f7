"""Installation of a bundle: verify, check the serial, store, self-test, activate.

    python -m headnod.updates.installer

does this for the listener in a process of its own, so the process that listens reads nothing that is not verified:
one line with an `InstallRequest` and then the bundle on stdin, one `UpdateProgress` per line on stdout. `InstallWorker`
runs these processes one at a time. The command line calls the same functions.

Every client that may publish to the broker may send a bundle. After a refusal the next installation therefore waits,
and the wait doubles; of the requests that arrive meanwhile only the newest is run.
"""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from msgspec.structs import replace

from headnod.clock import Clock
from headnod.errors import BundleError, HeadnodError
from headnod.inference.manifest import HASHED, MANIFEST, SIGNATURE, Manifest, parse_manifest
from headnod.updates.bundle import LARGEST, Files, read, split, verify
from headnod.updates.selftest import self_test
from headnod.updates.state import STATE_FILE, Report, Stage, UpdateProgress, UpdateState, serial_of
from headnod.updates.store import Store

_log = logging.getLogger(__name__)

_TIMEOUT = 180.0
"""Seconds for one installation: a self-test and a slow card."""

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
"""Seconds to wait after a refusal: at first, and at most."""


class InstallRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What an installer process does."""

    state: str
    """The state folder."""

    keys: tuple[str, ...]
    """Trusted public keys."""

    budget: float
    """Seconds that one window may take."""

    windows: int
    """Windows of a probation."""

    activate: bool = True
    """Activate the bundle; otherwise it is offered."""

    stored: str = ""
    """Activate this stored model instead of installing a bundle."""

    shipped: str = ""
    """Install and activate this bundle, a folder that came with headnod; empty reads the bundle from stdin."""


class Installer:
    """Installs bundles into a state folder."""

    def __init__(
        self,
        state_folder: Path,
        keys: Sequence[str],
        report: Report,
        *,
        budget: float,
        windows: int,
        clock: Clock | None = None,
    ) -> None:
        """Install bundles that one of these keys signed; a window may take `budget` seconds."""
        self._clock = clock or Clock()
        self.store = Store(state_folder, report)
        self._keys, self._report, self._budget, self._windows = keys, report, budget, windows
        self._step = UpdateProgress(stage=Stage.RECEIVED)

    def install(self, files: Files, *, trusted: bool = False) -> str:
        """Verify, store and test a bundle.

        If `trusted`, no signature is needed: the bundle came with headnod, or a person at the device says so.

        Returns:
            Its name in the store.

        Raises:
            BundleError: It is not trusted, too old, or does not work here.
            ManifestError: Its manifest is malformed.
        """
        self._step = UpdateProgress(stage=Stage.RECEIVED, manifest=_sha256(files[MANIFEST]))
        if not trusted:
            verify(files[MANIFEST], files.get(SIGNATURE), self._keys)
        # Nothing of the bundle is parsed before this line.
        manifest = self._parse(files[MANIFEST])
        check_hashes(files, manifest)
        with self.store.lock():
            if not trusted:
                self.store.write(self._accepted(self.store.read(), manifest))
            self.report(Stage.VERIFIED, "every hash is good" if trusted else "signature and hashes are good")
            name = self.store.add(files, manifest)
        if name != self.store.current:
            self._test(name)
        return name

    def activate(self, name: str) -> None:
        """Test a stored model and activate it, on probation.

        Raises:
            BundleError: It does not work here.
        """
        self._parse(read(self.store.path(name))[MANIFEST])
        self._test(name)
        self.start_probation(name)

    def start_probation(self, name: str) -> None:
        """Activate a model that has just passed its self-test, on probation.

        Raises:
            BundleError: The state cannot be written.
        """
        state = self.store.activate(name, self._step.manifest, windows=self._windows)
        if state.active is None or not state.active.windows_left:
            self.report(Stage.KEPT, "it is active already")
        else:
            self.report(Stage.PROBATION, f"on probation for {state.active.windows_left} windows")

    def report(self, stage: Stage, message: str) -> None:
        """Report a step of the model that was last installed or activated."""
        self._report(replace(self._step, stage=stage, message=message))

    def _parse(self, raw: bytes) -> Manifest:
        manifest = parse_manifest(raw, Path(MANIFEST))
        self._step = UpdateProgress(
            stage=Stage.RECEIVED, model=manifest.id, serial=manifest.serial, manifest=_sha256(raw)
        )
        return manifest

    def _accepted(self, state: UpdateState, manifest: Manifest) -> UpdateState:
        if state.protection is None:
            raise BundleError(
                f"{STATE_FILE}: the newest serial is not known, because serial.json was damaged; no model is installed "
                f"(delete {STATE_FILE} to start again)"
            )
        protection = state.protection.accept(
            manifest.serial,
            self._step.manifest,
            now=self._clock.now(),
            synchronised=self._clock.synchronised(),
            supersedes=manifest.supersedes,
        )
        return replace(state, protection=protection)

    def _test(self, name: str) -> None:
        try:
            result = self_test(self.store.path(name), budget=self._budget)
        except BundleError as error:
            failure = str(error)
            with self.store.lock():
                state = self.store.read()
                if state.active is None or state.active.name != name:
                    self.store.write(state.after_failure(serial_of(name), self._step.manifest, failure))
                    self.store.remove(name)
            raise
        self.report(Stage.TESTED, f"the self-test is passed, {result.milliseconds:g} ms per window")


def inspect_bundle(
    path: Path, *, keys: Sequence[str], budget: float, shipped: Iterable[Path]
) -> Iterator[tuple[str, str]]:
    """Check a bundle without storing it, as `headnod models verify` does.

    Yields:
        Name and result of each check that is passed.

    Raises:
        BundleError: A check failed.
        ManifestError: The manifest is malformed.
    """
    files = read(path)
    if any((folder / MANIFEST).read_bytes() == files[MANIFEST] for folder in shipped):
        yield ("signature", "not needed: it came with headnod")
    else:
        verify(files[MANIFEST], files.get(SIGNATURE), keys)
        yield ("signature", "by a key of model.keys")
    manifest = parse_manifest(files[MANIFEST], path / MANIFEST)
    try:
        check_hashes(files, manifest)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    yield ("files", f"{manifest.id}, serial {manifest.serial or 'none'}, {len(manifest.labels)} labels")
    with TemporaryDirectory() as folder:
        # A copy of what was verified: the files at the path may have changed since.
        for file, content in files.items():
            Path(folder, file).write_bytes(content)
        result = self_test(Path(folder), budget=budget)
    yield ("network", f"golden numbers agree, {result.milliseconds:g} ms per window")


def check_hashes(files: Files, manifest: Manifest) -> None:
    """Check the files of a bundle against the hashes in its manifest.

    Raises:
        BundleError: One differs.
    """
    for file in HASHED:
        if _sha256(files[file]) != manifest.sha256[file]:
            raise BundleError(f"{file}: is not what the manifest promises (the bundle is damaged: copy it again)")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


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

        The bundle that was installed last, as a broker retains it, is not installed again.
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


def _print(progress: UpdateProgress) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(progress) + b"\n")
    sys.stdout.buffer.flush()


def _main() -> None:
    request = msgspec.json.decode(sys.stdin.buffer.readline(), type=InstallRequest)
    installer = Installer(Path(request.state), request.keys, _print, budget=request.budget, windows=request.windows)
    try:
        if request.stored:
            installer.activate(request.stored)
            return
        files = read(Path(request.shipped)) if request.shipped else split(sys.stdin.buffer.read(LARGEST + 1))
        name = installer.install(files, trusted=bool(request.shipped))
        if request.activate or name == installer.store.current:
            installer.start_probation(name)
        else:
            installer.report(Stage.OFFERED, "ready to be activated")
    except HeadnodError as error:
        installer.report(Stage.REFUSED, str(error))


if __name__ == "__main__":
    _main()
