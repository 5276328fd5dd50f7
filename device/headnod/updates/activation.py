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
from headnod.files import settle, write_whole
from headnod.updates.install_progress import Progress, Stage, Tell
from headnod.updates.rollback_protection import Serials
from headnod.updates.store import Store, id_of, serial_of

_log = logging.getLogger(__name__)

ACTIVATION_FILE = "activation.json"

CRASHES = 2
"""Bad ends of the listener while a model is on probation, after which that model is taken back."""


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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

    def __init__(self, store: Store, serials: Serials, tell: Tell) -> None:
        """Decide over this store.

        Args:
            store: The models.
            serials: What was seen.
            tell: Is told each step.
        """
        self.store, self._serials, self._tell = store, serials, tell
        self._path = store.state / ACTIVATION_FILE

    @property
    def trial(self) -> Trial | None:
        """The record of the model in use; None if it was never activated here or is no longer in use."""
        try:
            trial = msgspec.json.decode(self._path.read_bytes(), type=Trial)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.warning("%s: %s; there is no way back to the former model", self._path, error)
            return None
        # Power failed between record and link, or somebody went on without us.
        return trial if trial.model == self.store.current else None

    def activate(self, name: str, manifest: str, *, windows: int) -> None:
        """Let a stored model listen, on probation for so many windows; it was tried before.

        Raises:
            BundleError: The folder cannot be written.
        """
        with self.store.changing():
            if name == self.store.current:
                return
            trial = self.trial
            # The way back leads to a model that has stood its probation.
            former = trial.former if trial is not None and trial.left else self.store.current
            self._write(Trial(name, former, manifest, left=windows))
            self.store.switch(name)

    def roll_back(self, why: str, *, condemn: bool = True, model: str | None = None) -> str | None:
        """Let the former model listen again.

        Args:
            why: What a probation found; empty if a person wants it.
            condemn: Do not take this bundle again.
            model: The model that this was found of: if another one was activated since, nothing is done.

        Returns:
            The former model by its name in the store; None is what the configuration says.

        Raises:
            BundleError: There is no former model, or the folder cannot be written.
        """
        with self.store.changing():
            failed, trial = self.store.current, self.trial
            if model is not None and failed != model:
                return failed
            if failed is None or (trial is None and not why):
                raise BundleError("no model is known that listened before this one (name one: headnod models activate)")
            former = trial.former if trial is not None else None
            former = former if former is not None and self.store.path(former).is_dir() else None
            manifest = trial.manifest if trial is not None else ""
            # Before the link: else a listener that ends in between would try it again.
            if condemn:
                self._serials.condemn(serial_of(failed), manifest, why or "it was sent back by hand")
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
        name, trial = self.store.current, self.trial
        return Progress(
            stage=Stage.PROBATION if trial is not None and trial.left else Stage.KEPT,
            model=id_of(name) if name else "",
            serial=serial_of(name) if name else 0,
            manifest=trial.manifest if trial is not None else "",
        )

    def begin(self) -> None:
        """A listener begins: if it ended badly while this model was on probation, that counts.

        Raises:
            BundleError: The folder cannot be written.
        """
        trial = self._amend(lambda trial: replace(trial, crashes=trial.crashes + trial.running, running=True))
        if trial is not None and trial.left and trial.crashes >= CRASHES:
            why = f"the listener ended badly {trial.crashes} times while it was on probation"
            self.roll_back(why, model=trial.model)

    def end(self) -> None:
        """A listener ends as it should.

        Raises:
            BundleError: The folder cannot be written.
        """
        self._amend(lambda trial: replace(trial, running=False))

    def keep(self, model: str | None = None) -> bool:
        """The model in use has stood its probation.

        Args:
            model: The model that was watched: if another one was activated since, nothing is done.

        Returns:
            Whether it is kept.

        Raises:
            BundleError: The folder cannot be written.
        """
        kept = self._amend(lambda trial: replace(trial, left=0, crashes=0, running=False), model)
        return kept is not None and not kept.left

    def taken_up(self) -> None:
        """A listener that was running has changed over to the model in use.

        Raises:
            BundleError: The folder cannot be written.
        """
        self._amend(lambda trial: replace(trial, running=True))

    def offered(self) -> str | None:
        """The newest stored bundle, if it was signed after the one in use and did not fail; None if there is none.

        This order, of serials, is the one in which bundles are taken, whatever their names and versions are.
        """
        current = self.store.current
        try:
            seen = self._serials.seen()
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
            trial = self.trial
            return self.store.prune(keep, needed={trial.former} if trial is not None and trial.former else set())

    def _amend(self, change: Callable[[Trial], Trial], model: str | None = None) -> Trial | None:
        """Change the record of a probation that is under way, while nobody else does.

        Returns:
            The record as it is then; None if there is none, or it is another model's.
        """
        # The lock makes a folder, and most listeners never had a model to activate.
        if self.trial is None:
            return None
        with self.store.changing():
            trial = self.trial
            if trial is None or model not in {None, trial.model}:
                return None
            if trial.left and (changed := change(trial)) != trial:
                self._write(changed)
                return changed
            return trial

    def _write(self, trial: Trial) -> None:
        try:
            write_whole(self._path, msgspec.json.encode(trial))
        except OSError as error:
            message = f"{self._path}: {(error.strerror or str(error)).lower()}"
            raise BundleError(message) from error

    def _forget(self) -> None:
        self._path.unlink(missing_ok=True)
        settle(Path(self._path).parent)
