"""Training recordings: GTZAN clips, music from Debian packages, speech and noise.

Packages are not installed: the files of a list are unpacked into a folder. The audio of a package is redistributable
under the licence in its `debian/copyright`.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast

from headnod.errors import HeadnodError
from headnod_train.dataset.tracks import find_files
from headnod_train.storage import open_npz

Kind = Literal["music", "gtzan", "speech", "noise"]

_NESTED = (".pk3", ".zip", ".love")
_LARGEST = 100 << 20
"""Bytes of one unpacked file; a larger one is not a song."""


class RecordingError(HeadnodError, ValueError):
    """Training recordings are absent or cannot be unpacked."""


@dataclass(frozen=True)
class Recording:
    """An audio file and what is known about it."""

    path: Path
    """The file."""

    name: str
    """Unique name, the same on every machine."""

    kind: Kind
    """Labelled music (`gtzan`), unlabelled music, speech or noise."""

    genre: int = -1
    """Index into the labels; -1 where no label is known."""


def gtzan_clips(folder: Path, tracks: Iterable[str], labels: Collection[str]) -> list[Recording]:
    """Clips called after GTZAN tracks (`jazz.00012.flac`), wherever they lie in a folder."""
    wanted, order = set(tracks), list(labels)
    found = [
        Recording(path, path.stem, "gtzan", order.index(path.stem.partition(".")[0]))
        for path in find_files(folder).music
        if path.stem in wanted
    ]
    if not found:
        raise RecordingError(f"{folder}: none of its audio files is named after one of the {len(wanted)} tracks")
    return found


def other_sounds(folder: Path) -> list[Recording]:
    """Speech and noise: the audio in `speech/` and `noise/` of a folder."""
    kinds: tuple[Kind, ...] = ("speech", "noise")
    found = [Recording(path, f"{kind}/{path.name}", kind) for kind in kinds for path in find_files(folder / kind).music]
    if not found:
        raise RecordingError(f"{folder}: has no audio in {' or '.join(f'{kind}/' for kind in kinds)}")
    return found


def names_in(archive: Path) -> list[str]:
    """Names of unlabelled music, each a Debian package, a slash, a path in it: a text file or an archive of tracks.

    Raises:
        RecordingError: The file holds no such names.
    """
    if archive.suffix == ".txt":
        return archive.read_text("utf-8").splitlines()
    with open_npz(archive, "an archive with names of tracks", RecordingError) as arrays:
        return [str(name) for name in arrays["names"]]


def packages(names: Iterable[str]) -> list[str]:
    """The Debian packages that names begin with, in alphabetical order."""
    return sorted({name.partition("/")[0] for name in names})


def download(wanted: Iterable[str], folder: Path) -> None:
    """Fetch Debian packages with `apt-get download` unless they lie in the folder already."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [package for package in wanted if not any(folder.glob(f"{package}_*.deb"))]
    if not missing:
        return
    fetched = subprocess.run(  # noqa: S603 - package names from a list, no shell
        ["apt-get", "download", "-qq", *missing],  # noqa: S607 - Debian's own, wherever it stands
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if fetched.returncode:
        reason = (fetched.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RecordingError(f"apt-get download {' '.join(missing)}: {reason}")


def debian_music(debs: Path, names: Iterable[str], folder: Path) -> list[Recording]:
    """Music out of downloaded Debian packages."""
    wanted: dict[str, set[str]] = {}
    for name in names:
        package, _, inside = name.partition("/")
        wanted.setdefault(package, set()).add(inside)
    found = []
    for package, paths in sorted(wanted.items()):
        missing = {path for path in paths if not (folder / package / path).is_file()}
        if missing:
            candidates = sorted(debs.glob(f"{package}_*.deb"))
            if not candidates:
                raise RecordingError(f"{debs}: has no package {package} (fetch it with `apt-get download {package}`)")
            _unpack(candidates[-1], missing, folder / package)
        found += [
            Recording(folder / package / path, f"{package}/{path}", "music")
            for path in sorted(paths)
            if (folder / package / path).is_file()
        ]
    if not found:
        raise RecordingError(f"{debs}: none of the named files is in its packages (are they other versions?)")
    return found


def _unpack(deb: Path, wanted: set[str], folder: Path) -> None:
    command = ["dpkg-deb", "--fsys-tarfile", str(deb)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as unpacking:  # noqa: S603 - no shell
        try:
            with tarfile.open(fileobj=cast("IO[bytes]", unpacking.stdout), mode="r|") as files:
                for member in files:
                    path = member.name.removeprefix("./")
                    content = files.extractfile(member) if member.isreg() else None
                    if content is None:
                        continue
                    # Only listed names are written, so no member can leave the folder.
                    if path in wanted and member.size <= _LARGEST:
                        _write(folder / path, content.read())
                    elif path.endswith(_NESTED):
                        _unpack_nested(content, wanted, folder)
        except (tarfile.TarError, zipfile.BadZipFile) as error:
            raise RecordingError(f"{deb}: is not a package that can be unpacked: {error}") from error


def _unpack_nested(content: IO[bytes], wanted: set[str], folder: Path) -> None:
    """Files of a zip archive inside a package, as games keep their data; their names begin with `x/`."""
    with tempfile.TemporaryFile() as whole:
        shutil.copyfileobj(content, whole)
        with zipfile.ZipFile(whole) as files:
            for entry in files.infolist():
                path = f"x/{entry.filename}"
                if path in wanted and entry.file_size <= _LARGEST:
                    _write(folder / path, files.read(entry))


def _write(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
