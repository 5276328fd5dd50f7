"""What was heard shortly before has a say, and no more than that."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnod.pipeline.smoothing import EnvelopeFollower, GenreTracker, Smoother, SongChangeDetector, log_mean

JAZZ, METAL = np.array([0.8, 0.2], np.float32), np.array([0.2, 0.8], np.float32)
scores = st.lists(st.floats(0.001, 1.0), min_size=3, max_size=3).map(
    lambda weights: (np.array(weights) / sum(weights)).astype(np.float32)
)


def after(windows, smoother):
    said = None
    for window in windows:
        said = smoother.update(window)
    return said


def test_the_first_scores_are_reported_as_they_are():
    assert Smoother(seconds=12.0, every=3.0).update(JAZZ) == pytest.approx(JAZZ, abs=1e-6)


@given(st.lists(scores, min_size=1, max_size=20), st.sampled_from((0.0, 3.0, 12.0, 600.0)))
def test_smoothed_scores_are_chances(windows, seconds):
    said = after(windows, Smoother(seconds=seconds, every=3.0))
    assert said.sum() == pytest.approx(1.0, abs=1e-5)
    assert (said >= 0).all()


def test_scores_that_stay_stay():
    assert after([JAZZ] * 50, Smoother(seconds=12.0, every=3.0)) == pytest.approx(JAZZ, abs=1e-5)


def test_a_new_genre_takes_the_lead_with_its_second_window():
    # Weights 1, e^-1/2, e^-1 …: two new windows outweigh all that went before.
    smoother = Smoother(seconds=12.0, every=3.0)
    after([JAZZ] * 50, smoother)
    assert smoother.update(METAL).argmax() == 0
    assert smoother.update(METAL).argmax() == 1


@pytest.mark.parametrize("every", [1.0, 3.0, 6.0])
def test_after_twelve_seconds_six_sevenths_of_what_was_are_forgotten(every):
    smoother = Smoother(seconds=12.0, every=every)
    after([JAZZ] * 100, smoother)
    said = after([METAL] * round(12.0 / every), smoother)
    evidence = np.log(said[1] / said[0]) / np.log(METAL[1] / METAL[0])
    assert evidence == pytest.approx(1.0 - 2.0 * np.exp(-2.0), abs=1e-3)


def test_evidence_is_weighed_as_an_exponential_mean_of_logarithms():
    smoother = Smoother(seconds=12.0, every=3.0)
    windows = [np.array(window, np.float32) for window in ([0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.3, 0.3, 0.4])]
    said = after(windows, smoother)
    weights = np.exp([-1.0, -0.5, 0.0])
    expected = np.exp(weights @ np.log(windows) / weights.sum())
    assert said == pytest.approx(expected / expected.sum(), abs=1e-6)


def test_no_smoothing_says_each_window_as_it_is():
    smoother = Smoother(seconds=0.0, every=3.0)
    smoother.update(JAZZ)
    assert smoother.update(METAL) == pytest.approx(METAL, abs=1e-6)


def test_forgetting_starts_anew():
    smoother = Smoother(seconds=12.0, every=3.0)
    after([JAZZ] * 10, smoother)
    smoother.reset()
    assert smoother.update(METAL) == pytest.approx(METAL, abs=1e-6)


def test_a_chance_of_nothing_is_evidence_but_not_for_ever():
    smoother = Smoother(seconds=12.0, every=3.0)
    never = smoother.update(np.array([1.0, 0.0], np.float32))
    assert np.isfinite(never).all()
    assert after([METAL] * 10, smoother).argmax() == 1


def test_the_mean_of_a_file_weighs_every_window_alike():
    windows = [JAZZ, METAL, METAL]
    expected = np.exp(np.log(windows).mean(axis=0))
    assert log_mean(windows) == pytest.approx(expected / expected.sum(), abs=1e-6)
    assert log_mean(windows[::-1]) == pytest.approx(log_mean(windows), abs=1e-6)


def embedding(distance):
    """An embedding whose cosine distance from the first axis is that."""
    return np.array([1.0 - distance, np.sqrt(1.0 - (1.0 - distance) ** 2)], np.float32)


def naming(every=3.0, **settings):
    return GenreTracker(**({"seconds": 12.0, "every": every, "lead": 0.35, "threshold": 0.0} | settings))


def answers(one, *windows):
    return [one.update(scores, embedding).answer for scores, embedding in windows]


SAME, OTHER = embedding(0.0), embedding(1.0)


@pytest.mark.parametrize(("threshold", "above"), [(0.75, True), (0.7501, False)])
def test_a_score_that_equals_the_threshold_reaches_it(threshold, above):
    one = GenreTracker(seconds=0.0, every=3.0, lead=0.0, threshold=threshold)
    assert one.update(np.array([0.75, 0.25], np.float32)).above_threshold is above


@pytest.mark.parametrize(("distance", "begins"), [(0.18, False), (0.22, True)])
def test_two_far_windows_in_a_row_are_a_new_song(distance, begins):
    change = SongChangeDetector(seconds=120.0, every=3.0)
    assert not any(change.update(SAME) for _ in range(10))
    assert not change.update(embedding(distance))
    assert change.update(embedding(distance)) is begins


def test_one_far_window_is_part_of_its_song():
    change = SongChangeDetector(seconds=120.0, every=3.0)
    assert not any(change.update(each) for each in [SAME, SAME, SAME, OTHER] * 5)


@pytest.mark.parametrize(("every", "windows"), [(10.0, 2), (3.0, 2), (2.9, 3), (1.0, 4), (0.1, 31)])
def test_windows_must_stay_far_until_the_last_shares_no_sound_with_the_first(every, windows):
    change = SongChangeDetector(seconds=120.0, every=every)
    for _ in range(40):
        change.update(SAME)
    assert [change.update(OTHER) for _ in range(windows)] == [False] * (windows - 1) + [True]
    assert not any(change.update(OTHER) for _ in range(40))


@pytest.mark.parametrize(("every", "begins"), [(3.0, False), (1.5, True)])
def test_a_song_is_remembered_for_so_many_seconds_and_not_windows(every, begins):
    def at(degrees):
        return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], np.float32)

    change = SongChangeDetector(seconds=12.0, every=every)
    for _ in range(40):
        change.update(at(0))
    for _ in range(4):
        change.update(at(35))
    # After 12 s of the second part the mean is near enough to what follows; after 6 s it is not.
    assert any(change.update(at(63)) for _ in range(6)) == begins


@pytest.mark.parametrize(("windows", "begins"), [(20, True), (45, False)])
def test_the_mean_of_a_song_goes_back_ten_times_the_smoothing(windows, begins):
    one = naming()
    parts = [embedding(0.0)] * 80 + [embedding(0.2)] * windows
    assert set(answers(one, *[(JAZZ, each) for each in parts])) == {0}
    # Far from the first part and near to the second one: it counts as another song until that weighs enough.
    assert (answers(one, *[(METAL, embedding(0.6))] * 2)[-1] == 1) == begins


def test_an_embedding_without_length_changes_no_song():
    change = SongChangeDetector(seconds=120.0, every=3.0)
    assert not any(change.update(np.zeros(2, np.float32)) for _ in range(5))


def test_another_genre_within_a_song_must_hold_longer_than_a_passage():
    passage = [(METAL, SAME)] * 6
    one = naming()
    assert set(answers(one, *[(JAZZ, SAME)] * 20, *passage)) == {0}
    assert set(answers(one, *[(METAL, SAME)] * 40)) == {0, 1}
    # Without an embedding nothing tells a passage from a song.
    assert answers(naming(), *[(JAZZ, None)] * 20, *[(METAL, None)] * 6)[-1] == 1


def test_a_new_song_is_named_with_its_second_window():
    one = naming()
    answers(one, *[(JAZZ, SAME)] * 40)
    assert answers(one, (METAL, OTHER), (METAL, OTHER)) == [0, 1]
    assert one.update(METAL, OTHER).scores == pytest.approx(METAL, abs=1e-5)


def test_a_new_song_needs_no_lead():
    one, slightly = naming(), np.array([0.45, 0.55], np.float32)
    answers(one, *[(JAZZ, SAME)] * 40)
    assert answers(one, *[(slightly, OTHER)] * 3) == [0, 1, 1]


def test_the_memory_of_a_song_is_ten_times_the_smoothing():
    one, smoother = naming(seconds=6.0), Smoother(seconds=60.0, every=3.0)
    windows = [JAZZ, METAL, METAL, JAZZ]
    assert [one.update(each, SAME).scores.tolist() for each in windows] == [
        smoother.update(each).tolist() for each in windows
    ]


def test_no_smoothing_names_each_window_with_an_embedding_too():
    assert answers(naming(seconds=0.0), (JAZZ, SAME), (METAL, SAME), (JAZZ, SAME)) == [0, 1, 0]


def test_forgetting_forgets_the_song():
    one = naming()
    answers(one, *[(JAZZ, SAME)] * 10)
    one.reset()
    assert one.empty
    assert answers(one, (METAL, OTHER), (JAZZ, SAME), (JAZZ, SAME)) == [1, 1, 1]
    assert not one.empty


def test_a_probability_is_at_least_one_in_a_million():
    said = Smoother(seconds=12.0, every=3.0).update(np.array([1.0, 0.0], np.float32))
    assert said[1] == pytest.approx(1e-6, rel=1e-3)


@pytest.mark.parametrize(("lead", "answer"), [(0.5, 1), (0.51, 0)])
def test_a_lead_that_is_reached_changes_the_answer(lead, answer):
    one = naming(seconds=0.0, lead=lead)
    assert answers(one, (JAZZ, None), (np.array([0.25, 0.75], np.float32), None)) == [0, answer]


@pytest.mark.parametrize(("before", "first"), [(1, True), (2, False)])
def test_a_song_has_two_windows_before_another_can_begin(before, first):
    """With one window before, the distant window belongs to the same song."""
    change = SongChangeDetector(seconds=120.0, every=3.0)
    for _ in range(before):
        change.update(SAME)
    change.update(OTHER)
    assert change.update(OTHER) is not first


def test_bars_rise_with_0_15_seconds_and_fall_with_0_9():
    follower = EnvelopeFollower(1)
    assert follower.update([1.0], 0.15) == pytest.approx(1.0 - np.exp(-1.0))
    follower.update([1.0], 1e9)
    assert follower.update([0.0], 0.9) == pytest.approx(np.exp(-1.0))
