"""The baseline is the network that was published, by its parameters, shapes and work."""

import pytest

from benchmarks import script_path
from benchmarks.material import WINDOW, music

pytest.importorskip("tensorflow", reason="needs headnod[train]")
pytest.importorskip("librosa", reason="needs headnod[test]")


@pytest.fixture(scope="module")
def network():
    return script_path.network()


@pytest.mark.long
def test_it_has_the_parameters_and_shapes_that_were_published(network):
    assert network.count_params() == 104_294
    assert network.input_shape == (None, 128, 130, 1)
    assert network.output_shape == (None, 10)


@pytest.mark.long
def test_its_multiply_adds_are_those_that_were_published(network):
    convolutions = [layer for layer in network.layers if layer.__class__.__name__ == "Conv2D"]
    assert [layer.filters for layer in convolutions] == [8, 16, 32, 64, 128]
    sizes = [(layer.output.shape[1] * layer.output.shape[2], layer.kernel.shape) for layer in convolutions]
    adds = sum(cells * int(shape.num_elements()) for cells, shape in sizes)
    assert adds == pytest.approx(13.1e6, rel=0.02)


@pytest.mark.long
def test_the_fair_path_answers_as_the_script_does(network):
    window = music()[:WINDOW]
    fair = script_path.FairPath(script_path.tflite(network)).answer(window)
    assert fair == pytest.approx(network.predict(script_path.spectrogram(window), verbose=0)[0], abs=1e-4)
