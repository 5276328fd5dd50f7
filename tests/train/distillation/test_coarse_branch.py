"""The coarse branch of `genre`, and the filters that it replaces."""

from pathlib import Path

import numpy as np
import pytest

from headnod.audio.audio_file import audio_file
from headnod.inference.model import GenreModel
from headnod.resources import find_model

pytest.importorskip("tensorflow", reason="training needs tensorflow: scripts/setup train")
from headnod_train.backend import tf
from headnod_train.distillation.batches import network_input
from headnod_train.distillation.coarse import CHANNELS, branch_from, coarse_frames, with_branch, without_weakest
from headnod_train.distillation.network import as_tensors, coarse_branch, multiply_adds
from headnod_train.distillation.quantisation import evaluated, standardise
from headnod_train.distillation.window_sets import CLASSES, GENRE, SMALL, WindowSet
from headnod_train.training.fit import read_start

DEMO = Path(__file__).parents[3] / "demo" / "war-of-freedom.ogg"
OFFSET = 2.0
FILTERS = ((7, 38, 4), (7, 67, 2), (128, 1, 1), (64, 1, 2), (32, 1, 2))


@pytest.fixture(scope="module")
def small():
    return find_model("genre-small")


@pytest.fixture(scope="module")
def windows():
    """Windows of the demo clip with both front ends, a quarter of a second apart, first the even ones."""
    arrays = {}
    for name, front in (("16", GENRE), ("22", SMALL)):
        with audio_file(DEMO, front.sample_rate) as blocks:
            audio = np.concatenate(list(blocks))
        step, most = front.sample_rate // 4, max(GENRE.window_seconds, SMALL.window_seconds)
        starts = range(0, audio.size - int(most * front.sample_rate), step)
        found = np.stack([front.log_mel(audio[start : start + front.window_samples]) for start in starts])
        arrays[f"clean{name}"] = arrays[f"degraded{name}"] = np.concatenate([found[::2], found[1::2]])
    count = min(len(each) for each in arrays.values())
    return WindowSet(
        **{name: array[:count].astype(np.float16) for name, array in arrays.items()},
        kind=np.array(["music"] * count),
        track=np.zeros(count, np.int32),
        genre=np.full(count, -1, np.int8),
        yamnet=np.zeros((count, CLASSES), np.float16),
        names=np.array(["demo"]),
    )


@pytest.fixture(scope="module")
def parameters():
    """A small network without the branch."""
    rng = np.random.default_rng(4)

    def normal(*shape):
        return rng.normal(0.0, 1.0, shape)

    p = {"offset": np.array(OFFSET)}
    for place, shape in enumerate(FILTERS):
        p[f"front{place}.kernel"] = normal(*shape) / np.sqrt(shape[0] * shape[1])
        p[f"front{place}.bias"] = 0.3 * normal(shape[2])
    before = sum(filters for *_, filters in FILTERS)
    p |= {"front.scale": np.full(before, 0.25), "front.shift": np.full(before, -0.1)}
    pooled = before
    for number, filters in ((1, 4), (2, 6), (3, 6)):
        p[f"mid{number}.kernel"] = 2.0 * normal(7, before, filters) / np.sqrt(7 * before)
        p[f"mid{number}.bias"] = 0.5 + 0.3 * normal(filters)
        p[f"mid{number}.scale"], p[f"mid{number}.shift"] = rng.uniform(0.2, 0.3, filters), 0.1 * normal(filters)
        before = filters
        pooled += filters
    p |= {"carry.kernel": 0.2 * normal(4, 6), "carry.shift": np.zeros(6)}
    for name, given, made in (("dense", 2 * pooled, 20), ("tags", 20, 50)):
        p[f"{name}.kernel"], p[f"{name}.bias"] = normal(given, made) / np.sqrt(given), 0.3 * np.abs(normal(made))
    return p


def inputs(windows, rows=slice(None)):
    return network_input(windows.clean16[rows], OFFSET)


def fitted_on(windows, rows):
    """The same windows, of which only some are music."""
    kind = np.full(len(windows), "noise")
    kind[rows] = "music"
    return WindowSet(**{**vars(windows), "kind": kind})


def test_the_branch_computes_what_genre_small_computes(small, windows):
    half = len(windows) // 2
    start = read_start(small)
    branch = branch_from(start, fitted_on(windows, slice(half)), OFFSET)
    held_out = slice(half, None)
    maps = coarse_branch(as_tensors(branch), tf.constant(inputs(windows, held_out))).numpy()[:, :, 0]
    assert maps.shape[1:] == (10, CHANNELS)
    found = np.concatenate([maps.mean(axis=1), maps.max(axis=1)], axis=1)
    model = GenreModel.load(small)
    features = model.front_end.cepstra(windows.clean22[held_out].astype(np.float32))
    embedding = np.stack([model.predict(one).embedding for one in features])
    weights = np.abs(start.logits.kernel).sum(axis=1).reshape(2, -1).sum(axis=0)
    kept = np.sort(np.argsort(-weights)[:CHANNELS])
    wanted = embedding[:, np.concatenate([kept, kept + weights.size])]
    # Windows of one song are alike, so the channels are compared, too.
    error = np.square(found - wanted).mean() / wanted.var()
    shifted = np.square(found - np.roll(wanted, 1, axis=1)).mean() / wanted.var()
    assert error < 0.4 < shifted


def test_the_mean_of_a_coarse_frame_is_of_five_frames(windows, small):
    x = inputs(windows, slice(2))
    seen = {}
    branch = branch_from(read_start(small), windows, OFFSET)
    coarse_branch(as_tensors(branch), tf.constant(x), hook=seen.setdefault)
    assert np.allclose(seen["coarse.frames"].numpy()[:, :, 0], coarse_frames(x), atol=1e-5)
    assert np.allclose(seen["coarse.means"].numpy()[:, 0, 0], coarse_frames(x).mean(axis=1), atol=1e-5)
    assert np.allclose(coarse_frames(x)[:, 1], x[:, 5:10].mean(axis=1), atol=1e-6)


def test_a_new_branch_changes_no_output(windows, parameters, small):
    x = inputs(windows, slice(8))
    branched = with_branch(parameters, branch_from(read_start(small), windows, OFFSET))
    before, after = evaluated(parameters, x), evaluated(branched, x)
    assert np.abs(after["tags"] - before["tags"]).max() < 1e-5
    summary = before["summary"].shape[1] + 2 * CHANNELS
    assert after["summary"].shape == (8, summary)
    branched["dense.kernel"][summary // 2 - 1] = 1.0
    assert np.abs(evaluated(branched, x)["tags"] - before["tags"]).max() > 1e-3


def test_the_multiply_adds_of_the_branch_are_counted(windows, parameters, small):
    branch = branch_from(read_start(small), windows, OFFSET)
    added = multiply_adds(with_branch(parameters, branch)) - multiply_adds(parameters)
    seen = {}
    coarse_branch(as_tensors(branch), tf.constant(inputs(windows, slice(1))), hook=seen.setdefault)
    wanted = 38 * branch["coarse0.kernel"].size + 2 * CHANNELS * parameters["dense.kernel"].shape[1]
    for number in range(1, 7):
        _, frames, bands, _ = seen[f"coarse{number}"].shape
        wanted += frames * bands * branch[f"coarse{number}.kernel"].size
    assert added == wanted


@pytest.fixture(scope="module")
def branched(windows, parameters, small):
    """The network with a branch that has influence, standardised."""
    branched = with_branch(parameters, branch_from(read_start(small), windows, OFFSET))
    branched["dense.kernel"] = branched["dense.kernel"] + 0.01
    return standardise(branched, inputs(windows, slice(16)))


def test_the_filter_of_least_influence_is_removed(windows, branched):
    x = inputs(windows, slice(16))
    weak = {name: value.copy() for name, value in branched.items()}
    channels = weak["front.scale"].size
    weak["mid1.kernel"][:, 2] *= 1e-3
    weak["dense.kernel"][[2, 2 + weak["dense.kernel"].shape[0] // 2]] *= 1e-3
    pruned = without_weakest(weak, x, 1)
    assert np.array_equal(pruned["front0.kernel"], np.delete(weak["front0.kernel"], 2, axis=-1))
    assert pruned["front.scale"].size == pruned["mean.front.shift"].size == channels - 1
    exact, found = evaluated(weak, x)["tags"], evaluated(pruned, x)["tags"]
    assert np.abs(found - exact).max() < 0.01 * exact.std()
    assert multiply_adds(pruned) < multiply_adds(weak) - 59 * 187 * 7 * 38


def test_a_removed_filter_is_replaced_by_its_mean(windows, branched):
    x = inputs(windows, slice(16))
    pruned = without_weakest(branched, x, 1)
    exact, found = evaluated(branched, x)["tags"], evaluated(pruned, x)["tags"]
    absent = dict(pruned)
    absent["dense.bias"], absent["mid1.bias"] = branched["dense.bias"], branched["mid1.bias"]
    assert np.square(found - exact).mean() < 0.5 * np.square(evaluated(absent, x)["tags"] - exact).mean()
