"""The state of model updates on one device, in one file: `models.json` in the state folder.

The file is replaced as a whole, so after a power cut it holds the state before a change or the state after it.
`headnod.updates.store` reads and writes it under the lock.

Files of headnod 0.1 are read once, moved into `models.json`, then removed. `serial.json` is replaced, not removed:
headnod 0.1 takes an absent file for a new device and would install any signed bundle, however old. It cannot read the
replacement, and installs nothing then.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from headnod.errors import AccessError, BundleError
from headnod.files import write_atomically

_log = logging.getLogger(__name__)

STATE_FILE = "models.json"

_STORED = re.compile(r"\A[a-z0-9][a-z0-9-]{0,31}-\d{1,4}\.\d{1,4}\.\d{1,4}\.\d{1,16}\Z")

CLOCK_TOLERANCE = 86_400
"""Seconds by which a serial may be ahead of a synchronised clock: workstation and device differ a little."""

UNSYNCHRONISED_TOLERANCE = 366 * 86_400
"""The same for a clock that is not synchronised: without a battery it starts at the date of the last shutdown."""

LINK = "models/current"
"""Link in the state folder to the active model, for people and for headnod 0.1."""

_SERIAL = "serial.json"

_RETIRED = "activation.json", "shadow.json", "agreement.json"

# The field's name is what headnod 0.1 prints: "Object contains unknown field `...`".
_GUARD = b'{"a newer headnod keeps its models in models.json": true}\n'

Old = TypeVar("Old")


class Stage(StrEnum):
    """The steps of an update in their order; an update ends with one of the last four."""

    RECEIVED = "received"  # the bundle is not checked
    VERIFIED = "verified"  # signature, serial and hashes are good
    TESTED = "tested"  # it is stored and has passed its self-test
    PROBATION = "probation"  # the model is active and its estimates are checked
    KEPT = "kept"  # it is active and has passed its probation
    OFFERED = "offered"  # it is stored and waits to be activated
    REFUSED = "refused"  # it was never active
    ROLLED_BACK = "rolled_back"  # it failed, and the previous model is active again


class UpdateProgress(msgspec.Struct, frozen=True, kw_only=True):
    """One step of one update, as it is logged and published."""

    stage: Stage

    model: str = ""
    """Name and version; empty if they are not known yet."""

    serial: int = 0
    """0 if it is not known yet or the model is not signed."""

    manifest: str = ""
    """SHA-256 of the manifest."""

    message: str = ""
    """One line for a person."""


Report = Callable[[UpdateProgress], None]
"""Called with each step."""


class ActiveModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stored model in use, and the way back."""

    name: str
    """Name in the store."""

    previous: str | None = None
    """Name of the model before it; None is the model of the configuration."""

    manifest: str = ""
    """SHA-256 of its manifest; empty if its activation is not on record, so the previous model is not known."""

    windows_left: int = 0
    """Windows of its probation that are left; 0 after the probation."""

    crashes: int = 0
    """How often the listener ended abnormally during the probation."""

    running: bool = False
    """A listener runs the model; if this is set when a listener starts, the last one ended abnormally."""


class RollbackProtection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest bundle that was ever verified on this device: no older one is installed.

    One serial counts for all models, and deleting the models does not change it.
    Source: "rollback attack" and "fast-forward attack", TUF specification, 1.5.2.
    """

    serial: int = 0
    manifest: str = ""
    """SHA-256 of its manifest: one serial belongs to one bundle."""

    failure: str = ""
    """Why it was refused or rolled back; empty if it was not."""

    def allows(self, serial: int) -> bool:
        """Whether a stored bundle may be activated: it neither failed nor was declared void."""
        if serial == self.serial:
            return not self.failure
        return serial < self.serial or not self.serial

    def accept(
        self, serial: int, manifest: str, *, now: datetime, synchronised: bool, supersedes: int = 0
    ) -> RollbackProtection:
        """The protection after a verified bundle.

        Args:
            serial: Serial of the bundle: the second in which it was signed.
            manifest: SHA-256 of its manifest.
            now: The wall clock.
            synchronised: Whether the wall clock is synchronised.
            supersedes: A serial that the manifest declares void. If that is the greatest serial of this device, a
                smaller one is accepted once; a repeated bundle therefore cannot lead back to an older model.

        Raises:
            BundleError: The bundle is older than the newest one, was signed in the future, or has failed before.
        """
        if serial < 1:
            raise BundleError("it is signed and has no serial (sign it again with 'headnod-train sign')")
        if serial > now.timestamp() + (CLOCK_TOLERANCE if synchronised else UNSYNCHRONISED_TOLERANCE):
            raise BundleError(
                f"serial {serial} was made in the future: {_date(serial)}, the clock of this device says "
                f"{now:%Y-%m-%d} (set the clock of the machine that signs, and sign it again)"
            )
        if serial < self.serial and self.serial != supersedes:
            raise BundleError(
                f"serial {serial} is older than {self.serial}, which was installed here (sign it again to go back to "
                f"it; if {_date(self.serial)} came from a clock that was wrong: --anew --supersede {self.serial})"
            )
        if serial == self.serial:
            if manifest != self.manifest:
                raise BundleError(f"serial {serial} belongs to another bundle (sign it again)")
            if self.failure:
                raise BundleError(f"it was installed before and failed: {self.failure} (sign it again to retry it)")
            return self
        return RollbackProtection(serial, manifest)

    def after_failure(self, serial: int, manifest: str, failure: str) -> RollbackProtection:
        """The protection after a bundle failed: the newest bundle is not installed again under its serial."""
        newest = serial and (serial, manifest) == (self.serial, self.manifest)
        return replace(self, failure=failure) if newest else self


class ShadowRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which stored model runs as the shadow."""

    model: str
    """Name in the store."""

    every: int
    """Compare every n-th window with music."""


class Agreement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How often shadow and active model agree."""

    model: str
    """Name and version of the shadow."""

    reference: str
    """Name and version of the active model."""

    windows: int = 0
    """Windows that were compared."""

    agreed: int = 0
    """Windows for which both had the same likeliest label."""

    gain: float = 0.0
    """Mean of the shadow's top probability minus the active model's (-1 to 1)."""

    last: tuple[str, str] = ("", "")
    """Labels of the last window: active model, shadow."""

    differences: dict[str, dict[str, int]] = {}
    """Windows with different labels, by the label of the active model and that of the shadow."""

    @property
    def share(self) -> float:
        """Share of windows that agree (0-1)."""
        return self.agreed / self.windows if self.windows else 0.0


class UpdateState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of the state file."""

    active: ActiveModel | None = None
    """None is the model of the configuration."""

    protection: RollbackProtection | None = RollbackProtection()
    """None if the file of an older headnod was damaged: then no model is installed."""

    shadow: ShadowRequest | None = None
    agreement: Agreement | None = None

    def activated(self, name: str, manifest: str, *, windows: int) -> UpdateState:
        """The state after a model is activated, on probation for a number of windows."""
        active = self.active
        if active is not None and active.name == name:
            return self
        # The way back leads to a model that has passed its probation.
        previous = None if active is None else active.previous if active.windows_left else active.name
        return replace(self, active=ActiveModel(name, previous, manifest, windows_left=windows))

    def after_failure(self, serial: int, manifest: str, failure: str) -> UpdateState:
        """The state after a bundle failed."""
        if self.protection is None:
            return self
        return replace(self, protection=self.protection.after_failure(serial, manifest, failure))

    def progress(self) -> UpdateProgress:
        """The stage of the active model."""
        active = self.active
        if active is None:
            return UpdateProgress(stage=Stage.KEPT)
        return UpdateProgress(
            stage=Stage.PROBATION if active.windows_left else Stage.KEPT,
            model=id_of(active.name),
            serial=serial_of(active.name),
            manifest=active.manifest,
        )


def read_state(path: Path) -> UpdateState | None:
    """The content of a state file; None if there is none.

    Raises:
        BundleError: It is damaged, or was written by a newer headnod.
        AccessError: This user may not read it.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=UpdateState)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise AccessError(f"{path}: permission denied") from error
    except OSError as error:
        fault = (error.strerror or str(error)).lower()
        raise BundleError(f"{path}: {fault}; no model is installed or activated until it can be read") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BundleError(
            f"{path}: {error}; no model is installed or activated until it is repaired (delete it to start again)"
        ) from error


def is_stored_name(name: str) -> bool:
    """Whether a folder name is that of a stored model, `<name>-<version>.<serial>`."""
    return _STORED.match(name) is not None


def id_of(name: str) -> str:
    """Name and version of a stored model, without its serial."""
    return name.rpartition(".")[0]


def serial_of(name: str) -> int:
    """The serial of a stored model; 0 if it is not signed."""
    return int(name.rpartition(".")[2])


def _date(serial: int) -> str:
    try:
        return f"{datetime.fromtimestamp(serial, UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):
        return "no date"


class _OldActivation(msgspec.Struct, forbid_unknown_fields=True):
    model: str
    former: str | None
    manifest: str
    left: int
    crashes: int = 0
    running: bool = False


class _OldSerial(msgspec.Struct, forbid_unknown_fields=True):
    serial: int = 0
    manifest: str = ""
    verdict: str = ""


class _OldAgreement(msgspec.Struct):
    model: str
    beside: str
    windows: int = 0
    agreed: int = 0
    surer: float = 0.0
    last: tuple[str, str] = ("", "")


def old_state(folder: Path) -> UpdateState:
    """What headnod 0.1 left in a state folder; nothing is written."""
    agreement = _read_old(folder / "agreement.json", _OldAgreement)
    return UpdateState(
        active=_old_active(folder),
        protection=_old_protection(folder),
        shadow=_read_old(folder / "shadow.json", ShadowRequest),
        agreement=Agreement(*msgspec.structs.astuple(agreement)) if agreement is not None else None,
    )


def merged_with_old(state: UpdateState, folder: Path) -> UpdateState:
    """A state with the serial that headnod 0.1 accepted after the migration, if that is greater."""
    old, new = _old_protection(folder), state.protection
    if old is None or new is None or (old.serial, bool(old.failure)) <= (new.serial, bool(new.failure)):
        return state
    _log.warning("an older headnod installed serial %d; nothing older is installed from now on", old.serial)
    return replace(state, protection=old)


def migration_pending(folder: Path) -> bool:
    """Whether files of headnod 0.1 are to be moved or replaced."""
    old = any((folder / name).exists() for name in _RETIRED)
    if (folder / STATE_FILE).exists():
        return old or not _guarded(folder)
    return old or (folder / _SERIAL).exists() or linked_model(folder) is not None


def retire_old_files(folder: Path) -> None:
    """Remove the old files, once the state file is on the disk.

    Raises:
        OSError: The folder cannot be written.
    """
    if not _guarded(folder):
        write_atomically(folder / _SERIAL, _GUARD)
    for name in _RETIRED:
        (folder / name).unlink(missing_ok=True)


def _guarded(folder: Path) -> bool:
    try:
        return (folder / _SERIAL).read_bytes() == _GUARD
    except OSError:
        return False


def linked_model(folder: Path) -> str | None:
    """The model that the link `models/current` names; None without a link."""
    try:
        name = str((folder / LINK).readlink())
    except OSError:
        return None
    return name if is_stored_name(name) else None


def _old_active(folder: Path) -> ActiveModel | None:
    name, old = linked_model(folder), _read_old(folder / "activation.json", _OldActivation)
    if name is None:
        return None
    # A record of another model: power failed between the record and the link.
    if old is None or old.model != name:
        return ActiveModel(name)
    return ActiveModel(name, old.former, old.manifest, old.left, old.crashes, old.running)


def _old_protection(folder: Path) -> RollbackProtection | None:
    path = folder / _SERIAL
    if _guarded(folder) or not path.exists():
        return RollbackProtection()
    old = _read_old(path, _OldSerial)
    return None if old is None else RollbackProtection(old.serial, old.manifest, old.verdict)


def _read_old(path: Path, kind: type[Old]) -> Old | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        _log.warning("%s: %s; it is not moved into %s", path, error, STATE_FILE)
        return None
