"""What becomes of a damaged SQLite file: it is put aside, for a person to look at, and another is begun.

Alone because the history and the queue of MQTT are such files, and neither knows the other.
"""

from __future__ import annotations

from pathlib import Path


def move_aside(path: Path) -> Path:
    """Rename a damaged file so that it ends in `.bad`, in place of an older such file.

    Raises:
        OSError: It cannot be renamed.
    """
    bad = path.with_name(f"{path.name}.bad")
    # Its log goes first: left behind, it would be played into the next file.
    for end in ("-shm", "-wal", ""):
        part, kept = path.with_name(path.name + end), bad.with_name(bad.name + end)
        kept.unlink(missing_ok=True)
        if part.exists():
            part.rename(kept)
    return bad
