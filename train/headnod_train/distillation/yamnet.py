"""YAMNet as a second teacher and a baseline: 521 AudioSet classes.

The network (Google, Apache-2.0) is not part of headnod; its TensorFlow Lite file is an argument. Source of the framing
and of the class list: https://github.com/tensorflow/models/tree/master/research/audioset/yamnet
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod.errors import HeadnodError
from headnod.features.frontend import Audio
from headnod.inference.model import interpreter

RATE = 16_000
"""Sample rate of YAMNet's input, in Hz."""

CLASSES = 521

_STEP = 0.4875
"""Seconds from one frame to the next."""

GENRES = {
    "blues": ("Blues",),
    "classical": ("Classical music", "Opera"),
    "country": ("Country", "Bluegrass"),
    "disco": ("Disco",),
    "hiphop": ("Hip hop music", "Rapping"),
    "jazz": ("Jazz", "Swing music"),
    "metal": ("Heavy metal",),
    "pop": ("Pop music",),
    "reggae": ("Reggae", "Ska"),
    "rock": ("Rock music", "Rock and roll", "Punk rock", "Progressive rock"),
}
"""AudioSet classes that stand for each genre; the highest of them counts."""


class YamnetError(HeadnodError, ValueError):
    """YAMNet's file or list of classes cannot be used."""


class Yamnet:
    """Scores of sounds by YAMNet."""

    def __init__(self, model: Path) -> None:
        """Load the network.

        Raises:
            YamnetError: The file is absent or another network.
        """
        try:
            self._interpreter = interpreter(model.read_bytes())
            (self._input,) = self._interpreter.get_input_details()
            self._output = self._interpreter.get_output_details()[0]
        except OSError as error:
            message = f"{model}: {(error.strerror or str(error)).lower()}"
            raise YamnetError(message) from error
        self._size = int(self._input["shape"][-1])
        if int(self._output["shape"][-1]) != CLASSES:
            message = f"{model}: has {self._output['shape'][-1]} outputs, YAMNet has {CLASSES}"
            raise YamnetError(message)

    def scores(self, audio: Audio) -> NDArray[np.float32]:
        """Mean score of each class over a stretch of sound.

        Args:
            audio: Mono samples in [-1, 1] at 16 kHz, shape (n,); short sound is repeated.

        Returns:
            Scores from 0 to 1, shape (521,).
        """
        if audio.size < self._size:
            audio = np.resize(audio, self._size)
        frames = range(0, audio.size - self._size + 1, round(_STEP * RATE))
        return np.mean([self._frame(audio[start : start + self._size]) for start in frames], axis=0, dtype=np.float32)

    def _frame(self, frame: Audio) -> NDArray[np.float32]:
        self._interpreter.set_tensor(self._input["index"], frame.reshape(self._input["shape"]))
        self._interpreter.invoke()
        return np.array(self._interpreter.get_tensor(self._output["index"]), np.float32).reshape(-1)[:CLASSES]


def read_classes(path: Path) -> list[str]:
    """Names of the classes, in the order of the scores, from the published CSV (`index,mid,display_name`).

    Raises:
        YamnetError: The file is absent or has another form.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            names = [row["display_name"] for row in csv.DictReader(file)]
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        message = f"{path}: is not the list of YAMNet's classes: {error}"
        raise YamnetError(message) from error
    if len(names) != CLASSES:
        message = f"{path}: names {len(names)} classes, YAMNet has {CLASSES}"
        raise YamnetError(message)
    return names


def genre_scores(scores: NDArray[np.float32], classes: list[str], labels: tuple[str, ...]) -> NDArray[np.float32]:
    """The highest score among the classes of each genre, shape (..., labels), from scores of shape (..., 521)."""
    columns = [[classes.index(name) for name in GENRES[label]] for label in labels]
    return np.stack([scores[..., column].max(axis=-1) for column in columns], axis=-1)
