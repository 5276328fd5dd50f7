"""The bundle of the distilled network, with its figures and its card."""

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
    softmax,
)
from headnod.inference.model import GenreModel
from headnod_train.backend import tf
from headnod_train.deploy import pack
from headnod_train.distillation.batches import LEVEL
from headnod_train.distillation.network import BANDS, FRAMES
from headnod_train.evaluation.calibration import WindowLogits, health_of_scores
from headnod_train.evaluation.metrics import by_track, calibration_error, share_right
from headnod_train.training.provenance import TRACK_HASHES
from headnod_train.training.run_folder import with_outputs

DATA = (
    "MSD_musicnn of the wheel musicnn 0.1.0, pruned; then windows of clips of the train split of GTZAN "
    "(fault-filtered, artist-aware), freely licensed game music of Debian packages, speech and noise"
)
LICENCE = (
    "musicnn is under the ISC licence. GTZAN has no licence: its recordings belong to others and were collected for "
    "research. Debian packages have licences of their own. No recording and no feature of one is part of this bundle."
)


@dataclass(frozen=True)
class Fitted:
    """Calibration of the int8 file."""

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
    """The manifest without hashes and figures."""
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


def figures(conditions: dict[str, WindowLogits], fitted: Fitted, exact: NDArray[np.float32]) -> dict[str, Any]:
    """Accuracy and calibration in each condition, and the agreement of int8 with float32.

    Args:
        conditions: Logits of the int8 file by condition, `clean` first.
        fitted: Temperatures.
        exact: Logits of the float network for the clean windows, (n, 11).
    """
    rows: dict[str, Any] = {}
    for name, one in conditions.items():
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
    clean = next(iter(conditions.values()))
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
    """Write the bundle and run its golden windows, as a device does."""
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


def health_of(clean: WindowLogits, temperature: float) -> Health:
    """Bounds of the mean entropy of each clip's scores."""
    return health_of_scores(softmax(clean.answers / temperature), clean.clips)


def write_card(manifest: Manifest, size: int) -> str:
    """The card of the bundle as Markdown."""
    measured, recipe, front_end = manifest.measured, manifest.training.recipe, manifest.front_end
    moved = float(recipe["moved"])
    seconds = front_end.window_seconds
    rows = "\n".join(_row(name, row) for name, row in measured["conditions"].items())
    settings = ", ".join(f"{name} {value}" for name, value in recipe.items() if name != TRACK_HASHES)
    genres = ", ".join(manifest.labels)
    parts = (
        f"# {manifest.id}",
        (
            f"Classifies {seconds:.1f} s of sound as one of {len(manifest.labels)} genres ({genres}) or as not music, "
            "and gives fifty tags, the energy of the sound and an embedding of 200 numbers."
        ),
        (
            f"A convolutional network in int8: {size / 1000:.0f} kB, {measured['multiply_adds'] / 1e6:.0f} million "
            f"multiply-adds per window. Its input is {front_end.frames} frames of {front_end.n_mels} log-mel bands at "
            f"{front_end.sample_rate:,} Hz; the mean power of every window is set to {front_end.level_db:g} dB, so "
            f"volume does not change the result. The softmax temperature is {manifest.temperature:g}; a genre is shown "
            f"if its smoothed score is at least {manifest.rejection.threshold:g}."
        ),
        "## Training",
        (
            "The network was initialised with MSD_musicnn of the PyPI package musicnn 0.1.0 (Pons and Serra, 2019; "
            "ISC licence, in `manifest.json`), a tagger that was trained on the Million Song Dataset. Filters with "
            f"constant outputs were removed, and {recipe['removed']} more that the tags hardly depend on; after the "
            "training described below, all filters over 64 frames, too. "
            f"A second branch has the convolutions of {recipe['coarse']}, which see a coarser spectrogram and were "
            "trained on the train split of GTZAN and on predictions of the same teachers. Mean and maximum over "
            "time of its last layer are further inputs of the layer of the embedding. The layers after the first "
            "and after the branch were then trained on sound through simulated loudspeakers, measured and simulated "
            "rooms, microphones, codecs and noise; the targets are the predictions of two teachers for the clean "
            "sound: the tagger itself, with a linear layer from its tags to genres that was fitted on the train "
            f"split of GTZAN, and YAMNet (Google, Apache-2.0; not part of this bundle). The weights are {moved:g} "
            f"times the mean of {recipe['trainings']} trainings plus {1.0 - moved:g} times those before. "
            "The second branch also has answers of its own, a logistic regression that was fitted to the labels of the "
            f"train split of GTZAN, and to speech and noise; they count {recipe['share_of_branch']:g} in the mean of "
            "log-probabilities. "
            f"Data: {manifest.training.data}."
        ),
        (
            "The Million Song Dataset may contain recordings of GTZAN, so the tagger may have been trained on some of "
            "the tracks below, but not on GTZAN's genre labels."
        ),
        f"Licence of the data: {manifest.training.licence}",
        "## Accuracy",
        (
            f"Measured on {measured['on']}. No track of these, and no track by one of their known artists, was used "
            "for training. But settings were chosen, and temperature and threshold were fitted, on these clips: expect "
            "lower accuracy on other music. Intervals are by bootstrap over clips."
        ),
        "| | windows of 3 s correct | 95 % interval | clips correct | 95 % interval | calibration error "
        "| music refused |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n" + rows,
        f"The int8 and the float32 network agree on {measured['int8_agreement']:.1%} of windows.",
        "## Limits",
        (
            f"- Music of any other genre is classified as one of the {len(manifest.labels)} genres, or gets none.\n"
            "- GTZAN's recordings are older than 2002, and its definitions of rock, country and pop are debatable.\n"
            "- Energy is a weighted sum of tags (loud styles against calm ones), not a measurement.\n"
            "- Silence is detected by level, before the network."
        ),
        "## Reproduction",
        f"`train/make_models` repeats every step. Settings: {settings}. TensorFlow sums in another order on another "
        "machine: expect figures that differ by a point or two. Made with "
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
