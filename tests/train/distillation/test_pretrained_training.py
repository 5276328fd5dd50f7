"""Training of the layers above the first, on its stored outputs."""

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

pytest.importorskip("tensorflow", reason="training needs tensorflow: scripts/setup train")
from headnod_train.backend import tf
from headnod_train.distillation.batches import (
    Augmentation,
    AugmentedWindows,
    Batches,
    Distillation,
    Targets,
    in_simulated_rooms,
    measured_rooms,
    stored_outputs,
)
from headnod_train.distillation.distil import distil, read_trained
from headnod_train.distillation.network import as_tensors, coarse_branch, first_layer, forward, upper_layers
from headnod_train.distillation.quantisation import evaluated, separate, standardise
from headnod_train.distillation.window_sets import CLASSES, GENRE, SMALL, WindowSet
from headnod_train.storage import write_npz
from headnod_train.training.run_folder import RunError

FILTERS = ((7, 38, 3), (7, 67, 2), (128, 1, 1), (64, 1, 2), (32, 1, 2))
PATCHES = ((3, 3, 1, 4), (3, 3, 4, 6), (3, 3, 6, 6), (3, 3, 6, 8), (3, 3, 8, 8), (1, 7, 8, 3))
FRONT = sum(filters for *_, filters in FILTERS)
CONSOLE = Console(quiet=True)
SETTINGS = Distillation(steps=6, batch=8, epoch=3, seed=3)


@pytest.fixture(scope="module")
def network():
    """A small network with every layer, equalised in the rough."""
    rng = np.random.default_rng(1)

    def normal(*shape):
        return rng.normal(0.0, 1.0, shape)

    p = {"offset": np.array(2.0)}
    for place, shape in enumerate(FILTERS):
        p[f"front{place}.kernel"] = 1.5 * normal(*shape) / np.sqrt(shape[0] * shape[1])
        p[f"front{place}.bias"] = 0.3 * normal(shape[2])
    p |= {"front.scale": np.full(FRONT, 0.25), "front.shift": np.full(FRONT, -0.1)}
    before = FRONT
    for number, filters in ((1, 4), (2, 6), (3, 6)):
        p[f"mid{number}.kernel"] = 3.0 * normal(7, before, filters) / np.sqrt(7 * before)
        p[f"mid{number}.bias"] = 0.5 + 0.3 * normal(filters)
        p[f"mid{number}.scale"] = rng.uniform(0.02 if number == 2 else 0.2, 0.3, filters)
        p[f"mid{number}.shift"] = 0.1 * normal(filters)
        before = filters
    p |= {"carry.kernel": 0.2 * normal(4, 6), "carry.shift": np.zeros(6)}
    p |= {
        "coarse0.kernel": normal(96, 54) / 10,
        "coarse0.mean.kernel": -normal(96, 54) / 10,
        "coarse0.bias": normal(54),
    }
    for number, shape in enumerate(PATCHES, 1):
        p[f"coarse{number}.kernel"] = normal(*shape) / np.sqrt(np.prod(shape[:3]))
        p[f"coarse{number}.bias"] = 0.1 * normal(shape[3])
    summary = 2 * (FRONT + 4 + 6 + 6 + PATCHES[-1][3])
    for name, given, made in (
        ("dense", summary, 20),
        ("tags", 20, 50),
        ("hidden", 20, 8),
        ("answers", 8, 11),
    ):
        p[f"{name}.kernel"], p[f"{name}.bias"] = normal(given, made) / np.sqrt(given), 0.3 * np.abs(normal(made))
    return p


@pytest.fixture(scope="module")
def windows():
    rng, kinds = np.random.default_rng(2), ["music"] * 10 + ["gtzan"] * 6 + ["speech"] * 3 + ["noise"] * 3
    arrays = {
        name: (rng.uniform(-70, -10, (len(kinds), 1, front.n_mels)) + rng.normal(0, 8, (len(kinds), front.frames, 1)))
        for name, front in (("clean16", GENRE), ("degraded16", GENRE), ("clean22", SMALL), ("degraded22", SMALL))
    }
    return WindowSet(
        **{name: array.astype(np.float16) for name, array in arrays.items()},
        kind=np.array(kinds),
        track=np.arange(len(kinds), dtype=np.int32),
        genre=np.full(len(kinds), -1, np.int8),
        yamnet=np.zeros((len(kinds), CLASSES), np.float16),
        names=np.array([f"track {place}" for place in range(len(kinds))]),
    )


@pytest.fixture(scope="module")
def targets(windows, network):
    n, rng = len(windows), np.random.default_rng(3)
    clean = evaluated(network, AugmentedWindows(windows, Augmentation(), 2.0).chosen(*clean_rows(n), rng))
    return Targets(
        np.eye(11, dtype=np.float32)[np.arange(n) % 11] * 0.9 + 0.1 / 11,
        1.0 / (1.0 + np.exp(-clean["tags"])),
        clean["embedding"],
        np.ones(n, np.bool_),
    )


def clean_rows(count):
    return np.arange(count), np.zeros(count, np.bool_)


def mean_loss(network, windows, targets):
    x = AugmentedWindows(windows, Augmentation(), 2.0).chosen(*clean_rows(len(windows)), np.random.default_rng(0))
    logits = evaluated(network, x)["answers"]
    logs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return float(-(targets.answers * logs).sum(axis=1).mean())


@pytest.fixture(scope="module")
def stored(network, windows, tmp_path_factory):
    inputs = AugmentedWindows(windows, Augmentation(), 2.0)
    folder = tmp_path_factory.mktemp("first_layer")
    return stored_outputs(folder, network, inputs, seed=4, console=CONSOLE, versions=2)


def trained(network, batches, folder, settings, **more):
    spread = np.ones(20, np.float32)
    return distil(network, batches, spread, folder, settings=settings, console=CONSOLE, **more)


def test_the_upper_layers_give_on_stored_outputs_what_the_network_gives(network, windows, stored):
    rows, clean = clean_rows(len(windows))
    rng = np.random.default_rng(0)
    wanted = evaluated(network, AugmentedWindows(windows, Augmentation(), 2.0).chosen(rows, clean, rng))["answers"]
    found = upper_layers(as_tensors(network), *map(tf.constant, stored.chosen(rows, clean, rng)))["answers"].numpy()
    assert np.abs(found - wanted).max() < 0.01 * wanted.std()


def test_both_outputs_of_a_degraded_window_are_of_one_version(windows, stored):
    rows, clean = clean_rows(len(windows))
    for of_layer in zip(*stored.degraded, strict=True):
        assert np.abs(of_layer[0].astype(np.float32) - of_layer[1]).mean() > 0.01
    chosen = stored.chosen(rows, ~clean, np.random.default_rng(0))
    versions = [
        {
            number
            for number, version in enumerate(stored.degraded)
            if all(np.array_equal(mine[row], of[row]) for mine, of in zip(chosen, version, strict=True))
        }
        for row in rows
    ]
    assert set.union(*versions) == {0, 1}
    assert all(versions)


def test_stored_outputs_are_computed_once(network, windows, tmp_path):
    inputs = AugmentedWindows(windows, Augmentation(), 2.0)

    def stored(seed):
        return stored_outputs(tmp_path, network, inputs, seed=seed, console=CONSOLE, versions=1)

    def coarse(seed):
        return np.array(stored(seed).degraded[0].coarse)

    first = coarse(4)
    assert np.array_equal(coarse(5), first)
    (tmp_path / "1.npy").unlink()
    assert not np.array_equal(coarse(5), first)
    (tmp_path / "coarse-1.npy").unlink()
    assert np.array_equal(coarse(4), first)


def test_a_training_leaves_the_first_layer_as_it_was(network, windows, targets, stored, tmp_path):
    settings = replace(SETTINGS, steps=200, rate=5e-3, batch=16, tags=0.0, embedding=0.0, average=0.9)
    after = trained(network, Batches(windows, targets, settings, stored), tmp_path, settings)
    fixed = [name for name in network if name.startswith(("front", "coarse"))]
    assert all(np.array_equal(after[name], network[name]) for name in fixed)
    assert mean_loss(after, windows, targets) < 0.95 * mean_loss(network, windows, targets)


def test_an_interrupted_training_ends_as_one_that_was_not(network, windows, targets, stored, tmp_path):
    batches = Batches(windows, targets, SETTINGS, stored)
    whole = trained(network, batches, tmp_path / "whole", SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        trained(network, batches, tmp_path / "parts", SETTINGS, clock=interrupting_clock(SETTINGS.epoch))
    assert (tmp_path / "parts" / "state.npz").is_file()
    parts = trained(network, batches, tmp_path / "parts", SETTINGS)
    assert not np.array_equal(whole["mid1.kernel"], network["mid1.kernel"])
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_a_state_that_was_cut_off_is_named_with_the_way_out(network, windows, targets, stored, tmp_path):
    (tmp_path / "state.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(RunError, match=r"state.npz: .*delete it to begin anew"):
        trained(network, Batches(windows, targets, SETTINGS, stored), tmp_path, SETTINGS)


def interrupting_clock(calls):
    """A clock on which every step takes 200 s, and that is interrupted after some calls."""
    ticks = iter(range(0, 200 * calls, 200))

    def clock():
        for tick in ticks:
            return tick
        raise KeyboardInterrupt

    return clock


def test_factors_of_its_own_let_the_second_layer_fill_its_range(network, windows):
    x = AugmentedWindows(windows, Augmentation(), 2.0).music(16)
    apart = separate(network, x)
    before, after = evaluated(network, x), evaluated(apart, x)
    assert np.abs(before["answers"] - after["answers"]).max() < 1e-4 * np.abs(before["answers"]).max()
    assert np.ptp(apart["keep.scale"]) > 0.1
    heights = []
    forward(
        as_tensors(apart),
        tf.constant(x),
        hook=lambda name, t: (heights.append(t) if name == "mid2.sum" else 0, t)[1],
    )
    tops = np.percentile(np.abs(heights[0].numpy()).reshape(-1, 6), 99.9, axis=0)
    assert np.allclose(tops, 1.0, atol=0.05)


def test_standardising_twice_changes_no_answer(network, windows):
    x = AugmentedWindows(windows, Augmentation(), 2.0).music(16)
    once = standardise(network, x)
    wider = {**once, "mid1.scale": 3.0 * once["mid1.scale"]}
    twice = standardise(wider, x)
    assert np.abs(evaluated(twice, x)["answers"] - evaluated(wider, x)["answers"]).max() < 1e-3
    assert np.percentile(np.abs(evaluated(twice, x)["summary"]), 99) < 1.1


def test_a_simulated_room_lets_sound_go_on():
    impulse = np.full((6, 187, 96), -90.0, np.float32)
    impulse[:, 20] = -10.0
    heard = in_simulated_rooms(impulse, measured_rooms([]), np.random.default_rng(0))
    lasting = heard[:, 21:26].mean(axis=(1, 2)) - heard[:, 100:].mean(axis=(1, 2))
    assert (lasting > 15.0).all()
    assert len({round(float(each), 3) for each in lasting}) == 6


def test_half_of_the_simulated_rooms_were_measured():
    impulse = np.full((40, 187, 96), -90.0, np.float32)
    impulse[:, 20] = -10.0
    # An echo after 100 frames, and nothing else.
    response = np.zeros(100 * 256 + 1, np.float32)
    response[[0, -1]] = 1.0, 0.5
    heard = in_simulated_rooms(impulse, measured_rooms([response]), np.random.default_rng(0))
    echo = heard[:, 119:122].max(axis=1).mean(axis=1) - heard[:, 60:110].mean(axis=(1, 2)) > 20.0
    assert 10 <= echo.sum() <= 30


def test_a_batch_is_clean_and_degraded_in_the_shares_asked_for(windows, targets, stored):
    settings = replace(SETTINGS, batch=400, clean=0.25, clean_weight=2.0)
    (batch,) = Batches(windows, targets, settings, stored).steps(0, 1)
    assert set(batch.weight) == {1.0, 2.0}
    assert 0.18 < (batch.weight == 2.0).mean() < 0.32
    assert 0.7 < batch.music.mean() < 0.95


def test_first_layer_and_coarse_branch_are_the_parts_that_are_stored(network, windows):
    x = AugmentedWindows(windows, Augmentation(), 2.0).music(4)
    p = as_tensors(network)
    front, coarse = first_layer(p, tf.constant(x)), coarse_branch(p, tf.constant(x))
    assert front.shape == (4, 187, 1, FRONT)
    assert coarse.shape == (4, 10, 1, PATCHES[-1][3])
    assert np.allclose(upper_layers(p, front, coarse)["tags"], forward(p, tf.constant(x))["tags"], atol=1e-5)


@pytest.mark.parametrize("filters", [0, 7])
def test_a_trained_network_of_an_earlier_version_is_not_taken_over(tmp_path, filters):
    write_npz(tmp_path / "trained.npz", {"front3.bias": np.zeros(filters)})
    if filters:
        with pytest.raises(RunError, match=r"trained.npz: is of an earlier version.*delete it"):
            read_trained(tmp_path / "trained.npz")
    else:
        assert read_trained(tmp_path / "trained.npz").keys() == {"front3.bias"}
