"""Files of headnod 0.1 in the state folder: read once, moved into `models.json`, then removed.

`serial.json` is replaced, not removed: headnod 0.1 takes an absent file for a new device and would install any signed
bundle, however old. It cannot read the replacement, and installs nothing then.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from headnod.files import write_atomically
from headnod.updates.state import (
    STATE_FILE,
    ActiveModel,
    Agreement,
    RollbackProtection,
    ShadowRequest,
    UpdateState,
    is_stored_name,
)

LINK = "models/current"
"""Link in the state folder to the active model, for people and for headnod 0.1."""

_SERIAL = "serial.json"
_RETIRED = "activation.json", "shadow.json", "agreement.json"

# The field's name is what headnod 0.1 prints: "Object contains unknown field `...`".
_GUARD = b'{"a newer headnod keeps its models in models.json": true}\n'

_log = logging.getLogger(__name__)

Old = TypeVar("Old")


class _Activation(msgspec.Struct, forbid_unknown_fields=True):
    model: str
    former: str | None
    manifest: str
    left: int
    crashes: int = 0
    running: bool = False


class _Serial(msgspec.Struct, forbid_unknown_fields=True):
    serial: int = 0
    manifest: str = ""
    verdict: str = ""


class _Agreement(msgspec.Struct):
    model: str
    beside: str
    windows: int = 0
    agreed: int = 0
    surer: float = 0.0
    last: tuple[str, str] = ("", "")


def old_state(folder: Path) -> UpdateState:
    """What headnod 0.1 left in a state folder; nothing is written."""
    agreement = _read(folder / "agreement.json", _Agreement)
    return UpdateState(
        active=_active(folder),
        protection=_protection(folder),
        shadow=_read(folder / "shadow.json", ShadowRequest),
        agreement=Agreement(*msgspec.structs.astuple(agreement)) if agreement is not None else None,
    )


def merged(state: UpdateState, folder: Path) -> UpdateState:
    """A state with the serial that headnod 0.1 accepted after the migration, if that is greater."""
    old, new = _protection(folder), state.protection
    if old is None or new is None or (old.serial, bool(old.failure)) <= (new.serial, bool(new.failure)):
        return state
    _log.warning("an older headnod installed serial %d; nothing older is installed from now on", old.serial)
    return replace(state, protection=old)


def pending(folder: Path) -> bool:
    """Whether files of headnod 0.1 are to be moved or replaced."""
    old = any((folder / name).exists() for name in _RETIRED)
    if (folder / STATE_FILE).exists():
        return old or not _guarded(folder)
    return old or (folder / _SERIAL).exists() or linked_model(folder) is not None


def retire(folder: Path) -> None:
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


def _active(folder: Path) -> ActiveModel | None:
    name, old = linked_model(folder), _read(folder / "activation.json", _Activation)
    if name is None:
        return None
    # A record of another model: power failed between the record and the link.
    if old is None or old.model != name:
        return ActiveModel(name)
    return ActiveModel(name, old.former, old.manifest, old.left, old.crashes, old.running)


def _protection(folder: Path) -> RollbackProtection | None:
    path = folder / _SERIAL
    if _guarded(folder) or not path.exists():
        return RollbackProtection()
    old = _read(path, _Serial)
    return None if old is None else RollbackProtection(old.serial, old.manifest, old.verdict)


def _read(path: Path, kind: type[Old]) -> Old | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        _log.warning("%s: %s; it is not moved into %s", path, error, STATE_FILE)
        return None
