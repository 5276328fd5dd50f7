"""Features of many files at once, with joblib on the cores of this machine."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from headnod.audio.audio_file import delayed_interrupt
from headnod.errors import HeadnodError, MissingExtraError
from headnod.extras import how_to_install
from headnod.features.frontend import FrontEnd
from headnod_train.dataset.extraction import Rejected, TrackFeatures, extract
from headnod_train.dataset.tracks import CollectionError, Track, path_text
from headnod_train.storage import StorageError, open_npz, write_npz

_FORMAT = 1
_AFTER_LOG_MEL = {"n_mfcc", "range_db", "compression", "level", "level_db"}
"""Fields of a front end that do not change log-mel."""


@dataclass(frozen=True)
class WorkFolder:
    """Rows on disk."""

    folder: Path
    front_end: FrontEnd

    seconds: float
    """Length of the excerpt of each track."""

    def file(self, track: Track) -> Path:
        """File of a track's row, which may not exist yet.

        Raises:
            OSError: The track's own file does not exist.
        """
        stat = track.path.stat()
        front_end = {name: value for name, value in asdict(self.front_end).items() if name not in _AFTER_LOG_MEL}
        for name in ("mel_scale", "mel_norm"):
            # Rows of versions that had no such choice keep their names.
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
        """Read a row; a damaged one is deleted.

        Raises:
            StorageError: The row is absent or damaged.
        """
        try:
            with open_npz(file, "a row", CollectionError) as row:
                return TrackFeatures(
                    row["levels"], float(row["floor_db"]), float(row["range_db"]), row["first_samples"]
                )
        except CollectionError as error:
            file.unlink(missing_ok=True)
            message = f"{file}: is missing or damaged (start again: only missing rows are extracted)"
            raise StorageError(message) from error


Extraction = tuple[int, TrackFeatures | Rejected]
"""Index of a file in the list of paths, and its features."""

_BATCH = 4
"""Files per task: submitting costs a millisecond, and a stopped import loses the files of its open tasks."""


class WorkerError(HeadnodError, RuntimeError):
    """Worker processes are gone or unusable."""


def extract_all(paths: list[Path], front_end: FrontEnd, seconds: float, *, jobs: int) -> Iterator[Extraction]:
    """Extract features in `jobs` processes and yield each result when it is ready.

    Only a few files per process are in progress, so memory does not grow with the collection.

    Raises:
        WorkerError: A process died.
        MissingExtraError: joblib is not installed.
    """
    try:
        from joblib import Parallel, delayed, parallel_config  # noqa: PLC0415 - a third of a second
        from joblib.externals.loky.process_executor import TerminatedWorkerError  # noqa: PLC0415
    except ImportError as error:
        message = f"import needs joblib: {how_to_install('train')} ({error})"
        raise MissingExtraError(message) from error
    own = os.getpid()
    with parallel_config(backend="loky", n_jobs=jobs, inner_max_num_threads=1):
        with _without_ctrl_c():
            results = Parallel(return_as="generator_unordered", batch_size=_BATCH if jobs > 1 else 1)(
                delayed(extract_one)(place, path, front_end, seconds, own) for place, path in enumerate(paths)
            )
        try:
            with warnings.catch_warnings(), closing(results):
                # joblib warns about unfinished tasks when the import is stopped.
                warnings.filterwarnings("ignore", message=r"\d+ tasks (have been|which were)")
                yield from results
        except TerminatedWorkerError as error:
            message = "a worker process died: out of memory, or a file crashed its decoder "
            message += "(start again: extracted tracks are kept; with --jobs 1 the last file named is the cause)"
            raise WorkerError(message) from error


def extract_one(place: int, path: Path, front_end: FrontEnd, seconds: float, parent: int = 0) -> Extraction:
    """Extract one file, in process `parent` or in a worker."""
    if parent and os.getpid() != parent:
        # Ctrl-C reaches the whole process group; only the parent reports it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return place, extract(path, front_end, seconds)
    with delayed_interrupt():
        return place, extract(path, front_end, seconds)


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Processes started in the body ignore Ctrl-C from their start, also while they import."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A signal mask would not do: loky clears it when it starts its processes.
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
