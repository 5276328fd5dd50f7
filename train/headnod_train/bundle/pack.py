"""Packing: a quantised run in, a bundle that a listener can use out.

The figures in a bundle are measured here, on the very file that it holds, and
the bundle is loaded as a device would load it before it gets its name.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from headnod.errors import HeadnodError
from headnod.golden import write_golden
from headnod.manifest import CARD, GOLDEN, MANIFEST, MODEL, Name, Training, Version
from headnod.model import GenreModel
from headnod.runtime import runtime_name
from headnod_train.archive import read_archive
from headnod_train.bundle.card import write_card
from headnod_train.bundle.collection import Collection
from headnod_train.bundle.synthetic import golden_features
from headnod_train.learn import run_folder
from headnod_train.learn.run_folder import Quantised, Recipe, draft, runnable
from headnod_train.measure.evaluate import Evaluation, evaluate
from headnod_train.split import refuse_leaks


class PackError(HeadnodError, ValueError):
    """A bundle cannot be written as asked."""


def pack(
    run: Path,
    data: Path,
    models: Path,
    *,
    name: str,
    version: str,
    collection: Collection,
    split: str = "valid",
    replace: bool = False,
    console: Console,
) -> tuple[Path, Evaluation]:
    """Write a bundle, measured and proven.

    Args:
        run: A quantised run.
        data: The archive to measure on.
        models: The folder of bundles.
        name: What the model shall be called.
        version: Three numbers.
        collection: What the network learned from.
        split: The side of the archive to measure on.
        replace: A bundle of that name and version may go.
        console: Where progress is shown.

    Returns:
        The bundle's folder and what was measured.

    Raises:
        PackError: The name is none, or taken.
        RunError: The run lacks something.
        ArchiveError: The archive cannot be used.
        ManifestError: The bundle does not load.
    """
    folder = _free(models, name, version, replace=replace)
    recipe = run_folder.load(run, run_folder.RECIPE, Recipe)
    quantised = run_folder.load(run, run_folder.QUANTISED, Quantised)
    manifest = msgspec.structs.replace(
        draft(recipe, "int8", temperature=quantised.temperature, certainty=quantised.certainty),
        name=name,
        version=version,
        training=Training(f"{collection.name}: {recipe.tracks} tracks", collection.licence, _settings(recipe)),
        toolchain=_toolchain(quantised),
    )
    model = runnable(run, run_folder.MODEL, manifest)
    archive = read_archive(data, recipe.front_end)
    refuse_leaks(archive)
    float_model = runnable(run, run_folder.FLOAT, draft(recipe, "float32"))
    evaluation = evaluate(model, archive, data=data.name, split=split, console=console, float_model=float_model)
    content = (run / run_folder.MODEL).read_bytes()
    card = write_card(
        manifest, evaluation, recipe=recipe, quantised=quantised, size=len(content), collection=collection
    )
    files = {MODEL: content, GOLDEN: write_golden(model, golden_features(recipe.front_end)), CARD: card.encode()}
    manifest = msgspec.structs.replace(
        manifest,
        sha256={file: hashlib.sha256(held).hexdigest() for file, held in files.items()},
        measured=_measured(evaluation, quantised, len(content)),
    )
    files[MANIFEST] = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    _write(folder, files)
    return folder, evaluation


def _free(models: Path, name: str, version: str, *, replace: bool) -> Path:
    for field, value, kind, rule in (
        ("name", name, Name, "small letters, digits and hyphens, such as genre-small"),
        ("version", version, Version, "three numbers, such as 0.1.0"),
    ):
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            message = f"'{value}' is no {field} of a model ({rule})"
            raise PackError(message) from error
    folder = models / f"{name}-{version}"
    if folder.exists() and not replace:
        message = f"{folder}: exists already (choose another version, or --replace it)"
        raise PackError(message)
    return folder


def _settings(recipe: Recipe) -> dict[str, str | int | float | bool]:
    bent = {
        f"augmentation.{name}": value if isinstance(value, int | float) else " to ".join(map(str, value))
        for name, value in asdict(recipe.augmentation).items()
    }
    return {
        "data": recipe.data,
        "tracks": recipe.tracks,
        "epochs": recipe.epochs,
        "batch": recipe.batch,
        "rate": recipe.rate,
        "seed": recipe.seed,
        "kept": "moving average of the weights after the last epoch",
        **bent,
    }


def _toolchain(quantised: Quantised) -> dict[str, str]:
    runtime, _, number = runtime_name().partition(" ")
    return {"python": platform.python_version(), runtime: number, **quantised.converter}


def _measured(evaluation: Evaluation, quantised: Quantised, size: int) -> dict[str, Any]:
    return {
        **msgspec.to_builtins(evaluation),
        "fitted": "temperature and certainty on the valid side, after quantising",
        "bytes": size,
        "multiply_adds": quantised.multiply_adds,
    }


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Write beside, try there as a device would, then rename: no half bundle ever has the name."""
    unproven = folder.with_name(f".{folder.name}.unproven")
    former = folder.with_name(f".{folder.name}.former")
    for left in (unproven, former):
        shutil.rmtree(left, ignore_errors=True)
    unproven.mkdir(parents=True)
    try:
        for file, held in files.items():
            (unproven / file).write_bytes(held)
        GenreModel.load(unproven, golden=True)
        if folder.exists():
            folder.rename(former)
        unproven.rename(folder)
    finally:
        shutil.rmtree(unproven, ignore_errors=True)
    shutil.rmtree(former, ignore_errors=True)
