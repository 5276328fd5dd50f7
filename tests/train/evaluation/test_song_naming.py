"""Songs played whole: every change that a person sees counts, and a new song is timed from its start."""

import numpy as np
import pytest
import soundfile
from rich.console import Console

from headnod.errors import AudioError
from headnod.testing import FixedModel
from headnod_train.evaluation.listener_sounds import SHORTEST, audio_files, song_naming
from support.signals import RATE, music

QUIET = Console(quiet=True)


class Brightness(FixedModel):
    """Names dull music jazz and bright music metal."""

    def __init__(self):
        super().__init__((0.5, 0.5))

    def scores(self, features):
        return np.array((0.9, 0.1) if features[:, 1].mean() > 0 else (0.1, 0.9), np.float32)


def dull(seconds, seed=0):
    return music(seconds, seed=seed)


def bright(seconds, seed=0):
    """Music with its spectrum mirrored."""
    mirrored = music(seconds, seed=seed)
    mirrored[1::2] *= -1.0
    return mirrored


def played(tmp_path, *songs):
    paths = []
    for place, sound in enumerate(songs):
        paths.append(tmp_path / f"{place}.wav")
        soundfile.write(paths[-1], sound, RATE)
    return song_naming(Brightness(), paths, data="music", console=QUIET)


def test_steady_songs_do_not_change_and_new_ones_are_timed_from_their_start(tmp_path):
    found = played(tmp_path, dull(31.0), bright(32.5))
    assert (found.songs, found.orders, found.new_genres) == (2, 10, 10)
    assert (found.genre_changes_per_10_min, found.changes_per_10_min) == (0.0, 0.0)
    assert len(found.seconds) == 10
    # Either song is the second, and its windows begin at another place in it.
    assert len(set(found.seconds)) == 2
    assert {found.median_seconds, found.ninth_decile_seconds} <= set(found.seconds)
    assert 3.0 < found.median_seconds <= found.ninth_decile_seconds <= 11.0


def test_the_first_change_within_a_song_counts_as_every_other_does(tmp_path):
    found = played(tmp_path, np.concatenate([dull(12.0), bright(48.0)]), dull(60.0))
    assert found.minutes == 2.0
    assert found.genre_changes_per_10_min == 5.0


def test_silence_within_a_song_is_a_change_of_what_is_shown_and_not_of_the_genre(tmp_path):
    pause = np.zeros(12 * RATE)
    found = played(tmp_path, np.concatenate([dull(24.0), pause, dull(24.0)]), dull(60.0))
    assert found.genre_changes_per_10_min == 0.0
    assert found.changes_per_10_min == 10.0
    assert found.new_genres == 0
    assert found.median_seconds is None


def test_files_that_are_too_short_or_damaged_are_left_out(tmp_path):
    (tmp_path / "noise.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "one.wav", dull(12.0), RATE)
    soundfile.write(tmp_path / "short.wav", dull(SHORTEST - 0.5), RATE)
    paths = [tmp_path / name for name in ("noise.wav", "one.wav", "short.wav")]
    assert song_naming(Brightness(), paths, data="music", console=QUIET) is None
    soundfile.write(tmp_path / "short.wav", dull(SHORTEST + 0.1), RATE)
    assert song_naming(Brightness(), paths, data="music", console=QUIET).songs == 2


def test_a_file_that_vanishes_after_it_was_played_alone_is_never_named(tmp_path):
    place = tmp_path / "1.wav"

    class Vanishing(Brightness):
        """Deletes the bright file after its first window."""

        def scores(self, features):
            found = super().scores(features)
            if found[1] > 0.5:
                place.unlink(missing_ok=True)
            return found

    soundfile.write(tmp_path / "0.wav", dull(12.0), RATE)
    soundfile.write(place, bright(12.0), RATE)
    found = song_naming(Vanishing(), [tmp_path / "0.wav", place], data="music", console=QUIET)
    # Nothing is heard of it, so the first file is never named after it either when it comes first.
    assert (found.songs, found.orders) == (2, 10)
    assert found.new_genres == 10
    assert found.median_seconds != 0.0


def test_a_folder_that_does_not_exist_is_named_so(tmp_path):
    with pytest.raises(AudioError, match="songs: there is no such folder"):
        audio_files(tmp_path / "songs")


@pytest.mark.parametrize(("songs", "orders"), [(60, 10), (67, 9)])
def test_fewer_orders_are_played_of_many_files(tmp_path, songs, orders):
    soundfile.write(tmp_path / "one.wav", dull(SHORTEST + 0.1), RATE)
    found = song_naming(Brightness(), [tmp_path / "one.wav"] * songs, data="music", console=QUIET)
    assert (found.songs, found.orders, found.new_genres) == (songs, orders, 0)
