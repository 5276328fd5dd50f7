"""The listener put together and kept running.

Only this package knows concrete classes, and reads the environment and the
clock: everything else is handed what it needs.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from headnod.audio.web_address import is_address, shown
from headnod.config import Config
from headnod.config.validation import validate_listener
from headnod.factory import output_factory
from headnod.factory.source_factory import MICROPHONE, microphone_or_demo
from headnod.runtime import Daemon


def run(read_config: Callable[[], Config], *, audio: str | None, view: str, pace: str | None) -> None:
    """Listen until the audio ends, or for ever; SIGHUP reads the configuration again.

    Args:
        read_config: Reads the configuration.
        audio: `mic`, a file, the address of a web radio, `-` for raw samples on stdin, or None: then the
            microphone; the demo clip where there is none, none was named and nothing records it.
        view: `auto`, `plain`, `json` or `none`.
        pace: `real` or `fast` for files; None leaves files fast and the demo real.

    Raises:
        HeadnodError: The model, the audio or a setting cannot be used.
    """
    config = validate_listener(read_config())
    hearing = audio or ""
    if is_address(hearing):
        hearing = shown(hearing)
    if audio is None:
        audio = microphone_or_demo(config.microphone, recorded=output_factory.recorded(config))
        if audio != MICROPHONE:
            pace, hearing = pace or "real", f"demo clip {Path(audio).name}: no microphone"
    with Daemon(config, audio, pace) as daemon, _hang_up() as hung_up:
        daemon.add_views(view, hearing)
        watched = sys.stdout.isatty()
        while daemon.listen(until=hung_up) and daemon.sinks:
            if watched and not sys.stdout.isatty():
                # It was the terminal that hung up: nobody asked for anything to be read again.
                break
            daemon.reload(lambda: validate_listener(read_config()))


@contextlib.contextmanager
def _hang_up() -> Iterator[Callable[[], bool]]:
    """Tells, once each, whether SIGHUP came since it was last asked."""
    came = False

    def note(_signal: int, _frame: object) -> None:
        nonlocal came
        came = True

    def ask() -> bool:
        nonlocal came
        was, came = came, False
        return was

    former = signal.signal(signal.SIGHUP, note)
    try:
        yield ask
    finally:
        signal.signal(signal.SIGHUP, former)
