"""The store: models that came from elsewhere, and which of them listens.

A folder a model, and a link `current` to one of them that is replaced in one
step. A model has its name only when all of it is on the disk, so power may fail
at any moment: there is the old model or the new one, and each is whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from headnod.errors import BundleError
from headnod.files import inherit_owner, make_folder, sync_folder, write_synced
from headnod.inference.manifest import MANIFEST, Manifest
from headnod.updates.bundle import Files

MODELS, CURRENT = "models", "current"
"""The folder in the state folder, and the link in it."""

MOST = 8
"""Models that are kept; the oldest make room."""

_STORED = re.compile(r"\A(?P<id>[a-z0-9][a-z0-9-]{0,31}-\d{1,4}\.\d{1,4}\.\d{1,4})\.(?P<serial>\d{1,16})\Z")
_NEW, _OLD, _LOCK = ".new-", ".old-", ".lock"
_LOOK = 0.02


class Store:
    """The models of one device."""

    def __init__(self, state: Path, *, patience: float = 30.0) -> None:
        """Keep them in this state folder; nothing is made before it is needed.

        Args:
            state: The state folder.
            patience: Seconds to wait for another process that changes something.
        """
        self.state, self.folder, self._patience = state, state / MODELS, patience

    @property
    def current(self) -> str | None:
        """The model that shall listen; None leaves it to the configuration."""
        try:
            name = str((self.folder / CURRENT).readlink())
        except OSError:
            return None
        return name if _STORED.match(name) else None

    def names(self) -> list[str]:
        """Every stored model, the one with the greatest serial last."""
        try:
            found = [entry.name for entry in os.scandir(self.folder) if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return []
        return sorted((name for name in found if _STORED.match(name)), key=lambda name: (serial_of(name), name))

    def path(self, name: str) -> Path:
        """The folder of a stored model."""
        return self.folder / name

    def find(self, wanted: str) -> str | None:
        """The newest stored model that a person means: with its serial, its version, or its bare name."""
        meant = [name for name in self.names() if wanted in {name, id_of(name), id_of(name).rpartition("-")[0]}]
        return meant[-1] if meant else None

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody else changes anything meanwhile, and what was begun and never ended is swept away.

        Raises:
            BundleError: The folder cannot be written, or another process changes it all the time.
        """
        try:
            make_folder(self.folder)
            with (self.folder / _LOCK).open("a+") as lock:
                inherit_owner(self.folder / _LOCK)
                self._lock(lock.fileno())
                self._sweep()
                try:
                    yield
                finally:
                    self._sweep()
        except OSError as error:
            message = f"{error.filename or self.folder}: {(error.strerror or str(error)).lower()}"
            raise BundleError(message) from error

    def _lock(self, lock: int) -> None:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    message = f"{self.folder}: another headnod is changing the models (try again when it has ended)"
                    raise BundleError(message) from None
                time.sleep(_LOOK)
            else:
                return

    def add(self, files: Files, manifest: Manifest) -> str:
        """Store a bundle, whose hashes were checked; call it inside `changing`.

        Returns:
            Its name in the store.

        Raises:
            BundleError: Another bundle without a serial has that name and version.
            OSError: The disk is full or cannot be written.
        """
        name = f"{manifest.id}.{manifest.serial}"
        place, new = self.path(name), self.folder / f"{_NEW}{name}"
        if place.is_dir() and not _same(place / MANIFEST, files[MANIFEST]):
            message = f"{place}: another {manifest.id} is there (give one of them another version)"
            raise BundleError(message)
        if all(_same(place / file, content) for file, content in files.items()):
            return name
        new.mkdir()
        inherit_owner(new)
        for file, content in files.items():
            write_synced(new / file, content)
        sync_folder(new)
        if place.is_dir():
            # The same manifest over damaged files.
            place.rename(self.folder / f"{_OLD}{name}")
        new.rename(place)
        sync_folder(self.folder)
        _discard(self.folder / f"{_OLD}{name}")
        return name

    def _sweep(self) -> None:
        for left in (*self.folder.glob(f"{_NEW}*"), *self.folder.glob(f"{_OLD}*")):
            _discard(left)

    def switch(self, name: str | None) -> None:
        """Let this model listen, in one step; None leaves it to the configuration. Inside `changing`."""
        link = self.folder / CURRENT
        if name is None:
            link.unlink(missing_ok=True)
        else:
            new = self.folder / f"{_NEW}{CURRENT}"
            new.symlink_to(name)
            inherit_owner(new)
            new.replace(link)
        sync_folder(self.folder)

    def remove(self, name: str) -> None:
        """Forget a model that does not listen. Inside `changing`."""
        gone = self.folder / f"{_OLD}{name}"
        with contextlib.suppress(FileNotFoundError):
            self.path(name).rename(gone)
        _discard(gone)
        sync_folder(self.folder)

    def prune(self, keep: int, *, needed: set[str]) -> list[str]:
        """Remove the oldest but so many, and none of those that are needed. Inside `changing`.

        Returns:
            The names of what was removed.
        """
        spare = [name for name in self.names() if name not in needed | {self.current}]
        room = max(keep - (len(self.names()) - len(spare)), 0)
        removed = spare[: max(len(spare) - room, 0)]
        for name in removed:
            self.remove(name)
        return removed


def id_of(name: str) -> str:
    """Name and version of a stored model, without its serial."""
    return name.rpartition(".")[0]


def serial_of(name: str) -> int:
    """The serial of a stored model."""
    return int(name.rpartition(".")[2])


def _same(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        import shutil  # noqa: PLC0415 - brings every compressor, for what is seldom done

        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
