"""Figures of a taught model: tables for the terminal, fields for the manifest, and the card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from headnod.inference.manifest import Manifest
from headnod_train.deploy.model_card import confusion_rows, escaped
from headnod_train.evaluation.metrics import Share

HOW = "Each track was left out, with all tracks of its artist, from the fit and from every choice made for it."
_FEW = 5


@dataclass(frozen=True)
class Doubted:
    """A track whose held-out answer fits its label least."""

    path: Path
    label: str
    answer: str
    probability: float
    """Of its label, over the whole track (0-1)."""


@dataclass(frozen=True)
class Figures:
    """Measured on tracks that the layer was not fitted to; artists are left out whole."""

    labels: tuple[str, ...]
    windows: Share
    tracks: Share
    calibration_error: float
    unnamed: float
    """Share of windows below the threshold, or taken for something that is not music."""
    confusion: NDArray[np.intp]
    """Tracks by label (rows) and answer (columns)."""
    doubted: tuple[Doubted, ...]
    """Wrong or least certain tracks, the worst first."""
    ungrouped: tuple[str, ...]
    """Labels with tracks that were left out one at a time, because their artists are unknown or one and the same."""

    @property
    def taught(self) -> list[int]:
        """Labels with tracks."""
        return [int(place) for place in np.flatnonzero(self.confusion.sum(axis=1))]


def tables(figures: Figures) -> Iterator[Table]:
    """Accuracy, confusion, and the least certain tracks."""
    right = Table("on music it was not fitted to", "right", "95 % interval", "of")
    for name, share in (("windows of 3 s", figures.windows), ("whole tracks", figures.tracks)):
        right.add_row(name, f"{share.accuracy:.0%}", interval(share), f"{share.count:,}")
    yield right
    columns = [
        place for place in range(len(figures.labels)) if place in figures.taught or figures.confusion[:, place].any()
    ]
    confused = Table("tracks of", *(_short(figures.labels[place]) for place in columns), title="recognised as")
    for own in figures.taught:
        cells = [
            f"[{figures.confusion[own, place]}]" if own == place else str(figures.confusion[own, place] or "·")
            for place in columns
        ]
        confused.add_row(figures.labels[own], *cells)
    yield confused
    doubted = Table("label", "recognised as", "its label", title="listen to these: least like their label")
    doubted.add_column("file", overflow="fold")
    for each in figures.doubted:
        doubted.add_row(each.label, each.answer, f"{each.probability:.0%}", str(each.path))
    yield doubted


def comparison(last: Figures, tuned: Figures, gain: Share, epochs: int, *, written: bool) -> Iterator[str]:
    """The last layer alone against fine-tuning, in three lines and the decision."""
    for name, one, other in (("windows", last.windows, tuned.windows), ("tracks", last.tracks, tuned.tracks)):
        yield (
            f"{name} right: {one.accuracy:.1%} ({interval(one)}) with the last layer alone, {other.accuracy:.1%} "
            f"({interval(other)}) fine-tuned"
        )
    low, high = (f"{100 * end:+.1f}" for end in gain.ci95)
    yield f"gain of fine-tuning: {100 * gain.accuracy:+.1f} points of windows, 95 % interval {low} to {high}"
    if written:
        yield f"the fine-tuned network is written ({epochs} epochs): corrections of its base cannot be used with it"
    else:
        yield "that is within chance, so the last layer alone is written (--anyway writes the fine-tuned network)"


def remarks(figures: Figures) -> Iterator[str]:
    """Limits of the figures, one line each."""
    rows = [(figures.labels[place], figures.confusion[place]) for place in figures.taught]
    if set(figures.ungrouped) == {label for label, _ in rows}:
        yield "no label has two artists that are known, so tracks were left out one at a time: figures may be too high"
    elif figures.ungrouped:
        yield (
            f"artists are unknown, or there is only one, in {', '.join(figures.ungrouped)}: those tracks were left out "
            "one at a time, and their figures may be too high"
        )
    small = [f"'{label}' ({row.sum()})" for label, row in rows if row.sum() < 2 * _FEW]
    if small:
        yield f"fewer than ten tracks: {', '.join(small[:_FEW])}; more of them help most"


def measured(figures: Figures, size: int) -> dict[str, Any]:
    """The figures for the manifest."""
    return {
        "windows": msgspec.to_builtins(figures.windows),
        "tracks": msgspec.to_builtins(figures.tracks),
        "calibration_error": round(figures.calibration_error, 4),
        "unnamed": round(figures.unnamed, 4),
        "confusion": figures.confusion.tolist(),
        "without_artists": list(figures.ungrouped),
        "how": HOW,
        "bytes": size,
    }


def write_card(manifest: Manifest, figures: Figures) -> str:
    """The card as Markdown."""
    labels = ", ".join(map(escaped, figures.labels))
    rows = "\n".join(
        f"| {name} | {share.accuracy:.1%} | {interval(share)} | {share.count:,} |"
        for name, share in (("windows of 3 s", figures.windows), ("tracks", figures.tracks))
    )
    limits = "\n".join(f"- {remark}" for remark in map(escaped, remarks(figures)))
    return f"""# {manifest.id}

Names one of {len(figures.labels)} labels for 3 s of music: {labels}; or that it is not music.

{_fitted(manifest)}{_added(manifest, figures)}
Logits are divided by {manifest.temperature:g} before softmax,
and a label is named from a smoothed score of {manifest.rejection.threshold:g} on.

Licences: {escaped(manifest.training.licence)}

## Accuracy

{HOW} Intervals are bootstraps over artists. The figures are of clean files: expect less in rooms.

| | right | 95 % interval | of |
| --- | --- | --- | --- |
{rows}

Calibration error: {figures.calibration_error:.3f}. Not named: {figures.unnamed:.1%} of windows.

| label | tracks right | most often taken for |
| --- | --- | --- |
{confusion_rows(figures.labels, figures.confusion)}

## Limits

- All music is called one of {len(figures.labels)} labels, or nothing.
{limits}

Made by `headnod-train teach` with {", ".join(f"{name} {version}" for name, version in manifest.toolchain.items())}.
"""


def _fitted(manifest: Manifest) -> str:
    recipe = manifest.training.recipe
    music = f"{recipe['tracks']} tracks ({recipe['windows']} windows)"
    if "epochs" in recipe:
        return (
            f"The last layer and a copy of the dense layer before it were trained on {music},\n"
            f"{recipe['epochs']} epochs. The tags and all other layers are those of {recipe['base']}, unchanged. "
            "The embedding is another one."
        )
    return (
        f"The last layer was fitted to {music}. All layers before it, the tags\n"
        f"and the embedding are those of {recipe['base']}, unchanged."
    )


def _added(manifest: Manifest, figures: Figures) -> str:
    if not manifest.training.recipe["added"]:
        return ""
    new = ", ".join(escaped(figures.labels[place]) for place in figures.taught)
    return f" So are the rows of its labels: only those of {new} are new."


def interval(share: Share) -> str:
    """Such as `61% to 79%`."""
    return f"{share.ci95[0]:.0%} to {share.ci95[1]:.0%}"


def _short(label: str) -> str:
    return label if len(label) <= 10 else f"{label[:9]}…"  # noqa: PLR2004 - columns of a table
