"""Many files heard at once: by the workers of a Dask cluster. The one place that imports dask.

The same function on the same files as on one machine, so the archive is the
same to the byte. Workers need this package, and the files under the same paths.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

from headnod.errors import MissingExtraError
from headnod.extras import how_to_install
from headnod.features.frontend import FrontEnd
from headnod_train.dataset.parallel import Extraction, WorkerError, extract_one

_AHEAD = 4
"""Files under way for each thread of the cluster."""
_PATIENCE = 10.0
"""Seconds until a scheduler that does not answer is given up."""


def extract_all(paths: list[Path], front_end: FrontEnd, seconds: float, *, address: str) -> Iterator[Extraction]:
    """Hear files on a cluster, and give each as it is done.

    Raises:
        CrewError: Nobody answers at the address, or the workers lack something.
        MissingExtraError: Dask is not installed.
    """
    try:
        from distributed import Client, KilledWorker, as_completed  # noqa: PLC0415 - a second
    except ImportError as error:
        message = f"--dask needs Dask: {how_to_install('dask')} ({error})"
        raise MissingExtraError(message) from error
    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        message = f"{address}: no Dask scheduler answers there ({error}; start one with 'dask scheduler')"
        raise WorkerError(message) from error
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            message = f"{address}: the Dask scheduler has no workers (start them with 'dask worker {address}')"
            raise WorkerError(message)
        waiting = enumerate(paths)
        taken = [next(waiting, None) for _ in range(_AHEAD * threads)]

        def submit(place: int, path: Path) -> object:
            return client.submit(extract_one, place, path, front_end, seconds, pure=False)

        under_way = as_completed([submit(*each) for each in taken if each is not None], loop=client.loop)
        for done in under_way:
            following = next(waiting, None)
            if following is not None:
                under_way.add(submit(*following))
            try:
                yield done.result()
            except ImportError as error:
                message = f"{address}: a worker cannot load what it needs: {error} (install headnod[train] there)"
                raise WorkerError(message) from error
            except (KilledWorker, CancelledError) as error:
                message = f"{address}: the cluster went away: {error} (start again: what was heard is kept)"
                raise WorkerError(message) from error
