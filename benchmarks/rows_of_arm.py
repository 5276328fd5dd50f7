"""P2: exact AArch64 instructions of a window; and that int8 scores are the same there as here."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import yamnet
from benchmarks.arm_root import CPU, RELEASES, ArmRoot, CannotEmulateError, arm_root, plugin
from benchmarks.material import bundles
from benchmarks.processes import ROOT, python
from benchmarks.rows import Row, unmeasured
from headnod import GenreModel
from headnod.inference.manifest import read_manifest

_PARTS = ("mel", "FFT", "features", "level", "steady noise", "smoothing")
_MORE, _LESS = 12, 2
_WINDOWS = 240
_WHAT = "AArch64 instructions of a window of 3 s, the whole listener with its network"
_SCRIPT = (
    "from benchmarks.script_path import network, tflite; import sys; open(sys.argv[1], 'wb').write(tflite(network()))"
)
_DEVICE_TESTS = (
    *(f"tests/features/test_{name}.py" for name in ("frontend", "windows")),
    *(f"tests/inference/test_{name}.py" for name in ("model", "golden", "manifest")),
    *(f"tests/pipeline/test_{name}.py" for name in ("level", "noise", "smoothing", "songs")),
)
"""Those of what computes: emulation is twenty times slower, and what starts programs or waits for them is too slow."""


def instructions(*, parts: bool = True, only: str = "") -> Row:
    """P2, or why it cannot be had.

    Args:
        parts: Count the pieces of the listener too, and the script's network.
        only: A bundle's name; empty counts all.
    """
    try:
        root = arm_root("bookworm")
    except CannotEmulateError as error:
        return unmeasured(_WHAT, "million instructions", str(error))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        counting = plugin(folder)
        models: dict[str, dict[str, float]] = {}
        for model, bundle in bundles().items():
            if only not in {"", model}:
                continue
            file = bundle / "model.tflite"
            whole = _count(root, counting, folder, "listener", bundle, file)
            network = _count(root, counting, folder, "network", bundle, file)
            models[model] = {"whole": whole, "network": network, "front end and listener": round(whole - network, 3)}
        pieces, script, theirs = {}, None, None
        if parts:
            bundle = bundles()["genre"]
            pieces = {part: _count(root, counting, folder, part, bundle, bundle / "model.tflite") for part in _PARTS}
            python("-c", _SCRIPT, folder / "script.tflite")
            script = round(
                _count(root, counting, folder, "network", bundle, folder / "script.tflite")
                + _count(root, counting, folder, "spectrogram of the script", bundle, bundle / "model.tflite"),
                3,
            )
            theirs = (
                round(yamnet.FRAMES * _count(root, counting, folder, "network", bundle, yamnet.NETWORK), 3)
                if yamnet.present()
                else None
            )
    return Row(
        _WHAT,
        "million instructions",
        models["genre"]["whole"],
        script,
        "the fair path: the script's network in TFLite, its spectrogram by our front end",
        more={"cpu": CPU, "models": models, "pieces": pieces, **({"YAMNet": theirs} if theirs else {})},
    )


def _count(root: ArmRoot, counting: Path, folder: Path, part: str, bundle: Path, file: Path) -> float:
    """Million instructions of one repetition: what some cost more than few, shared out."""
    found = []
    for count in (_MORE, _LESS):
        sum_file = folder / "instructions"
        program = Path(__file__).with_name("counted.py")
        root.python(program, part, bundle, file, str(count), plugin=counting, count=sum_file)
        found.append(int(sum_file.read_text(encoding="ascii")))
    return round((found[0] - found[1]) / (_MORE - _LESS) / 1e6, 3)


def same_scores(release: str) -> dict[str, Any]:
    """Whether every bundle says the same there as here, to the bit, of many windows of features."""
    root, told = arm_root(release), {}
    for name, bundle in bundles().items():
        with tempfile.TemporaryDirectory() as folder:
            questions, answers = Path(folder, "questions.npy"), Path(folder, "answers.npy")
            np.save(questions, windows(bundle))
            root.python(Path(__file__).with_name("counted.py"), "answer", bundle, questions, answers)
            model = GenreModel.load(bundle)
            here = np.stack([model.logits(features) for features in np.load(questions)])
            same = (here == np.load(answers)).all(axis=1)
        told[name] = {"windows": len(same), "same": int(same.sum())}
    return told


def windows(bundle: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The golden windows, and further ones mixed of them: (windows, frames, n_mfcc)."""
    read_manifest(bundle)
    with np.load(bundle / "golden.npz") as golden:
        given = np.asarray(golden["features"], np.float32)
    rng = np.random.default_rng(0)
    mixed = []
    for _ in range(_WINDOWS - len(given)):
        one, other = given[rng.integers(len(given), size=2)]
        share = np.float32(rng.uniform())
        mixed.append(np.roll(share * one + (1 - share) * other, rng.integers(len(one)), axis=0))
    return np.concatenate([given, np.stack(mixed).astype(np.float32)])


def tests(release: str) -> str:
    """How the tests of the device package end there, in pytest's own words."""
    wanted = [name for name in _DEVICE_TESTS if (ROOT / name).exists()]
    try:
        ended = arm_root(release).inside(*("-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header", *wanted))
    except RuntimeError as error:
        return _last_line(str(error))
    return _last_line(ended.output)


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if re.search(r"\d+ (passed|failed|error)", line)]
    return lines[-1].strip("= ") if lines else text[-300:]


def whole() -> dict[str, Any]:
    """All that `--arm` tells beside P2."""
    return {
        release: {"python": RELEASES[release], "same_scores": same_scores(release), "tests": tests(release)}
        for release in RELEASES
    }
