"""Which moments are suggested: undecided ones first, unlike what has a label, and unlike each other."""

import numpy as np

from headnod.teaching.correction_commands import suggest
from headnod.teaching.corrections import EmbeddedWindows

NOTHING = np.empty((0, 3)), np.empty(0)


def windows(*moments, start=0.0):
    """Moments of 20 windows, each given by its direction and the probability of the first answer."""
    embeddings = np.concatenate([np.tile(direction, (20, 1)) for direction, _ in moments])
    first = np.repeat([probability for _, probability in moments], 20)
    scores = np.stack([first, 1.0 - first], axis=1)
    times = start + 3.0 * np.arange(len(first))
    return EmbeddedWindows(
        "m", "b", ("jazz", "unknown"), times, embeddings.astype(np.float16), scores.astype(np.float16)
    )


A, B, C = np.eye(3) * 4.0


def test_an_undecided_moment_goes_before_a_decided_one():
    found = suggest(windows((A, 0.95), (B, 0.55), (C, 0.9)), *NOTHING)
    assert found[0].start == 60.0
    assert found[0].end == 117.0
    assert found[0].margin < 0.15


def test_what_sounds_like_a_corrected_moment_comes_last():
    given = windows((A, 0.6), (B, 0.6), (C, 0.6))
    assert suggest(given, np.array([A, B]), np.empty(0))[0].start == 120.0


def test_two_suggestions_differ_from_each_other():
    found = suggest(windows((A, 0.5), (A, 0.51), (B, 0.7)), *NOTHING, count=2)
    assert [each.start for each in found] == [0.0, 120.0]


def test_corrected_moments_and_short_ones_are_left_out():
    given = windows((A, 0.6), (B, 0.6))
    assert [each.start for each in suggest(given, np.array([A]), np.array([30.0]))] == [60.0]
    assert suggest(given.rows(np.arange(3)), *NOTHING) == []


def test_a_pause_separates_moments():
    given = windows((A, 0.6))
    times = given.times.copy()
    times[8:] += 600.0
    found = suggest(given._replace(times=times), *NOTHING)
    assert sorted(each.start for each in found) == [0.0, 624.0]


def test_sound_that_is_no_music_is_named_so():
    assert suggest(windows((A, 0.2)), *NOTHING)[0].answer == "not music"
