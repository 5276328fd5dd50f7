"""An import makes an archive whatever lies in the collection, and does nothing twice."""

import zipfile

import numpy as np
import pytest
import soundfile

from headnod.features.frontend import FrontEnd
from headnod_train.__main__ import main
from headnod_train.dataset.archive import read_archive
from support.dataset_import import TUNES, imported, refused, work


def test_a_collection_becomes_an_archive_that_does_not_leak(music, out, capsys):
    archive = imported(out, music(TUNES), "--valid", "0.25", "--test", "0.25")
    assert list(archive.tracks) == sorted(TUNES)
    assert archive.labels == ("folk", "jazz")
    assert {side: (archive.splits == side).sum() for side in ("train", "valid", "test")} == {
        "train": 8,
        "valid": 4,
        "test": 4,
    }
    for artist in range(7):
        assert len(set(archive.splits[archive.artists == artist])) == 1
    said = capsys.readouterr().out
    assert "folk" in said
    assert str(out) in said


def test_tracks_of_unlike_length_are_padded_and_read_without_the_padding(music, out):
    folder = music({"jazz/long.wav": 1}, seconds=6.0)
    music({"jazz/short.wav": 2}, seconds=3.5)
    archive = imported(out, folder)
    assert archive.frames.tolist() == [77, 44]
    assert not archive.levels[1, 44:].any()
    audio, _ = soundfile.read(folder / "jazz/short.wav", dtype="float32")
    exact = FrontEnd().log_mel(audio)
    assert archive.log_mel(1).shape == exact.shape
    assert np.abs(archive.log_mel(1) - exact)[exact > exact.max() - 80].max() < 0.16


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(music, out, capsys):
    folder = music({"jazz/1.wav": 1, "jazz/2.wav": 2, "folk/1.wav": 3})
    (folder / "jazz/jazz.00054.wav").write_bytes(b"RIFF, or what was left of it")
    (folder / "folk/empty.wav").touch()
    (folder / "polka").mkdir()
    archive = imported(out, folder)
    assert list(archive.tracks) == ["folk/1.wav", "jazz/1.wav", "jazz/2.wav"]
    told = capsys.readouterr()
    assert f"skipped {folder / 'jazz/jazz.00054.wav'}: is not audio that can be read" in told.err
    assert f"skipped {folder / 'folk/empty.wav'}: is empty" in told.err
    assert "there is no genre 'polka'" in told.err
    assert "Traceback" not in told.err


def test_a_collection_of_which_nothing_can_be_used_is_refused(tmp_path, out, capsys):
    (tmp_path / "jazz").mkdir()
    (tmp_path / "jazz/1.wav").write_bytes(b"no music")
    lines = refused(capsys, out, tmp_path)
    assert lines[-1] == f"headnod-train: {tmp_path}: none of its 1 tracks can be used (each is named above)"


def test_one_track_is_imported_and_its_loneliness_told(music, out, capsys):
    archive = imported(out, music({"jazz/1.wav": 1}))
    assert list(archive.splits) == ["train"]
    told = capsys.readouterr().err
    assert "there is one genre, 'jazz'" in told
    assert "no track is in split valid: quantise and pack need one" in told
    assert "split train has 1 windows of 3 s, fewer than a batch (64)" in told


def test_a_second_import_hears_only_what_is_new_or_changed(music, out, capsys):
    folder = music({"jazz/1.wav": 1, "jazz/2.wav": 2})
    imported(out, folder)
    first, before = work(out), out.read_bytes()
    imported(out, folder)
    assert work(out) == first
    assert out.read_bytes() == before
    assert "2 of 2 tracks were extracted before" in capsys.readouterr().err
    former = read_archive(out, FrontEnd())
    music({"jazz/2.wav": 22})
    music({"jazz/3.wav": 3}, seconds=4.0)
    archive = imported(out, folder)
    assert first.items() <= work(out).items()
    assert len(work(out)) == len(first) + 2
    assert archive.frames.tolist() == [64, 64, 51]
    assert np.array_equal(archive.levels[0], former.levels[0])
    assert not np.array_equal(archive.levels[1], former.levels[1])


def test_nothing_in_an_archive_depends_on_when_it_was_made(music, out):
    imported(out, music({"jazz/1.wav": 1}))
    with zipfile.ZipFile(out) as file:
        assert {entry.date_time for entry in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_archives_are_joined_as_they_are(music, tmp_path, out):
    one = imported(tmp_path / "one.npz", music({"jazz/ann/1.wav": 1, "jazz/ann/2.wav": 2}))
    two = imported(tmp_path / "two.npz", music({"folk/ann/3.wav": 3}, seconds=4.0) / "..", "--layout", "folders")
    both = imported(out, tmp_path / "one.npz", tmp_path / "two.npz")
    assert len(both) == len(set(one.tracks) | set(two.tracks))
    row = list(both.tracks).index("jazz/ann/2.wav")
    former = list(one.tracks).index("jazz/ann/2.wav")
    assert np.array_equal(both.log_mel(row), one.log_mel(former))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--lists", "x", "--valid", "0.2"], "--lists assigns every track"),
        (["--valid", "0.6", "--test", "0.4"], "leave no tracks to train on"),
        (["--valid", "1"], "'1' is not a number from 0 to 0.9"),
        (["--seconds", "1"], "'1' is not a number of seconds from 3 to 3600"),
        (["--jobs", "2", "--dask", "tcp://x"], "not allowed with argument"),
        (["--layout", "itunes"], "invalid choice"),
    ],
)
def test_wrong_usage_exits_with_2(capsys, arguments, complaint):
    with pytest.raises(SystemExit) as end:
        main(["import", "music", "--out", "out.npz", *arguments])
    assert end.value.code == 2
    assert complaint in capsys.readouterr().err


def test_an_out_that_is_no_npz_or_the_source_itself_is_refused(capsys, music, out):
    with pytest.raises(SystemExit):
        main(["import", "music", "--out", "archive"])
    assert "does not end with .npz" in capsys.readouterr().err
    imported(out, music({"jazz/1.wav": 1}))
    before = out.read_bytes()
    assert main(["import", str(out), "--out", str(out)]) == 1
    assert "is also the source of this import" in capsys.readouterr().err
    assert out.read_bytes() == before
