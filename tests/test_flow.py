"""The way of one window from audio to an estimate stays short: few calls, in few files."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import headnod
from headnod.audio.audio_file import audio_file
from headnod.resources import demo_clip, find_model

PACKAGE = Path(headnod.__file__).parent
MOST_CALLS, MOST_FILES = 60, 9


def traced(estimates):
    """For each estimate the functions of the package that were called for it, as (file, function)."""
    calls, found = [], []

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(f"{PACKAGE}/"):
            calls.append((frame.f_code.co_filename, frame.f_code.co_name))

    sys.setprofile(note)
    try:
        for _ in estimates:
            found.append(tuple(calls))
            calls.clear()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize("name", ["genre-1.0.0", "genre-2.0.0"])
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
    assert max(len(calls) for calls in windows) <= MOST_CALLS
    assert max(len({file for file, _ in calls}) for calls in windows) <= MOST_FILES
    assert "classify" in {function for _, function in windows[0]}
