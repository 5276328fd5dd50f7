"""The tagger's forward pass is that of its paper, and its weights are read or refused."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from headnod.audio.audio_file import audio_file
from headnod_train.distillation.tagging import FRONT_END, TAGS, TaggerError

pytest.importorskip("tensorflow", reason="the tagger needs tensorflow: scripts/setup train")
from headnod_train.backend import tf
from headnod_train.distillation.tagger import SHAPES, Tagger, find_wheel, read_weights

GTZAN = Path(__file__).resolve().parents[4] / "shared" / "data" / "gtzan"


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(3)
    return {
        name: (rng.uniform(0.5, 2, shape) if "variance" in name else rng.normal(0, 0.05, shape)).astype(np.float32)
        for name, shape in SHAPES.items()
    }


def by_hand(weights, loudness):
    """One window through the network, a filter at a time in plain numpy."""

    def normal(x, place):
        beta, gamma, mean, variance = (
            weights[f"batch_normalization{f'_{place}' if place else ''}/{part}"]
            for part in ("beta", "gamma", "moving_mean", "moving_variance")
        )
        return beta + gamma * (x - mean) / np.sqrt(variance + 0.001)

    def filtered(x, place, before, after):
        kernel, bias = (weights[f"conv2d{f'_{place}' if place else ''}/{part}"] for part in ("kernel", "bias"))
        x = np.pad(x, ((before, after), (0, 0)))
        views = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2])
        heard = np.tensordot(views, kernel[:, :, 0], axes=((2, 3), (0, 1))) + bias
        return normal(np.maximum(heard, 0), place + 1).max(axis=1)

    x = normal(loudness.astype(np.float64), 0)
    sides = ((3, 3), (3, 3), (63, 64), (31, 32), (15, 16))
    features = np.concatenate([filtered(x, place, *side) for place, side in enumerate(sides)], axis=1)
    first = filtered(features, 5, 3, 3)
    second = first + filtered(first, 6, 3, 3)
    third = second + filtered(second, 7, 3, 3)
    channels = np.concatenate([features, first, second, third], axis=1)
    pooled = np.array([value for channel in channels.T for value in (channel.max(), channel.mean())])
    dense = normal(np.maximum(normal(pooled, 9) @ weights["dense/kernel"] + weights["dense/bias"], 0), 10)
    tags = 1 / (1 + np.exp(-(dense @ weights["dense_1/kernel"] + weights["dense_1/bias"])))
    return tags, dense, channels.mean(axis=0)


def test_the_network_is_that_of_the_paper(weights, rng):
    power = rng.uniform(0, 20, (1, 187, 96))
    said = Tagger(weights).predict(10 * np.log10(power).astype(np.float32))
    for found, wanted in zip(
        (said.tags, said.dense, said.mean), by_hand(weights, np.log10(10_000 * power[0] + 1)), strict=True
    ):
        assert np.allclose(found[0], wanted, rtol=1e-3, atol=1e-4)


def test_windows_do_not_depend_on_their_neighbours(weights, rng):
    log_mel = rng.uniform(-60, 20, (3, 187, 96)).astype(np.float32)
    tagger = Tagger(weights)
    assert np.allclose(tagger.predict(log_mel).tags[1:2], tagger.predict(log_mel[1:2]).tags, atol=1e-5)


def test_there_are_fifty_different_tags():
    assert len(set(TAGS)) == len(TAGS) == SHAPES["dense_1/bias"][0] == 50


def write_wheel(folder, weights):
    prefix = folder / "checkpoint"
    names = [*weights, "beta1_power"]
    values = [*weights.values(), np.float32(0.9)]
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * len(names), tensors=values)
    with zipfile.ZipFile(folder / "small.whl", "w") as wheel:
        for part in (".index", ".data-00000-of-00001"):
            wheel.write(f"{prefix}{part}", f"musicnn/MSD_musicnn/{part}")
        wheel.writestr("musicnn/__init__.py", "raise SystemExit('none of this code is run')")
    return folder / "small.whl"


def test_weights_are_read_out_of_the_wheel(tmp_path, weights):
    wheel = write_wheel(tmp_path, weights)
    found = read_weights(wheel, sha256=hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert found.keys() == weights.keys()
    assert all((found[name] == weights[name]).all() for name in weights)


def test_another_wheel_is_refused(tmp_path):
    (tmp_path / "other.whl").write_bytes(b"PK")
    with pytest.raises(TaggerError, match=r"other\.whl: is not musicnn-0\.1\.0-py3-none-any\.whl: its sha256 is"):
        read_weights(tmp_path / "other.whl")


def test_an_absent_wheel_is_named(tmp_path):
    with pytest.raises(TaggerError, match=r"none\.whl: no such file"):
        read_weights(tmp_path / "none.whl")


def test_a_wheel_that_lies_in_the_cache_is_not_fetched(tmp_path):
    (tmp_path / "musicnn-0.1.0-py3-none-any.whl").touch()
    assert find_wheel(tmp_path) == tmp_path / "musicnn-0.1.0-py3-none-any.whl"


def test_without_a_registry_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(TaggerError, match=r"pip cannot download musicnn==0\.1\.0: .* name it with --wheel"):
        find_wheel(tmp_path)


@pytest.mark.long
@pytest.mark.skipif(not GTZAN.is_dir(), reason="no GTZAN beside the project")
def test_the_real_weights_say_of_a_clip_what_they_said_of_its_track(tmp_path):
    try:
        wheel = find_wheel(tmp_path)
    except TaggerError as error:
        pytest.skip(str(error))
    with audio_file(GTZAN / "audio/classical/classical.00031.ogg", FRONT_END.sample_rate) as blocks:
        audio = np.concatenate([np.zeros(256, np.float32), *blocks])
    # The stored answers lie 61 frames of 16 ms apart, and the clip begins with its track.
    starts = range(0, audio.size - FRONT_END.window_samples, 61 * 256)
    said = Tagger(read_weights(wheel)).predict(
        np.stack([FRONT_END.log_mel(audio[start : start + FRONT_END.window_samples]) for start in starts])
    )
    with np.load(GTZAN / "tags_train.npz") as stored:
        wanted = stored["tags"][stored["track"] == "classical.00031"][: len(starts)].astype(np.float32)
    assert np.corrcoef(said.tags.ravel(), wanted.ravel())[0, 1] > 0.99
    assert (said.tags.argmax(axis=1) == wanted.argmax(axis=1)).mean() > 0.8
