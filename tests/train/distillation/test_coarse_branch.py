"""The coarse branch of `genre`, its answers, and the filters that it replaces."""

from pathlib import Path

import numpy as np
import pytest

from headnod.audio.audio_file import audio_file
from headnod.inference.model import GenreModel
from headnod.resources import find_model

pytest.importorskip("tensorflow", reason="training needs tensorflow: scripts/setup train")
from headnod_train.backend import tf
from headnod_train.distillation.answer_layer import LinearAnswers
from headnod_train.distillation.batches import network_input
from headnod_train.distillation.coarse import (
    CHANNELS,
    SHARE,
    answers_of_branch,
    branch_from,
    coarse_frames,
    with_answers,
    with_branch,
    without_shape,
    without_weakest,
)
from headnod_train.distillation.network import as_tensors, coarse_branch, multiply_adds
from headnod_train.distillation.quantisation import evaluated, standardise
from headnod_train.distillation.student import TrainingSet
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


def embedding_of(small, windows):
    """Means, then maxima, of the channels that the branch has, as `genre-small` computes them."""
    model, weights = GenreModel.load(small), np.abs(read_start(small).logits.kernel).sum(axis=1)
    features = model.front_end.cepstra(windows.clean22.astype(np.float32))
    embedding = np.stack([model.predict(one).embedding for one in features])
    kept = np.sort(np.argsort(-weights.reshape(2, -1).sum(axis=0))[:CHANNELS])
    return embedding[:, np.concatenate([kept, kept + weights.size // 2])]


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
    wanted = embedding_of(small, windows)[held_out]
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


def test_a_kernel_shape_is_replaced_by_constants(windows, branched):
    x = inputs(windows, slice(16))
    weak = {name: value.copy() for name, value in branched.items()}
    rows = np.array([7, 8])
    weak["mid1.kernel"][:, rows] *= 1e-3
    weak["dense.kernel"][np.concatenate([rows, rows + weak["dense.kernel"].shape[0] // 2])] *= 1e-3
    pruned = without_shape(weak, x, 3)
    assert (pruned["front3.kernel"].shape, pruned["front3.bias"].shape) == ((64, 1, 0), (0,))
    assert np.array_equal(pruned["front4.kernel"], weak["front4.kernel"])
    assert np.array_equal(pruned["front.scale"], np.delete(weak["front.scale"], rows))
    exact, found = evaluated(weak, x)["tags"], evaluated(pruned, x)["tags"]
    assert np.abs(found - exact).max() < 0.01 * exact.std()
    assert multiply_adds(pruned) < multiply_adds(weak) - 187 * 96 * 64 * 2
    # Filters after it keep their places.
    again = without_shape(pruned, x, 4)
    assert np.array_equal(again["front.scale"], np.delete(weak["front.scale"], [7, 8, 9, 10]))


def in_branch(parameters, x):
    """Maxima, then means, over time of the branch's channels."""
    maps = coarse_branch(as_tensors(parameters), tf.constant(x)).numpy()[:, :, 0]
    return np.concatenate([maps.max(axis=1), maps.mean(axis=1)], axis=1)


def test_the_answers_of_the_branch_are_those_of_the_labels(small, windows):
    model = GenreModel.load(small)
    features = model.front_end.cepstra(windows.clean22.astype(np.float32)).astype(np.float16)
    # The thirds of the song.
    half = len(windows) // 2
    labels = np.arange(len(windows)) % half * 3 // half
    answers, empty = np.eye(4, dtype=np.float32)[labels], np.zeros((len(windows), 0), np.float32)
    archived = TrainingSet(features, features, np.full(len(windows), "gtzan"), answers, empty, empty, ())
    found = answers_of_branch(model, read_start(small), archived, (features[:0], features[:0]))
    assert (found.kernel.shape, found.answers.tolist()) == ((2 * CHANNELS, 3), [0, 1, 2])
    maxima_then_means = np.roll(embedding_of(small, windows), CHANNELS, axis=1)
    assert ((maxima_then_means @ found.kernel + found.bias).argmax(axis=1) == labels).mean() > 0.9


UNUSED = slice(3, 14)


@pytest.fixture(scope="module")
def with_head(branched):
    """The network with a head, in which some numbers of the embedding and of the hidden layer hardly change."""
    rng = np.random.default_rng(6)
    p = {name: value.copy() for name, value in branched.items()}
    for name, given, made in (("hidden", 20, 16), ("answers", 16, 11)):
        p[f"{name}.kernel"] = rng.normal(0.0, 1.0, (given, made))
        p[f"{name}.bias"] = rng.normal(1.0, 1.0, made)
    # What reads them has weights as for the others, so their means count.
    for name in ("dense", "hidden"):
        p[f"{name}.kernel"][:, UNUSED] *= 1e-3
    # No number is always zero.
    p["dense.bias"] += 2.0
    return p


def added(windows, with_head, branch):
    """Change of the logits by the answers of a branch, and its logits, both without their means."""
    x = inputs(windows, slice(16))
    changed = with_answers(with_head, x, branch)
    before, after = evaluated(with_head, x), evaluated(changed, x)
    assert np.abs(after["tags"] - before["tags"]).max() < 0.02
    kept = np.delete(np.arange(20), UNUSED)
    assert np.allclose(after["embedding"][:, kept], before["embedding"][:, kept], atol=1e-4)
    assert {name: value.shape for name, value in changed.items()} == {k: v.shape for k, v in with_head.items()}
    logits = in_branch(with_head, x) @ branch.kernel + branch.bias
    change = after["answers"] - before["answers"]
    return change, logits - logits.mean(axis=1, keepdims=True)


def linear_answers(windows, with_head, size):
    """Logits with a standard deviation of `size`, roughly."""
    pooled = in_branch(with_head, inputs(windows, slice(16)))
    kernel = np.random.default_rng(8).normal(0.0, 1.0, (2 * CHANNELS, 11))
    kernel *= size / (pooled @ kernel).std(axis=0)
    return LinearAnswers(kernel, -pooled.mean(axis=0) @ kernel, np.arange(11))


def test_the_answers_of_the_branch_are_added_in_its_share(windows, with_head):
    change, wanted = added(windows, with_head, linear_answers(windows, with_head, 1.0))
    assert np.abs(wanted).max() < 4.4
    assert np.allclose(change, SHARE / (1.0 - SHARE) * wanted, atol=0.02)


def test_very_small_logits_of_the_branch_are_limited(windows, with_head):
    change, wanted = added(windows, with_head, linear_answers(windows, with_head, 4.0))
    assert wanted.min() < -5.0
    assert np.allclose(change, SHARE / (1.0 - SHARE) * np.clip(wanted, -4.4, 19.6), atol=0.02)


def test_an_answer_that_the_branch_lacks_is_kept(windows, with_head):
    whole = linear_answers(windows, with_head, 1.0)
    partial = LinearAnswers(whole.kernel[:, 1:], whole.bias[1:], whole.answers[1:])
    x = inputs(windows, slice(16))
    before, after = evaluated(with_head, x)["answers"], evaluated(with_answers(with_head, x, partial), x)["answers"]
    assert np.allclose(before[:, 0], after[:, 0], atol=0.02)
    assert np.abs(before[:, 1:] - after[:, 1:]).max() > 0.1
