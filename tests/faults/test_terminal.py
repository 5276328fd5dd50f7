"""Faults of the terminal that need a real one; what it shows and how it bears resizing is in test_cli_terminal.py."""

import os
import pty
import select
import signal
import subprocess
import time
from contextlib import suppress

import pytest

from support.command_line import PATIENCE
from support.listener_process import HEADNOD, children


@pytest.mark.parametrize("form", ["", "--plain", "--quiet"])
def test_t1_a_terminal_that_is_closed_ends_what_it_showed(configured, environment, form):
    keyboard, terminal = pty.openpty()
    words = [*HEADNOD, "listen", "--audio", "mic", "--config", str(configured(every=0.1)), *filter(None, [form])]
    watched = subprocess.Popen(
        words, env=environment | {"TERM": "xterm"}, stdin=terminal, stdout=terminal, stderr=terminal,
        start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    try:
        # Whatever is shown, a genre is in it.
        until(keyboard, (b"jazz", b"metal"), within=PATIENCE)
        os.close(keyboard)
        watched.send_signal(signal.SIGHUP)
        assert watched.wait(10.0) in {0, 1, 120}
    finally:
        left = children(watched.pid)
        watched.kill()
        watched.wait()
        with suppress(OSError):
            os.close(keyboard)
    assert not left


def until(keyboard, texts, *, within):
    shown, deadline = b"", time.monotonic() + within
    while not any(text in shown for text in texts):
        assert select.select([keyboard], [], [], max(deadline - time.monotonic(), 0.0))[0], shown
        shown += os.read(keyboard, 65_536)
