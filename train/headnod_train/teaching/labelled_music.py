"""Labelled music: files, labels and artists, the network's features of its windows, and statistics of shipped labels.

`teach --add` weighs new labels against the shipped ones without the music of these: the package has the mean of the
features for each label and for sound that is not music, and one covariance for all of them, but no recording and no
features of one. The statistics are made anew with a model, from the windows that `headnod-train prepare` writes:

    python -m headnod_train.teaching.labelled_music WINDOWS BUNDLE [FOLDER]
"""

from __future__ import annotations

import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.errors import AudioError, MissingExtraError
from headnod.escaping import printable
from headnod.features.frontend import Audio
from headnod.features.windows import FrameCache, Window, windows
from headnod.inference.manifest import MODEL, Manifest, read_checked, read_manifest
from headnod.inference.model import dequantised, interpreter, quantise
from headnod.pipeline.level import SteadyNoiseDetector, dbfs
from headnod.pipeline.listener import ListenerSettings
from headnod.system import how_to_install
from headnod.teaching.fitting import Features
from headnod.teaching.last_layer import LastLayer, TeachError
from headnod_train.console import progress_bar
from headnod_train.dataset.extraction import excerpt, in_processes
from headnod_train.dataset.folder_layouts import find_tracks
from headnod_train.dataset.tracks import (
    Collection,
    Skipped,
    Track,
    find_files,
    labelled,
    mark_excerpts,
    path_text,
    unique,
)
from headnod_train.distillation.window_sets import WindowSet, read_windows
from headnod_train.storage import open_npz, write_npz

LEAST_TRACKS = 3
"""Tracks that a label needs: cross-validation leaves some out, and one is not enough to learn from."""
_MOST_NAMED = 5
_SIDES = 2


def find_music(
    source: Path, labels: Literal["folders", "tags"], renames: Sequence[str] = (), *, least_labels: int = _SIDES
) -> Collection:
    """Labelled tracks below a folder.

    By `folders`, each folder in `source` is a label, and folders below it are artists; by `tags`, label and artist are
    the genre and artist tags of each file. Renames of labels are `old=new`.

    Raises:
        CollectionError: There is no music, or a label cannot be used.
        TeachError: There are too few labels, or one has too few tracks.
        MissingExtraError: mutagen is not installed.
    """
    found = _tagged(source) if labels == "tags" else find_tracks([source], "folders", None)  # type: ignore[arg-type]  # of archives only
    collection = labelled(found, renames)
    tracks = tuple(mark_excerpts(list(_with_artists(collection.tracks))))
    counts = Counter(track.genre for track in tracks)
    if len(counts) < least_labels:
        only = next(iter(counts))
        message = f"{source}: has one label, '{only}' (a model needs two; --add keeps the shipped ones beside it)"
        raise TeachError(message)
    refuse_few(source, tracks, counts)
    return replace(collection, tracks=tracks)


def refuse_few(source: Path, tracks: Sequence[Track], labels: Iterable[str]) -> None:
    """Check that each label has enough tracks."""
    counts = Counter(dict.fromkeys(labels, 0))
    counts.update(track.genre for track in tracks)
    few = [f"'{printable(label)}' has {count}" for label, count in sorted(counts.items()) if count < LEAST_TRACKS]
    if few:
        named = ", ".join(few[:_MOST_NAMED]) + (f" and {len(few) - _MOST_NAMED} more" if len(few) > _MOST_NAMED else "")
        message = f"{source}: {named} usable tracks; a label needs {LEAST_TRACKS} or more, and ten are much better"
        raise TeachError(message)


def groups_of(tracks: Sequence[Track]) -> tuple[list[int], list[str]]:
    """The group of each track, which is left out as a whole; and labels whose tracks are left out one at a time.

    Tracks of one artist are a group. If all tracks of a label are of one artist or of unknown ones, each
    track is a group, because otherwise the label would be left out as a whole.
    """
    keys = [track.artist.casefold() or f"\0{track.excerpt_of or track.name}" for track in tracks]
    of_label: dict[str, set[str]] = defaultdict(set)
    for track, key in zip(tracks, keys, strict=True):
        of_label[track.genre].add(key)
    single = {label for label, found in of_label.items() if len(found) < _SIDES}
    for place, track in enumerate(tracks):
        if track.genre in single:
            keys[place] = f"\0{track.name}"
    ungrouped = single | {track.genre for track in tracks if not track.artist}
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return [numbers[key] for key in keys], sorted(ungrouped)


def _tagged(source: Path) -> Collection:
    found, tracks, untagged = find_files(source), [], []
    for path in found.music:
        genre, artist, album = _tags(path)
        if genre:
            name = path_text(path.relative_to(source))
            tracks.append(Track(name, genre, path, artist, album))
        else:
            untagged.append(Skipped(printable(str(path)), "has no genre tag"))
    if not tracks:
        what = f"none of its {len(untagged)} files has a genre tag" if untagged else "holds no music"
        raise TeachError(f"{source}: {what} (put files into a folder for each label and use --labels folders)")
    return unique(tracks, skipped=[*found.skipped, *untagged])


def _with_artists(tracks: Sequence[Track]) -> Iterator[Track]:
    """Tracks without an artist get that of the file's tags, if mutagen is installed."""
    for track in tracks:
        try:
            artist = track.artist or _tags(track.path)[1]
        except MissingExtraError:
            artist = ""
        yield replace(track, artist=artist)


def _tags(path: Path) -> tuple[str, str, str]:
    """Genre, artist and album from the tags of a file; empty if it has none."""
    try:
        import mutagen  # noqa: PLC0415 - only where tags are read
    except ImportError as error:
        raise MissingExtraError(f"--labels tags needs mutagen: {how_to_install('train')} ({error})") from error
    try:
        tags: Any = mutagen.File(path, easy=True)
    except (mutagen.MutagenError, OSError):
        return "", "", ""
    values = [(tags.get(name) or [""])[0] if tags is not None else "" for name in ("genre", "artist", "album")]
    genre, artist, album = (unicodedata.normalize("NFC", str(value)).strip() for value in values)
    return genre, artist, album


def extract_features(
    tracks: Sequence[Track], network: bytes, manifest: Manifest, *, seconds: float, jobs: int, console: Console
) -> dict[int, NDArray[np.float32]]:
    """Features of each track, computed in worker processes.

    The network is that of `LastLayer.with_features`, with the manifest of its bundle; `seconds` of each file are used.

    Returns:
        Features by index of the track, (windows, features) each; without the files that gave none.
    """
    found: dict[int, NDArray[np.float32]] = {}
    with progress_bar(console) as progress:
        task = progress.add_task("listening", total=len(tracks))
        calls = ((place, track.path, network, manifest, seconds) for place, track in enumerate(tracks))
        for place, result in in_processes(_extract_one, calls, jobs=jobs):
            progress.advance(task)
            if isinstance(result, str):
                console.print(printable(f"skipped {tracks[place].path}: {result}"), soft_wrap=True)
            else:
                found[place] = result
    return dict(sorted(found.items()))


def _extract_one(
    place: int, path: Path, network: bytes, manifest: Manifest, seconds: float
) -> tuple[int, NDArray[np.float32] | str]:
    try:
        audio = excerpt(path, manifest.front_end.sample_rate, seconds)
    except AudioError as error:
        return place, str(error).removeprefix(f"{path}: ")
    values = features_of(audio, network, manifest)
    if values is None:
        return place, "holds no window of music (it is too short, silent or steady noise)"
    return place, values


def features_of(audio: Audio, network: bytes, manifest: Manifest) -> NDArray[np.float32] | None:
    """Features of the windows that a listener would classify, (windows, features); None if there are none."""
    front_end, settings = manifest.front_end, ListenerSettings()
    cache, steady = FrameCache(front_end), SteadyNoiseDetector(front_end)
    every = round(settings.every * front_end.sample_rate)
    rows = []
    for window in windows([audio], front_end.window_samples, every, grid=front_end.hop):
        assert isinstance(window, Window)  # noqa: S101 - a file has no gaps
        mel = cache.mel(window)
        if dbfs(window.samples) >= settings.silence and not steady.detect(mel):
            rows.append(run_network(front_end.features(mel), network, manifest))
    return np.stack(rows) if rows else None


def run_network(features: NDArray[np.float32], network: bytes, manifest: Manifest) -> NDArray[np.float32]:
    """The outputs of a file from `LastLayer.with_features` for one window, (features,)."""
    runtime = _runtime(network)
    (taken,) = runtime.get_input_details()
    spread = manifest.standardisation
    standard = np.asarray((features - np.array(spread.mean)) / np.array(spread.deviation), np.float32)
    scale, zero = taken["quantization"]
    runtime.set_tensor(taken["index"], quantise(standard, scale, zero)[None])
    runtime.invoke()
    outputs = runtime.get_output_details()
    return np.concatenate([dequantised(runtime.get_tensor(each["index"]).ravel(), each) for each in outputs])


@lru_cache(maxsize=1)
def _runtime(network: bytes) -> Any:  # noqa: ANN401 - the runtimes share no type
    return interpreter(network)


_FOLDER = Path(__file__).parent / "statistics"
_RANK = 48
"""Directions of the covariance that are kept; the rest of each feature's variance is independent."""
_MUSIC = 0.5
"""YAMNet's score for music above which a recording that is listed as noise is left out."""
_YAMNET_MUSIC = 132


@dataclass(frozen=True)
class LabelStatistics:
    """A normal distribution of the features for each label; all have one covariance."""

    means: NDArray[np.float64]
    """Shape (labels, features); the last row is of sound that is not music."""

    factors: NDArray[np.float64]
    """The covariance is factors.T @ factors + diag(rest ** 2), shape (rank, features)."""

    rest: NDArray[np.float64]
    """Shape (features,)."""

    limits: NDArray[np.float64]
    """Least and greatest value of each feature, shape (2, features)."""

    def draw(self, count: int, rng: np.random.Generator) -> Features:
        """`count` windows of each label; each is a track of its own."""
        labels = np.repeat(np.arange(len(self.means)), count)
        values = self.means[labels] + rng.standard_normal((labels.size, len(self.factors))) @ self.factors
        values += rng.standard_normal(values.shape) * self.rest
        places = np.arange(labels.size)
        return Features(np.clip(values, *self.limits).astype(np.float32), labels, places, places)


def read_statistics(shipped: Manifest) -> LabelStatistics:
    """The statistics of a shipped model."""
    path, known = _FOLDER / f"{shipped.id}.npz", sorted(each.stem for each in _FOLDER.glob("*.npz"))
    if path.is_file():
        with open_npz(path, "statistics of labels (install headnod again)", TeachError) as held:
            if str(held["network"]) == shipped.sha256[MODEL]:
                return LabelStatistics(*(held[name].astype(np.float64) for name in _ARRAYS))
    message = f"{shipped.id}: no statistics of its labels are known, so none can be added (--base {', '.join(known)})"
    raise TeachError(message)


_ARRAYS = ("means", "factors", "rest", "limits")


def measure(values: NDArray[np.float32], labels: NDArray[np.intp]) -> LabelStatistics:
    """The statistics of windows, (windows, features), whose labels are 0, 1, ... and all occur."""
    present = range(int(labels.max()) + 1)
    means = np.stack([values[labels == label].mean(axis=0, dtype=np.float64) for label in present])
    # Each label has the same part in the covariance, however many windows it has.
    covariance = np.mean([np.cov(values[labels == label].T, dtype=np.float64) for label in present], axis=0)
    sizes, directions = np.linalg.eigh(covariance)
    factors = (directions[:, -_RANK:] * np.sqrt(np.maximum(sizes[-_RANK:], 0.0))).T
    rest = np.sqrt(np.maximum(np.diag(covariance) - np.square(factors).sum(axis=0), 0.0))
    return LabelStatistics(means, factors, rest, np.stack([values.min(axis=0), values.max(axis=0)]))


def write_statistics(windows: WindowSet, bundle: Path, folder: Path = _FOLDER) -> Path:
    """Measure labelled windows of music, speech and noise, clean and degraded, and store the statistics."""
    shipped = read_manifest(bundle)
    network = LastLayer(read_checked(bundle, MODEL, shipped), shipped).with_features()
    noise = np.isin(windows.kind, ("speech", "noise")) & (windows.yamnet[:, _YAMNET_MUSIC] < _MUSIC)
    rows = np.flatnonzero((windows.genre >= 0) | noise)
    labels = np.where(windows.genre[rows] >= 0, windows.genre[rows], len(shipped.labels)).astype(np.intp)
    front_end = shipped.front_end
    pair = (windows.clean16, windows.degraded16) if front_end.n_mels == 96 else (windows.clean22, windows.degraded22)  # noqa: PLR2004
    values = [
        run_network(front_end.cepstra(sound[row].astype(np.float32)), network, shipped)
        for sound in pair
        for row in rows
    ]
    found = measure(np.array(values), np.tile(labels, 2))
    path = folder / f"{shipped.id}.npz"
    arrays = {name: getattr(found, name).astype(np.float16) for name in _ARRAYS}
    write_npz(path, {"network": np.array(shipped.sha256[MODEL]), **arrays})
    return path


if __name__ == "__main__":
    print(write_statistics(read_windows(Path(sys.argv[1])), *map(Path, sys.argv[2:])))  # noqa: T201 - the result
