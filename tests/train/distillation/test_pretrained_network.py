"""The pruned, sliced and equalised network computes what the tagger computes."""

from pathlib import Path

import numpy as np
import pytest

from headnod.audio.audio_file import audio_file

pytest.importorskip("tensorflow", reason="training needs tensorflow: scripts/setup train")
from headnod_train.distillation.batches import compressed
from headnod_train.distillation.network import multiply_adds, prune
from headnod_train.distillation.quantisation import converted, corrected, equalise, evaluated, run_file, standardise
from headnod_train.distillation.tagger import SHAPES, Tagger, find_wheel, read_weights
from headnod_train.distillation.tagging import TaggerError
from headnod_train.distillation.window_sets import GENRE

AUDIO = Path(__file__).resolve().parents[4] / "shared" / "data" / "gtzan" / "audio"
LIVE = (5, 3, 2, 3, 4, 20, 64, 64)


@pytest.fixture(scope="module")
def weights():
    """A tagger with few live filters, some of whose scales are negative."""
    rng = np.random.default_rng(5)
    made = {
        name: (rng.uniform(0.5, 2, shape) if "variance" in name else rng.normal(0, 0.05, shape)).astype(np.float32)
        for name, shape in SHAPES.items()
    }
    for place, live in enumerate(LIVE):
        suffix = f"_{place}" if place else ""
        scale = made[f"batch_normalization_{place + 1}/gamma"]
        scale[:] = rng.uniform(0.5, 1.5, scale.shape)
        made[f"conv2d{suffix}/kernel"][..., live:] *= 1e-9
        if place < 5:
            scale[0] *= -1
        if place <= 5:
            # What a dead filter gives is 0, or the frames at both ends would differ.
            made[f"batch_normalization_{place + 1}/beta"][live:] = 0
            mean = np.maximum(made[f"conv2d{suffix}/bias"][live:], 0)
            made[f"batch_normalization_{place + 1}/moving_mean"][live:] = mean
    made["batch_normalization/gamma"][:], made["batch_normalization/beta"][:] = 0.5, -0.2
    made["dense/kernel"] *= 20
    made["dense_1/kernel"] *= 20
    return made


@pytest.fixture(scope="module")
def power():
    rng = np.random.default_rng(6)
    volume = 10.0 ** np.linspace(-3, 1, 4)[:, None, None]
    tilt = 10.0 ** (rng.uniform(-2, 2, (4, 1, 1)) * np.linspace(-1, 1, 96))
    return (volume * tilt * rng.gamma(0.3, 2.0, (4, 187, 96)) + 1e-10).astype(np.float32)


@pytest.fixture(scope="module")
def real_weights(tmp_path_factory):
    try:
        return read_weights(find_wheel(tmp_path_factory.mktemp("wheel")))
    except TaggerError as error:
        pytest.skip(str(error))


def clips(count):
    """Log-mel of the first 3 s of some clips, (count, 187, 96)."""
    if not AUDIO.is_dir():
        pytest.skip("no audio of GTZAN beside the project")
    found = []
    for path in sorted(AUDIO.rglob("*.flac"))[:: 52 // count][:count]:
        with audio_file(path, GENRE.sample_rate) as blocks:
            audio = np.concatenate(list(blocks))
        found.append(GENRE.log_mel(audio[: GENRE.window_samples]))
    return np.stack(found)


def logits(probabilities):
    return np.log(probabilities / (1 - probabilities))


def plain(log_mel, parameters):
    """Input at its own level, as the tagger takes it."""
    return (np.log10(1 + 10.0 ** (log_mel / 10 + 4)) - parameters["offset"]).astype(np.float32)


def test_the_live_filters_give_the_tags_of_all(weights, power):
    parameters, log_mel = prune(weights), 10 * np.log10(power)
    wanted = Tagger(weights).predict(log_mel)
    found = evaluated(parameters, plain(log_mel, parameters))
    assert parameters["front.scale"].size == sum(LIVE[:5])
    spread = logits(wanted.tags).std(axis=0).mean()
    assert spread > 0.01
    assert np.abs(found["tags"] - logits(wanted.tags)).max() < 0.01 * spread


def test_a_filter_with_a_negative_scale_is_a_minimum_over_bands(weights, power):
    parameters, log_mel = prune(weights), 10 * np.log10(power)
    positive = {name: value.copy() for name, value in parameters.items()}
    for place in range(5):
        turned = np.isfinite(parameters[f"front{place}.cap"])
        assert turned.sum() == 1
        positive[f"front{place}.cap"][turned] = 1e-3
    x = plain(log_mel, parameters)
    assert np.abs(evaluated(positive, x)["tags"] - evaluated(parameters, x)["tags"]).max() > 1e-3


def test_equal_ranges_leave_the_tags_as_they_were(weights, power):
    parameters = prune(weights)
    x = plain(10 * np.log10(power), parameters)
    equal = equalise(parameters, x)
    assert not [name for name in equal if name.endswith(".cap")]
    before, between = evaluated(parameters, x), evaluated(equal, x)
    after = evaluated(standardise(equal, x), x)
    spread = before["tags"].std(axis=0).mean()
    assert np.abs(between["tags"] - before["tags"]).mean() < 0.02 * spread
    assert np.abs(after["tags"] - between["tags"]).max() < 1e-3 * max(spread, 1)
    assert np.abs(after["summary"]).max() < 1.5


def test_a_pruned_network_has_fewer_multiplications(weights):
    parameters = prune(weights)
    assert 0 < multiply_adds(parameters) < 1e9


def test_volume_does_not_change_the_input(power):
    louder = compressed(power * 31.0, 2.57, level=-6.0)
    assert np.allclose(louder, compressed(power, 2.57, level=-6.0), atol=1e-5)


def test_the_published_weights_are_mostly_dead(real_weights):
    parameters, log_mel = prune(real_weights), clips(4)
    assert parameters["front.scale"].size == 63
    assert 130e6 < multiply_adds(parameters) < 140e6
    error = np.abs(
        1 / (1 + np.exp(-evaluated(parameters, plain(log_mel, parameters))["tags"]))
        - Tagger(real_weights).predict(log_mel).tags
    )
    # Constants of dead filters are folded into a bias, which three frames at either end do not wholly see.
    assert error.mean() < 2e-5
    assert error.max() < 5e-4


@pytest.mark.long
def test_int8_answers_as_float_does(real_weights):
    parameters = prune(real_weights)
    log_mel = clips(52)
    x = compressed(10.0 ** (log_mel / 10), float(parameters["offset"]), level=-6.0)
    network = standardise(equalise(parameters, x), x)
    exact = evaluated(network, x)["tags"]
    content = converted(corrected(network, x, x), x, outputs=("tags",))
    assert len(content) < 400_000
    found = run_file(content, x, ("tags",))["tags"]
    assert (found.argmax(axis=1) == exact.argmax(axis=1)).mean() >= 0.96
    assert np.sqrt(np.mean((found - exact) ** 2)) < 0.1 * exact.std()
