"""The way of one window from audio to an estimate stays short: few calls, in few files."""

from datetime import UTC, datetime

import numpy as np
import pytest

import headnod
from benchmarks.calls import CallCounter
from headnod.audio.audio_file import audio_file
from headnod.resources import demo_clip, find_model

MOST_CALLS, MOST_FILES = 60, 9


def traced(estimates):
    """For each estimate the calls that it took."""
    found = []
    while True:
        counter = CallCounter()
        with counter.counting():
            estimate = next(estimates, None)
        if estimate is None:
            return found
        found.append(counter)


@pytest.mark.parametrize("name", ["genre-1.0.0", "genre-2.2.0"])
def test_a_window_becomes_an_estimate_in_few_calls_and_few_files(name):
    model = headnod.GenreModel.load(find_model(name))
    rate = model.front_end.sample_rate
    with audio_file(demo_clip(), rate) as blocks:
        audio = np.concatenate(list(blocks))[: 25 * rate]
    settings = headnod.ListenerSettings()
    every = round(settings.every * rate)
    blocks = [audio[start : start + every] for start in range(0, audio.size, every)]
    # The first window allocates what the later ones use.
    _, *windows = traced(headnod.listen(blocks, model, settings, now=lambda: datetime.now(UTC)))
    assert len(windows) > 4
    assert max(window.calls for window in windows) <= MOST_CALLS
    assert max(window.files for window in windows) <= MOST_FILES
    assert "classify" in {function.rpartition(".")[2] for _, function in windows[0].functions}
