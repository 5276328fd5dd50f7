"""The last layer of the shipped networks: its inputs from embeddings alone, and a layer that is replaced twice."""

import numpy as np
import pytest

from headnod.files import read_arrays
from headnod.inference.manifest import MODEL, read_manifest
from headnod.inference.model import GenreModel, dequantised, interpreter
from headnod.resources import find_model
from headnod.teaching.last_layer import LastLayer, TeachError

NAMES = ["genre-2.0.0", "genre-small-2.0.0"]


@pytest.fixture(params=NAMES)
def bundle(request):
    return find_model(request.param)


@pytest.fixture
def windows(bundle):
    return read_arrays((bundle / "golden.npz").read_bytes(), {"features": np.float32}, limit=1 << 23)["features"]


@pytest.fixture
def last(bundle):
    return LastLayer((bundle / MODEL).read_bytes(), read_manifest(bundle))


def true_features(bundle, last, window):
    """The inputs of the last layer, as the network itself gives them."""
    manifest = read_manifest(bundle)
    runtime = interpreter(last.with_features())
    (taken,) = runtime.get_input_details()
    mean, deviation = (
        np.array(each, np.float32) for each in (manifest.standardisation.mean, manifest.standardisation.deviation)
    )
    scale, zero = taken["quantization"]
    stored = np.clip(np.rint((window - mean) / deviation / scale) + zero, -128, 127).astype(np.int8)
    runtime.set_tensor(taken["index"], stored[None])
    runtime.invoke()
    return np.concatenate(
        [dequantised(runtime.get_tensor(each["index"]).ravel(), each) for each in runtime.get_output_details()]
    )


def test_the_inputs_of_the_layer_follow_from_the_embedding_within_one_int8_step(bundle, last, windows):
    model = GenreModel.load(bundle)
    for window in windows[:4]:
        embedding = model.predict(window).embedding.astype(np.float16)
        expected = true_features(bundle, last, window)
        found = last.features_of(embedding[None])[0]
        step = np.unique(np.abs(expected[expected != 0])).min()
        np.testing.assert_allclose(found[: embedding.size], expected[: embedding.size], atol=1e-6)
        assert np.abs(found - expected).max() <= 1.01 * step


def test_the_layer_gives_the_logits_of_the_network(bundle, last, windows):
    model = GenreModel.load(bundle)
    for window in windows[:4]:
        logits = model.logits(window)
        found = last.shipped.logits(last.features_of(model.predict(window).embedding[None]))[0]
        assert np.abs(found - logits).max() < 0.1


def test_a_layer_that_was_replaced_is_replaced_again_without_growing(bundle, last, windows):
    manifest, model = read_manifest(bundle), GenreModel.load(bundle)
    rows = range(len(manifest.labels) + 1)
    logits = np.array([model.logits(window) for window in windows[:4]])
    once = last.replaced(last.shipped, [], logits)
    again = LastLayer(once, manifest)
    twice = again.replaced(again.shipped, [(row, row) for row in rows], logits)
    assert again.shipped.kernel.shape == last.shipped.kernel.shape
    # The replaced layer stays in the file, unused; no operator is added.
    assert len(twice) < len(once) + 16_384
    np.testing.assert_allclose(again.shipped.kernel, last.shipped.kernel, atol=0.02)
    assert (
        GenreModel(manifest, once).logits(windows[0]).tobytes()
        == GenreModel(manifest, twice).logits(windows[0]).tobytes()
    )


def test_embeddings_of_another_size_are_refused(last):
    with pytest.raises(TeachError, match="numbers"):
        last.features_of(np.zeros((3, 7), np.float32))
