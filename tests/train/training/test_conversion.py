"""A converted network is made of what x86-64 and Arm round alike, to the bit."""

import numpy as np
import pytest

from headnod.features.frontend import FrontEnd
from headnod.inference.manifest import MODEL
from headnod.resources import models

pytest.importorskip("tensorflow", reason="training needs tensorflow: scripts/setup train")
pytest.importorskip("ai_edge_litert", reason="only LiteRT tells its operators")
from ai_edge_litert.interpreter import Interpreter

from headnod_train.backend import keras
from headnod_train.training.genre_network import build
from headnod_train.training.quantise import converted

FRONT_END = FrontEnd(n_mfcc=20)
ALIKE = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "MAX_POOL_2D", "CONCATENATION", "RESHAPE"}
"""For these XNNPACK gave the same numbers on x86-64, a Cortex-A53 and a Cortex-A76 (both emulated)."""
MOVING = {"PACK", "PAD", "STRIDED_SLICE", "TRANSPOSE"}
"""These copy numbers and round none."""
SHIPPED = [folder for folder in models() if folder.name != "genre-0.1.0"]
"""Those that were converted since that is known."""


def interpreter(content):
    made = Interpreter(model_content=content, num_threads=1)
    made.allocate_tensors()
    return made


def operators(content):
    return {step["op_name"] for step in interpreter(content)._get_ops_details()}  # noqa: SLF001 - told nowhere else


@pytest.fixture(scope="module")
def network():
    spread = np.zeros(FRONT_END.n_mfcc, np.float32), np.ones(FRONT_END.n_mfcc, np.float32)
    return build(FRONT_END, 3, spread, width=4)


@pytest.fixture
def windows(rng):
    return rng.normal(size=(8, FRONT_END.frames, FRONT_END.n_mfcc)).astype(np.float32)


@pytest.fixture(scope="module")
def averages():
    """Every sum that ten numbers of int8 can have, and their mean in a network that keeps it beside their maximum."""
    heard = keras.Input((10, 1, 2551))
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True)(heard)
    both = keras.layers.Concatenate()([mean, keras.layers.MaxPooling2D((10, 1))(heard)])
    sums = np.arange(2551)
    numbers = np.clip(sums - 255 * np.arange(10)[:, None], 0, 255)[None, :, None, :]
    made = interpreter(converted(keras.Model(heard, both), "int8", (numbers / 10).astype(np.float32)))
    made.set_tensor(made.get_input_details()[0]["index"], (numbers - 128).astype(np.int8))
    made.invoke()
    found = made.get_tensor(made.get_output_details()[0]["index"])
    return sums, found.ravel()[:2551] + np.int64(128)


def test_an_int8_network_has_no_operator_that_is_rounded_otherwise_on_a_pi(network, windows):
    assert operators(converted(network, "int8", windows)) <= {*ALIKE, "DELEGATE"}


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_a_shipped_network_has_no_operator_that_is_rounded_otherwise_on_a_pi(folder):
    assert operators((folder / MODEL).read_bytes()) <= {*ALIKE, *MOVING, "DELEGATE"}


def test_the_mean_of_a_map_is_rounded_to_the_nearest_number(averages):
    sums, means = averages
    assert np.abs(means - sums / 10).max() <= 0.5


def test_no_half_is_left_to_a_kernel_s_own_rounding(averages):
    sums, means = averages
    halves = sums % 10 == 5
    assert (means[halves] > sums[halves] / 10).all()


def test_a_converted_network_says_what_the_trained_one_says(network, windows):
    made = interpreter(converted(network, "float32", windows))
    for window, wanted in zip(windows, network.predict(windows, verbose=0), strict=True):
        made.set_tensor(made.get_input_details()[0]["index"], window[None])
        made.invoke()
        assert made.get_tensor(made.get_output_details()[0]["index"])[0] == pytest.approx(wanted, rel=0.001, abs=0.001)
