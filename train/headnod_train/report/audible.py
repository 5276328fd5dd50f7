"""Sound on pages: relative links to source files at a second, and examples of the degradation to listen to."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import numpy as np
import soundfile
from markupsafe import Markup

from headnod.errors import AudioError
from headnod_train.dataset.archive import Archive
from headnod_train.distillation.degradation import Degrader
from headnod_train.teaching.labelled_music import excerpt

_ENDINGS = (".flac", ".wav", ".ogg", ".mp3", ".m4a", ".opus", ".aiff", ".au")
_WINDOW = 3.0
_AROUND = 1.0
_RATE = 22_050
_LONG = 6.0


class SourceFiles:
    """The audio files of the tracks of an archive, seen from the folder of a page."""

    def __init__(self, music: Path, page: Path) -> None:
        """Look for files below `music`; links are relative to the folder `page`."""
        self._music, self._page = music, page
        self._by_stem = {path.stem: path for path in sorted(music.rglob("*")) if path.suffix.lower() in _ENDINGS}

    def find(self, track: str) -> Path | None:
        """The file of a track, by its path in the collection or by its name; None if there is none."""
        path = (self._music / track).resolve()
        if path.is_relative_to(self._music.resolve()) and path.is_file():
            return path
        return self._by_stem.get(track) or self._by_stem.get(Path(track).stem)

    def player(self, track: str, second: float, archived: float) -> Markup:
        """An HTML audio element that plays a track around a second of its archived part; empty without a file.

        Args:
            track: Name of the track.
            second: From the beginning of the archived part to the beginning of a window.
            archived: Length of that part, which `import` takes from the middle of the file.
        """
        path = self.find(track)
        if path is None:
            return Markup()
        try:
            length = soundfile.info(path).duration
        except (OSError, RuntimeError):
            length = archived
        start = max(max(length - archived, 0.0) / 2 + second - _AROUND, 0.0)
        address = (
            quote(os.path.relpath(path, self._page.resolve())) + f"#t={start:.1f},{start + _WINDOW + 2 * _AROUND:.1f}"
        )
        return Markup('<audio controls preload="none" src="{}"></audio>').format(address)


def typical_tracks(archive: Archive, summaries: np.ndarray) -> list[int]:
    """The track of each genre whose summary is nearest to the mean of its genre."""
    scaled = (summaries - summaries.mean(axis=0)) / np.maximum(summaries.std(axis=0), 1e-9)
    found = []
    for label in archive.labels:
        own = np.flatnonzero(archive.genres == label)
        distance = np.square(scaled[own] - scaled[own].mean(axis=0)).sum(axis=1)
        found.append(int(own[distance.argmin()]))
    return found


def degraded_examples(
    archive: Archive, tracks: list[int], files: SourceFiles, page: Path, *, seed: int
) -> list[tuple[str, Markup, Markup]]:
    """Name, and players before and after the degradation that training uses, of tracks whose files can be read."""
    degrader, rows = Degrader(_RATE, (), ()), []
    for number, track in enumerate(tracks):
        path = files.find(str(archive.tracks[track]))
        if path is None:
            continue
        try:
            audio = excerpt(path, _RATE, _LONG)
        except AudioError:
            continue
        if audio.size < _WINDOW * _RATE:
            continue
        names = []
        for when, sound in (
            ("before", audio),
            ("after", degrader.degrade(audio, np.random.default_rng((seed, number)))),
        ):
            names.append(f"example-{number + 1}-{when}.flac")
            soundfile.write(page / names[-1], 0.7 * sound / max(float(np.abs(sound).max()), 1e-6), _RATE)
        one, other = (Markup('<audio controls preload="none" src="{}"></audio>').format(name) for name in names)
        rows.append((f"{archive.genres[track]}: {archive.tracks[track]}", one, other))
    return rows
