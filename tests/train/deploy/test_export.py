"""Exported networks answer like the bundle on its golden windows; C source compiles to the same bytes."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest

from headnod.inference.manifest import GOLDEN, MODEL, read_manifest
from headnod.inference.model import GenreModel, golden_windows, interpreter
from headnod.resources import find_model
from headnod_train.__main__ import main
from headnod_train.deploy.c_export import _c_text, c_sources

BUNDLE = find_model("genre-small")
CONTENT, GOLDEN_FILE = ((BUNDLE / name).read_bytes() for name in (MODEL, GOLDEN))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The C source as a shared library."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    folder = tmp_path_factory.mktemp("c")
    assert main(["export", "genre-small", "--format", "c", "--out", str(folder)]) == 0
    words = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-shared", "-fPIC"]
    subprocess.run([*words, str(folder / "genre_small_model.c"), "-o", str(folder / "model.so")], check=True)
    return ctypes.CDLL(str(folder / "model.so"))


def test_the_compiled_array_is_the_file_and_is_aligned(library):
    array = (ctypes.c_ubyte * len(CONTENT)).in_dll(library, "genre_small_model")
    assert bytes(array) == CONTENT
    assert ctypes.addressof(array) % 16 == 0


def test_the_golden_window_of_the_source_gives_its_outputs(library):
    runtime = interpreter(CONTENT)
    (taken,) = runtime.get_input_details()
    size = int(np.prod(taken["shape"]))
    stored = np.array((ctypes.c_int8 * size).in_dll(library, "genre_small_golden_input"), np.int8)
    runtime.set_tensor(taken["index"], stored.reshape(taken["shape"]))
    runtime.invoke()
    manifest = read_manifest(BUNDLE)
    for role, shape in ((each.role, each.shape) for each in manifest.tensors):
        detail = next(each for each in runtime.get_output_details() if tuple(each["shape"]) == shape)
        found = (ctypes.c_int8 * shape[-1]).in_dll(library, f"genre_small_golden_{role}")
        assert list(found) == runtime.get_tensor(detail["index"]).ravel().tolist()


def test_the_tables_of_the_front_end_give_its_mel_power(library):
    front_end = GenreModel.load(BUNDLE).front_end
    bins = front_end.n_fft // 2 + 1
    filters = np.array((ctypes.c_float * (front_end.n_mels * bins)).in_dll(library, "genre_small_mel_filters"))
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, front_end.window_samples).astype(np.float32)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(front_end.n_fft) / front_end.n_fft)
    power = np.abs(np.fft.rfft(audio[: front_end.n_fft] * hann)) ** 2
    decibels = 10 * np.log10(np.maximum(filters.reshape(front_end.n_mels, bins) @ power, 1e-12))
    np.testing.assert_allclose(decibels, front_end.log_mel(audio)[0], atol=0.02)


def test_labels_of_any_script_and_quotes_are_valid_c():
    assert _c_text('R&B "80s"\\') == "R&B \\04280s\\042\\134"
    assert bytes(_c_text("日1"), "ascii").decode("unicode_escape").encode("latin-1").decode() == "日1"


def test_the_header_says_front_end_scales_and_threshold():
    manifest = read_manifest(BUNDLE)
    header = c_sources(manifest, CONTENT, GOLDEN_FILE)["genre_small_model.h"]
    for line in ("SAMPLE_RATE 22050", "HOP 1708", "N_MFCC 64", f"ANSWERS_COUNT {manifest.output.shape[-1]}"):
        assert f"#define GENRE_SMALL_{line}\n" in header
    assert f"#define GENRE_SMALL_TEMPERATURE {manifest.single.temperature:.9g}f" in header


@pytest.fixture(scope="module")
def exporter():
    return pytest.importorskip("headnod_train.deploy.onnx_export", reason="needs scripts/setup export")


@pytest.fixture(scope="module")
def whole(exporter):
    return exporter.int8_onnx(CONTENT)


def test_onnx_in_int8_and_in_real_numbers_answers_like_the_bundle(exporter, whole):
    manifest = read_manifest(BUNDLE)
    for model in (whole, exporter.float_onnx(whole)):
        assert f"on {len(golden_windows(GOLDEN_FILE))} golden windows" in exporter.check(
            model, CONTENT, GOLDEN_FILE, manifest
        )
    kinds = {node.op_type for node in exporter.float_onnx(whole).graph.node}
    assert not kinds & {"QuantizeLinear", "DequantizeLinear"}


def test_a_network_that_lost_a_bias_is_refused(exporter, whole):
    import onnx

    broken = onnx.ModelProto()
    broken.CopyFrom(whole)
    bias = next(each for each in broken.graph.initializer if "tags" in each.name and each.name.endswith("_bias"))
    bias.CopyFrom(onnx.numpy_helper.from_array(np.zeros(50, np.float32), bias.name))
    with pytest.raises(exporter.ExportError, match="answers otherwise: mean difference"):
        exporter.check(broken, CONTENT, GOLDEN_FILE, read_manifest(BUNDLE))
