"""The card of a bundle: what a person should know before using a model.

Written from the manifest and the evaluation, so no figure on it was typed.
"""

from __future__ import annotations

import numpy as np

from headnod.manifest import Manifest
from headnod_train.bundle.collection import Collection
from headnod_train.learn.run_folder import Quantised, Recipe
from headnod_train.measure.evaluate import Evaluation, figures


def write_card(
    manifest: Manifest,
    evaluation: Evaluation,
    *,
    recipe: Recipe,
    quantised: Quantised,
    size: int,
    collection: Collection,
) -> str:
    """The card as Markdown.

    Args:
        manifest: The bundle's, but for the hashes.
        evaluation: What was measured.
        recipe: How the network was trained.
        quantised: How it was quantised.
        size: Bytes of the int8 file.
        collection: What it learned from.
    """
    parts = (
        _what(manifest, quantised, size),
        _learned(recipe, quantised, collection),
        _measured(evaluation),
        _confused(evaluation),
        _limits(manifest, collection),
        _repeat(manifest, recipe),
    )
    return "\n\n".join(parts) + "\n"


def _what(manifest: Manifest, quantised: Quantised, size: int) -> str:
    front_end = manifest.front_end
    seconds = front_end.window_samples / front_end.sample_rate
    return f"""# {manifest.id}

Names one of {len(manifest.labels)} genres for {seconds:.1f} s of music: {", ".join(manifest.labels)}.

A small convolutional network in int8: {size / 1000:.0f} kB, {quantised.multiply_adds / 1e6:.1f} million multiply-adds
a window. It hears {front_end.frames} frames of {front_end.n_mfcc} MFCCs from {front_end.n_mels} mel bands at
{front_end.sample_rate:,} Hz. Logits are divided by {manifest.temperature:g} before softmax, and a genre is named from a
smoothed score of {manifest.rejection.certainty:g} on."""


def _learned(recipe: Recipe, quantised: Quantised, collection: Collection) -> str:
    return f"""## What it learned from

{collection.name}: {recipe.tracks} tracks of `{recipe.data}`. From scratch, without any pre-trained network:
{recipe.epochs} epochs of windows cut at random and bent in mel power (pitch, contrast, equalisation, noise, masks,
mixup). {quantised.representative} of its windows set the int8 ranges.

Licence of the data: {collection.licence}"""


def _measured(evaluation: Evaluation) -> str:
    rows = "\n".join(
        f"| {name} | {share.accuracy:.1%} | {share.ci95[0]:.1%} to {share.ci95[1]:.1%} | {share.count:,} |"
        for name, share in figures(evaluation)
    )
    settled, calibration = evaluation.stream.after_12s, evaluation.calibration
    agreement = ""
    if evaluation.float_agreement is not None:
        agreement = f"\n- On {evaluation.float_agreement:.1%} of windows int8 and float name the same genre."
    return f"""## What it is worth

Measured on the {evaluation.split} side of `{evaluation.data}`: {evaluation.how}.

| | right | 95 % interval | of |
| --- | --- | --- | --- |
{rows}

- {settled.named:.1%} of the stream's estimates after 12 s are certain enough to be named; of those,
  {settled.accuracy_of_named:.1%} are right.
- Expected calibration error: {calibration.ece:.3f} of the stream, {calibration.ece_of_windows:.3f} of single
  windows.{agreement}

{_honesty(evaluation.split)}"""


def _honesty(split: str) -> str:
    if split == "valid":
        return (
            "These tracks were not learned from, nor any other by an artist of theirs, as far as artists are known.\n"
            "But settings were chosen while looking at them, and temperature and certainty were fitted on them:\n"
            "expect somewhat less on other music. Which epoch to keep was not chosen: it is the last."
        )
    if split == "train":
        return "The network learned from these very tracks: the figures say nothing of other music."
    return "These tracks played no part in training, and temperature and certainty were fitted on others."


def _confused(evaluation: Evaluation) -> str:
    labels = evaluation.confusion.labels
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


def _limits(manifest: Manifest, collection: Collection) -> str:
    limits = (
        f"It knows {len(manifest.labels)} genres and calls all music one of them, or nothing.",
        *collection.limits,
        "It was trained on recordings, not yet on loudspeakers, rooms and microphones, which will cost it accuracy.",
        "It was not trained on speech or household noise, and may name a genre for them.",
    )
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _repeat(manifest: Manifest, recipe: Recipe) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in manifest.toolchain.items())
    settings = f"--epochs {recipe.epochs} --seed {recipe.seed} --n-mfcc {recipe.front_end.n_mfcc}"
    return f"""## How to repeat it

```
headnod-train fit --data {recipe.data} --run RUN {settings}
headnod-train quantise --data {recipe.data} --run RUN
headnod-train pack --data {recipe.data} --run RUN --name {manifest.name} --version {manifest.version}
```

The same seed gives the same batches, but TensorFlow adds up in another order on another machine: expect the figures to
move by a point or two. Made with {versions}."""
