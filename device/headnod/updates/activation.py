"""Putting a stored model to use, on probation, and going back.

What is written is in an order that survives a power cut between any two steps: a
record of what is tried and what was before, then the link; back the other way
round. Alone because the command line, MQTT and the listener itself do it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec.structs import replace

from headnod.errors import BundleError
from headnod.files import sync_folder, write_atomically
from headnod.updates.install_progress import Progress, Stage, Tell
from headnod.updates.rollback_protection import RollbackProtection
from headnod.updates.store import Store, id_of, serial_of

_log = logging.getLogger(__name__)

ACTIVATION_FILE = "activation.json"

CRASHES = 2
"""Bad ends of the listener while a model is on probation, after which that model is taken back."""


class ActiveModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The model in use, and the way back."""

    model: str
    """What listens, by its name in the store."""

    former: str | None
    """What listened before; None is what the configuration says."""

    manifest: str
    """SHA-256 of its manifest."""

    left: int
    """Windows of its probation that are left; 0 if it has stood it."""

    crashes: int = 0
    """Times that the listener ended badly meanwhile."""

    running: bool = False
    """A listener began and has not ended: if it is found so, it ended badly."""


class Activation:
    """Which model listens, how it came to that, and what it replaced."""

    def __init__(self, store: Store, serials: RollbackProtection, tell: Tell) -> None:
        """Decide over this store.

        Args:
            store: The models.
            serials: What was seen.
            tell: Is told each step.
        """
        self.store, self._protection, self._tell = store, serials, tell
        self._path = store.state / ACTIVATION_FILE

    @property
    def record(self) -> ActiveModel | None:
        """The record of the model in use; None if it was never activated here or is no longer in use."""
        try:
            record = msgspec.json.decode(self._path.read_bytes(), type=ActiveModel)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.warning("%s: %s; there is no way back to the former model", self._path, error)
            return None
        # Power failed between record and link, or somebody went on without us.
        return record if record.model == self.store.current else None

    def activate(self, name: str, manifest: str, *, windows: int) -> None:
        """Let a stored model listen, on probation for so many windows; it was tried before.

        Raises:
            BundleError: The folder cannot be written.
        """
        with self.store.changing():
            if name == self.store.current:
                return
            record = self.record
            # The way back leads to a model that has stood its probation.
            former = record.former if record is not None and record.left else self.store.current
            self._write(ActiveModel(name, former, manifest, left=windows))
            self.store.switch(name)

    def roll_back(self, why: str, *, mark_failed: bool = True, model: str | None = None) -> str | None:
        """Let the former model listen again.

        Args:
            why: What a probation found; empty if a person wants it.
            mark_failed: Do not take this bundle again.
            model: The model that this was found of: if another one was activated since, nothing is done.

        Returns:
            The former model by its name in the store; None is what the configuration says.

        Raises:
            BundleError: There is no former model, or the folder cannot be written.
        """
        with self.store.changing():
            failed, record = self.store.current, self.record
            if model is not None and failed != model:
                return failed
            if failed is None or (record is None and not why):
                raise BundleError("no model is known that listened before this one (name one: headnod models activate)")
            former = record.former if record is not None else None
            former = former if former is not None and self.store.path(former).is_dir() else None
            manifest = record.manifest if record is not None else ""
            # Before the link: else a listener that ends in between would try it again.
            if mark_failed:
                self._protection.mark_failed(serial_of(failed), manifest, why or "it was sent back by hand")
            self.store.switch(former)
            self._forget()
            if why:
                self.store.remove(failed)
        self._tell(
            Progress(
                stage=Stage.ROLLED_BACK,
                model=id_of(failed),
                serial=serial_of(failed),
                manifest=manifest,
                message=f"{why or 'asked to'}; {id_of(former) if former else 'the model of the configuration'} listens",
            )
        )
        return former

    def present(self) -> Progress:
        """How far the model in use has come."""
        name, record = self.store.current, self.record
        return Progress(
            stage=Stage.PROBATION if record is not None and record.left else Stage.KEPT,
            model=id_of(name) if name else "",
            serial=serial_of(name) if name else 0,
            manifest=record.manifest if record is not None else "",
        )

    def begin(self) -> None:
        """A listener begins: if it ended badly while this model was on probation, that counts.

        Raises:
            BundleError: The folder cannot be written.
        """
        record = self._amend(lambda record: replace(record, crashes=record.crashes + record.running, running=True))
        if record is not None and record.left and record.crashes >= CRASHES:
            why = f"the listener ended badly {record.crashes} times while it was on probation"
            self.roll_back(why, model=record.model)

    def end(self) -> None:
        """A listener ends as it should.

        Raises:
            BundleError: The folder cannot be written.
        """
        self._amend(lambda record: replace(record, running=False))

    def keep(self, model: str | None = None) -> bool:
        """The model in use has stood its probation.

        Args:
            model: The model that was watched: if another one was activated since, nothing is done.

        Returns:
            Whether it is kept.

        Raises:
            BundleError: The folder cannot be written.
        """
        kept = self._amend(lambda record: replace(record, left=0, crashes=0, running=False), model)
        return kept is not None and not kept.left

    def changed_over(self) -> None:
        """A listener that was running has changed over to the model in use.

        Raises:
            BundleError: The folder cannot be written.
        """
        self._amend(lambda record: replace(record, running=True))

    def offered(self) -> str | None:
        """The newest stored bundle, if it was signed after the one in use and did not fail; None if there is none.

        This order, of serials, is the one in which bundles are taken, whatever their names and versions are.
        """
        current = self.store.current
        try:
            seen = self._protection.seen()
        except BundleError:
            return None
        newer = [
            name
            for name in self.store.names()
            if serial_of(name) > (serial_of(current) if current else 0) and seen.allows(serial_of(name))
        ]
        return newer[-1] if newer else None

    def prune(self, keep: int) -> list[str]:
        """Remove the oldest models but so many; what listens and the way back stay.

        Raises:
            BundleError: The folder cannot be written.
        """
        with self.store.changing():
            record = self.record
            return self.store.prune(keep, needed={record.former} if record is not None and record.former else set())

    def _amend(self, change: Callable[[ActiveModel], ActiveModel], model: str | None = None) -> ActiveModel | None:
        """Change the record of a probation that is under way, while nobody else does.

        Returns:
            The record as it is then; None if there is none, or it is another model's.
        """
        # The lock makes a folder, and most listeners never had a model to activate.
        if self.record is None:
            return None
        with self.store.changing():
            record = self.record
            if record is None or model not in {None, record.model}:
                return None
            if record.left and (changed := change(record)) != record:
                self._write(changed)
                return changed
            return record

    def _write(self, record: ActiveModel) -> None:
        try:
            write_atomically(self._path, msgspec.json.encode(record))
        except OSError as error:
            message = f"{self._path}: {(error.strerror or str(error)).lower()}"
            raise BundleError(message) from error

    def _forget(self) -> None:
        self._path.unlink(missing_ok=True)
        sync_folder(Path(self._path).parent)
