"""A folder of training windows: log-mel of each sound, clean and degraded, for both front ends, and YAMNet's scores.

    clean16.npy, degraded16.npy   float16 (n, 187, 96)   decibels, 16 kHz front end of `genre`
    clean22.npy, degraded22.npy   float16 (n, 38, 128)   decibels, 22,050 Hz front end of `genre-small`
    index.npz   kind, track, genre, yamnet of each window, and the names of the recordings

Arrays are memory-mapped for reading, because they are larger than the memory of small machines.

YAMNet (Google, Apache-2.0; 521 AudioSet classes) is a second teacher and a baseline. It is not part of headnod; its
TensorFlow Lite file is an argument. Source of the framing and of the class list:
https://github.com/tensorflow/models/tree/master/research/audioset/yamnet
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.audio.processing import resampled
from headnod.errors import AudioError, HeadnodError
from headnod.features.frontend import Audio, FrontEnd
from headnod.inference.model import interpreter
from headnod_train.console import progress_bar
from headnod_train.degradation import Degrader, read_all
from headnod_train.distillation.recordings import Kind, Recording, RecordingError
from headnod_train.storage import open_npz, write_npz

RATE = 16_000
"""Sample rate of YAMNet's input, in Hz."""

CLASSES = 521

_STEP = 0.4875
"""Seconds from one frame to the next."""

GENRES = {
    "blues": ("Blues",),
    "classical": ("Classical music", "Opera"),
    "country": ("Country", "Bluegrass"),
    "disco": ("Disco",),
    "hiphop": ("Hip hop music", "Rapping"),
    "jazz": ("Jazz", "Swing music"),
    "metal": ("Heavy metal",),
    "pop": ("Pop music",),
    "reggae": ("Reggae", "Ska"),
    "rock": ("Rock music", "Rock and roll", "Punk rock", "Progressive rock"),
}
"""AudioSet classes that stand for each genre; the highest of them counts."""


class YamnetError(HeadnodError, ValueError):
    """YAMNet's file or list of classes cannot be used."""


class Yamnet:
    """Scores of sounds by YAMNet."""

    def __init__(self, model: Path) -> None:
        """Load the network."""
        try:
            self._interpreter = interpreter(model.read_bytes())
            (self._input,) = self._interpreter.get_input_details()
            self._output = self._interpreter.get_output_details()[0]
        except OSError as error:
            raise YamnetError(f"{model}: {(error.strerror or str(error)).lower()}") from error
        self._size = int(self._input["shape"][-1])
        if int(self._output["shape"][-1]) != CLASSES:
            raise YamnetError(f"{model}: has {self._output['shape'][-1]} outputs, YAMNet has {CLASSES}")

    def scores(self, audio: Audio) -> NDArray[np.float32]:
        """Mean score of each class over a stretch of sound.

        Args:
            audio: Mono samples in [-1, 1] at 16 kHz, shape (n,); short sound is repeated.

        Returns:
            Scores from 0 to 1, shape (521,).
        """
        if audio.size < self._size:
            audio = np.resize(audio, self._size)
        frames = range(0, audio.size - self._size + 1, round(_STEP * RATE))
        return np.mean([self._frame(audio[start : start + self._size]) for start in frames], axis=0, dtype=np.float32)

    def _frame(self, frame: Audio) -> NDArray[np.float32]:
        self._interpreter.set_tensor(self._input["index"], frame.reshape(self._input["shape"]))
        self._interpreter.invoke()
        return np.array(self._interpreter.get_tensor(self._output["index"]), np.float32).reshape(-1)[:CLASSES]


def read_classes(path: Path) -> list[str]:
    """Names of the classes, in the order of the scores, from the published CSV (`index,mid,display_name`)."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            names = [row["display_name"] for row in csv.DictReader(file)]
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise YamnetError(f"{path}: is not the list of YAMNet's classes: {error}") from error
    if len(names) != CLASSES:
        raise YamnetError(f"{path}: names {len(names)} classes, YAMNet has {CLASSES}")
    return names


def genre_scores(scores: NDArray[np.float32], classes: list[str], labels: tuple[str, ...]) -> NDArray[np.float32]:
    """The highest score among the classes of each genre, shape (..., labels), from scores of shape (..., 521)."""
    columns = [[classes.index(name) for name in GENRES[label]] for label in labels]
    return np.stack([scores[..., column].max(axis=-1) for column in columns], axis=-1)


BASE_RATE = 22_050
"""Sample rate at which recordings are degraded, in Hz."""

GENRE = FrontEnd(
    sample_rate=16_000, n_fft=512, hop=256, frames=187, n_mels=96, f_max=8_000.0, n_mfcc=1, floor_db=-100.0
)
"""Front end of the tagger, with mel power in decibels."""

SMALL = FrontEnd()
"""Front end of `genre-small`."""

_worker: list[tuple[Degrader, Yamnet]] = []
"""State of a worker process: one entry, set at its start."""

_ARRAYS = ("clean16", "degraded16", "clean22", "degraded22")
_SILENT = 1e-4
"""Windows with a smaller root mean square are left out."""


@dataclass(frozen=True)
class Sampling:
    """Windows of a recording, by kind."""

    every: float
    """Seconds from one window to the next."""

    most: int
    """Largest number of windows of one version."""

    versions: int = 1
    """Copies at other speeds, each degraded differently."""


SAMPLING: dict[Kind, Sampling] = {
    "music": Sampling(every=8.0, most=15, versions=2),
    "gtzan": Sampling(every=1.5, most=12, versions=6),
    "speech": Sampling(every=3.0, most=3, versions=2),
    "noise": Sampling(every=3.0, most=3, versions=3),
}
_PART = 26.0
"""Seconds that are played in one room."""
_SPEED = 0.08
"""Recordings are played up to this share faster or slower; the first version is not."""


@dataclass(frozen=True)
class WindowSet:
    """Training windows, memory-mapped."""

    clean16: NDArray[np.float16]
    """Decibels, shape (n, 187, 96)."""

    degraded16: NDArray[np.float16]
    """The same sound through loudspeaker, room and microphone, shape (n, 187, 96)."""

    clean22: NDArray[np.float16]
    """Decibels, shape (n, 38, 128)."""

    degraded22: NDArray[np.float16]
    """The same sound through loudspeaker, room and microphone, shape (n, 38, 128)."""

    kind: NDArray[np.str_]
    """`music`, `gtzan`, `speech` or `noise`, shape (n,)."""

    track: NDArray[np.int32]
    """Index into `names`, shape (n,)."""

    genre: NDArray[np.int8]
    """Index into the labels, -1 where unknown, shape (n,)."""

    yamnet: NDArray[np.float16]
    """Scores of the clean sound, shape (n, 521)."""

    names: NDArray[np.str_]
    """Names of the recordings."""

    def __len__(self) -> int:
        """Windows."""
        return len(self.track)


def read_windows(folder: Path) -> WindowSet:
    """The windows of a folder."""
    try:
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    except (OSError, ValueError) as error:
        message = f"{folder}: holds no training windows: {error} (make them with `headnod-train prepare`)"
        raise RecordingError(message) from error
    kind = "the index of training windows (make it with 'headnod-train prepare')"
    with open_npz(folder / "index.npz", kind, RecordingError) as index:
        windows = WindowSet(**arrays, **{name: index[name] for name in ("kind", "track", "genre", "yamnet", "names")})
    if any(len(array) != len(windows) for array in arrays.values()):
        raise RecordingError(f"{folder}: its arrays differ in length (make them again with `headnod-train prepare`)")
    return windows


@dataclass(frozen=True)
class _Piece:
    """Windows of one recording."""

    arrays: tuple[NDArray[np.float16], ...]
    yamnet: NDArray[np.float16]


def make_windows(
    recordings: Sequence[Recording],
    folder: Path,
    *,
    rooms: Sequence[Audio],
    yamnet: Path,
    seed: int,
    processes: int,
    console: Console,
) -> int:
    """Decode, degrade and transform recordings, and write the folder.

    Speech and noise are also mixed with music. The folder is created or replaced. Impulse responses have `BASE_RATE`.
    `yamnet` is the TensorFlow Lite file of the second teacher.

    Returns:
        Number of windows.
    """
    beside = [audio for each in recordings if each.kind in {"speech", "noise"} if (audio := _beside(each)) is not None]
    seeds = [(seed, track) for track in range(len(recordings))]
    # Sounds are sent to each worker once: they are much larger than a job.
    common = (Degrader(BASE_RATE, rooms, beside), yamnet)
    done: list[tuple[int, _Piece]] = []
    pool = ProcessPoolExecutor(processes, initializer=_begin, initargs=common)
    with pool, progress_bar(console, transient=True) as progress:
        results = progress.track(pool.map(_pieces, recordings, seeds), len(seeds), description="recordings")
        for track, pieces in enumerate(results):
            if isinstance(pieces, str):
                console.print(pieces, markup=False, highlight=False, soft_wrap=True)
            else:
                done += [(track, piece) for piece in pieces if len(piece.yamnet)]
    if not done:
        raise RecordingError("none of the recordings could be read")
    _write(folder, done, recordings)
    return sum(len(piece.yamnet) for _, piece in done)


def _beside(recording: Recording) -> Audio | None:
    try:
        audio = read_all(recording.path, BASE_RATE)
    except AudioError:
        return None  # named when its own windows are made
    return audio if audio.size and float(np.abs(audio).max()) > _SILENT else None


def _begin(degrader: Degrader, yamnet: Path) -> None:
    """Set up a worker process."""
    _worker.append((degrader, Yamnet(yamnet)))


def _pieces(recording: Recording, seed: tuple[int, int]) -> list[_Piece] | str:
    """The windows of each version of a recording, or why there are none."""
    try:
        audio = read_all(recording.path, BASE_RATE)
    except AudioError as error:
        return f"left out: {error}"
    if audio.size < BASE_RATE // 10 or not np.isfinite(audio).all():
        return f"left out: {recording.path}: is shorter than 0.1 s or holds samples that are not numbers"
    sampling = SAMPLING[recording.kind]
    return [
        _piece(audio, sampling, speed=version > 0, rng=np.random.default_rng((*seed, version)))
        for version in range(sampling.versions)
    ]


def _piece(audio: Audio, sampling: Sampling, *, speed: bool, rng: np.random.Generator) -> _Piece:
    """The windows of one version of a recording."""
    ((degrader, teacher),) = _worker
    longest = round(1.2 * sampling.most * sampling.every * BASE_RATE)
    if audio.size > longest:
        first = int(rng.integers(audio.size - longest))
        audio = audio[first : first + longest]
    if speed:
        audio = resampled(audio, BASE_RATE, round(BASE_RATE / rng.uniform(1 - _SPEED, 1 + _SPEED)))
    # As in the listener, a short sound is repeated to fill a window.
    audio = np.resize(audio, max(audio.size, round(3.1 * BASE_RATE)))
    # Every part in another room.
    parts = np.array_split(audio, max(round(audio.size / _PART / BASE_RATE), 1))
    degraded = np.concatenate([degrader.degrade(part, rng) for part in parts])
    pair = [(each, resampled(each, BASE_RATE, RATE)) for each in (audio, degraded)]
    rows, scores = [], []
    for start in _starts(audio.size / BASE_RATE, sampling, rng):
        cut = [
            wave[round(start * rate) :][: front_end.window_samples]
            for waves in pair
            for wave, rate, front_end in ((waves[1], RATE, GENRE), (waves[0], BASE_RATE, SMALL))
        ]
        if any(
            wave.size < size for wave, size in zip(cut, 2 * (GENRE.window_samples, SMALL.window_samples), strict=True)
        ):
            continue
        if float(np.sqrt(np.mean(np.square(cut[0])))) < _SILENT:
            continue
        rows.append(
            [front.log_mel(np.ascontiguousarray(wave)) for wave, front in zip(cut, 2 * (GENRE, SMALL), strict=True)]
        )
        scores.append(teacher.scores(cut[0]))
    clean16, clean22, degraded16, degraded22 = (
        np.array(column, np.float16) for column in (zip(*rows, strict=True) if rows else ([], [], [], []))
    )
    return _Piece((clean16, degraded16, clean22, degraded22), np.array(scores, np.float16))


def _starts(seconds: float, sampling: Sampling, rng: np.random.Generator) -> Iterator[float]:
    """Where windows begin: evenly over the recording, from a random offset, at most `most` of them."""
    room = seconds - GENRE.window_samples / RATE
    if room <= 0:
        yield 0.0
        return
    count = min(int(room / sampling.every) + 1, sampling.most)
    step = room / count
    for place in range(count):
        yield (place + float(rng.uniform(0.0, 1.0))) * step


def _write(folder: Path, done: list[tuple[int, _Piece]], recordings: Sequence[Recording]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(_ARRAYS):
        np.save(folder / f"{name}.npy", np.concatenate([piece.arrays[place] for _, piece in done]))
    track = np.repeat([track for track, _ in done], [len(piece.yamnet) for _, piece in done])
    index = {
        "kind": np.array([each.kind for each in recordings])[track],
        "track": track.astype(np.int32),
        "genre": np.array([each.genre for each in recordings], np.int8)[track],
        "yamnet": np.concatenate([piece.yamnet for _, piece in done]),
        "names": np.array([each.name for each in recordings]),
    }
    write_npz(folder / "index.npz", index)
