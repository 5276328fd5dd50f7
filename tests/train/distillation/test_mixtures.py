"""Mixtures of prepared windows, and the predictions of a packed network for them."""

import numpy as np
import pytest
from rich.console import Console
from scipy.fft import idct

from headnod.features.frontend import FrontEnd
from headnod.inference.model import GenreModel
from headnod.resources import find_model
from headnod_train.distillation.mixtures import SETTINGS, MixtureSettings, make_mixtures, predict_power, predict_windows
from headnod_train.distillation.window_sets import CLASSES, GENRE, SMALL, WindowSet

QUIET = Console(quiet=True)
SHORT = FrontEnd(n_mfcc=16)


@pytest.fixture(scope="module")
def teacher():
    return GenreModel.load(find_model("genre-2.2.0"))


def tones():
    """Windows of one band each: music in low bands, noise in the highest."""
    windows = {}
    for name, front in (("clean16", GENRE), ("degraded16", GENRE), ("clean22", SMALL), ("degraded22", SMALL)):
        log_mel = np.full((3, front.frames, front.n_mels), -90, np.float16)
        for place, share in enumerate((0.1, 0.4, 0.9)):
            log_mel[place, :, round(share * front.n_mels)] = -20
        windows[name] = log_mel
    return WindowSet(
        **windows,
        kind=np.array(["music", "gtzan", "noise"]),
        track=np.arange(3, dtype=np.int32),
        genre=np.array([-1, 0, -1], np.int8),
        yamnet=np.zeros((3, CLASSES), np.float16),
        names=np.array(["a", "b", "c"]),
    )


def mixed(folder, teacher, settings=SETTINGS, *, count=6, useful=(True, True, True), seed=1):
    return make_mixtures(
        folder, teacher, tones(), np.array(useful), count,
        front_end=SHORT, settings=settings, seed=seed, console=QUIET,
    )  # fmt: skip


def test_mixtures_depend_on_the_seed_alone_and_are_stored(tmp_path, teacher):
    first, again, other = (mixed(tmp_path / name, teacher, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    np.testing.assert_array_equal(first.clean, again.clean)
    np.testing.assert_array_equal(first.predictions.answers, again.predictions.answers)
    assert not np.array_equal(first.clean, other.clean)
    assert first.clean.shape == first.degraded.shape == (6, 38, 16)
    assert first.predictions.embedding.shape[0] == 6
    # Read from the folder: another seed changes nothing.
    np.testing.assert_array_equal(mixed(tmp_path / "a", teacher, seed=9).clean, first.clean)


def test_the_softer_sound_is_softer_by_its_level(tmp_path, teacher):
    only = {"first": {"music": 1.0}, "second": {"noise": 1.0}, "equalise": 0.0, "noisy": 0.0}
    whole = FrontEnd(n_mfcc=128)
    levels = {}
    for level in (-4.0, -24.0):
        settings = MixtureSettings(**only, other_level=(level, level))
        found = make_mixtures(
            tmp_path / str(level), teacher, tones(), np.ones(3, bool), 1,
            front_end=whole, settings=settings, seed=1, console=QUIET,
        )  # fmt: skip
        bands = idct(found.clean[0].astype(np.float32), norm="ortho")
        levels[level] = bands[0, round(0.9 * 128)] - bands[0, round(0.1 * 128)]
    assert levels[-4.0] == pytest.approx(-4.0, abs=0.3)
    assert levels[-24.0] == pytest.approx(-24.0, abs=0.3)


def test_windows_that_are_not_useful_are_in_no_mixture(tmp_path, teacher):
    settings = MixtureSettings(first={"music": 0.5, "gtzan": 0.5}, second={"music": 1.0}, equalise=0.0, noisy=0.0)
    found = mixed(tmp_path, teacher, settings, useful=(True, False, True))
    # Only one window is left to be both sounds.
    np.testing.assert_allclose(found.clean, np.broadcast_to(found.clean[:1], found.clean.shape), atol=0.1)


def test_predictions_for_windows_are_those_of_the_network(tmp_path, teacher):
    windows = tones()
    power = np.power(10.0, windows.clean16.astype(np.float32) / 10.0)
    found = predict_windows(tmp_path, teacher, windows, QUIET)
    direct = predict_power(teacher, power)
    np.testing.assert_allclose(found.answers, direct.answers, atol=1e-6)
    np.testing.assert_allclose(found.answers.sum(axis=1), 1.0, atol=1e-4)
    assert found.answers.shape == (3, 11)
    assert found.tags.shape == (3, 50)
