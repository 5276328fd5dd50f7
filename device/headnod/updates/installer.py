"""From bytes to a model that listens: verify, remember, store, try, activate.

    python -m headnod.updates.installer

does that for the listener in a process of its own, so that nothing of a stranger
is read where music is heard: a line with an `InstallRequest` and then a bundle on stdin,
a `Progress` a line on stdout. The command line calls the same functions.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from headnod.clock import Clock
from headnod.errors import BundleError, HeadnodError
from headnod.inference.bundle_files import parse_manifest
from headnod.inference.manifest import HASHED, MANIFEST, SIGNATURE, Manifest
from headnod.updates.activation import Activation
from headnod.updates.bundle import LARGEST, Files, read, split
from headnod.updates.install_progress import Progress, Stage, Tell
from headnod.updates.rollback_protection import RollbackProtection
from headnod.updates.selftest import self_test
from headnod.updates.signature import verify
from headnod.updates.store import MOST, Store, serial_of


class InstallRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the listener wants of an intake."""

    state: str
    """The state folder."""

    keys: tuple[str, ...]
    """Public keys that are trusted."""

    budget: float
    """Seconds that a window may take."""

    windows: int
    """Windows of a probation."""

    activate: bool = True
    """Let it listen at once; else it is offered."""

    stored: str = ""
    """Activate this stored model; empty takes the bundle that follows."""

    shipped: str = ""
    """Store and activate this bundle, which came with headnod."""


class Installer:
    """Takes bundles into a store."""

    def __init__(
        self,
        state: Path,
        keys: Sequence[str],
        tell: Tell,
        *,
        budget: float,
        windows: int,
        clock: Clock | None = None,
    ) -> None:
        """Take bundles that one of these keys signed.

        Args:
            state: The state folder.
            keys: Public keys that are trusted.
            tell: Is told each step.
            budget: Seconds that a window may take.
            windows: Windows of a probation.
            clock: The clocks; the machine's own if absent.
        """
        self._clock = clock or Clock()
        self.store, self._protection = Store(state), RollbackProtection(state)
        self.activation = Activation(self.store, self._protection, tell)
        self._keys, self._tell, self._budget, self._windows = keys, tell, budget, windows
        self._about = Progress(stage=Stage.RECEIVED)

    def take(self, files: Files, *, trusted: bool = False) -> str:
        """Verify, store and try a bundle.

        Args:
            files: The bundle.
            trusted: It needs no signature: it came with headnod, or a person at the device says so.

        Returns:
            Its name in the store.

        Raises:
            BundleError: It is not trusted, too old, or does not work here.
            ManifestError: Its manifest is malformed.
        """
        self._about = Progress(stage=Stage.RECEIVED, manifest=hashlib.sha256(files[MANIFEST]).hexdigest())
        if not trusted:
            verify(files[MANIFEST], files.get(SIGNATURE), self._keys)
        # Only now is anything of it read.
        manifest = self._read(files[MANIFEST])
        for file in HASHED:
            if hashlib.sha256(files[file]).hexdigest() != manifest.sha256[file]:
                message = f"{file}: is not what the manifest promises (the bundle is damaged: copy it again)"
                raise BundleError(message)
        with self.store.changing():
            if not trusted:
                # Inside, so that of two intakes at once the older cannot come second.
                self._protection.accept(
                    manifest.serial,
                    self._about.manifest,
                    now=self._clock.now(),
                    synchronised=self._clock.synchronised(),
                    supersedes=manifest.supersedes,
                )
            self.tell(Stage.VERIFIED, "signature and hashes are good" if not trusted else "every hash is good")
            self._make_room(f"{manifest.id}.{manifest.serial}")
            name = self.store.add(files, manifest)
        if name != self.store.current:
            self._try(name)
        return name

    def activate(self, name: str) -> None:
        """Try a stored model and let it listen, on probation.

        Raises:
            BundleError: It does not work here.
        """
        self._read(read(self.store.path(name))[MANIFEST])
        self._try(name)
        self.start_probation(name)

    def start_probation(self, name: str) -> None:
        """Let a model listen that was just tried, on probation.

        Raises:
            BundleError: The folder cannot be written.
        """
        self.activation.activate(name, self._about.manifest, windows=self._windows)
        record = self.activation.record
        if record is None or not record.left:
            self.tell(Stage.KEPT, "it listens already")
        else:
            self.tell(Stage.PROBATION, f"on probation for {record.left} windows")

    def tell(self, stage: Stage, message: str) -> None:
        """Tell a step of the model that was last taken or activated."""
        self._tell(msgspec.structs.replace(self._about, stage=stage, message=message))

    def _read(self, raw: bytes) -> Manifest:
        manifest, digest = parse_manifest(raw, Path(MANIFEST)), hashlib.sha256(raw).hexdigest()
        self._about = Progress(stage=Stage.RECEIVED, model=manifest.id, serial=manifest.serial, manifest=digest)
        return manifest

    def _make_room(self, name: str) -> None:
        if name not in self.store.names():
            record = self.activation.record
            self.store.prune(MOST - 1, needed={record.former} if record is not None and record.former else set())

    def _try(self, name: str) -> None:
        try:
            outcome = self_test(self.store.path(name), budget=self._budget)
        except BundleError as error:
            if name != self.store.current:
                self._protection.mark_failed(serial_of(name), self._about.manifest, str(error))
                with self.store.changing():
                    self.store.remove(name)
            raise
        self.tell(Stage.TESTED, f"it answers as it should, {outcome.milliseconds:g} ms a window")


def _say(progress: Progress) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(progress) + b"\n")
    sys.stdout.buffer.flush()


def _carry_out(order: InstallRequest, installer: Installer) -> None:
    if order.stored:
        installer.activate(order.stored)
        return
    files = read(Path(order.shipped)) if order.shipped else split(sys.stdin.buffer.read(LARGEST + 1))
    name = installer.take(files, trusted=bool(order.shipped))
    if order.activate or name == installer.store.current:
        installer.start_probation(name)
    else:
        installer.tell(Stage.OFFERED, "ready to be activated")


def _main() -> None:
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=InstallRequest)
    installer = Installer(Path(order.state), order.keys, _say, budget=order.budget, windows=order.windows)
    try:
        _carry_out(order, installer)
    except HeadnodError as error:
        installer.tell(Stage.REFUSED, str(error))


if __name__ == "__main__":
    _main()
