"""Many files heard at once: by joblib on every core of this machine."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from headnod.audio.interrupt import ctrl_c_later
from headnod.errors import HeadnodError, MissingExtraError
from headnod.extras import how_to_install
from headnod.features.frontend import FrontEnd
from headnod_train.dataset.extraction import Rejected, TrackFeatures, extract

Extraction = tuple[int, TrackFeatures | Rejected]
"""The place of a file, and what was heard of it."""


class WorkerError(HeadnodError, RuntimeError):
    """Those who were to hear files are gone."""


def extract_all(paths: list[Path], front_end: FrontEnd, seconds: float, *, jobs: int) -> Iterator[Extraction]:
    """Hear files in so many processes, and give each as it is done.

    No more than a few files a process are under way, so memory does not grow
    with the collection.

    Raises:
        CrewError: A process died.
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
            answers = Parallel(return_as="generator_unordered", batch_size=_BATCH if jobs > 1 else 1)(
                delayed(extract_one)(place, path, front_end, seconds, own) for place, path in enumerate(paths)
            )
        try:
            with warnings.catch_warnings(), closing(answers):
                # Whoever stops knows that something was under way.
                warnings.filterwarnings("ignore", message=r"\d+ tasks (have been|which were)")
                yield from answers
        except TerminatedWorkerError as error:
            message = "a process died while it heard a file, by a lack of memory or by a file that crashes its decoder"
            message += " (start again: what was heard is kept; with --jobs 1 the last file named is the one)"
            raise WorkerError(message) from error


def extract_one(place: int, path: Path, front_end: FrontEnd, seconds: float, caller: int = 0) -> Extraction:
    """Hear a file, in whatever process this is."""
    if caller and os.getpid() != caller:
        # Ctrl-C reaches the whole group; only the caller has something to say about it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return place, extract(path, front_end, seconds)
    with ctrl_c_later():
        return place, extract(path, front_end, seconds)


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Whoever is started here is born deaf to Ctrl-C, also while it still imports what it needs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A mask would not do: loky takes it off while it starts its processes.
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


_BATCH = 4
"""Files that a process takes at once: handing over costs a millisecond, and an import that stops loses them."""
