"""Golden answers: what each shipped model says of the demo clip, to the bit, by way of the listener.

    python tests/golden/demo_clip.py

No float is kept: another processor or numpy sums in another order, and the int8 numbers of
the network come out the same. So does what an estimate says, to its four decimals.
"""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod import GenreModel, ListenerSettings, listen
from headnod.audio.audio_file import audio_file
from headnod.features.frontend import Features
from headnod.inference.manifest import MODEL, Manifest
from headnod.inference.model import interpreter, quantise
from headnod.resources import demo_clip, models

STORED = Path(__file__).with_suffix(".json")


class Overheard(GenreModel):
    """A model that remembers the int8 numbers that went into its network and came out."""

    def __init__(self, manifest: Manifest, model: bytes):
        super().__init__(manifest, model)
        network = interpreter(model)
        (into,) = network.get_input_details()
        roles = [tensor.role for tensor in manifest.tensors]
        answers = network.get_output_details()[roles.index("answers")]
        self._into, self._out_of = into["quantization"], answers["quantization"]
        self.inputs: list[NDArray[np.int8]] = []
        self.outputs: list[NDArray[np.int8]] = []

    def network_input(self, features: Features) -> NDArray[np.int8]:
        said = self.manifest.standardisation
        standard = (features - np.array(said.mean, np.float32)) / np.array(said.deviation, np.float32)
        return quantise(standard, *self._into)

    def logits(self, features: Features) -> NDArray[np.float32]:
        logits = super().logits(features)
        self.inputs.append(self.network_input(features))
        self.outputs.append(quantise(logits, *self._out_of))
        return logits

    def steps(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """How far logits were under the largest, in int8 steps, as the scores that were made of them tell."""
        said = np.log(scores, dtype=np.float64)
        return (said - said.max(axis=-1, keepdims=True)) * self.manifest.temperature / self._out_of[0]


def answers(folder: Path) -> dict:
    """What the listener and the network in it say of the demo clip."""
    model = Overheard.load(folder)
    with audio_file(demo_clip(), model.front_end.sample_rate) as blocks:
        estimates = list(listen(blocks, model, ListenerSettings(), now=lambda: datetime.now(UTC)))
    return {
        "model": hashlib.sha256((folder / MODEL).read_bytes()).hexdigest(),
        "inputs": [hashlib.sha256(each.tobytes()).hexdigest() for each in model.inputs],
        "logits": [each.tolist() for each in model.outputs],
        "genres": [each.genre for each in estimates],
        "scores": [list(each.scores.values()) for each in estimates],
        "levels": [each.level for each in estimates],
    }


def main() -> None:
    """Write what every shipped model says."""
    rows = []
    for folder in models():
        fields = ",\n".join(f"    {json.dumps(key)}: {_lined(value)}" for key, value in answers(folder).items())
        rows.append(f"  {json.dumps(folder.name)}: {{\n{fields}\n  }}")
    STORED.write_text("{\n" + ",\n".join(rows) + "\n}\n")


def _lined(value: object) -> str:
    if not isinstance(value, list) or not isinstance(value[0], (list, str)):
        return json.dumps(value)
    return "[\n" + ",\n".join(f"      {json.dumps(each)}" for each in value) + "\n    ]"


if __name__ == "__main__":
    main()
