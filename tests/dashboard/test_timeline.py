from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from headnod.dashboard.listener_state import RUNS, SPAN, Timeline

JAZZ, METAL = 2, 3
NOON = 1_800_000_000

spans = st.tuples(st.integers(0, 4000), st.integers(0, 300), st.integers(0, 3))


def runs(timeline):
    """Start, end and genre of every run."""
    told, time = [], 0
    numbers = iter(timeline.runs())
    for pause, length, genre in zip(numbers, numbers, numbers, strict=True):
        start = time + pause
        time = start + length
        told.append((start, time, genre))
    return told


def test_what_is_heard_on_and_on_is_one_run():
    timeline = Timeline()
    for end in range(3, 31, 3):
        timeline.add(end - 3, end, JAZZ)
    assert runs(timeline) == [(0, 30, JAZZ)]
    assert timeline.since == 0


def test_another_genre_begins_another_run():
    timeline = Timeline()
    timeline.add(0, 3, JAZZ)
    timeline.add(3, 6, METAL)
    assert runs(timeline) == [(0, 3, JAZZ), (3, 6, METAL)]
    assert timeline.since == 3


def test_a_short_hole_does_not_part_a_run_and_a_long_one_does():
    timeline = Timeline()
    timeline.add(0, 3, JAZZ, slack=10)
    timeline.add(13, 16, JAZZ, slack=10)
    timeline.add(27, 30, JAZZ, slack=10)
    assert runs(timeline) == [(0, 16, JAZZ), (27, 30, JAZZ)]


def test_what_comes_late_takes_its_place_and_closes_the_hole():
    timeline = Timeline()
    timeline.add(0, 3, JAZZ)
    timeline.add(9, 12, JAZZ)
    assert timeline.add(3, 6, METAL)
    assert timeline.add(6, 9, JAZZ)
    assert runs(timeline) == [(0, 3, JAZZ), (3, 6, METAL), (6, 12, JAZZ)]


def test_what_comes_twice_changes_nothing():
    timeline = Timeline()
    timeline.add(0, 3, JAZZ)
    before = runs(timeline)
    assert not timeline.add(0, 3, METAL)
    assert runs(timeline) == before


@given(st.lists(spans, max_size=60))
def test_runs_are_in_order_and_never_overlap(heard):
    timeline = Timeline()
    for start, length, genre in heard:
        timeline.add(start, start + length, genre, slack=5)
    told = runs(timeline)
    assert all(start < end for start, end, _ in told)
    assert all(one[1] <= other[0] for one, other in pairwise(told))


@given(st.lists(spans, max_size=60), st.randoms(use_true_random=False))
def test_without_disagreement_the_order_of_arrival_does_not_matter(heard, random):
    cells = {start: genre for start, _, genre in heard}
    in_order, shuffled = Timeline(), Timeline()
    for start in sorted(cells):
        in_order.add(start, start + 1, cells[start])
    for start in random.sample(sorted(cells), len(cells)):
        shuffled.add(start, start + 1, cells[start])
    assert runs(shuffled) == runs(in_order)


def test_a_listener_that_flickers_for_hours_stays_within_bounds():
    timeline = Timeline()
    for step in range(7200):
        timeline.add(3 * step, 3 * step + 3, step % 2 + 2)
    told = runs(timeline)
    assert len(told) <= RUNS
    assert (told[0][0], told[-1][1]) == (0, 21_600)
    assert sum(end - start for start, end, _ in told) == 21_600


def test_the_latest_run_is_never_swallowed():
    timeline = Timeline()
    for step in range(RUNS + 50):
        timeline.add(100 * step, 100 * step + 99, step % 2 + 2)
    timeline.add(90_000, 90_001, JAZZ)
    assert runs(timeline)[-1] == (90_000, 90_001, JAZZ)


def test_what_is_older_than_the_timeline_is_forgotten():
    timeline = Timeline()
    timeline.add(NOON - SPAN - 100, NOON - SPAN - 50, JAZZ)
    timeline.add(NOON - SPAN - 10, NOON - SPAN + 10, METAL)
    timeline.prune(NOON)
    assert runs(timeline) == [(NOON - SPAN - 10, NOON - SPAN + 10, METAL)]


def test_a_clock_that_was_set_back_leaves_no_future():
    timeline = Timeline()
    timeline.add(NOON + 5000, NOON + 5003, JAZZ)
    timeline.prune(NOON)
    assert len(timeline) == 0
    assert timeline.since is None
