"""The program whose instructions are counted under emulation; it needs nothing but numpy and headnod.

    python counted.py PART BUNDLE MODEL COUNT

does one part of the work so many times: all of it, the network, or one piece of
the front end. What it costs is the difference of two counts.
"""

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import headnod
from headnod.features.frontend import FrontEnd, MelSpectrogram
from headnod.features.windows import FrameCache, Window
from headnod.inference.manifest import MODEL
from headnod.inference.model import interpreter, load_checked
from headnod.pipeline.estimate import utc_now
from headnod.pipeline.level import LoudnessMeter, SteadyNoiseDetector
from headnod.pipeline.smoothing import Smoother


def parts(bundle: Path, file: Path) -> dict[str, Callable[[], Callable[[], object]]]:
    """What can be counted, by name: each makes ready what is then repeated."""
    model = headnod.GenreModel.load(bundle)
    front_end = model.front_end
    rate = front_end.sample_rate
    time = np.arange(rate * 60) / rate
    swell = 0.05 * (1.0 + np.sin(2.0 * np.pi * 1.3 * time))
    audio = (np.random.default_rng(0).normal(0.0, 1.0, time.size) * swell).astype(np.float32)
    window = audio[: front_end.window_samples].copy()
    cache, mel = FrameCache(front_end), front_end.mel(window)
    frames = np.lib.stride_tricks.sliding_window_view(window, front_end.n_fft)[:: front_end.hop].copy()
    features, places = front_end.features(mel), itertools.count(1, front_end.hop + 1)
    scores = model.scores(features)
    blocks = itertools.cycle(audio[at : at + rate // 4] for at in range(0, audio.size, rate // 4))
    network = _taken_by_xnnpack(file)
    # By our own front end with the script's hop: librosa's costs more.
    script = FrontEnd(hop=512, frames=124)
    often = MelSpectrogram(script)
    drawn = np.empty((124, 128), np.float32)
    smoother, meter, steady = (
        Smoother(seconds=12.0, every=3.0),
        LoudnessMeter(window.size),
        SteadyNoiseDetector(front_end),
    )
    return {
        "listener": lambda: headnod.listen(blocks, model, headnod.ListenerSettings(), now=utc_now).__next__,
        "network": lambda: network.invoke,
        "mel": lambda: lambda: cache.mel(Window(window, next(places))),
        "FFT": lambda: lambda: np.fft.rfft(frames, axis=1, norm="forward"),
        "spectrogram of the script": lambda: lambda: often.compute(audio[: script.window_samples], drawn),
        "features": lambda: lambda: front_end.features(mel),
        "scores": lambda: lambda: model.scores(features),
        "smoothing": lambda: lambda: smoother.update(scores),
        "level": lambda: lambda: meter.measure(window),
        "steady noise": lambda: lambda: steady.detect(mel),
    }


def _taken_by_xnnpack(file: Path) -> Any:  # noqa: ANN401 - the two runtimes share no type
    network = interpreter(file.read_bytes())
    steps = network._get_ops_details()  # noqa: SLF001 - the runtime tells it nowhere else
    if not any(step["op_name"] == "DELEGATE" for step in steps):
        sys.exit(f"{file}: XNNPACK did not take it, as it does on a Pi")
    return network


def main(part: str, bundle: str, file: str, count: str) -> None:
    """Do it so many times."""
    repeat = parts(Path(bundle), Path(file))[part]()
    for _ in range(int(count)):
        repeat()


def answer(bundle: str, questions: str, answers: str) -> None:
    """What the network says of each of many windows of features, as it leaves the runtime."""
    _taken_by_xnnpack(Path(bundle) / MODEL)
    model = load_checked(Path(bundle))
    np.save(answers, np.stack([model.logits(features) for features in np.load(questions)]))


if __name__ == "__main__":
    (answer if sys.argv[1] == "answer" else main)(*(sys.argv[2:] if sys.argv[1] == "answer" else sys.argv[1:]))
