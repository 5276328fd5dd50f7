"""A day of listening in a minute: the real parts on virtual time, and what they hold of the machine meanwhile."""

import logging
import os
import time
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from headnod.audio.blocks import Gap
from headnod.clock import Clock
from headnod.config import HistorySection
from headnod.outputs import show_all
from headnod.outputs.history.recorder import HistoryRecorder
from headnod.outputs.text import Journal, JsonLines
from headnod.pipeline.estimate import Estimate, SongSegmenter, SongSettings, State
from headnod.pipeline.listener import ListenerSettings, listen
from headnod.testing import ManualClock
from support import signals
from support.listener_process import held
from support.signals import RATE

DAY = 28_800
"""Windows of three seconds in 24 hours."""

BLOCK = RATE // 4


def day(demo, clock):
    """Blocks of a quarter of a second: music, pauses, hiss, dead air, and a microphone that goes away once an hour."""
    pieces = [demo, signals.noise(20.0, dbfs=-70), signals.music(40.0), np.zeros(5 * RATE, np.float32), 4.0 * demo]
    whole = np.concatenate(pieces)
    whole = whole[: whole.size // BLOCK * BLOCK].reshape(-1, BLOCK)
    count = 0
    while True:
        clock.seconds += 0.25
        count += 1
        if count % 14_400 == 0:
            clock.seconds += 5.0
            yield Gap(State.WAITING, "the microphone went away", 0.0)
        yield whole[count % len(whole)]


@pytest.mark.long
def test_a_day_of_listening_grows_nothing(model, demo, tmp_path, caplog):
    # Else pytest itself would keep a day's log in memory.
    caplog.set_level(logging.CRITICAL, "headnod")
    clock, began = ManualClock(), time.monotonic()
    history = HistoryRecorder(
        tmp_path / "history.sqlite",
        SongSegmenter(SongSettings()),
        HistorySection(days=30, megabytes=100),
        Clock(now=clock.now),
    )
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, ExitStack() as stack:
        sinks = [stack.enter_context(closing(sink)) for sink in (history, JsonLines(nowhere), Journal())]
        first, estimates = None, 0
        for said in listen(day(demo, clock), model, ListenerSettings(), now=clock.now, monotonic=clock.monotonic):
            assert len(show_all(sinks, said)) == len(sinks)
            estimates += isinstance(said, Estimate)
            if first is None and estimates == 1_000:
                first = held(os.getpid())
            if estimates == DAY:
                break
        last = held(os.getpid())
    told = logging.getLogger(__name__)
    told.info("%s windows in %.0f s, %s virtual", DAY, time.monotonic() - began, timedelta(seconds=clock.seconds))
    told.info("after 1,000 windows: %s, at the end: %s, history %d KiB", first, last, size_of(tmp_path) >> 10)
    assert last.mebibytes - first.mebibytes < 5.0
    assert last.files == first.files
    assert last.threads == first.threads
    assert size_of(tmp_path) < 16 << 20


def size_of(folder):
    return sum(path.stat().st_size for path in folder.iterdir())
