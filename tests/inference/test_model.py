"""A bundle that runs: standardised, quantised, and the network its manifest promises."""

import dataclasses

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnod.errors import ManifestError
from headnod.inference.manifest import MODEL, Standardisation, softmax
from headnod.inference.model import GenreModel, quantise, runtime_name
from headnod.testing import SMALL_FRONT_END, fixed_manifest
from support.bundles import copied, flipped, replaced
from support.signals import music, scaled

RAMP = np.arange(80, dtype=np.float32).reshape(10, 8)
SHAPE = (1, 10, 8)


@pytest.fixture(scope="module")
def dense():
    pytest.importorskip("ai_edge_litert.schema_py_generated", reason="only LiteRT brings the format's own writer")
    from support import tflite_writer

    return tflite_writer.dense


def picking(*places):
    """Weights that give one number of the input an output."""
    weights = np.zeros((len(places), RAMP.size))
    weights[range(len(places)), places] = 1
    return weights


def test_quantising_rounds():
    values = np.array([0.24, 0.26, -0.24, -0.26, 1.0], np.float32)
    assert quantise(values, scale=0.5, zero=3).tolist() == [3, 4, 3, 2, 5]


def test_quantising_clips_instead_of_wrapping():
    values = np.array([200.0, -200.0, 127.4, -128.4, 1e30, -1e30], np.float32)
    assert quantise(values, scale=1.0, zero=0).tolist() == [127, -128, 127, -128, 127, -128]
    assert quantise(values, scale=1.0, zero=-100).tolist() == [100, -128, 27, -128, 127, -128]


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1), st.floats(0.001, 10.0), st.integers(-128, 127))
def test_what_is_in_range_is_kept_to_half_a_step(values, scale, zero):
    values = np.array(values, np.float32)
    stored = quantise(values, scale, zero)
    assert stored.dtype == np.int8
    least, most = scale * (-128 - zero), scale * (127 - zero)
    meant = scale * (stored.astype(np.float64) - zero)
    assert np.abs(meant - np.clip(values, least, most)).max() <= scale * 0.501 + 1e-5 * np.abs(values).max()


def test_softmax_is_safe_for_any_logits():
    assert softmax(np.array([1e4, 1e4, -1e4], np.float32)) == pytest.approx([0.5, 0.5, 0.0])
    assert softmax(np.log(np.array([[1.0, 3.0]]))) == pytest.approx(np.array([[0.25, 0.75]]))


def test_a_float_network_gets_the_standardised_features(dense):
    spread = Standardisation((1.0,) * 8, (4.0,) * 8)
    manifest = msgspec.structs.replace(fixed_manifest(kind="float32"), standardisation=spread)
    model = GenreModel(manifest, dense(picking(3, 79), SHAPE))
    assert model.logits(RAMP).tolist() == [0.5, 19.5]


def test_an_int8_network_gets_them_by_the_scales_of_its_tensors(dense):
    model = GenreModel(fixed_manifest(), dense(picking(3, 70), SHAPE, taken=(0.5, -20), given=(0.75, 4)))
    assert model.logits(RAMP).tolist() == [3.0, 69.75]


def test_a_feature_out_of_range_is_the_largest_and_never_the_smallest(dense):
    model = GenreModel(fixed_manifest(), dense(picking(0, 1), SHAPE, taken=(1.0, 0), given=(1.0, 0)))
    loud = RAMP.copy()
    loud[0, :2] = 200.0, -200.0
    assert model.logits(loud).tolist() == [127.0, -128.0]


def test_an_answer_is_read_by_its_own_scale(dense):
    weights = -20 * picking(1, 2)
    network = dense(weights, SHAPE, taken=(1.0, 0), given=(0.5, 100), weight_scale=1.0)
    assert GenreModel(fixed_manifest(), network).logits(RAMP).tolist() == [-20.0, -40.0]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_scores_are_the_softmax_of_cooled_logits(dense, temperature):
    manifest = fixed_manifest(kind="float32", temperature=temperature)
    model = GenreModel(manifest, dense(picking(2, 4), SHAPE))
    assert model.scores(RAMP) == pytest.approx(softmax(np.array([2.0, 4.0]) / temperature), abs=1e-6)


def test_the_best_genre_of_a_window_is_the_likeliest(dense):
    network = dense(np.stack([np.ones(80), -np.ones(80)]), SHAPE)
    model = GenreModel(fixed_manifest(kind="float32"), network)
    audio = music(1.0)[: SMALL_FRONT_END.window_samples]
    expected = "jazz" if SMALL_FRONT_END.mfcc(audio).sum() > 0 else "metal"
    assert model.best(audio) == expected


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"shape": (1, 8, 10)}, r"input is (1, 8, 10), the manifest says (1, 10, 8)"),
        ({"weights": picking(0, 1, 2)}, r"output is (1, 3), the manifest says (1, 2)"),
        ({"taken": None, "given": None}, r"input is float32, the manifest says int8"),
    ],
)
def test_another_network_than_the_promised_one_is_refused(dense, changed, complaint):
    made = {"weights": picking(0, 1), "shape": SHAPE, "taken": (1.0, 0), "given": (1.0, 0)} | changed
    with pytest.raises(ManifestError) as caught:
        GenreModel(fixed_manifest(), dense(**made))
    assert str(caught.value).startswith(f"{MODEL}: {complaint}")
    assert len(str(caught.value).splitlines()) == 1


def test_an_int8_input_without_a_scale_is_refused(dense):
    with pytest.raises(ManifestError, match=rf"^{MODEL}: .*scale"):
        GenreModel(fixed_manifest(), dense(picking(0, 1), SHAPE, taken=(0.0, 0), given=(1.0, 0)))


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 8, b"no network", b"TFL3" * 100, b"\x1c\0\0\0TFL3" + b"\xff" * 64], ids=repr
)
def test_garbage_with_the_right_hash_is_refused_in_one_line(bundle, tmp_path, content):
    folder = replaced(copied(bundle, tmp_path), MODEL, content)
    with pytest.raises(ManifestError) as caught:
        GenreModel.load(folder)
    assert str(caught.value).startswith(f"{folder / MODEL}: the runtime refuses it: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_truncated_network_with_the_right_hash_is_refused(bundle, tmp_path, kept):
    content = (bundle / MODEL).read_bytes()
    folder = replaced(copied(bundle, tmp_path), MODEL, content[: int(kept * len(content))])
    with pytest.raises(ManifestError, match=MODEL):
        GenreModel.load(folder)


def test_a_changed_network_is_never_given_to_the_runtime(bundle, tmp_path):
    folder = copied(bundle, tmp_path)
    flipped(folder / MODEL, 12_345)
    with pytest.raises(ManifestError, match=r"model\.tflite: sha256 is "):
        GenreModel.load(folder)


def test_a_front_end_that_makes_other_features_is_refused(model, bundle):
    other = dataclasses.replace(model.front_end, frames=model.front_end.frames - 1)
    with pytest.raises(ManifestError, match=r"input is \(1, .*the manifest says \(1, "):
        GenreModel(
            msgspec.structs.replace(
                model.manifest,
                front_end=other,
                input=msgspec.structs.replace(model.manifest.input, shape=(1, other.frames, other.n_mfcc)),
            ),
            (bundle / MODEL).read_bytes(),
        )


@pytest.mark.parametrize("decibels", [-40, -30, -20, -12, -6, 6])
def test_a_gain_changes_no_answer(model, demo, decibels):
    """Short of clipping, which floats do not know: a step of an int8 logit may still round otherwise."""
    size = model.front_end.window_samples
    for audio in (music(9.0), demo):
        for start in range(0, audio.size - size, size):
            window = audio[start : start + size]
            plain = model.scores(model.front_end.mfcc(window))
            changed = model.scores(model.front_end.mfcc(scaled(window, decibels)))
            assert np.abs(changed - plain).max() < 0.01
            assert changed.argmax() == plain.argmax()


def test_the_shipped_model_knows_what_plays(model, demo):
    assert model.best(demo[: model.front_end.window_samples]) == "metal"


def test_loading_leaves_the_log_alone(bundle, capfd):
    GenreModel.load(bundle)
    assert capfd.readouterr() == ("", "")


def test_the_runtime_tells_its_name_and_version():
    assert runtime_name().split()[0] in {"ai-edge-litert", "tflite-runtime"}
    assert runtime_name().split()[1][0].isdigit()
