"""The serial memory: what a device has seen, so that nobody can send it back in time.

Apart from the models, so that who deletes those has won nothing. One number for
all models: a signed bundle is taken if its serial is greater than every one before.
Source: "Rollback attack" and "fast-forward" of the TUF specification, 1.5.2.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from headnod.durable import write_whole
from headnod.errors import BundleError

SERIAL_FILE = "serial.json"


class Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest bundle that was ever verified here."""

    serial: int = 0
    """Its serial; no smaller one is taken."""

    manifest: str = ""
    """SHA-256 of its manifest: one serial is one bundle."""

    verdict: str = ""
    """Why it was refused or sent back; empty if it was not."""


class Serials:
    """The memory, in a file of the state folder."""

    def __init__(self, state: Path) -> None:
        """Remember in this folder."""
        self._path = state / SERIAL_FILE

    def seen(self) -> Seen:
        """What is remembered.

        Raises:
            BundleError: The file cannot be read. It counts as no memory only where there is none.
        """
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Seen)
        except FileNotFoundError:
            return Seen()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            message = f"{self._path}: {error}; no model is taken until it is mended (or deleted, to begin anew)"
            raise BundleError(message) from error

    def admit(self, serial: int, manifest: str) -> None:
        """Remember a verified bundle, or refuse it.

        Args:
            serial: What its manifest says.
            manifest: SHA-256 of its manifest.

        Raises:
            BundleError: It is older than one seen before, or had its chance.
        """
        seen = self.seen()
        if serial < 1:
            raise BundleError("it is signed and has no serial (sign it again with 'headnod-train sign')")
        if serial < seen.serial:
            message = f"serial {serial} is older than {seen.serial}, which was here (sign it anew to go back to it)"
            raise BundleError(message)
        if serial == seen.serial:
            if manifest != seen.manifest:
                message = f"serial {serial} was another bundle's (sign it anew)"
                raise BundleError(message)
            if seen.verdict:
                message = f"it was here and failed: {seen.verdict} (sign it anew to try it again)"
                raise BundleError(message)
            return
        self._write(Seen(serial, manifest))

    def condemn(self, serial: int, manifest: str, verdict: str) -> None:
        """Remember that a bundle failed, so that it is not tried for ever."""
        if serial and (seen := self.seen()).serial == serial and seen.manifest == manifest:
            self._write(msgspec.structs.replace(seen, verdict=verdict))

    def _write(self, seen: Seen) -> None:
        try:
            write_whole(self._path, msgspec.json.encode(seen))
        except OSError as error:
            message = f"{self._path}: {(error.strerror or str(error)).lower()} (no model is taken without a memory)"
            raise BundleError(message) from error
