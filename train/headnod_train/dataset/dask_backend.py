"""Features of many files at once, on the workers of a Dask cluster: the only module that imports dask.

It runs the same function as `parallel`, so the archive is equal to the byte. Workers need this package, and the
files under the same paths.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

from headnod.errors import MissingExtraError
from headnod.extras import how_to_install
from headnod.features.frontend import FrontEnd
from headnod_train.dataset.parallel import Extraction, WorkerError, extract_one

_QUEUED = 4
"""Files in progress for each thread of the cluster."""
_TIMEOUT = 10.0
"""Seconds to wait for the scheduler."""


def extract_all(paths: list[Path], front_end: FrontEnd, seconds: float, *, address: str) -> Iterator[Extraction]:
    """Extract features on a cluster and yield each result when it is ready.

    Raises:
        WorkerError: No scheduler answers at the address, or the workers lack something.
        MissingExtraError: Dask is not installed.
    """
    try:
        from distributed import Client, KilledWorker, as_completed  # noqa: PLC0415 - a second
    except ImportError as error:
        message = f"--dask needs Dask: {how_to_install('dask')} ({error})"
        raise MissingExtraError(message) from error
    try:
        client = Client(address, timeout=_TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        message = f"{address}: no Dask scheduler answers there ({error}; start one with 'dask scheduler')"
        raise WorkerError(message) from error
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            message = f"{address}: the Dask scheduler has no workers (start them with 'dask worker {address}')"
            raise WorkerError(message)
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
                message = f"{address}: a worker cannot import {error} (install headnod[train] there)"
                raise WorkerError(message) from error
            except (KilledWorker, CancelledError) as error:
                message = f"{address}: the cluster is gone: {error} (start again: extracted tracks are kept)"
                raise WorkerError(message) from error
