"""Parts of a running program, rebuilt when the settings that they depend on change, and SIGHUP, which asks for it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import Generic, TypeVar

from headnod.config import Config
from headnod.outputs import Sink, close_all
from headnod.system import signal_handlers, stop_handlers

Value = TypeVar("Value")


class Part(Generic[Value]):
    """A part of the runtime, rebuilt when the settings that it depends on change."""

    value: Value

    def __init__(
        self, depends_on: Callable[[Config], object], build: Callable[[Config], AbstractContextManager[Value]]
    ) -> None:
        """Declare a part; nothing is built.

        Args:
            depends_on: The settings, and other parts' values, that the part is built from.
            build: Builds it; its context manager closes it.
        """
        self._depends_on, self._build = depends_on, build
        self._stack = contextlib.ExitStack()
        self._built_from: tuple[object, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether the part is built."""
        return bool(self._built_from)

    def update(self, config: Config) -> bool:
        """Build the part, or close and rebuild it if what it depends on changed; true if it was built."""
        wanted = (self._depends_on(config),)
        if wanted == self._built_from:
            return False
        self.__exit__(None, None, None)
        self.value = self._stack.enter_context(self._build(config))
        self._built_from = wanted
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._built_from = ()
        self._stack.__exit__(kind, error, trace)


@contextlib.contextmanager
def closing_all(sinks: list[Sink]) -> Iterator[list[Sink]]:
    """Outputs that are closed at the end, one after another, also where one cannot be closed."""
    try:
        yield sinks
    finally:
        close_all(sinks)


@contextlib.contextmanager
def hang_up() -> Iterator[Callable[[], bool]]:
    """A function that is true once after each SIGHUP, which asks to read the configuration again.

    It calls the handler of an earlier SIGINT or SIGTERM again: the exception that this raised is lost if a C extension
    was being imported.
    """
    received, stopped, handlers = False, 0, stop_handlers()

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = number
        handlers[number](number, frame)

    def note(_signal: int, _frame: object) -> None:
        nonlocal received
        received = True

    def hung_up() -> bool:
        nonlocal received
        if stopped:
            handlers[stopped](stopped, None)
        was, received = received, False
        return was

    with signal_handlers({signal.SIGHUP: note, **dict.fromkeys(handlers, stop)}):
        yield hung_up
