"""Growth is told by a line, and the music that is imported is like no other of it."""

import numpy as np
import pytest
import soundfile

from benchmarks.collection import collection, hisses, tune
from benchmarks.growth import Line
from benchmarks.rows_of_training import told


def test_what_a_start_takes_does_not_count_for_a_track():
    line = Line({10: 7.0, 20: 9.0, 40: 13.0, 80: 21.0})
    assert (line.a_track, line.start, line.r2) == pytest.approx((0.2, 5.0, 1.0))


def test_time_that_grows_with_the_square_is_not_called_linear():
    assert Line({count: count**2.0 for count in (10, 20, 40, 80)}).r2 < 0.97


def test_two_that_share_the_tracks_are_twice_as_quick_however_long_they_take_to_start():
    one, two = ({count: start + track * count for count in (8, 16, 32, 64)} for start, track in ((1, 0.1), (4, 0.05)))
    lines = {
        **dict.fromkeys(("one process", "one Dask worker"), Line(one)),
        **dict.fromkeys(("two processes", "two Dask workers"), Line(two)),
    }
    found = told(lines)
    assert found["two_processes_times_one"] == found["two_workers_times_one"] == 2.0
    assert found["two_processes_times_one_with_start"] == pytest.approx(7.4 / 7.2, abs=0.01)


def test_tunes_are_the_same_each_time_and_unlike_one_another():
    assert np.array_equal(tune(1, 3.0), tune(1, 3.0))
    assert abs(np.corrcoef(tune(1, 3.0), tune(2, 3.0))[0, 1]) < 0.2
    assert np.abs(tune(1, 3.0)).max() <= 1.0


def test_a_collection_has_its_tracks_in_genres(tmp_path):
    made = collection(tmp_path, 4)
    assert [path.parent.name for path in made] == ["genre0", "genre1", "genre2", "genre3"]
    info = soundfile.info(made[0])
    assert (info.duration, info.samplerate, info.channels) == (pytest.approx(30.0), 44_100, 2)
    assert len(list(hisses(tmp_path / "noise", 1).rglob("*.ogg"))) == 1


@pytest.mark.long
def test_an_import_and_a_fit_are_measured_from_end_to_end():
    pytest.importorskip("distributed", reason="needs headnod[dask]")
    pytest.importorskip("tensorflow", reason="needs headnod[train]")
    from benchmarks.rows_of_training import training

    row = training(4, epochs=2)
    assert row.ours > 0
    assert set(row.more["training"]["seconds_by_tracks"]) == {"4", "8", "16", "32"}
    assert row.more["training"]["minutes_to_finish"] > 0
