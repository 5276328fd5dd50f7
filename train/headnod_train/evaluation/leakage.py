"""Whether a model learned from the tracks that it is to be measured on, as far as its manifest says so."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from headnod.inference.manifest import Manifest
from headnod_train.dataset.archive import Archive
from headnod_train.evaluation.recordings_evaluation import LabelledFile

_GTZAN = re.compile(r"[a-z]+\.\d{5}")


def learned_sides(manifest: Manifest) -> list[str]:
    """The sides of its archive that a model learned from."""
    return str(manifest.training.recipe.get("sides", "train")).split(", ")


def learned_from(manifest: Manifest, archive: Archive, *, data: str, split: str) -> bool:
    """Whether a model learned from a side of an archive.

    A manifest names the archive and the number of tracks, but no track: an archive with that name, or with as
    many tracks on those sides, is taken for the one that the model learned from.
    """
    recipe, sides = manifest.training.recipe, learned_sides(manifest)
    same = recipe.get("data") == data or recipe.get("tracks") == int(np.isin(archive.splits, sides).sum())
    return same and split in sides


def may_have_learned(manifest: Manifest, clips: Iterable[LabelledFile]) -> bool:
    """Whether audio files are called as tracks of GTZAN, and the model learned from some of its tracks."""
    return "GTZAN" in manifest.training.data and any(_GTZAN.fullmatch(clip.path.stem) for clip in clips)
