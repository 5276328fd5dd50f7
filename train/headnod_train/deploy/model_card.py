"""The card of a bundle, written from the manifest and the evaluation: no figure is typed by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headnod.inference.manifest import Manifest
from headnod_train.evaluation.results import Evaluation
from headnod_train.evaluation.tables import condition_rows, facts, headlines, interval, warning
from headnod_train.training.provenance import DatasetInfo, command, differences, manifest_recipe
from headnod_train.training.run_folder import Quantised, Recipe


def write_card(
    manifest: Manifest,
    evaluation: Evaluation,
    *,
    recipe: Recipe,
    quantised: Quantised,
    size: int,
    collection: DatasetInfo,
    of_sibling: bool = False,
) -> str:
    """The card as Markdown."""
    parts = (
        _what(manifest, quantised, size),
        _learned(recipe, quantised, collection),
        _measured(evaluation, recipe, of_sibling=of_sibling),
        _degraded(evaluation),
        _confused(evaluation),
        _limits(manifest, evaluation, collection),
        _repeat(manifest, recipe, of_sibling=of_sibling),
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _what(manifest: Manifest, quantised: Quantised, size: int) -> str:
    front_end, single = manifest.front_end, manifest.single
    seconds = front_end.window_seconds
    alone = f" For single windows they are {single.temperature:g} and {single.threshold:g}." if single else ""
    return f"""# {manifest.id}

Classifies {seconds:.1f} s of music as one of {len(manifest.labels)} genres: {", ".join(map(escaped, manifest.labels))}.

A small convolutional network in int8: {size / 1000:.0f} kB, {quantised.multiply_adds / 1e6:.1f} million multiply-adds
per window. Its input is {front_end.frames} frames of {front_end.n_mfcc} MFCCs from {front_end.n_mels} mel bands at
{front_end.sample_rate:,} Hz. The softmax temperature is {manifest.temperature:g}; a genre is shown if its smoothed
score is at least {manifest.rejection.threshold:g}.{alone}"""


def _learned(recipe: Recipe, quantised: Quantised, collection: DatasetInfo) -> str:
    settings = recipe.settings
    fold = f", all but fold {settings.fold[0]} of {settings.fold[1]}" if settings.fold else ""
    beside = [
        text
        for used, text in (
            (recipe.tags, f"the predictions of a tagger for them (`{recipe.tags}`)"),
            (recipe.other, f"other sounds than music (`{recipe.other}`)"),
            (
                recipe.teachers and not recipe.prepared,
                f"the predictions of {len(recipe.teachers)} networks of earlier runs for them",
            ),
            (
                recipe.prepared,
                (
                    f"prepared windows of {recipe.prepared:,} recordings (clips of the same split, game music of "
                    "Debian packages, speech and noise), clean and through simulated loudspeakers, rooms, microphones "
                    "and codecs, with the predictions of two teachers (musicnn and yamnet)"
                ),
            ),
            (
                recipe.mixtures,
                (
                    f"{recipe.mixtures:,} mixtures of two of these windows, with the predictions of "
                    f"`{recipe.teachers[-1] if recipe.teachers else ''}` for the mixture; the last layer was fitted to "
                    "the labels of the archive's tracks and to speech and noise"
                ),
            ),
        )
        if used
    ]
    also = f" Also used for training: {' and '.join(beside)}." if beside else " No other network was used."
    return f"""## Training data

{collection.name}: {recipe.tracks} tracks of `{recipe.data}` ({" and ".join(settings.sides)} split{fold}).{also}
{settings.epochs} epochs of random windows with augmentation in mel power; its settings are in `manifest.json`, under
`training`. The int8 ranges are from {quantised.representative} of these windows.

Licence of the data: {collection.licence}"""


def _measured(evaluation: Evaluation, recipe: Recipe, *, of_sibling: bool) -> str:
    rows = "\n".join(
        f"| {name} | {share.accuracy:.1%} | {interval(share)} | {share.count:,} |"
        for name, share in headlines(evaluation)
    )
    lines = "\n".join(f"- {name}: {text}" for name, text in facts(evaluation))
    leaky = f"**{warning(evaluation)}.**\n\n" if evaluation.leaky else ""
    whose = _whose(evaluation, recipe) if of_sibling else ""
    return f"""## Accuracy

{leaky}{whose}Measured on the {evaluation.split} split of `{evaluation.data}`: {evaluation.how}.

| | correct | 95 % interval | of |
| --- | --- | --- | --- |
{rows}

{lines}

{_honesty(evaluation.split)}"""


def _whose(evaluation: Evaluation, recipe: Recipe) -> str:
    learned = evaluation.recipe.get("tracks", "other")
    unlike = "".join(
        f"{'; ' if place else ' except '}{name} {_or_none(theirs)}, here {_or_none(ours)}"
        for place, (name, (theirs, ours)) in enumerate(differences(evaluation.recipe, manifest_recipe(recipe)).items())
    )
    return (
        f"**These figures are not of this file.** It was trained on all {recipe.tracks} tracks, including the measured "
        f"ones. The figures are of a sibling, {evaluation.model}, which was trained on {learned} tracks without the "
        f"measured ones (sha256 {evaluation.sha256[:12]}…). Its recipe is the same{unlike}. "
        "Temperature and threshold are those of the sibling.\n\n"
    )


def _or_none(value: object) -> str:
    return "none" if value is None else str(value)


def _honesty(split: str) -> str:
    if split == "valid":
        return (
            "No track of these, and no track by one of their known artists, was used for training. But settings were\n"
            "chosen, and temperature and threshold were fitted, on these tracks: expect lower accuracy on other music."
        )
    if split == "train":
        return "Tracks of this split were used for training: the figures do not apply to other music."
    return "These tracks were not used for training, nor for fitting temperature and threshold."


def _degraded(evaluation: Evaluation) -> str:
    degraded = evaluation.degraded
    if degraded is None:
        return ""
    rows = "\n".join(f"| {' | '.join(row)} |" for row in condition_rows(degraded))
    mean, worst = degraded.mean_loss_points, degraded.worst_loss_points
    leaky = f"\n**{warning(evaluation)}.**\n" if evaluation.leaky else ""
    return f"""## Under acoustic conditions
{leaky}
The same tracks through loudspeakers, rooms, microphones and with other sounds, simulated in mel power (the exact ranges
are in `manifest.json`). Loss is in points against clean; refused is the share of estimates below the threshold.

| | windows | loss | tracks | loss | calibration error | refused |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

Mean loss: {mean.windows:.1f} points of windows, {mean.tracks:.1f} of tracks. Worst: {worst.windows:.1f} and \
{worst.tracks:.1f} ({degraded.worst})."""


def _confused(evaluation: Evaluation) -> str:
    return f"""## Confusion

| genre | tracks correct | most often confused with |
| --- | --- | --- |
{confusion_rows(evaluation.confusion.labels, np.array(evaluation.confusion.tracks))}

The whole matrix is in `manifest.json`, under `measured`."""


def confusion_rows(labels: Sequence[str], counts: NDArray[np.intp]) -> str:
    """Rows of a Markdown table: each label with tracks, how many of them are right, and its most frequent error.

    Args:
        labels: All labels.
        counts: Tracks by label (rows) and answer (columns).
    """
    rows = []
    for place in np.flatnonzero(counts.sum(axis=1)).tolist():
        right, wrong = counts[place, place], np.where(np.arange(len(labels)) == place, 0, counts[place])
        most = f"{escaped(labels[int(wrong.argmax())])} ({wrong.max()})" if wrong.any() else "nothing"
        rows.append(f"| {escaped(labels[place])} | {right} of {counts[place].sum()} | {most} |")
    return "\n".join(rows)


def _limits(manifest: Manifest, evaluation: Evaluation, collection: DatasetInfo) -> str:
    limits = [
        f"Music of any other genre is classified as one of the {len(manifest.labels)} genres, or gets none.",
        *collection.limits,
    ]
    if evaluation.degraded is None:
        limits.append("The loss through rooms, loudspeakers and microphones was not measured.")
    if evaluation.not_music is None:
        limits.append("The share of speech and noise that gets a genre was not measured.")
    else:
        limits.append(f"Of other sounds than music, {evaluation.not_music.named:.1%} of windows get a genre.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _repeat(manifest: Manifest, recipe: Recipe, *, of_sibling: bool) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in manifest.toolchain.items())
    measured = " --measured SIBLING.json" if of_sibling else ""
    whole = "`train/make_models` repeats every step. " if recipe.prepared else ""
    return f"""## Reproduction

```
{command(recipe)}
headnod-train quantise --data {recipe.data} --run RUN{" --sibling SIBLING" if of_sibling else ""}
headnod-train pack --data {recipe.data} --run RUN --name {manifest.name} --version {manifest.version}{measured}
```

{whole}TensorFlow sums in another order on another machine: expect figures that differ by a point or two. Made with
{versions}."""


def escaped(label: str) -> str:
    """A label, escaped for Markdown."""
    return re.sub(r"([\\`*_\[\]<>|~$])", r"\\\1", label)
