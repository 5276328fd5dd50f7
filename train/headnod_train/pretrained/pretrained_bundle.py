"""The bundle of the distilled network: calibrated and measured on clips that it did not learn from."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import FrontEnd
from headnod.inference.manifest import (
    FORMAT,
    Calibration,
    Energy,
    Health,
    Manifest,
    Rejection,
    Standardisation,
    Tags,
    Tensor,
    Training,
)
from headnod.inference.model import GenreModel
from headnod.inference.prediction import softmax
from headnod_train.backend import tf
from headnod_train.deploy.signing import health_of_scores
from headnod_train.evaluation.metrics import by_track, calibration_error, share_right
from headnod_train.packaging import pack
from headnod_train.packaging.output_tensors import with_outputs
from headnod_train.packaging.provenance import TRACK_HASHES
from headnod_train.pretrained.augmentation import LEVEL
from headnod_train.pretrained.calibration import WindowLogits
from headnod_train.pretrained.network import BANDS, FRAMES

DATA = (
    "MSD_musicnn of the wheel musicnn 0.1.0, pruned; then windows of clips of the train side of GTZAN (fault-filtered, "
    "artist-aware), freely licensed game music of Debian packages, speech and noise"
)
LICENCE = (
    "musicnn is under the ISC licence. GTZAN has no licence: its recordings belong to others and were collected for "
    "research. Debian packages have licences of their own. No recording and no feature of one is part of this bundle."
)


@dataclass(frozen=True)
class Fitted:
    """What was fitted to the int8 file."""

    stream: Calibration
    """For means over several windows."""

    single: Calibration
    """For single windows."""

    tags: Tags
    energy: Energy


def front_end() -> FrontEnd:
    """The tagger's front end, each window at a fixed level."""
    return FrontEnd(
        16_000, 512, 256, FRAMES, BANDS, f_max=8_000.0, n_mfcc=0, floor_db=-100.0,
        compression="log10", level="power", level_db=LEVEL,
    )  # fmt: skip


def draft(labels: tuple[str, ...], offset: float, fitted: Fitted, content: bytes, notice: str) -> Manifest:
    """The manifest without hashes and figures.

    Args:
        labels: Genres, in the order of the answers.
        offset: Of the input; see `headnod_train.pretrained.pruning`.
        fitted: What was fitted to the file.
        content: The int8 file.
        notice: Licences of what the network began as.
    """
    front = front_end()
    manifest = Manifest(
        format=FORMAT,
        name="genre",
        version="0.0.0",
        sha256={},
        labels=labels,
        front_end=front,
        standardisation=Standardisation((round(offset, 6),) * BANDS, (1.0,) * BANDS),
        input=Tensor((1, FRAMES, BANDS), "int8"),
        output=Tensor((1, len(labels) + 1), "int8"),
        temperature=fitted.stream.temperature,
        rejection=Rejection(fitted.stream.threshold, True),
        training=Training(DATA, LICENCE, {}),
        measured={},
        toolchain={},
        single=fitted.single,
        tags=fitted.tags,
        energy=fitted.energy,
        notice=notice,
    )
    return with_outputs(manifest, content)


def figures(heard: dict[str, WindowLogits], fitted: Fitted, exact: NDArray[np.float32]) -> dict[str, Any]:
    """What is right in each condition, how honest the scores are, and what int8 costs.

    Args:
        heard: Logits of the int8 file by condition, `clean` first.
        fitted: Temperatures.
        exact: Logits of the float network for the clean windows, (n, 11).
    """
    rows: dict[str, Any] = {}
    for name, one in heard.items():
        scores = softmax(one.answers / fitted.single.temperature)
        genres = scores[:, :-1]
        _, first, clips = np.unique(one.clips, return_index=True, return_inverse=True)
        of_clip = by_track(genres, clips).argmax(axis=1)
        rows[name] = {
            "windows": msgspec.to_builtins(share_right(genres.argmax(axis=1) == one.genres, one.clips)),
            "clips": msgspec.to_builtins(share_right(of_clip == one.genres[first], one.clips[first])),
            "calibration_error": round(calibration_error(genres, one.genres), 4),
            "music_refused": round(float((scores.argmax(axis=1) == genres.shape[1]).mean()), 4),
        }
    clean = next(iter(heard.values()))
    agreement = (clean.answers[:, :-1].argmax(axis=1) == exact[:, :-1].argmax(axis=1)).mean()
    return {"conditions": rows, "int8_agreement": round(float(agreement), 4)}


def write_bundle(
    models: Path,
    version: str,
    drafted: Manifest,
    content: bytes,
    *,
    measured: dict[str, Any],
    health: Health,
    recipe: dict[str, str | int | float | bool],
    replace: bool = False,
) -> Path:
    """Write the bundle, proven as a device would prove it.

    Args:
        models: The folder of bundles.
        version: Three numbers.
        drafted: From `draft`.
        content: The int8 file.
        measured: From `figures`, and more.
        health: Bounds of the entropy of its answers.
        recipe: Settings of the training.
        replace: A bundle of that version may go.
    """
    folder = pack.free_folder(models, drafted.name, version, replace=replace)
    converter = {"tensorflow": tf.__version__, "numpy": version_of("numpy")}
    manifest = msgspec.structs.replace(
        drafted,
        version=version,
        training=msgspec.structs.replace(drafted.training, recipe=recipe),
        measured={**measured, "bytes": len(content)},
        toolchain=pack.toolchain(converter),
        health=health,
    )
    pack.write_bundle(folder, GenreModel(manifest, content), content, manifest, write_card(manifest, len(content)))
    return folder


def health_of(heard: WindowLogits, temperature: float) -> Health:
    """Bounds of the mean entropy of each clip's answers."""
    return health_of_scores(softmax(heard.answers / temperature), heard.clips)


def write_card(manifest: Manifest, size: int) -> str:
    """The card as Markdown.

    Args:
        manifest: With its figures under `measured`.
        size: Bytes of the int8 file.
    """
    measured, recipe, front_end = manifest.measured, manifest.training.recipe, manifest.front_end
    moved = float(recipe["moved"])
    seconds = front_end.window_samples / front_end.sample_rate
    rows = "\n".join(_row(name, row) for name, row in measured["conditions"].items())
    settings = ", ".join(f"{name} {value}" for name, value in recipe.items() if name != TRACK_HASHES)
    genres = ", ".join(manifest.labels)
    parts = (
        f"# {manifest.id}",
        (
            f"Names one of {len(manifest.labels)} genres for {seconds:.1f} s of music ({genres}) or that it is no "
            "music, and gives fifty tags, the energy of the sound and an embedding of 200 numbers."
        ),
        (
            f"A convolutional network in int8: {size / 1000:.0f} kB, {measured['multiply_adds'] / 1e6:.0f} million "
            f"multiply-adds a window. Its input is {front_end.frames} frames of {front_end.n_mels} log-mel bands at "
            f"{front_end.sample_rate:,} Hz; the mean power of every window is set to {front_end.level_db:g} dB, so "
            f"volume does not change the answer. Logits are divided by {manifest.temperature:g} before softmax, and a "
            f"genre is named from a smoothed score of {manifest.rejection.threshold:g} on."
        ),
        "## What it was trained from",
        (
            "It began as MSD_musicnn of the PyPI package musicnn 0.1.0 (Pons and Serra, 2019; ISC licence, in "
            "`manifest.json`), a tagger that was trained on the Million Song Dataset. Filters that compute a constant "
            "were removed. The layers above the first were then trained to give, for sound through simulated "
            "loudspeakers, measured and simulated rooms, microphones, codecs and noise, what two teachers say of the "
            "clean sound: the tagger itself, with a linear head from its tags to genres that was fitted to the train "
            "side of GTZAN, and YAMNet (Google, Apache-2.0; not part of this bundle). "
            f"The weights are {moved:g} parts of that network and {1.0 - moved:g} of the one before training. "
            f"The data: {manifest.training.data}."
        ),
        (
            "The Million Song Dataset may hold recordings that are in GTZAN, so the tagger may have heard some of the "
            "tracks below while it was trained. It never saw GTZAN's genre labels."
        ),
        f"Licence of the data: {manifest.training.licence}",
        "## What it is worth",
        (
            f"Measured on {measured['on']}, none of which it learned from, nor any other by an artist of theirs as "
            "far as artists are known. Settings were chosen while looking at them, and temperature and certainty were "
            "fitted on them: expect somewhat less on other music. Intervals are bootstraps over clips."
        ),
        "| | windows of 3 s right | 95 % interval | clips right | 95 % interval | calibration error | music refused |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n" + rows,
        f"int8 names the genre that float32 names on {measured['int8_agreement']:.1%} of windows.",
        "## Limits",
        (
            f"- It knows {len(manifest.labels)} genres and calls all music one of them, or nothing.\n"
            "- GTZAN's recordings are older than 2002, and what counts as rock, country or pop in it is arguable.\n"
            "- Energy is a weighted sum of tags (loud styles against calm ones), not a measurement.\n"
            "- Silence is judged by level, before the network."
        ),
        "## How to repeat it",
        f"`train/make_models` repeats every step. Settings: {settings}. TensorFlow adds up in another order on another "
        "machine: expect the figures to move by a point or two. Made with "
        + ", ".join(f"{name} {version}" for name, version in manifest.toolchain.items())
        + ".",
    )
    return "\n\n".join(parts) + "\n"


def _row(name: str, row: dict[str, Any]) -> str:
    shares = [
        f"{row[kind]['accuracy']:.1%} | {row[kind]['ci95'][0]:.1%} to {row[kind]['ci95'][1]:.1%}"
        for kind in ("windows", "clips")
    ]
    return f"| {name} | {' | '.join(shares)} | {row['calibration_error']:.3f} | {row['music_refused']:.1%} |"
