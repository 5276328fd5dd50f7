"""Ctrl-C while a file is decoded.

Alone because libsndfile calls back into Python to read, and an exception in there is
printed and lost: who pressed Ctrl-C would be told of a damaged file, or of nothing.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from headnod.features.frontend import Audio


@contextmanager
def ctrl_c_later() -> Iterator[None]:
    """Let the body end before a Ctrl-C that comes meanwhile has its effect."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[bool] = []
    former = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
    if pressed and callable(former):
        former(signal.SIGINT, None)


def uninterrupted(blocks: Iterator[Audio]) -> Iterator[Audio]:
    """The same blocks, with Ctrl-C between them and never within one."""
    while True:
        with ctrl_c_later():
            block = next(blocks, None)
        if block is None:
            return
        yield block
