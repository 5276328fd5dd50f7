"""Packing: makes a bundle from a quantised run.

The figures in a bundle are measured here, on the file in the bundle, or are those of a sibling if the network was
trained on all music. The bundle is loaded as on a device before it gets its name.

Golden windows are published, so they must not contain music of a collection: they are synthetic sounds that are varied
enough to exercise every part of a front end and a network.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.console import Console

from headnod.errors import HeadnodError
from headnod.features.frontend import Audio, Features, FrontEnd
from headnod.inference.manifest import (
    CARD,
    GOLDEN,
    MANIFEST,
    MODEL,
    Manifest,
    Name,
    Training,
    Version,
    manifest_bytes,
    with_hashes,
)
from headnod.inference.model import GenreModel, load_checked, runtime_name, write_golden
from headnod_train.dataset.archive import read_archive
from headnod_train.dataset.split import refuse_leaks
from headnod_train.deploy.model_card import write_card
from headnod_train.evaluation.conditions import AcousticCondition
from headnod_train.evaluation.evaluate import SoundFolders, evaluate
from headnod_train.evaluation.results import Evaluation
from headnod_train.training import provenance as recipes
from headnod_train.training import run_folder
from headnod_train.training.provenance import DatasetInfo
from headnod_train.training.run_folder import Quantised, Recipe, draft, runnable

_CURVES = frozenset({"curve", "moments", "seconds", "recipe", "doubtful"})
"""Parts of an evaluation that a manifest leaves out; its own recipe stands under `training`."""


class PackError(HeadnodError, ValueError):
    """A bundle cannot be written as requested."""


def pack(
    run: Path,
    data: Path,
    models: Path,
    *,
    name: str,
    version: str,
    collection: DatasetInfo,
    split: str = "valid",
    replace: bool = False,
    conditions: Sequence[AcousticCondition] = (),
    sounds: SoundFolders | None = None,
    sibling: Evaluation | None = None,
    console: Console,
) -> tuple[Path, Evaluation]:
    """Measure a run and write its bundle.

    Returns:
        The bundle's folder and its figures.

    Raises:
        PackError: The name is invalid or taken; the run was trained on the tracks to
            measure on; or the sibling does not match.
        RunError: A file of the run is missing.
        ArchiveError: The archive cannot be used.
        ManifestError: The bundle does not load.
    """
    folder = free_folder(models, name, version, replace=replace)
    recipe = run_folder.load(run, run_folder.RECIPE, Recipe)
    quantised = run_folder.load(run, run_folder.QUANTISED, Quantised)
    drafted = draft(recipe, "int8", temperature=quantised.temperature, certainty=quantised.certainty)
    manifest = msgspec.structs.replace(
        drafted,
        name=name,
        version=version,
        single=quantised.single,
        training=Training(
            f"{collection.name}: {recipe.tracks} tracks",
            collection.licence,
            {
                **recipes.manifest_recipe(recipe),
                recipes.TRACK_HASHES: recipes.track_hashes(run_folder.training_tracks(run)),
            },
        ),
        toolchain=toolchain(quantised.converter),
        tags=quantised.tags or drafted.tags,
        energy=quantised.energy,
        notice=quantised.notice,
    )
    if sibling is None:
        evaluation = _measure(run, recipe, data, manifest, split, conditions=conditions, sounds=sounds, console=console)
    else:
        _refuse_strangers(manifest, sibling)
        evaluation = sibling
    model = runnable(run, run_folder.MODEL, manifest)
    manifest = model.manifest
    content = (run / run_folder.MODEL).read_bytes()
    card = write_card(
        manifest,
        evaluation,
        recipe=recipe,
        quantised=quantised,
        size=len(content),
        collection=collection,
        of_sibling=sibling is not None,
    )
    measured = _measured(evaluation, quantised, len(content), of_sibling=sibling is not None)
    write_bundle(folder, model, content, msgspec.structs.replace(manifest, measured=measured), card)
    return folder, evaluation


def free_folder(models: Path, name: str, version: str, *, replace: bool) -> Path:
    """The folder for a new bundle."""
    for field, value, kind, rule in (
        ("name", name, Name, "small letters, digits and hyphens, such as genre-small"),
        ("version", version, Version, "three numbers, such as 0.1.0"),
    ):
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise PackError(f"'{value}' is not a {field} of a model ({rule})") from error
    folder = models / f"{name}-{version}"
    if folder.exists() and not replace:
        raise PackError(f"{folder}: exists already (choose another version, or --replace it)")
    return folder


def _measure(
    run: Path,
    recipe: Recipe,
    data: Path,
    manifest: Manifest,
    split: str,
    *,
    conditions: Sequence[AcousticCondition],
    sounds: SoundFolders | None,
    console: Console,
) -> Evaluation:
    archive = read_archive(data, manifest.front_end)
    refuse_leaks(archive)
    both = sorted(set(run_folder.training_tracks(run)) & set(map(str, archive.subset(split).tracks)))
    if both and not archive.leaky:
        raise PackError(
            f"{run}: was trained on {len(both)} tracks of the {split} split, such as {both[0]}, and cannot be "
            "measured on them (train and evaluate a sibling without them, and give its --json with --measured)"
        )
    return evaluate(
        runnable(run, run_folder.MODEL, manifest),
        archive,
        data=data.name,
        split=split,
        console=console,
        conditions=conditions,
        float_model=runnable(run, run_folder.FLOAT, draft(recipe, "float32")),
        sounds=sounds,
    )


def _refuse_strangers(manifest: Manifest, sibling: Evaluation) -> None:
    """Check that figures of another network apply to this one."""
    given = f"--measured: {sibling.model}"
    if sibling.confusion.labels != manifest.labels:
        raise PackError(f"{given} names other genres ({', '.join(sibling.confusion.labels)})")
    if sibling.split in str(sibling.recipe.get("sides", "train")).split(", "):
        raise PackError(f"{given} was trained on the {sibling.split} split that it was measured on")
    for setting, (theirs, ours) in recipes.differences(sibling.recipe, manifest.training.recipe).items():
        if setting in recipes.NETWORK:
            message = (
                f"{given} is not a sibling: its '{setting}' is {theirs}, the run's {ours} (train both by one recipe)"
            )
            raise PackError(message)
    wanted = (manifest.temperature, manifest.rejection.threshold, manifest.single)
    if (sibling.temperature, sibling.certainty, sibling.single) != wanted:
        raise PackError(
            f"{given} has temperature {sibling.temperature:g} and certainty {sibling.certainty:g}, the run "
            f"{manifest.temperature:g} and {manifest.rejection.threshold:g} (quantise the run with --sibling)"
        )


def toolchain(converter: Mapping[str, str]) -> dict[str, str]:
    """Versions of Python and the runtime here, and of the libraries that made the file of the network."""
    runtime, _, number = runtime_name().partition(" ")
    return {"python": platform.python_version(), runtime: number, **converter}


def _measured(evaluation: Evaluation, quantised: Quantised, size: int, *, of_sibling: bool) -> dict[str, Any]:
    """Every figure but the points of curves, which no device uses."""
    figures = _without_curves(msgspec.to_builtins(evaluation))
    how = "after quantising, on tracks that were not learned from, clean and degraded"
    return {
        **figures,
        "of_sibling": of_sibling,
        "fitted": f"temperature and certainty {how}" + (", of the sibling" if of_sibling else ""),
        "bytes": size,
        "multiply_adds": quantised.multiply_adds,
    }


def _without_curves(figures: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    if isinstance(figures, dict):
        return {name: _without_curves(value) for name, value in figures.items() if name not in _CURVES}
    return [_without_curves(value) for value in figures] if isinstance(figures, list | tuple) else figures


def write_bundle(folder: Path, model: GenreModel, content: bytes, manifest: Manifest, card: str) -> None:
    """Write a bundle, with golden numbers and hashes.

    Raises:
        ManifestError: The bundle does not load.
    """
    files = {MODEL: content, GOLDEN: write_golden(model, golden_features(model.front_end)), CARD: card.encode()}
    write_files(folder, {**files, MANIFEST: manifest_bytes(with_hashes(manifest, files))})


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write a bundle under another name, check it as a device does, then rename it, so that no bundle is incomplete."""
    unproven = folder.with_name(f".{folder.name}.unproven")
    former = folder.with_name(f".{folder.name}.former")
    for left in (unproven, former):
        shutil.rmtree(left, ignore_errors=True)
    unproven.mkdir(parents=True)
    try:
        for file, held in files.items():
            (unproven / file).write_bytes(held)
        load_checked(unproven)
        if folder.exists():
            folder.rename(former)
        unproven.rename(folder)
    finally:
        shutil.rmtree(unproven, ignore_errors=True)
    shutil.rmtree(former, ignore_errors=True)


def sounds(front_end: FrontEnd, count: int, *, seed: int) -> list[Audio]:
    """Chords over a beat in noise, each in its own key, tempo and balance.

    Returns:
        Windows of mono audio in [-1, 1], each (front_end.window_samples,).
    """
    rng = np.random.default_rng(seed)
    return [_sound(front_end, rng) for _ in range(count)]


def golden_features(front_end: FrontEnd, count: int = 6, *, seed: int = 1) -> Features:
    """Features of synthetic sounds, shape (count, frames, n_features)."""
    return np.stack([front_end.mfcc(sound) for sound in sounds(front_end, count, seed=seed)])


def _sound(front_end: FrontEnd, rng: np.random.Generator) -> Audio:
    seconds = np.arange(front_end.window_samples) / front_end.sample_rate
    root = rng.uniform(55.0, 440.0)
    chord = np.zeros(seconds.size)
    for interval in rng.choice([0, 3, 4, 7, 10, 12, 16], size=4, replace=False):
        for overtone in range(1, 9):
            pitch = root * 2.0 ** (interval / 12.0) * overtone
            if pitch < front_end.sample_rate / 2:
                chord += np.sin(2.0 * np.pi * (pitch * seconds + rng.uniform())) / overtone**1.3
    beat = np.exp(-((seconds * rng.uniform(1.0, 3.0)) % 1.0) * rng.uniform(4.0, 20.0))
    hiss = np.convolve(rng.standard_normal(seconds.size), np.full(int(rng.integers(1, 12)), 0.3), "same")
    mixed = chord * rng.uniform(0.2, 1.0) + beat * hiss * rng.uniform(0.1, 3.0) + 0.01 * hiss
    return (0.5 * mixed / np.abs(mixed).max()).astype(np.float32)
