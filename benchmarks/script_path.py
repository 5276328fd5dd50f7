"""The two baselines, rebuilt from their published facts.

The script path is what the well-known GTZAN listener script does for a window
of 3 s: librosa's mel spectrogram (22,050 Hz, 2048/512, 128 mels), then Keras
`predict` of five blocks of 3x3 valid convolution (8, 16, 32, 64, 128 channels),
batch norm over the mel axis, ReLU and 2x2 max-pool; flatten, dropout, dense 10:
104,294 parameters. The fair path is the same spectrogram and the same network
as a float file in the runtime that the listener uses, so that Keras's overhead
alone cannot win. Weights are random: they cost what trained ones cost.

    python -m benchmarks.script_path FILE.wav NETWORK.keras

does what the script does, from its start to its first answer.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MELS, FRAMES, GENRES = 128, 130, 10
PARAMETERS = 104_294
FILE_BYTES = 128_000


def spectrogram(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """The script's features of one window, shape (1, mels, frames, 1)."""
    import librosa  # noqa: PLC0415 - heavy, and its import is measured

    mel = librosa.feature.melspectrogram(y=audio, sr=22_050, n_fft=2048, hop_length=512, n_mels=MELS)
    return np.asarray(mel, np.float32)[None, :, :, None]


def network() -> Any:  # noqa: ANN401 - keras has no types
    """The script's network, untrained."""
    import keras  # noqa: PLC0415

    layers = keras.layers
    made = keras.Sequential([keras.Input((MELS, FRAMES, 1))])
    for channels in (8, 16, 32, 64, 128):
        made.add(layers.Conv2D(channels, 3))
        made.add(layers.BatchNormalization(axis=1))
        made.add(layers.ReLU())
        made.add(layers.MaxPooling2D(2))
    for layer in (layers.Flatten(), layers.Dropout(0.3), layers.Dense(GENRES, activation="softmax")):
        made.add(layer)
    assert made.count_params() == PARAMETERS  # noqa: S101 - else it is another network
    return made


def tflite(keras_network: Any) -> bytes:  # noqa: ANN401
    """The same network as a float TFLite file."""
    import tensorflow as tf  # noqa: PLC0415

    return bytes(tf.lite.TFLiteConverter.from_keras_model(keras_network).convert())


class FairPath:
    """The script's features and network in the listener's runtime."""

    def __init__(self, model: bytes) -> None:
        """Make the network ready."""
        from headnod.inference.model import interpreter  # noqa: PLC0415

        self._interpreter = interpreter(model)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def answer(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores of one window, shape (10,)."""
        self._interpreter.set_tensor(self._input, spectrogram(audio))
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._output)[0])


def main(wav: Path, file: Path) -> None:
    """Start as the script does, and name the genre of the first window."""
    import keras  # noqa: PLC0415
    import librosa  # noqa: PLC0415

    audio, _ = librosa.load(wav, sr=22_050, duration=3.0)
    made = keras.models.load_model(file)
    sys.stdout.write(f"{int(made.predict(spectrogram(audio), verbose=0).argmax())}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
