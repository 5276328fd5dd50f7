"""The card of the distilled network's bundle, written from its manifest."""

from __future__ import annotations

from typing import Any

from headnod.inference.manifest import Manifest


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
    settings = ", ".join(f"{name} {value}" for name, value in recipe.items())
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
