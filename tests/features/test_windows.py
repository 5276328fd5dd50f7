"""Windows and their features do not depend on how the stream was cut into blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnod.audio.blocks import Gap
from headnod.features.frontend import FrontEnd
from headnod.features.windows import FrameCache, RecentAudio, windows
from headnod.pipeline.estimate import State

FRONT_END = FrontEnd(n_fft=256, hop=200, frames=6, n_mels=24, n_mfcc=12)
SIZE = FRONT_END.window_samples
STREAM = np.random.default_rng(0).uniform(-0.5, 0.5, 9_000).astype(np.float32)
GAP = Gap(State.BEHIND, "something was lost", 0.5)


def pieces(stream, cuts):
    places = sorted({min(cut, stream.size) for cut in cuts})
    return np.split(stream, places)


def starts(blocks, *, size=SIZE, every, grid=1):
    found = []
    for window in windows(blocks, size, every, grid=grid):
        if isinstance(window, Gap):
            found.append("hole")
        else:
            assert window.end - window.start == size
            found.append(window.start)
    return found


@pytest.mark.parametrize("every", [1, 199, 200, 600, SIZE, SIZE + 1, 3_000])
@given(cuts=st.lists(st.integers(0, STREAM.size), max_size=30))
def test_features_do_not_depend_on_how_the_stream_was_cut(every, cuts):
    stream = STREAM[:1_300] if every == 1 else STREAM
    cache, heard = FrameCache(FRONT_END), []
    for window in windows(pieces(stream, cuts), SIZE, every, grid=FRONT_END.hop):
        assert np.array_equal(window.samples, stream[window.start : window.end])
        anew = FRONT_END.mfcc(stream[window.start : window.end])
        assert np.array_equal(cache.features(window), anew)
        heard.append(window.start)
    assert heard == [
        start
        for count in range(stream.size + 1)
        if (start := count * every // FRONT_END.hop * FRONT_END.hop) + SIZE <= stream.size
    ]


@pytest.mark.parametrize("length", [1, 7, 255, 256, 5_000])
def test_blocks_of_any_length_give_the_same_windows(length):
    blocks = [STREAM[place : place + length] for place in range(0, STREAM.size, length)]
    assert starts(blocks, every=700) == starts([STREAM], every=700)


@given(every=st.integers(1, 4_000), grid=st.integers(1, 500))
def test_windows_start_on_the_grid_and_keep_their_pace(every, grid):
    found = starts([STREAM], every=every, grid=grid)
    assert all(start % grid == 0 for start in found)
    assert all(0 <= count * every - start < grid for count, start in enumerate(found))


def test_a_window_comes_as_soon_as_its_last_sample_is_there():
    asked = []

    def blocks():
        for place in range(0, STREAM.size, 100):
            asked.append(place + 100)
            yield STREAM[place : place + 100]

    stream = windows(blocks(), 1_250, 500)
    for end in (1_250, 1_750, 2_250):
        assert next(stream).end == end
        assert asked[-1] == -(-end // 100) * 100


def test_a_stream_shorter_than_a_window_gives_none():
    assert starts([STREAM[: SIZE - 1]], every=100) == []
    assert starts([], every=100) == []


def test_samples_between_windows_that_are_far_apart_are_skipped():
    blocks = pieces(STREAM, range(0, STREAM.size, 37))
    for window in windows(blocks, 300, 1_000):
        assert np.array_equal(window.samples, STREAM[window.start : window.end])
    assert starts(blocks, size=300, every=1_000) == list(range(0, 9_000, 1_000))


def test_no_window_reaches_over_a_hole():
    assert starts([STREAM[:1_400], GAP, STREAM[1_400:4_000]], every=500) == [0, "hole", 1_400, 1_900, 2_400]
    before = list(windows([STREAM[:1_255], GAP, STREAM[1_255:3_000]], SIZE, SIZE))
    assert before[0] is GAP
    assert before[1].start == 1_255


def test_windows_begin_anew_after_each_hole():
    stream = [GAP, STREAM[:1_300], GAP, GAP, STREAM[1_300:2_600]]
    assert starts(stream, every=400) == ["hole", 0, "hole", "hole", 1_300]


def test_a_hole_while_samples_are_skipped_ends_the_skipping():
    assert starts([STREAM[:1_000], GAP, STREAM[1_000:2_000]], size=300, every=5_000) == [0, "hole", 1_000]


def test_frames_are_not_taken_over_from_another_place():
    cache = FrameCache(FRONT_END)
    places = (0, 200, 350, 950, 0, 6_000, 6_001, 7_201)
    for start in places:
        window = next(windows([STREAM[start:]], SIZE, SIZE))
        placed = type(window)(window.samples, start)
        assert np.array_equal(cache.features(placed), FRONT_END.mfcc(STREAM[start : start + SIZE]))


def test_features_after_a_hole_are_those_of_what_came_after_it():
    cache = FrameCache(FRONT_END)
    stream = [STREAM[:1_500], GAP, STREAM[3_000:4_600]]
    heard = [window for window in windows(stream, SIZE, 400, grid=200) if window is GAP or cache.features(window).any()]
    assert heard.count(GAP) == 1
    cache, after = FrameCache(FRONT_END), None
    for window in windows(stream, SIZE, 400, grid=200):
        if window is GAP:
            after = 0
            continue
        features = cache.features(window)
        if after is not None:
            begun = 3_000 + after * 400
            assert np.array_equal(features, FRONT_END.mfcc(STREAM[begun : begun + SIZE]))
            after += 1
    assert after == 1


def test_recent_audio_keeps_its_seconds_and_whole_blocks_alone():
    recent, sound = RecentAudio(), np.arange(24, dtype=np.float32)
    recent.seconds = 1.0
    for start in range(0, 24, 4):
        recent.add(sound[start : start + 4], start, 10)
        if start >= 8:
            assert recent.until(start + 4, 10, 10).tolist() == sound[start - 6 : start + 4].tolist()
    # The block from 8 to 12 has ended by 14, where the last second begins.
    assert recent.until(24, 12, 10).tolist() == sound[12:].tolist()
    assert recent.until(24, 13, 10) is None


def test_recent_audio_is_given_from_its_first_to_its_last_sample():
    recent, sound = RecentAudio(), np.arange(20, dtype=np.float32)
    recent.seconds = 2.0
    recent.add(sound, 100, 10)
    assert recent.until(120, 20, 10).tolist() == sound.tolist()
    assert recent.until(119, 20, 10) is None
    assert recent.until(121, 20, 10) is None
    assert recent.until(119, 19, 10).tolist() == sound[:19].tolist()


@pytest.mark.parametrize(("seconds", "given"), [(0.5, True), (0.501, False)])
def test_an_excerpt_at_another_rate_has_a_margin_of_50_milliseconds_at_each_end(seconds, given):
    recent = RecentAudio()
    recent.seconds = 1.0
    recent.add(np.zeros(600, np.float32), 0, 1_000)
    found = recent.until(600, round(seconds * 2_000), 2_000)
    assert (found is not None) is given
    assert not given or found.size == 1_000
