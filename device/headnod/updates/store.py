"""The stored models of one device, their state file, and which of them is active.

Each model is a folder that gets its name only when all of it is on the disk; the state file says which one is active.
Every change holds one lock, so the listener, the command line and an installation never write over each other, and
power may fail at any step: the old model or the new one is active, and is complete.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from headnod.errors import BundleError
from headnod.files import inherit_owner, make_folder, sync_folder, write_atomically, write_synced
from headnod.inference.manifest import MANIFEST, Manifest
from headnod.updates.bundle import Files
from headnod.updates.state import (
    LINK,
    STATE_FILE,
    ActiveModel,
    Report,
    Stage,
    UpdateState,
    id_of,
    is_stored_name,
    linked_model,
    merged_with_old,
    migration_pending,
    old_state,
    read_state,
    retire_old_files,
    serial_of,
)

CAPACITY = 8
"""Models that are kept; the oldest make room."""

_NEW, _OLD, _LOCK = ".new-", ".old-", ".lock"
_POLL_SECONDS = 0.02

MAX_CRASHES = 2
"""Abnormal ends of the listener during a probation after which the model is rolled back."""


class Store:
    """Models, state file and lock in one state folder.

    A damaged state file, or one that cannot be written, raises a `BundleError`; one that this user may not read an
    `AccessError`.
    """

    def __init__(
        self, state_folder: Path, report: Report = lambda _progress: None, *, lock_timeout: float = 30.0
    ) -> None:
        """Use a state folder; nothing is created before the first change.

        `report` is called with the step of a rollback. Another process that changes something is waited for, at most
        for `lock_timeout` seconds.
        """
        self.state_folder, self.folder, self._lock_timeout = state_folder, state_folder / "models", lock_timeout
        self._report = report
        self._state_file = state_folder / STATE_FILE
        self._cached: tuple[object, UpdateState] | None = None

    def read(self) -> UpdateState:
        """The present state; what an older headnod left if nothing was changed since."""
        # The listener reads it after each estimate, and it rarely changes.
        identity = _identity(self._state_file), _identity(self.state_folder / LINK)
        if self._cached is None or self._cached[0] != identity:
            state = read_state(self._state_file)
            self._cached = identity, old_state(self.state_folder) if state is None else state
        return self._cached[1]

    @property
    def current(self) -> str | None:
        """Name of the active model; None is the model of the configuration."""
        active = self.read().active
        return active.name if active is not None else None

    @property
    def linked(self) -> str | None:
        """Name of the active model as the link `models/current` gives it, for when the state file is damaged."""
        return linked_model(self.state_folder)

    def names(self) -> list[str]:
        """Names of all stored models, the one with the greatest serial last."""
        try:
            found = [entry.name for entry in os.scandir(self.folder) if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return []
        return sorted(filter(is_stored_name, found), key=lambda name: (serial_of(name), name))

    def path(self, name: str) -> Path:
        """The folder of a stored model."""
        return self.folder / name

    def active_folder(self) -> Path | None:
        """The folder of the active model; None is the model of the configuration."""
        return self.path(self.current) if self.current is not None else None

    def find(self, wanted: str) -> str | None:
        """The newest stored model with this name, given with version and serial, with version, or alone."""
        fitting = [name for name in self.names() if wanted in {name, id_of(name), id_of(name).rpartition("-")[0]}]
        return fitting[-1] if fitting else None

    def offered(self, state: UpdateState) -> str | None:
        """The newest stored model that was signed after the active one and did not fail; None if there is none.

        Serials give the order, whatever the names and versions are.
        """
        active, protection = state.active, state.protection
        if protection is None:
            return None
        serial = serial_of(active.name) if active is not None else 0
        newer = [name for name in self.names() if serial_of(name) > serial and protection.allows(serial_of(name))]
        return newer[-1] if newer else None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock; leftovers of interrupted changes are removed and old files migrated first.

        Raises:
            BundleError: Another process holds the lock too long.
        """
        try:
            make_folder(self.folder)
            with (self.folder / _LOCK).open("a+") as file:
                inherit_owner(self.folder / _LOCK)
                self._wait_for_lock(file.fileno())
                self._cached = None
                self._clean()
                self._migrate()
                try:
                    yield
                finally:
                    self._clean()
        except OSError as error:
            raise BundleError(f"{error.filename or self.folder}: {(error.strerror or str(error)).lower()}") from error

    def change(self, edit: Callable[[UpdateState], UpdateState]) -> UpdateState:
        """Change the state under the lock; gives the new state."""
        with self.lock():
            return self.write(edit(self.read()))

    def write(self, state: UpdateState) -> UpdateState:
        """Write the state; only under the lock. An unchanged state is not written again."""
        self._cached = None
        if state != read_state(self._state_file):
            write_atomically(self._state_file, msgspec.json.encode(state) + b"\n")
        # The state file first: what comes after it is made good by the next change.
        self._link(state.active.name if state.active is not None else None)
        retire_old_files(self.state_folder)
        return state

    def add(self, files: Files, manifest: Manifest) -> str:
        """Store a bundle whose hashes were checked, only under the lock; gives its name. The oldest models make room.

        Raises:
            BundleError: Another bundle without a serial has that name and version.
        """
        name = f"{manifest.id}.{manifest.serial}"
        place, new = self.path(name), self.folder / f"{_NEW}{name}"
        if place.is_dir() and not _has_content(place / MANIFEST, files[MANIFEST]):
            raise BundleError(f"{place}: another {manifest.id} is stored (give one of them another version)")
        if all(_has_content(place / file, content) for file, content in files.items()):
            return name
        if not place.is_dir():
            self._prune(CAPACITY - 1)
        new.mkdir()
        inherit_owner(new)
        for file, content in files.items():
            write_synced(new / file, content)
        sync_folder(new)
        if place.is_dir():
            # The same manifest with damaged files.
            place.rename(self.folder / f"{_OLD}{name}")
        new.rename(place)
        sync_folder(self.folder)
        _delete(self.folder / f"{_OLD}{name}")
        return name

    def remove(self, name: str) -> None:
        """Delete a model that is not active; only under the lock."""
        removed = self.folder / f"{_OLD}{name}"
        with contextlib.suppress(FileNotFoundError):
            self.path(name).rename(removed)
        _delete(removed)
        sync_folder(self.folder)

    def prune(self, keep: int) -> list[str]:
        """Delete the oldest models except `keep`, never the active or the previous one; gives the deleted names."""
        with self.lock():
            return self._prune(keep)

    def activate(self, name: str, manifest: str, *, windows: int) -> UpdateState:
        """Activate a stored model that passed its self-test, on probation for a number of windows."""
        return self.change(lambda state: state.activated(name, manifest, windows=windows))

    def roll_back(self, reason: str, *, mark_failed: bool = True, model: str | None = None) -> str | None:
        """Activate the previous model again.

        `reason` is the result of the probation, empty if a person asked for it. With `mark_failed` this bundle is not
        installed again. If another model than `model`, the one that failed, was activated since, nothing is done.

        Returns:
            Name of the model that is active then; None is the model of the configuration.

        Raises:
            BundleError: The previous model is not known.
        """
        with self.lock():
            state = self.read()
            failed = state.active
            if model is not None and (failed is None or failed.name != model):
                return failed.name if failed is not None else None
            if failed is None or not (failed.manifest or reason):
                raise BundleError("the previous model is not known (name one: headnod models activate NAME)")
            previous = failed.previous
            if previous is not None and not self.path(previous).is_dir():
                previous = None
            if mark_failed:
                state = state.after_failure(serial_of(failed.name), failed.manifest, reason or "rolled back by hand")
            self.write(replace(state, active=ActiveModel(previous) if previous is not None else None))
            if reason:
                self.remove(failed.name)
        now = id_of(previous) if previous is not None else "the model of the configuration"
        step = UpdateState(active=failed).progress()
        self._report(replace(step, stage=Stage.ROLLED_BACK, message=f"{reason or 'requested'}; {now} listens"))
        return previous

    def record_start(self) -> None:
        """Note that a listener runs, and roll back a model on probation whose listeners ended abnormally."""
        active = self._amend(lambda active: replace(active, crashes=active.crashes + active.running, running=True))
        if active is not None and active.windows_left and active.crashes >= MAX_CRASHES:
            reason = f"the listener ended abnormally {active.crashes} times during its probation"
            self.roll_back(reason, model=active.name)

    def record_change(self) -> None:
        """Note that a running listener changed to the active model."""
        self._amend(lambda active: replace(active, running=True))

    def record_stop(self) -> None:
        """Note that the listener ended normally."""
        self._amend(lambda active: replace(active, running=False))

    def keep(self, model: str | None = None) -> bool:
        """End the probation of the active model; false if another one than `model` was activated since."""
        kept = self._amend(lambda active: replace(active, windows_left=0, crashes=0, running=False), model)
        return kept is not None and not kept.windows_left

    def _prune(self, keep: int) -> list[str]:
        active, names = self.read().active, self.names()
        needed = {active.name, active.previous} if active is not None else set()
        spare = [name for name in names if name not in needed]
        room = max(keep - (len(names) - len(spare)), 0)
        removed = spare[: max(len(spare) - room, 0)]
        for name in removed:
            self.remove(name)
        return removed

    def _wait_for_lock(self, lock: int) -> None:
        deadline = time.monotonic() + self._lock_timeout
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise BundleError(
                        f"{self.folder}: another headnod is changing the models (try again when it has ended)"
                    ) from None
                time.sleep(_POLL_SECONDS)
            else:
                return

    def _clean(self) -> None:
        for leftover in (*self.folder.glob(f"{_NEW}*"), *self.folder.glob(f"{_OLD}*")):
            _delete(leftover)

    def _migrate(self) -> None:
        if migration_pending(self.state_folder):
            state = read_state(self._state_file)
            old = self.state_folder
            self.write(old_state(old) if state is None else merged_with_old(state, old))

    def _link(self, name: str | None) -> None:
        link = self.state_folder / LINK
        if name == self.linked:
            return
        if name is None:
            link.unlink(missing_ok=True)
        else:
            new = self.folder / f"{_NEW}{link.name}"
            new.symlink_to(name)
            inherit_owner(new)
            new.replace(link)
        sync_folder(self.folder)

    def _amend(self, change: Callable[[ActiveModel], ActiveModel], model: str | None = None) -> ActiveModel | None:
        """Change the record of a probation; gives the record of the active model, None if it is another one."""
        # The lock creates a folder, and most devices never had a model to activate.
        if self.read().active is None:
            return None
        changed: ActiveModel | None = None

        def edit(state: UpdateState) -> UpdateState:
            nonlocal changed
            active = state.active
            if active is None or model not in {None, active.name}:
                return state
            changed = change(active) if active.windows_left else active
            return replace(state, active=changed)

        self.change(edit)
        return changed


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _has_content(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        import shutil  # noqa: PLC0415 - imports all compression modules, and is rarely needed

        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
