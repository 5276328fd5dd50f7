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
from headnod_train.deploy.health_bounds import health_of_scores
from headnod_train.evaluation.metrics import by_track, calibration_error, share_right
from headnod_train.packaging import pack
from headnod_train.packaging.output_tensors import with_outputs
from headnod_train.pretrained.augmentation import LEVEL
from headnod_train.pretrained.calibration import WindowLogits
from headnod_train.pretrained.card import write_card
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
