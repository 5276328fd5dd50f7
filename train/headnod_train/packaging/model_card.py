"""The card of a bundle: what a person should know before using a model.

Written from the manifest and the evaluation, so no figure on it was typed.
"""

from __future__ import annotations

import re

import numpy as np

from headnod.inference.manifest import Manifest
from headnod_train.evaluation.results import Evaluation
from headnod_train.evaluation.tables import facts, headlines, interval, warning
from headnod_train.packaging.provenance import DatasetInfo, command, differences, manifest_recipe
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
    """The card as Markdown.

    Args:
        manifest: The bundle's, but for the hashes.
        evaluation: What was measured.
        recipe: How the network was trained.
        quantised: How it was quantised.
        size: Bytes of the int8 file.
        collection: What it learned from.
        of_sibling: The evaluation is of another network of the same recipe.
    """
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
    seconds = front_end.window_samples / front_end.sample_rate
    alone = (
        f" A window that is heard alone has {single.temperature:g} and {single.threshold:g} instead." if single else ""
    )
    return f"""# {manifest.id}

Names one of {len(manifest.labels)} genres for {seconds:.1f} s of music: {", ".join(map(_plain, manifest.labels))}.

A small convolutional network in int8: {size / 1000:.0f} kB, {quantised.multiply_adds / 1e6:.1f} million multiply-adds
a window. It reads {front_end.frames} frames of {front_end.n_mfcc} MFCCs from {front_end.n_mels} mel bands at
{front_end.sample_rate:,} Hz. Logits are divided by {manifest.temperature:g} before softmax, and a genre is named from a
smoothed score of {manifest.rejection.threshold:g} on.{alone}"""


def _learned(recipe: Recipe, quantised: Quantised, collection: DatasetInfo) -> str:
    settings = recipe.settings
    fold = f", all but fold {settings.fold[0]} of {settings.fold[1]}" if settings.fold else ""
    beside = [
        text
        for used, text in (
            (recipe.tags, f"what a tagger says of them (`{recipe.tags}`)"),
            (recipe.other, f"sound that is no music (`{recipe.other}`)"),
            (
                recipe.teachers and not recipe.prepared,
                f"what {len(recipe.teachers)} networks of former runs say of them",
            ),
            (
                recipe.prepared,
                (
                    f"prepared windows of {recipe.prepared:,} recordings (clips of the same side, game music of Debian "
                    "packages, speech and noise), clean and through simulated loudspeakers, rooms, microphones and "
                    f"codecs, with the answers of two teachers ({' and '.join(recipe.teachers)})"
                ),
            ),
        )
        if used
    ]
    also = f" It also learned from {' and '.join(beside)}." if beside else " From scratch, without any other network."
    return f"""## What it learned from

{collection.name}: {recipe.tracks} tracks of `{recipe.data}` (its {" and ".join(settings.sides)} side{fold}).{also}
{settings.epochs} epochs of windows cut at random and bent in mel power; `manifest.json` says how, under `training`.
{quantised.representative} of its windows set the int8 ranges.

Licence of the data: {collection.licence}"""


def _measured(evaluation: Evaluation, recipe: Recipe, *, of_sibling: bool) -> str:
    rows = "\n".join(
        f"| {name} | {share.accuracy:.1%} | {interval(share)} | {share.count:,} |"
        for name, share in headlines(evaluation)
    )
    lines = "\n".join(f"- {name}: {text}" for name, text in facts(evaluation))
    leaky = f"**{warning(evaluation)}.**\n\n" if evaluation.leaky else ""
    whose = _whose(evaluation, recipe) if of_sibling else ""
    return f"""## What it is worth

{leaky}{whose}Measured on the {evaluation.split} side of `{evaluation.data}`: {evaluation.how}.

| | right | 95 % interval | of |
| --- | --- | --- | --- |
{rows}

{lines}

{_honesty(evaluation.split)}"""


def _whose(evaluation: Evaluation, recipe: Recipe) -> str:
    learned = evaluation.recipe.get("tracks", "other")
    unlike = "".join(
        f"{'; ' if place else ' but for '}{name} {_or_none(theirs)}, here {_or_none(ours)}"
        for place, (name, (theirs, ours)) in enumerate(differences(evaluation.recipe, manifest_recipe(recipe)).items())
    )
    return (
        f"**These figures are not of this file.** It learned from all {recipe.tracks} tracks, those that figures are "
        f"measured on among them. They are of a sibling, {evaluation.model}, that learned from {learned} tracks "
        f"without those (sha256 {evaluation.sha256[:12]}…). Its recipe is the same{unlike}. "
        "Temperature and certainty are the sibling's too.\n\n"
    )


def _or_none(value: object) -> str:
    return "none" if value is None else str(value)


def _honesty(split: str) -> str:
    if split == "valid":
        return (
            "These tracks were not learned from, nor any other by an artist of theirs, as far as artists are known.\n"
            "But settings were chosen while looking at them, and temperature and certainty were fitted on them:\n"
            "expect somewhat less on other music."
        )
    if split == "train":
        return "Tracks of this side were learned from, or chosen from: the figures say little of other music."
    return "These tracks played no part in training, and temperature and certainty were fitted on others."


def _degraded(evaluation: Evaluation) -> str:
    degraded = evaluation.degraded
    if degraded is None:
        return ""
    rows = "\n".join(
        f"| {row.name} | {row.windows.accuracy:.1%} | {row.loss_points.windows:.1f} | {row.tracks.accuracy:.1%} "
        f"| {row.loss_points.tracks:.1f} | {row.calibration.ece:.3f} | {row.refused:.1%} |"
        for row in degraded.conditions
    )
    mean, worst = degraded.mean_loss_points, degraded.worst_loss_points
    leaky = f"\n**{warning(evaluation)}.**\n" if evaluation.leaky else ""
    return f"""## As it arrives
{leaky}
The same tracks as loudspeakers, rooms, microphones and other sounds would make them, simulated in mel power (what each
is stands in `manifest.json`). Loss is in points against clean; refused is what stays under the certainty.

| | windows | loss | tracks | loss | calibration error | refused |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

Mean loss: {mean.windows:.1f} points of windows, {mean.tracks:.1f} of tracks. Worst: {worst.windows:.1f} and \
{worst.tracks:.1f} ({degraded.worst})."""


def _confused(evaluation: Evaluation) -> str:
    labels = [_plain(label) for label in evaluation.confusion.labels]
    counts = np.array(evaluation.confusion.tracks)
    rows = []
    for place, label in enumerate(labels):
        played = int(counts[place].sum())
        if not played:
            continue
        wrong = counts[place].copy()
        wrong[place] = 0
        most = f"{labels[int(wrong.argmax())]} ({wrong.max()})" if wrong.any() else "nothing"
        rows.append(f"| {label} | {counts[place, place]} of {played} | {most} |")
    return "\n".join(
        (
            "## What it confuses",
            "",
            "| played | tracks right | most often taken for |",
            "| --- | --- | --- |",
            *rows,
            "",
            "The whole matrix is in `manifest.json`, under `measured`.",
        )
    )


def _limits(manifest: Manifest, evaluation: Evaluation, collection: DatasetInfo) -> str:
    limits = [
        f"It knows {len(manifest.labels)} genres and calls all music one of them, or nothing.",
        *collection.limits,
    ]
    if evaluation.degraded is None:
        limits.append("What rooms, loudspeakers and microphones cost it was not measured.")
    if evaluation.not_music is None:
        limits.append("Whether it gives speech and noise a genre was not measured.")
    else:
        limits.append(f"Of sounds that are no music, {evaluation.not_music.named:.1%} of windows get a genre.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _repeat(manifest: Manifest, recipe: Recipe, *, of_sibling: bool) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in manifest.toolchain.items())
    measured = " --measured SIBLING.json" if of_sibling else ""
    return f"""## How to repeat it

```
{command(recipe)}
headnod-train quantise --data {recipe.data} --run RUN{" --sibling SIBLING" if of_sibling else ""}
headnod-train pack --data {recipe.data} --run RUN --name {manifest.name} --version {manifest.version}{measured}
```

TensorFlow adds up in another order on another machine: expect the figures to move by a point or two. Made with
{versions}."""


def _plain(label: str) -> str:
    """A label as Markdown that shows it as it is."""
    return re.sub(r"([\\`*_\[\]<>|~$])", r"\\\1", label)
