"""An archive is made for a model, says by which front end, and serves no other."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="only LiteRT brings the format's own writer")

from headnod.audio.audio_file import audio_file
from headnod.features.frontend import FrontEnd
from headnod.resources import find_model
from headnod_train.__main__ import main
from headnod_train.dataset.archive import ArchiveError, read_archive, window_features
from support.bundles import TAGGER
from support.dataset_import import TUNES, imported
from support.multi_output_bundle import write


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write(tmp_path_factory.mktemp("bundle") / "fixed-1.0.0", TAGGER)


@pytest.fixture
def archive(music, out, bundle):
    folder = music(TUNES)
    command = ["import", str(folder), "--out", str(out), "--jobs", "1", "--front-end", str(bundle), "--valid", "0.25"]
    assert main(command) == 0
    return folder, out


def test_windows_of_the_archive_are_those_that_the_model_hears(archive):
    folder, out = archive
    read = read_archive(out, TAGGER)
    assert read.front_end == TAGGER
    features, tracks = window_features(read, TAGGER)
    assert features.shape[1:] == (187, 96)
    name = str(read.tracks[tracks[0]]).removesuffix(".wav")
    (path,) = (each for each in folder.rglob("*.wav") if str(each.with_suffix("")).endswith(name))
    with audio_file(path, 16_000) as blocks:
        heard = TAGGER.mfcc(np.concatenate(list(blocks))[read.first_samples[tracks[0], 0] :][: TAGGER.window_samples])
    # Eight bits are steps of 0.31 dB, and end 80 dB under the loudest cell of the track.
    assert np.abs(features[0] - heard).max() < 0.05


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"sample_rate": 22_050}, "its sample_rate is 16000, the model's 22050"),
        ({"f_max": 7_000.0}, "its f_max is 8000.0, the model's 7000.0"),
        ({"mel_scale": "htk"}, "its mel_scale is slaney, the model's htk"),
        ({"mel_norm": "none"}, "its mel_norm is area, the model's none"),
        ({"hop": 250}, "its hop is 256, the model's 250"),
    ],
)
def test_a_model_of_another_front_end_refuses_it_by_name(archive, change, complaint):
    with pytest.raises(ArchiveError, match=complaint) as caught:
        read_archive(archive[1], dataclasses.replace(TAGGER, **change))
    assert "(make an archive for this model: headnod-train import --front-end)" in str(caught.value)


def test_what_is_done_to_decibels_later_may_differ(archive):
    other = dataclasses.replace(TAGGER, n_mfcc=96, level_db=3.0, floor_db=-120.0, frames=100)
    assert len(read_archive(archive[1], other)) == len(TUNES)


def test_fit_and_evaluate_refuse_it_by_name(archive, tmp_path, capsys):
    assert main(["fit", "--data", str(archive[1]), "--run", str(tmp_path / "run"), "--epochs", "1"]) == 1
    assert main(["evaluate", str(find_model("genre-1.0.0")), "--data", str(archive[1])]) == 1
    said = capsys.readouterr().err
    assert said.count("was computed by another front end: its sample_rate is 16000, the model's 22050") == 2


def test_an_archive_without_a_word_of_its_front_end_trains_the_old_kind(music, out, tmp_path):
    read = imported(out, music(TUNES))
    assert read.front_end == FrontEnd()
    with np.load(out) as arrays:
        kept = {name: arrays[name] for name in arrays if name != "front_end"}
    np.savez_compressed(tmp_path / "old.npz", **kept)
    assert read_archive(tmp_path / "old.npz", FrontEnd()).front_end is None
    with pytest.raises(ArchiveError, match=r"mel bands|samples apart"):
        read_archive(tmp_path / "old.npz", TAGGER)


def test_an_archive_that_lies_about_its_front_end_is_refused(archive, tmp_path):
    with np.load(archive[1]) as arrays:
        kept = dict(arrays)
    for text in ("{", '{"sample_rate": 3}', "x" * 1000):
        np.savez_compressed(tmp_path / "bad.npz", **kept | {"front_end": np.array(text)})
        with pytest.raises(ArchiveError, match=r"bad\.npz: is not a log-mel archive, or is damaged"):
            read_archive(tmp_path / "bad.npz", TAGGER)
