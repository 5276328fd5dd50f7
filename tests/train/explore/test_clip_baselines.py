"""Published networks and bundles as baselines on audio clips of the evaluated tracks."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from headnod_train.__main__ import main
from headnod_train.dataset.archive import Archive

pytest.importorskip("sklearn", reason="baselines need scikit-learn: scripts/setup train")
from headnod_train.explore.baselines import (
    ClipMethod,
    ComparisonError,
    compare_on_clips,
    cut,
    find_track_clips,
    yamnet_method,
)

TEACHERS = Path(__file__).parents[4] / "shared" / "data" / "teachers"
CLIPS = Path(__file__).parents[4] / "shared" / "data" / "gtzan" / "audio"
QUIET = Console(quiet=True)
LABELS = ("jazz", "rock")


@pytest.fixture
def archive():
    tracks = np.array(["jazz.00001", "rock.00001", "rock.00002"])
    return Archive(
        np.full((3, 40, 128), 100, np.uint8), np.full(3, -60, np.float32), np.full(3, 80, np.float32), tracks,
        np.array(["jazz", "rock", "rock"]), np.array(["valid"] * 3), np.arange(3, dtype=np.int32),
    )  # fmt: skip


def write_clip(path, seconds=1.0, rate=16_000):
    soundfile.write(path, np.sin(np.arange(int(seconds * rate)) * 0.2) * 0.3, rate)
    return path


def test_clips_are_matched_to_tracks_by_name(archive, tmp_path):
    write_clip(tmp_path / "rock.00002.wav")
    write_clip(tmp_path / "another.wav")
    assert find_track_clips(tmp_path, archive) == {2: tmp_path / "rock.00002.wav"}
    with pytest.raises(ComparisonError, match="no file has the name of one of the 2 tracks"):
        find_track_clips(tmp_path, archive.chosen(np.array([0, 1])))


@pytest.mark.parametrize(
    ("samples", "starts"), [(50, [0]), (300, [0]), (349, [0]), (351, [0, 51]), (600, [0, 300]), (700, [0, 300, 400])]
)
def test_a_clip_is_cut_as_the_device_cuts_a_file(samples, starts):
    found = cut(np.arange(samples, dtype=np.float32), 300, 300)
    assert [int(window[0]) for window in found] == starts
    assert {window.size for window in found} == {300}


def test_rows_count_windows_and_clips_of_the_right_track(archive, tmp_path):
    clips = {row: write_clip(tmp_path / f"{row}.wav") for row in (1, 2)}
    answers = {"1.wav": [[0.4, 0.6], [0.4, 0.6], [0.9, 0.1]], "2.wav": [[0.2, 0.8]]}
    method = ClipMethod("fixed", lambda path: np.array(answers[path.name], np.float32), {"C": 0.5})
    (row,) = compare_on_clips(archive, clips, [method], labels=LABELS, console=QUIET)
    assert (row.method, row.settings) == ("fixed", {"C": 0.5})
    assert (row.windows.count, row.windows.accuracy) == (4, 0.75)
    # One confident window outweighs two uncertain ones.
    assert (row.tracks.count, row.tracks.accuracy) == (2, 0.5)


def test_a_clip_that_cannot_be_read_is_left_out_and_named(archive, tmp_path, capsys):
    from headnod_train.degradation import read_all

    (tmp_path / "damaged.wav").write_bytes(b"RIFF damaged")
    clips = {0: tmp_path / "damaged.wav", 1: write_clip(tmp_path / "good.wav")}

    def scores(path):
        return np.array([[0.1, 0.9]] * min(read_all(path, 16_000).size, 1), np.float32)

    (row,) = compare_on_clips(
        archive, clips, [ClipMethod("fixed", scores, {})], labels=LABELS, console=Console(stderr=True)
    )
    assert row.tracks.count == 1
    assert "left out: " in capsys.readouterr().err
    with pytest.raises(ComparisonError, match="none of the 1 clips could be read"):
        compare_on_clips(archive, {0: clips[0]}, [ClipMethod("fixed", scores, {})], labels=LABELS, console=QUIET)


@pytest.mark.skipif(not TEACHERS.is_dir(), reason="needs YAMNet in ../shared/data/teachers")
def test_yamnet_names_genres_without_training():
    files = TEACHERS / "yamnet.tflite", TEACHERS / "yamnet.csv"
    method = yamnet_method(*files, ("classical", "metal"))
    for genre, column in (("classical", 0), ("metal", 1)):
        clips = sorted(CLIPS.rglob(f"{genre}.*"))[:5]
        scores = [method.scores(clip) for clip in clips]
        assert all(np.allclose(each.sum(axis=1), 1.0, atol=1e-5) for each in scores)
        assert sum(int(each.mean(axis=0).argmax() == column) for each in scores) >= 4
    with pytest.raises(ComparisonError, match="no class for polka"):
        yamnet_method(*files, ("polka",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tags", "tags.npz"], "need --clips"),
        (["--clips", "audio", "--yamnet", "yamnet.tflite"], "both --yamnet"),
    ],
)
def test_options_that_need_others_are_refused(options, message, tmp_path, capsys):
    assert main(["baselines", "--data", str(tmp_path / "any.npz"), *options]) == 1
    assert message in capsys.readouterr().err.replace("\n", " ")


def test_tags_of_evaluated_tracks_are_not_learned_from(archive, tmp_path):
    from headnod_train.distillation.tagging import TaggerError
    from headnod_train.distillation.targets import read_tags

    path = tmp_path / "tags.npz"
    np.savez(path, tags=np.full((4, 50), 0.5, np.float16), track=np.repeat(archive.tracks[:2], 2))
    divided = dataclasses.replace(archive, splits=np.array(["train", "valid", "valid"]))
    rows, genres, _ = read_tags(path, divided.subset("train"), LABELS)
    assert (len(rows), genres.tolist()) == (2, [0, 0])
    with pytest.raises(TaggerError, match=r"has no track of the train split \(its first is 'jazz.00001'\)"):
        read_tags(path, archive.chosen(np.array([2])), LABELS)
