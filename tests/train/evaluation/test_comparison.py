"""Two models on the same music: McNemar's test counts where they differ."""

import numpy as np
import pytest
from rich.console import Console

from headnod.errors import ManifestError
from headnod.features.frontend import FrontEnd
from headnod_train.dataset.archive import read_archive
from headnod_train.evaluation.evaluate import evaluate, float_model_of, paired_test
from headnod_train.evaluation.results import EvaluationError
from support.tones import FRONT_END, Nearest, write_tones

QUIET = Console(quiet=True)


class Deaf(Nearest):
    """Knows two genres and calls the third by the first."""

    def logits(self, features):
        logits = super().logits(features)
        return np.where(np.arange(3) == 2, -100.0, logits).astype(np.float32)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return read_archive(write_tones(tmp_path_factory.mktemp("tones") / "tones.npz", FRONT_END), FRONT_END)


def compared(archive, model, other):
    return evaluate(model, archive, data="tones", split="valid", console=QUIET, other=other).against


def test_answers_that_one_alone_had_right_are_counted(archive):
    found = compared(archive, Nearest(archive), Deaf(archive))
    assert (found.by_tracks.this_only, found.by_tracks.other_only, found.by_tracks.p) == (2, 0, 0.5)
    assert (found.by_windows.this_only, found.by_windows.other_only) == (8, 0)
    assert (found.by_windows_of_tracks.this_only, found.by_windows_of_tracks.other_only) == (2, 0)
    assert found.windows.accuracy == pytest.approx(2 / 3, abs=1e-4)


def test_a_model_does_not_differ_from_itself(archive):
    found = compared(archive, Nearest(archive), Nearest(archive))
    assert [each.p for each in (found.by_tracks, found.by_windows, found.by_windows_of_tracks)] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("one", "other", "p"),
    [(0, 0, 1.0), (3, 3, 1.0), (5, 0, 2 / 32), (2, 10, 158 / 4096), (40, 41, 1.0), (2500, 2900, 5.57e-8)],
)
def test_p_is_the_probability_of_a_split_as_uneven(one, other, p):
    right = np.arange(one + other) < one
    found, mirrored = paired_test(right, ~right), paired_test(~right, right)
    assert found.p == mirrored.p == pytest.approx(p, rel=5e-3)
    assert (found.this_only, found.other_only) == (one, other)


def test_models_of_other_windows_are_not_compared(archive):
    shorter = Nearest(archive, front_end=FrontEnd(n_mfcc=20, frames=20))
    with pytest.raises(EvaluationError, match=r"has windows of 20 frames and 128 bands, .* of 38 and 128"):
        compared(archive, Nearest(archive), shorter)


def test_a_float_file_that_is_none_is_named(archive, tmp_path):
    with pytest.raises(EvaluationError, match=r"float\.tflite: No such file"):
        float_model_of(Nearest(archive), tmp_path / "float.tflite")
    (tmp_path / "float.tflite").write_bytes(b"no network")
    with pytest.raises(ManifestError, match=r"float\.tflite: .*refuses"):
        float_model_of(Nearest(archive), tmp_path / "float.tflite")
