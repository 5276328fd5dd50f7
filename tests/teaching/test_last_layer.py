"""The last layer of the shipped networks: its inputs from embeddings alone, and a layer that is replaced twice."""

import numpy as np
import pytest
from msgspec.structs import replace

from headnod.files import read_arrays
from headnod.inference.manifest import MODEL, read_manifest
from headnod.inference.model import GenreModel, dequantised, interpreter
from headnod.resources import find_model
from headnod.teaching.last_layer import LastLayer, Layer, TeachError

NAMES = ["genre-2.2.0", "genre-small-2.1.0"]


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


def with_dense(dense):
    """`genre` with a second dense layer and its own last layer."""
    bundle = find_model("genre-2.0.0")
    manifest = read_manifest(bundle)
    last = LastLayer((bundle / MODEL).read_bytes(), manifest)
    rows = range(len(manifest.labels) + 1)
    content = last.replaced(
        last.shipped, [(row, row) for row in rows], np.zeros((1, len(rows))), dense=dense(last.dense)
    )
    outputs = (replace(each, shape=(1, 264)) if each.role == "embedding" else each for each in manifest.tensors)
    return content, replace(manifest, outputs=tuple(outputs))


def golden(bundle):
    return read_arrays((bundle / "golden.npz").read_bytes(), {"features": np.float32}, limit=1 << 23)["features"]


def test_a_second_dense_layer_with_the_same_weights_gives_the_same_answers_to_the_bit():
    bundle = find_model("genre-2.0.0")
    shipped, (content, manifest) = GenreModel.load(bundle), with_dense(lambda dense: dense)
    again = GenreModel(manifest, content)
    for window in golden(bundle)[:4]:
        one, other = shipped.predict(window), again.predict(window)
        assert one.embedding.tobytes() == other.embedding[:200].tobytes()
        assert one.tags.tobytes() == other.tags.tobytes()
        assert one.energy == other.energy
        assert shipped.logits(window).tobytes() == again.logits(window).tobytes()


def test_a_second_dense_layer_changes_its_own_outputs_only():
    bundle = find_model("genre-2.0.0")

    def one_row_doubled(dense):
        kernel = dense.kernel.copy()
        kernel[7] *= 2.0
        return Layer(kernel, dense.bias)

    shipped, (content, manifest) = GenreModel.load(bundle), with_dense(one_row_doubled)
    changed = LastLayer(content, manifest)
    windows, others = golden(bundle), np.arange(200) != 7
    found = [GenreModel(manifest, content).predict(window) for window in windows]
    expected = [shipped.predict(window) for window in windows]
    embedding, before = (np.array([each.embedding for each in side]) for side in (found, expected))
    np.testing.assert_array_equal(embedding[:, :200][:, others], before[:, others])
    assert (embedding[:, 7] != before[:, 7]).any()
    assert [each.tags.tobytes() for each in found] == [each.tags.tobytes() for each in expected]
    # All inputs of the last layer are the embedding: a correction needs nothing else.
    np.testing.assert_allclose(changed.features_of(embedding), embedding, atol=1e-6)
    with pytest.raises(TeachError, match="cannot be fine-tuned"):
        _ = changed.dense


def test_a_network_without_a_dense_layer_cannot_be_fine_tuned():
    bundle = find_model("genre-small-2.1.0")
    with pytest.raises(TeachError, match="no dense layer"):
        _ = LastLayer((bundle / MODEL).read_bytes(), read_manifest(bundle)).dense
