"""How many functions of headnod one step of its work calls, and how many of its files it passes through."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import headnod

_ROOT = f"{Path(headnod.__file__).parent}/"


class CallCounter:
    """Calls of headnod's functions while it counts, by file and function."""

    def __init__(self) -> None:
        self._counting = False
        self.functions: Counter[tuple[str, str]] = Counter()

    @property
    def calls(self) -> int:
        """Calls in all."""
        return self.functions.total()

    @property
    def files(self) -> int:
        """Files that the functions stand in."""
        return len({file for file, _ in self.functions})

    def table(self) -> str:
        """One line per function, by file."""
        return "\n".join(f"{count:3d} {file} {name}" for (file, name), count in sorted(self.functions.items()))

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what is called inside, on this thread and on those started under `profiled_threads`."""
        self._counting = True
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)
            self._counting = False

    @contextmanager
    def profiled_threads(self) -> Iterator[None]:
        """Let threads that start inside be counted."""
        threading.setprofile(self._note)
        try:
            yield
        finally:
            threading.setprofile(None)

    def _note(self, frame: FrameType, event: str, _value: object) -> None:
        if self._counting and event == "call" and frame.f_code.co_filename.startswith(_ROOT):
            self.functions[frame.f_code.co_filename.removeprefix(_ROOT), frame.f_code.co_qualname] += 1
