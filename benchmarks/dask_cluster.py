"""Dask workers on this machine, each with one thread, until they are ended.

    python -m benchmarks.dask_cluster WORKERS

prints the scheduler's address once all of them work.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator

from benchmarks.processes import ending, start


@contextlib.contextmanager
def cluster(workers: int) -> Iterator[str]:
    """So many workers in processes of their own; gives the scheduler's address.

    Raises:
        RuntimeError: They did not start.
    """
    words = [sys.executable, "-m", "benchmarks.dask_cluster", str(workers)]
    with ending(start(words, more={"OMP_NUM_THREADS": "1"}, heard=True)) as program:
        assert program.stdout is not None  # noqa: S101 - asked for
        address = program.stdout.readline().strip()
        if not address:
            message = f"{workers} Dask workers did not start (is headnod[dask] installed?)"
            raise RuntimeError(message)
        yield address


def main(workers: int) -> None:
    """Start them, say where, and wait for the end."""
    from distributed import LocalCluster  # noqa: PLC0415 - a second, and only this process needs it

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as started:
        sys.stdout.write(f"{started.scheduler_address}\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]))
