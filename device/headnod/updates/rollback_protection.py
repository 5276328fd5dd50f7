"""The serial memory: what a device has seen, so that nobody can send it back in time.

Apart from the models, so that who deletes those has won nothing. One number for
all models: a signed bundle is taken if its serial is greater than every one before.
Source: "Rollback attack" and "fast-forward" of the TUF specification, 1.5.2.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from headnod.errors import BundleError
from headnod.files import write_atomically

SERIAL_FILE = "serial.json"

AHEAD = 86_400
"""Seconds by which a serial may be ahead of a clock that is synchronised: workstation and device differ a little."""

AHEAD_UNSET = 366 * 86_400
"""The same of a clock that is not: a device without a battery for its clock has the date of its last shutdown."""


class NewestSerial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest bundle that was ever verified here."""

    serial: int = 0
    """Its serial; no smaller one is taken."""

    manifest: str = ""
    """SHA-256 of its manifest: one serial is one bundle."""

    verdict: str = ""
    """Why it was refused or sent back; empty if it was not."""

    def allows(self, serial: int) -> bool:
        """A stored bundle of this serial may listen: it did not fail, and was not declared void."""
        if serial == self.serial:
            return not self.verdict
        return serial < self.serial or not self.serial


class RollbackProtection:
    """The memory, in a file of the state folder."""

    def __init__(self, state: Path) -> None:
        """Remember in this folder."""
        self._path = state / SERIAL_FILE

    def seen(self) -> NewestSerial:
        """What is remembered.

        Raises:
            BundleError: The file cannot be read. It counts as no memory only where there is none.
        """
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=NewestSerial)
        except FileNotFoundError:
            return NewestSerial()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            message = f"{self._path}: {error}; no model is taken until it is mended (or deleted, to begin anew)"
            raise BundleError(message) from error

    def accept(self, serial: int, manifest: str, *, now: datetime, synchronised: bool, supersedes: int = 0) -> None:
        """Remember a verified bundle, or refuse it.

        Args:
            serial: What its manifest says: the second in which it was signed.
            manifest: SHA-256 of its manifest.
            now: The wall clock.
            synchronised: Whether the wall clock is.
            supersedes: The serial that its manifest declares void. Only if it is the greatest seen here, a
                smaller one is taken once; so a replayed bundle cannot take a device back.

        Raises:
            BundleError: It is older than one seen before, was signed in the future, or had its chance.
        """
        seen = self.seen()
        if serial < 1:
            raise BundleError("it is signed and has no serial (sign it again with 'headnod-train sign')")
        if serial > now.timestamp() + (AHEAD if synchronised else AHEAD_UNSET):
            message = (
                f"serial {serial} was made in the future: {_date(serial)}, by a clock that says {now:%Y-%m-%d} "
                "(set the clock of the machine that signs, and sign it anew)"
            )
            raise BundleError(message)
        if serial < seen.serial and seen.serial != supersedes:
            message = (
                f"serial {serial} is older than {seen.serial}, which was here (sign it anew to go back to it; "
                f"if {_date(seen.serial)} was signed by a clock that was wrong: --anew --supersede {seen.serial})"
            )
            raise BundleError(message)
        if serial == seen.serial:
            if manifest != seen.manifest:
                message = f"serial {serial} was another bundle's (sign it anew)"
                raise BundleError(message)
            if seen.verdict:
                message = f"it was here and failed: {seen.verdict} (sign it anew to try it again)"
                raise BundleError(message)
            return
        self._write(NewestSerial(serial, manifest))

    def mark_failed(self, serial: int, manifest: str, verdict: str) -> None:
        """Remember that a bundle failed, so that it is not tried for ever."""
        if serial and (seen := self.seen()).serial == serial and seen.manifest == manifest:
            self._write(msgspec.structs.replace(seen, verdict=verdict))

    def _write(self, seen: NewestSerial) -> None:
        try:
            write_atomically(self._path, msgspec.json.encode(seen))
        except OSError as error:
            message = f"{self._path}: {(error.strerror or str(error)).lower()} (no model is taken without a memory)"
            raise BundleError(message) from error


def _date(serial: int) -> str:
    try:
        return f"{datetime.fromtimestamp(serial, UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):
        return "no date"
