"""Audio files become rows of an archive, by the device's decoder and front end, on many cores or a Dask cluster."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from headnod.audio.audio_file import audio_file, header_duration
from headnod.errors import AudioError, HeadnodError, MissingExtraError
from headnod.features.frontend import Audio, FrontEnd, LogMel
from headnod.system import how_to_install, signal_handlers
from headnod_train.dataset.tracks import CollectionError, Track, path_text
from headnod_train.storage import StorageError, open_npz, write_npz

RANGE_DB = 80.0
"""Dynamic range that is kept below the loudest cell of a track: 256 steps of 0.31 dB."""


@dataclass(frozen=True)
class TrackFeatures:
    """A row of an archive."""

    levels: NDArray[np.uint8]
    """Decibels in 256 steps, shape (frames, mels)."""

    floor_db: float
    """Decibels of level 0."""

    range_db: float
    """Decibels that the 256 levels span."""

    first_samples: NDArray[np.int32]
    """First sample of each frame in the audio, shape (frames,)."""


@dataclass(frozen=True)
class Rejected:
    """A file that cannot become a row."""

    reason: str
    """Error message without the file's name."""


def extract(path: Path, front_end: FrontEnd, seconds: float) -> TrackFeatures | Rejected:
    """Features of the middle of a track.

    `seconds` is the length of the part from the middle. Shorter audio, and an npz file of precomputed log-mel, are used
    whole.
    """
    try:
        if path.suffix.lower() == ".npz":
            log_mel, first_sample = _precomputed(path, front_end), 0
        else:
            first_sample, audio = middle(path, front_end.sample_rate, seconds)
            if audio.size < front_end.window_samples:
                lasts = audio.size / front_end.sample_rate
                return Rejected(f"lasts {lasts:.1f} s, a window needs {front_end.window_seconds:.1f} s")
            log_mel = front_end.log_mel(audio)
    except (AudioError, CollectionError) as error:
        return Rejected(str(error).removeprefix(f"{path}: "))
    if log_mel.max() <= front_end.floor_db:
        return Rejected("contains only silence")
    levels, floor_db = as_levels(log_mel)
    starts = first_sample + front_end.hop * np.arange(len(levels), dtype=np.int32)
    return TrackFeatures(levels, floor_db, RANGE_DB, starts)


def middle(path: Path, rate: int, seconds: float) -> tuple[int, Audio]:
    """The middle of a file: its first sample, and mono samples in [-1, 1].

    Raises:
        AudioError: The file cannot be decoded up to the end of that part.
    """
    wanted, length = round(seconds * rate), header_duration(path)
    if length is None:
        # The length is known only after decoding, and a long file does not fit into memory.
        with audio_file(path, rate) as blocks:
            length = sum(block.size for block in blocks) / rate
    with audio_file(path, rate) as blocks:
        start = max(int(length * rate) - wanted, 0) // 2
        kept, place = [], 0
        for block in blocks:
            kept.append(block[max(start - place, 0) :])
            place += block.size
            if place >= start + wanted:
                break
    return start, np.concatenate(kept)[:wanted]


def excerpt(path: Path, rate: int, seconds: float, *, intro: float = 15.0) -> Audio:
    """Part of a file, (samples,), that begins after `intro` seconds, or earlier if the file is too short for that.

    Used where the middle of a file would need too much decoding: by evaluation, teaching, report and game.

    Raises:
        AudioError: The file cannot be read.
    """
    skipped, wanted = round(intro * rate), round(seconds * rate)
    blocks, size = [], 0
    with audio_file(path, rate) as decoded:
        for block in decoded:
            blocks.append(block)
            size += block.size
            if size >= skipped + wanted:
                break
    if not size:
        return np.zeros(0, np.float32)
    start = max(min(skipped, size - wanted), 0)
    return np.concatenate(blocks)[start : start + wanted]


def as_levels(log_mel: LogMel) -> tuple[NDArray[np.uint8], float]:
    """Decibels in 256 steps below the loudest cell, and the decibels of level 0.

    Level v covers floor + v / 256 * RANGE_DB up to the next level; values below the floor are level 0.
    """
    floor_db = np.float32(log_mel.max() - RANGE_DB)
    levels = np.floor((log_mel - floor_db) * np.float32(256.0 / RANGE_DB))
    return np.clip(levels, 0, 255).astype(np.uint8), float(floor_db)


def _precomputed(path: Path, front_end: FrontEnd) -> LogMel:
    """The array `log_mel` of an npz file: decibels, shape (frames, mels)."""
    with open_npz(path, "an npz file with an array log_mel of decibels", CollectionError) as arrays:
        log_mel = np.asarray(arrays["log_mel"]).astype(np.float32, casting="same_kind")
    if log_mel.ndim != 2 or log_mel.shape[1] != front_end.n_mels or len(log_mel) < front_end.frames:  # noqa: PLR2004
        least = f"({front_end.frames} or more, {front_end.n_mels})"
        raise CollectionError(f"{path}: log_mel has shape {log_mel.shape}, it must be {least}")
    if not np.isfinite(log_mel).all():
        raise CollectionError(f"{path}: log_mel has values that are not decibels")
    return log_mel


_FORMAT = 1
_AFTER_LOG_MEL = {"n_mfcc", "range_db", "compression", "level", "level_db"}
"""Fields of a front end that do not change log-mel."""


@dataclass(frozen=True)
class WorkFolder:
    """Rows that were extracted already, one file each; its name is a hash of everything that the row depends on."""

    folder: Path
    front_end: FrontEnd

    seconds: float
    """Length of the part from the middle of each track."""

    def file(self, track: Track) -> Path:
        """File of a track's row, which may not exist yet.

        Raises:
            OSError: The track's own file does not exist.
        """
        stat = track.path.stat()
        front_end = {name: value for name, value in asdict(self.front_end).items() if name not in _AFTER_LOG_MEL}
        for name in ("mel_scale", "mel_norm"):
            # Defaults are left out, so that rows stored by versions without these options are still found.
            if front_end[name] == getattr(FrontEnd, name):
                del front_end[name]
        path = path_text(track.path.resolve())
        key = [_FORMAT, path, track.row, stat.st_size, stat.st_mtime_ns, self.seconds, front_end]
        return self.folder / f"{hashlib.sha256(msgspec.json.encode(key)).hexdigest()[:32]}.npz"

    def save(self, file: Path, row: TrackFeatures) -> None:
        """Write a row atomically.

        Raises:
            StorageError: The disk is full or read-only.
        """
        write_npz(file, vars(row), f"rows extracted so far are kept in {self.folder}; make room and start again")

    def load(self, file: Path) -> TrackFeatures:
        """Read a row; a damaged one is deleted."""
        try:
            with open_npz(file, "a row", CollectionError) as row:
                return TrackFeatures(
                    row["levels"], float(row["floor_db"]), float(row["range_db"]), row["first_samples"]
                )
        except CollectionError as error:
            file.unlink(missing_ok=True)
            message = f"{file}: is missing or damaged (start again: only missing rows are extracted)"
            raise StorageError(message) from error


_T = TypeVar("_T")

Extraction = tuple[int, TrackFeatures | Rejected]
"""Index of a file in the list of paths, and its features."""

_BATCH = 4
"""Files per task: a task costs a millisecond, and its files are extracted again if the import is stopped."""


class WorkerError(HeadnodError, RuntimeError):
    """Worker processes ended, or cannot be used."""


def extract_all(paths: list[Path], front_end: FrontEnd, seconds: float, *, jobs: int) -> Iterator[Extraction]:
    """Extract features in `jobs` processes and yield each result when it is ready."""
    calls = ((place, path, front_end, seconds) for place, path in enumerate(paths))
    return in_processes(extract_one, calls, jobs=jobs, advice="start again: extracted tracks are kept")


def in_processes(
    work: Callable[..., _T], calls: Iterable[tuple[Any, ...]], *, jobs: int, advice: str = "start again"
) -> Iterator[_T]:
    """Results of a function for many arguments, from `jobs` processes, each when it is ready.

    Only a few calls per process are in progress, so memory does not grow with the collection. The advice is part of
    the error message.

    Raises:
        WorkerError: A process died.
    """
    try:
        from joblib import Parallel, delayed, parallel_config  # noqa: PLC0415 - a third of a second
        from joblib.externals.loky.process_executor import TerminatedWorkerError  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError(f"worker processes need joblib: {how_to_install('train')} ({error})") from error
    own = os.getpid()
    with parallel_config(backend="loky", n_jobs=jobs, inner_max_num_threads=1):
        with _without_ctrl_c():
            results = Parallel(return_as="generator_unordered", batch_size=_BATCH if jobs > 1 else 1)(
                delayed(_call)(own, work, call) for call in calls
            )
        try:
            with warnings.catch_warnings(), closing(results):
                # joblib warns about unfinished tasks when the command is stopped.
                warnings.filterwarnings("ignore", message=r"\d+ tasks (have been|which were)")
                yield from results
        except TerminatedWorkerError as error:
            message = "a worker process died: out of memory, or a file crashed its decoder "
            message += f"({advice}; with --jobs 1 the last file named is the cause)"
            raise WorkerError(message) from error


def _call(parent: int, work: Callable[..., _T], call: tuple[Any, ...]) -> _T:
    if os.getpid() != parent:
        # Ctrl-C reaches the whole process group; only the parent reports it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return work(*call)


def extract_one(place: int, path: Path, front_end: FrontEnd, seconds: float) -> Extraction:
    """Extract one file."""
    return place, extract(path, front_end, seconds)


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Processes started in the body ignore Ctrl-C from their start, also while they import."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A signal mask would not do: loky clears it when it starts its processes.
    with signal_handlers({signal.SIGINT: signal.SIG_IGN}):
        yield


_QUEUED = 4
"""Files in progress for each thread of the cluster."""
_TIMEOUT = 10.0
"""Seconds to wait for the scheduler."""


def extract_on_cluster(paths: list[Path], front_end: FrontEnd, seconds: float, *, address: str) -> Iterator[Extraction]:
    """Extract features on a cluster and yield each result when it is ready.

    Workers need this package, and the files under the same paths. The archive is equal to the byte.
    """
    try:
        from distributed import Client, KilledWorker, as_completed  # noqa: PLC0415 - a second
    except ImportError as error:
        raise MissingExtraError(f"--dask needs Dask: {how_to_install('dask')} ({error})") from error
    try:
        client = Client(address, timeout=_TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        message = f"{address}: no Dask scheduler answers there ({error}; start one with 'dask scheduler')"
        raise WorkerError(message) from error
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise WorkerError(f"{address}: the Dask scheduler has no workers (start them with 'dask worker {address}')")
        waiting = enumerate(paths)
        first = [next(waiting, None) for _ in range(_QUEUED * threads)]

        def submit(place: int, path: Path) -> object:
            return client.submit(extract_one, place, path, front_end, seconds, pure=False)

        in_progress = as_completed([submit(*each) for each in first if each is not None], loop=client.loop)
        for done in in_progress:
            following = next(waiting, None)
            if following is not None:
                in_progress.add(submit(*following))
            try:
                yield done.result()
            except ImportError as error:
                message = f"{address}: an import fails on a worker: {error} (install headnod[train] there)"
                raise WorkerError(message) from error
            except (KilledWorker, CancelledError) as error:
                message = f"{address}: the cluster is gone: {error} (start again: extracted tracks are kept)"
                raise WorkerError(message) from error
