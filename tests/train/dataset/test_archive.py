"""The archive is read as it was written, or refused by name."""

import dataclasses

import numpy as np
import pytest

from headnod.features.frontend import FrontEnd
from headnod_train.dataset.archive import ArchiveError, read_archive, window_features, window_starts
from support.tones import GENRES, tone, tone_arrays, write_tones

FRONT_END = FrontEnd(n_mfcc=20)


@pytest.fixture
def path(tmp_path):
    return write_tones(tmp_path / "tones.npz", FRONT_END)


def test_the_archive_gives_the_features_of_the_audio(path):
    archive = read_archive(path, FRONT_END)
    audio = tone("low", 3, FRONT_END)
    track = list(archive.tracks).index("low.3")
    heard = FRONT_END.mfcc(audio[: FRONT_END.window_samples])
    stored = FRONT_END.cepstra(archive.windows(track, FRONT_END)[0])
    assert np.abs(heard - stored).max() < 2.0
    assert np.corrcoef(heard.ravel(), stored.ravel())[0, 1] > 0.999


def test_labels_are_the_genres_in_order_and_targets_their_places(path):
    archive = read_archive(path, FRONT_END)
    assert archive.labels == GENRES
    assert archive.targets(GENRES).tolist() == [0] * 6 + [1] * 6 + [2] * 6


def test_windows_start_every_three_seconds_and_end_inside_the_track():
    assert window_starts(387, FRONT_END) == [0, 39, 77, 116, 155, 194, 232, 271, 310, 349]
    assert window_starts(38, FRONT_END) == [0]
    assert window_starts(37, FRONT_END) == []


def test_every_window_knows_its_track(path):
    valid = read_archive(path, FRONT_END).subset("valid")
    features, tracks = window_features(valid, FRONT_END)
    assert features.shape == (24, FRONT_END.frames, FRONT_END.n_mfcc)
    assert tracks.tolist() == np.repeat(np.arange(6), 4).tolist()


def test_an_empty_side_is_refused_with_those_that_are_there(path):
    with pytest.raises(ArchiveError, match=r"split 'test' \(it has train, valid\)"):
        read_archive(path, FRONT_END).subset("test")


def test_a_genre_that_the_model_does_not_know_is_named(path):
    with pytest.raises(ArchiveError, match="genre 'noisy' of the archive"):
        read_archive(path, FRONT_END).targets(("high", "low"))


ARRAYS = tone_arrays(FRONT_END)
FRAMES = np.array([60, 38] + [ARRAYS["levels"].shape[1]] * 16, np.int32)


def test_padding_is_no_part_of_a_track(tmp_path):
    whole = read_archive(write_tones(tmp_path / "whole.npz", FRONT_END), FRONT_END)
    padded = read_archive(write_tones(tmp_path / "padded.npz", FRONT_END, frames=FRAMES), FRONT_END)
    assert [len(padded.log_mel(track)) for track in range(18)] == FRAMES.tolist()
    assert np.array_equal(padded.log_mel(0), whole.log_mel(0)[:60])


def test_windows_are_heard_as_far_as_each_track_goes(tmp_path):
    archive = read_archive(write_tones(tmp_path / "tones.npz", FRONT_END, frames=FRAMES), FRONT_END)
    _, tracks = window_features(archive, FRONT_END)
    assert np.bincount(tracks).tolist() == [1, 1] + [4] * 16


def test_a_track_that_fills_no_window_is_named_instead_of_left_out(path):
    archive = read_archive(path, FRONT_END)
    short = dataclasses.replace(archive, frames=np.full(18, 37, np.int32))
    with pytest.raises(ArchiveError, match=r"track high\.0 has 37 frames, a window needs 38"):
        window_features(short, FRONT_END)


def test_what_an_archive_does_not_say_has_its_plain_meaning(path):
    archive = read_archive(path, FRONT_END)
    assert archive.frames.tolist() == [archive.levels.shape[1]] * 18
    assert archive.albums.tolist() == archive.groups.tolist() == [-1] * 18
    assert not archive.leaky


def test_rows_are_chosen_by_mask_or_by_place_with_all_that_is_known_of_them(tmp_path):
    more = {"album": np.arange(18, dtype=np.int32), "group": np.arange(18, dtype=np.int32) // 2}
    path = write_tones(tmp_path / "tones.npz", FRONT_END, frames=FRAMES, leaky=np.array(True), **more)
    archive = read_archive(path, FRONT_END)
    rows = np.array([3, 1])
    chosen = archive.chosen(rows)
    assert chosen.leaky
    for field in dataclasses.fields(archive):
        if field.name not in {"leaky", "front_end"}:
            assert np.array_equal(getattr(chosen, field.name), getattr(archive, field.name)[rows]), field.name
    assert archive.chosen(archive.splits == "valid").tracks.tolist() == archive.subset("valid").tracks.tolist()


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"levels": None}, "levels is not a file"),
        ({"levels": ARRAYS["levels"].astype(np.float32)}, "not a log-mel archive"),
        ({"levels": ARRAYS["levels"][0]}, "levels has shape"),
        (
            {"levels": ARRAYS["levels"][:, :, :64]},
            "64 mel bands, the front end of the model computes 128 .*import --front-end",
        ),
        ({"genre": ARRAYS["genre"][:-1]}, "genre has shape"),
        ({"artist": np.array(3, np.int32)}, "artist has shape"),
        ({"floor_db": np.full(18, np.nan, np.float32)}, "floor_db is not finite"),
        ({"range_db": np.zeros(18, np.float32)}, "floor_db is not finite"),
        ({"track": np.array([{}] * 18, dtype=object)}, "not a log-mel archive"),
        ({"first_sample": ARRAYS["first_sample"] // 3}, "569 samples apart, those of the front end 1708"),
        ({"frames": np.full(18, 37, np.int32)}, "track high.0 has 37 frames, it must have from 38 \\(a window\\) to"),
        ({"frames": np.full(18, 999, np.int32)}, "track high.0 has 999 frames"),
        ({"frames": np.array([50], np.int32)}, "frames has shape"),
        ({"group": np.zeros((18, 2), np.int32)}, "group has shape"),
        (
            {"levels": ARRAYS["levels"][:, :20], "first_sample": ARRAYS["first_sample"][:, :20]},
            "20 frames are shorter than a window of 38",
        ),
    ],
)
def test_an_archive_that_does_not_fit_is_refused_by_field(tmp_path, changed, complaint):
    path = write_tones(tmp_path / "broken.npz", FRONT_END, **changed)
    with pytest.raises(ArchiveError, match=complaint) as refusal:
        read_archive(path, FRONT_END)
    assert str(path) in str(refusal.value)


def test_no_damage_to_the_file_escapes_as_another_error(path):
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [b"", b"genre,track\n", whole[: len(whole) // 2], whole[:-30]]
    places = rng.integers(len(whole), size=40)
    damaged += [whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :] for place in places]
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            read_archive(path, FRONT_END)
        except ArchiveError:
            refused += 1
    assert refused >= 30


def test_an_absent_archive_is_named(tmp_path):
    with pytest.raises(ArchiveError, match=r"nowhere\.npz: No such file"):
        read_archive(tmp_path / "nowhere.npz", FRONT_END)
