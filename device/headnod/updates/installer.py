"""Installation of a bundle: verify, check the serial, store, self-test, activate.

    python -m headnod.updates.installer

does this for the listener in a process of its own, so the process that listens reads nothing that is not verified:
one line with an `InstallRequest` and then the bundle on stdin, one `UpdateProgress` per line on stdout. The command
line calls the same functions.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from msgspec.structs import replace

from headnod.clock import Clock
from headnod.errors import BundleError, HeadnodError
from headnod.inference.bundle_files import parse_manifest
from headnod.inference.manifest import HASHED, MANIFEST, SIGNATURE, Manifest
from headnod.updates.activation import Activation
from headnod.updates.bundle import LARGEST, Files, read, split
from headnod.updates.selftest import self_test
from headnod.updates.signature import verify
from headnod.updates.state import STATE_FILE, Report, Stage, UpdateProgress, UpdateState, serial_of
from headnod.updates.store import Store


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
        """Install bundles that one of these keys signed.

        Args:
            state_folder: The state folder.
            keys: Trusted public keys.
            report: Called with each step.
            budget: Seconds that one window may take.
            windows: Windows of a probation.
            clock: The clocks; the machine's own if absent.
        """
        self._clock = clock or Clock()
        self.store = Store(state_folder)
        self.activation = Activation(self.store, report)
        self._keys, self._report, self._budget, self._windows = keys, report, budget, windows
        self._step = UpdateProgress(stage=Stage.RECEIVED)

    def install(self, files: Files, *, trusted: bool = False) -> str:
        """Verify, store and test a bundle.

        Args:
            files: The bundle.
            trusted: No signature is needed: the bundle came with headnod, or a person at the device says so.

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
        state = self.activation.activate(name, self._step.manifest, windows=self._windows)
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
            message = (
                f"{STATE_FILE}: the newest serial is not known, because serial.json was damaged; no model is installed "
                f"(delete {STATE_FILE} to start again)"
            )
            raise BundleError(message)
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


def inspect_bundle(path: Path, *, keys: Sequence[str], budget: float, shipped: Iterable[Path]) -> Iterator[str]:
    """Check a bundle without storing it, as `headnod models verify` does.

    Args:
        path: Its file or folder.
        keys: Trusted public keys.
        budget: Seconds that one window may take.
        shipped: Bundles that came with headnod, which are trusted without a signature.

    Yields:
        One line for each check that is passed.

    Raises:
        BundleError: A check failed.
        ManifestError: The manifest is malformed.
    """
    files = read(path)
    if any((folder / MANIFEST).read_bytes() == files[MANIFEST] for folder in shipped):
        yield "trusted    it came with headnod"
    else:
        verify(files[MANIFEST], files.get(SIGNATURE), keys)
        yield "trusted    its signature is by a key of model.keys"
    manifest = parse_manifest(files[MANIFEST], path / MANIFEST)
    try:
        check_hashes(files, manifest)
    except BundleError as error:
        message = f"{path}: {error}"
        raise BundleError(message) from error
    yield f"whole      {manifest.id}, serial {manifest.serial or 'none'}, {len(manifest.labels)} labels"
    with TemporaryDirectory() as folder:
        # A copy of what was verified: the files at the path may have changed since.
        for file, content in files.items():
            Path(folder, file).write_bytes(content)
        result = self_test(Path(folder), budget=budget)
    yield f"works      golden numbers agree, {result.milliseconds:g} ms per window"


def check_hashes(files: Files, manifest: Manifest) -> None:
    """Check the files of a bundle against the hashes in its manifest.

    Raises:
        BundleError: One differs.
    """
    for file in HASHED:
        if _sha256(files[file]) != manifest.sha256[file]:
            message = f"{file}: is not what the manifest promises (the bundle is damaged: copy it again)"
            raise BundleError(message)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


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
