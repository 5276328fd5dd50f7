"""Which side of the split a track is on: given by lists, or drawn so that nothing alike stands on two."""

import numpy as np
import pytest
import soundfile

from headnod.features.frontend import FrontEnd
from headnod_train.dataset.archive import read_archive
from headnod_train.dataset.importing import remarks
from headnod_train.dataset.tracks import Collection
from support.dataset_import import TUNES, imported, refused
from support.tones import tone_arrays

from .conftest import RATE, tune


def test_a_copy_stays_on_the_side_of_its_original_and_wrong_labels_are_reported(music, out, capsys):
    folder = music(TUNES, seconds=8.0)
    audio = tune(TUNES["folk/ann/1.wav"], 8.0)
    soundfile.write(folder / "jazz" / "copy.ogg", 0.2 * audio[RATE // 3 :], RATE)
    for seed in range(5):
        archive = imported(out, folder, "--seed", seed, "--valid", "0.3")
        alike = archive.groups >= 0
        assert sorted(archive.tracks[alike]) == ["folk/ann/1.wav", "jazz/copy.ogg"]
        assert len(set(archive.splits[alike])) == 1
    told = capsys.readouterr().err
    assert "the same recording: folk/ann/1.wav, jazz/copy.ogg, labelled folk and jazz" in told


def test_the_leaky_split_is_made_of_segments_and_says_so(music, out, capsys):
    archive = imported(out, music(TUNES, seconds=9.5), "--leaky", "--valid", "0.25")
    assert archive.leaky
    assert archive.levels.shape == (16 * 3, 38, 128)
    assert len(set(archive.tracks)) == 16
    assert (archive.splits == "valid").sum() == 12
    assert any(len(set(archive.splits[archive.tracks == track])) > 1 for track in archive.tracks)
    assert archive.first_samples[:3, 0].tolist() == [0, 39 * 1708, 77 * 1708]
    assert "LEAKY" in capsys.readouterr().out


def test_given_lists_are_kept_and_tracks_on_none_belong_to_no_side(music, out, tmp_path, capsys):
    folder = music({f"blues.0000{n}.wav": n for n in range(4)})
    (tmp_path / "train.txt").write_text("blues.00000\nblues.00001\n")
    (tmp_path / "valid.txt").write_text("blues.00002\nblues.00009\n")
    archive = imported(out, folder, "--lists", tmp_path)
    assert list(archive.splits) == ["train", "train", "valid", "unused"]
    assert "1 listed tracks are not in the collection, such as blues.00009" in capsys.readouterr().err


def test_given_sides_that_leak_are_refused_before_anything_is_heard(music, out, tmp_path, capsys):
    folder = music({"1.wav": 1, "2.wav": 2})
    table = tmp_path / "list.csv"
    rows = "".join(f"{folder}/{n}.wav,jazz,Miles,{side}\n" for n, side in ((1, "train"), (2, "valid")))
    table.write_text("path,genre,artist,split\n" + rows)
    lines = refused(capsys, out, table)
    assert "artist 0 is in several splits: train, valid, such as" in lines[0]
    assert not out.with_name("out.npz.work").exists()


def test_given_sides_with_a_copy_on_both_are_refused(music, out, tmp_path, capsys):
    folder = music({"1.wav": 1, "2.wav": 1, "3.wav": 3})
    table = tmp_path / "list.csv"
    rows = "".join(f"{folder}/{n}.wav,jazz,{side}\n" for n, side in ((1, "train"), (2, "valid"), (3, "valid")))
    table.write_text("path,genre,split\n" + rows)
    assert "duplicate group 0 is in several splits: train, valid" in refused(capsys, out, table)[-1]
    table.write_text("path,genre,split\n" + rows.replace("2.wav,jazz,valid", "2.wav,jazz,unused"))
    assert list(imported(out, table).splits) == ["train", "unused", "valid"]


@pytest.mark.parametrize(("tracks", "told"), [(15, True), (16, False)])
def test_fewer_windows_than_a_training_step_takes_are_reported(tmp_path, tracks, told):
    front_end = FrontEnd()
    arrays = tone_arrays(front_end, train=tracks, valid=0)
    np.savez(tmp_path / "tones.npz", **{name: array[:tracks] for name, array in arrays.items()})
    archive = read_archive(tmp_path / "tones.npz", front_end)
    said = [remark for remark in remarks(archive, Collection(()), front_end) if "fewer than a batch" in remark]
    assert bool(said) == told


def test_the_way_out_of_archives_that_leak_together_is_the_one_that_is_named(music, out, tmp_path, capsys):
    one = tmp_path / "one.npz"
    imported(one, music({f"jazz/{n}.wav": n for n in range(6)} | {f"folk/{n}.wav": 10 + n for n in range(6)}))
    two = tmp_path / "two.npz"
    arrays = dict(np.load(one))
    arrays |= {"track": np.char.add("copy of ", arrays["track"]), "split": np.roll(arrays["split"], 1)}
    np.savez(two, **arrays)
    said = refused(capsys, out, one, two)[-1]
    assert "is in several splits" in said
    assert "split anew: import it with --valid 0.15 --test 0.15" in said
    archive = imported(out, one, two, "--valid", "0.15", "--test", "0.15")
    assert len(archive) == 24
