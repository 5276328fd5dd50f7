"""From a folder of music to a bundle: features, a new last layer, its calibration and its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from threadpoolctl import threadpool_limits

from headnod.escaping import printable
from headnod.inference.manifest import (
    MODEL,
    Calibration,
    Health,
    Manifest,
    Rejection,
    Training,
    read_checked,
    read_manifest,
    softmax,
)
from headnod.inference.model import GenreModel
from headnod.teaching import teacher
from headnod.teaching.corrections import LabelledEmbeddings
from headnod.teaching.fitting import Features, FittedLayer, balanced, fit, ridge_regression
from headnod.teaching.last_layer import LastLayer, Layer, TeachError
from headnod.teaching.teacher import summary
from headnod_train.dataset.tracks import Track
from headnod_train.degradation import coloured_noise
from headnod_train.deploy.pack import free_folder, toolchain, write_bundle, write_files
from headnod_train.evaluation.calibration import WindowLogits, fit_calibration, fit_temperature, health_of_scores
from headnod_train.evaluation.metrics import by_track, calibration_error, confusion, share_right, top_confidence
from headnod_train.teaching.fine_tuning import Network, fine_tune, refuse_few_tracks
from headnod_train.teaching.labelled_music import (
    LabelStatistics,
    extract_features,
    find_music,
    groups_of,
    read_statistics,
    refuse_few,
    run_network,
)
from headnod_train.teaching.teaching_report import Doubted, Figures, comparison, measured, write_card
from headnod_train.training.provenance import TRACK_HASHES, track_hashes

_NOISES = 40
"""Synthetic noises that the "not music" output is held to, beside the music."""
_MUSIC = 9.0
"""Least odds of "music" against "not music" that labelled sounds are fitted to."""
_DRAWN = 120
"""Windows of each shipped label that new labels are weighed against: half of them in the fit."""
_ADDED_STRENGTHS = (0.003, 0.03, 0.3)
_MOST_DOUBTED = 5


@dataclass(frozen=True)
class _Finished:
    """A whole last layer, calibrated."""

    content: bytes
    """The int8 file."""

    stream: Calibration
    single: Calibration
    held_out: NDArray[np.float32]
    """Logits of all outputs from layers that were fitted without the window's artist, (windows, labels + 1)."""

    epochs: int | None = None
    """Of fine-tuning."""


def teach(
    source: Path,
    models: Path,
    *,
    name: str,
    version: str,
    base: Path,
    add: bool = False,
    fine_tuning: Literal["no", "if better", "always"] = "no",
    labels: Literal["folders", "tags"] = "folders",
    renames: Sequence[str] = (),
    licence: str = "",
    seconds: float,
    jobs: int,
    replace_former: bool = False,
    console: Console,
) -> tuple[Path, Figures]:
    """Write a bundle that names the labels of a folder of music.

    Returns:
        The bundle's folder and its figures.

    Raises:
        CollectionError: There is no music, or a label cannot be used.
        TeachError: There are too few labels or tracks, a label exists already, or the base cannot be taught.
        PackError: The name or version is wrong or taken.
        ManifestError: The base bundle is damaged.
    """
    folder = free_folder(models, name, version, replace=replace_former)
    shipped = read_manifest(base)
    last = LastLayer(read_checked(base, MODEL, shipped), shipped)
    if not shipped.rejection.not_music:
        raise TeachError(f"{shipped.id}: has no output for sound that is not music (choose another --base)")
    tuning = fine_tuning != "no"
    if tuning and (add or "base" in shipped.training.recipe):
        raise TeachError("--fine-tune needs a shipped --base such as genre, and cannot be combined with --add")
    statistics = read_statistics(shipped) if add else None
    collection = find_music(source, labels, renames, least_labels=1 if add else 2)
    for text in (*collection.notes, *(f"skipped {each.name}: {each.reason}" for each in collection.skipped)):
        console.print(printable(text), soft_wrap=True)
    taught = tuple(sorted({track.genre for track in collection.tracks}))
    if add:
        _refuse_shipped(taught, shipped)
    if tuning:
        refuse_few_tracks(source, len(collection.tracks))
    names = (*shipped.labels, *taught) if add else taught
    network = last.with_features(pooled=tuning)
    found = extract_features(collection.tracks, network, shipped, seconds=seconds, jobs=jobs, console=console)
    tracks = [collection.tracks[place] for place in found]
    refuse_few(source, tracks, taught)
    assembled, ungrouped = _assembled(tracks, list(found.values()), names)
    # The inputs of the dense layer come first.
    dense = last.dense.kernel.shape[1] if tuning else 0
    noises = _noises(shipped, network)
    pooled = np.concatenate([assembled.values, noises])[:, :dense]
    music, noises = replace(assembled, values=assembled.values[:, dense:]), noises[:, dense:]
    # The matrices are small: more threads would spend their time waiting for each other.
    with threadpool_limits(1):
        if statistics is None:
            fitted = fit(music, len(names))
            finished = _finish(last, shipped, fitted, music, noises)
        else:
            fitted, finished = _add(last, shipped, statistics, music, len(names), noises)
        if tuning:
            finished = _fine_tuned(
                last, shipped, fitted, finished, music, noises, pooled,
                lambda found: _figures(found, music, tracks, names, ungrouped), console,
                anyway=fine_tuning == "always",
            )  # fmt: skip
    figures = _figures(finished, music, tracks, names, ungrouped)
    recipe: dict[str, str | int | float | bool] = {
        "base": shipped.id, "inverse_strength": fitted.inverse_strength, "seconds": seconds, "tracks": len(tracks),
        "windows": len(music.labels), "labels_from": labels, "added": add,
        TRACK_HASHES: track_hashes((track.name for track in tracks), shipped.training.recipe),
    }  # fmt: skip
    manifest = msgspec.structs.replace(
        _manifest(shipped, finished, names, music.values.shape[1], recipe),
        name=name,
        version=version,
        health=_health(finished, music, shipped if add else None),
        training=Training(
            f"last layer{'s' if finished.epochs is not None else ''}: {len(tracks)} tracks of {len(taught)} labels. "
            f"{shipped.id}: {shipped.training.data}",
            f"{licence or 'The licence of the music was not stated.'} {shipped.id}: {shipped.training.licence}",
            recipe,
        ),
        measured=measured(figures, len(finished.content)),
    )
    model = GenreModel(manifest, finished.content)
    write_bundle(folder, model, finished.content, manifest, write_card(manifest, figures))
    return folder, figures


def teach_corrections(
    corrections: LabelledEmbeddings,
    source: str,
    models: Path,
    *,
    name: str,
    version: str,
    base: Path,
    replace_former: bool = False,
) -> tuple[Path, list[str]]:
    """Write a bundle that is adapted to corrections, as `headnod teach` makes it on a device.

    Returns:
        The bundle's folder, and what improves, one line each.

    Raises:
        TeachError: The corrections are too few, or of another network.
        PackError: The name or version is wrong or taken.
        ManifestError: The base bundle is damaged.
    """
    folder = free_folder(models, name, version, replace=replace_former)
    shipped = read_manifest(base)
    if corrections.body != shipped.body:
        raise TeachError(
            f"{source}: corrections of {corrections.model}, not of the network of {shipped.id} (name it with --base)"
        )
    with threadpool_limits(1):
        taught = teacher.teach(corrections, base, name=name, version=version)
    write_files(folder, taught.files)
    lines = list(summary(taught))
    if not taught.improves:
        lines.append("nothing improves on corrections that were left out: correct more songs of each label")
    return folder, lines


def next_version(models: Path, name: str) -> str:
    """A version for a model: 1.0.0, or one more than the greatest first number in a folder of bundles."""
    found = (path.name.removeprefix(f"{name}-").partition(".")[0] for path in models.glob(f"{name}-*.*.*"))
    return f"{max((int(each) for each in found if each.isdecimal()), default=0) + 1}.0.0"


def _assembled(
    tracks: Sequence[Track], values: Sequence[NDArray[np.float32]], names: Sequence[str]
) -> tuple[Features, list[str]]:
    groups, ungrouped = groups_of(tracks)
    counts = [len(each) for each in values]
    labels = [names.index(track.genre) for track in tracks]
    label, track, group = (np.repeat(np.array(part, np.intp), counts) for part in (labels, range(len(tracks)), groups))
    return Features(np.concatenate(values), label, track, group), ungrouped


def _noises(manifest: Manifest, network: bytes) -> NDArray[np.float32]:
    """Features of synthetic noise of several colours, (n, features)."""
    front_end, rng = manifest.front_end, np.random.default_rng(1)
    sounds = [coloured_noise(front_end.window_samples, slope, rng) for slope in np.linspace(0.0, 9.0, _NOISES)]
    return np.stack([run_network(front_end.mfcc(sound), network, manifest) for sound in sounds])


def _finish(
    last: LastLayer,
    shipped: Manifest,
    fitted: FittedLayer,
    music: Features,
    noises: NDArray[np.float32],
    network: Network | None = None,
    pooled: NDArray[np.float32] | None = None,
) -> _Finished:
    """Join the fitted rows with the shipped "not music" row, calibrate and quantise.

    The labels' logits are scaled so that their best temperature is the shipped one, and all of them get one
    linear function of the features, which changes no ratio between labels: it makes their sum weigh against
    the shipped "not music" row what the shipped genres weigh against it, and for the labelled sounds, which are music
    whatever the shipped network says, at least `_MUSIC` to 1.
    """
    old, temperature = last.shipped, shipped.temperature
    genres, no_music = len(shipped.labels), old.rows([len(shipped.labels)])
    scale = temperature / fit_temperature([_only_labels(fitted.held_out, music)])
    kernel, bias = fitted.layer.kernel * scale, fitted.layer.bias * scale
    sounds = np.concatenate([music.values, noises]).astype(np.float64)
    inputs = sounds if network is None or pooled is None else network.features(pooled, sounds)
    shipped_sum = np.logaddexp.reduce(old.rows(range(genres)).logits(sounds) / temperature, axis=1)
    labelled = slice(len(music.values))
    least = no_music.logits(sounds[labelled])[:, 0] / temperature + np.log(_MUSIC)
    shipped_sum[labelled] = np.maximum(shipped_sum[labelled], least)
    weights, offset = ridge_regression(
        inputs,
        temperature * (shipped_sum - np.logaddexp.reduce(Layer(kernel, bias).logits(inputs) / temperature, axis=1)),
    )
    layer = Layer(np.concatenate([kernel + weights, no_music.kernel]), np.append(bias + offset, no_music.bias))
    shift = inputs[: len(music.labels)] @ weights + offset
    held_out = np.column_stack([fitted.held_out * scale + shift[:, None], no_music.logits(music.values)])
    stream, single = fit_calibration([WindowLogits(held_out.astype(np.float32), music.labels, music.tracks)])
    dense = None if network is None else network.dense
    content = last.replaced(layer, [(len(kernel), genres)], layer.logits(inputs), dense=dense)
    return _Finished(content, stream, single, held_out.astype(np.float32))


def _fine_tuned(
    last: LastLayer,
    shipped: Manifest,
    fitted: FittedLayer,
    finished: _Finished,
    music: Features,
    noises: NDArray[np.float32],
    pooled: NDArray[np.float32],
    figures: Callable[[_Finished], Figures],
    console: Console,
    *,
    anyway: bool,
) -> _Finished:
    """Fine-tune, print both figures, and give the better of both: `finished`, unless the other is better or wanted."""
    tuned = fine_tune(music, pooled[: len(music.labels)], last, fitted)
    layers = replace(fitted, layer=tuned.network.last, held_out=tuned.held_out)
    found = _finish(last, shipped, layers, music, noises, tuned.network, pooled)
    better = tuned.gain.ci95[0] > 0.0 or anyway
    for line in comparison(figures(finished), figures(found), tuned.gain, tuned.epochs, written=better):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return replace(found, epochs=tuned.epochs) if better else finished


def _manifest(
    shipped: Manifest,
    finished: _Finished,
    names: tuple[str, ...],
    features: int,
    recipe: dict[str, str | int | float | bool],
) -> Manifest:
    """The manifest of the network, with the identity of its body added to the recipe."""
    answers = (1, len(names) + 1)
    shapes = {"answers": answers}
    if finished.epochs is None:
        recipe["base_sha256"] = shipped.body
    else:
        # Embeddings of another dense layer cannot be compared: the hash of the file identifies them.
        recipe["epochs"] = finished.epochs
        shapes["embedding"] = (1, features)
    outputs = (msgspec.structs.replace(each, shape=shapes.get(each.role, each.shape)) for each in shipped.tensors)
    return msgspec.structs.replace(
        shipped,
        serial=0,
        supersedes=0,
        labels=names,
        output=msgspec.structs.replace(shipped.output, shape=answers),
        outputs=tuple(outputs),
        temperature=finished.stream.temperature,
        rejection=Rejection(finished.stream.threshold, True),
        single=finished.single,
        toolchain=toolchain({"numpy": version_of("numpy")}),
    )


def _add(
    last: LastLayer,
    shipped: Manifest,
    statistics: LabelStatistics,
    music: Features,
    labels: int,
    noises: NDArray[np.float32],
) -> tuple[FittedLayer, _Finished]:
    """Fit rows of new labels; the shipped rows stay identical to the bit, and so does their calibration."""
    stream = Calibration(shipped.temperature, shipped.rejection.threshold)
    single, known = shipped.single or stream, len(shipped.labels) + 1
    size = labels + 1
    old = last.shipped
    kernel, bias = np.zeros((size, old.kernel.shape[1])), np.zeros(size)
    kernel[:known], bias[:known] = old.kernel / single.temperature, old.bias / single.temperature
    drawn = statistics.draw(_DRAWN, np.random.default_rng(0))
    own = balanced(music)
    # Each label weighs the same, whether it is new or not.
    weight = own.sum() / len(np.unique(music.labels)) / (_DRAWN / 2)
    fitted = fit(
        replace(music, labels=music.labels + 1, weights=own), size, prior=Layer(kernel, bias), fixed=known,
        background=replace(drawn, weights=np.full(len(drawn.labels), weight)), strengths=_ADDED_STRENGTHS,
    )  # fmt: skip
    # From shipped labels, "not music", new labels to the order of a bundle: "not music" is the last.
    order = [*range(known - 1), *range(known, size), known - 1]
    layer = fitted.layer.rows(order)
    layer = Layer(layer.kernel * single.temperature, layer.bias * single.temperature)
    logits = layer.logits(np.concatenate([music.values, noises]).astype(np.float64))
    kept = [(row, row) for row in range(known - 1)] + [(labels, known - 1)]
    # A new label far below the others may be cut off, which keeps the step of the int8 output fine.
    content = last.replaced(layer, kept, np.maximum(logits, logits[:, [new for new, _ in kept]].min()))
    held_out = fitted.held_out[:, order] * single.temperature
    return fitted, _Finished(content, stream, single, held_out.astype(np.float32))


def _refuse_shipped(taught: Sequence[str], shipped: Manifest) -> None:
    known = {label.casefold() for label in shipped.labels}
    both = [label for label in taught if label.casefold() in known]
    if both:
        raise TeachError(
            f"'{printable(both[0])}' is a label of {shipped.id} already (give yours another name with --rename "
            f"'{printable(both[0])}=...', or leave out --add)"
        )


def _health(finished: _Finished, music: Features, shipped: Manifest | None) -> Health:
    found = health_of_scores(softmax(finished.held_out / finished.stream.temperature), music.tracks)
    if shipped is None or shipped.health is None:
        return found
    low, high = shipped.health.entropy_low, shipped.health.entropy_high
    return Health(min(found.entropy_low, low), max(found.entropy_high, high))


def _only_labels(logits: NDArray[np.float64], music: Features) -> WindowLogits:
    """The same with a "not music" output that is never the answer."""
    never = np.full((len(logits), 1), -1e3)
    return WindowLogits(np.concatenate([logits, never], axis=1).astype(np.float32), music.labels, music.tracks)


def _figures(
    finished: _Finished, music: Features, tracks: Sequence[Track], names: tuple[str, ...], ungrouped: Sequence[str]
) -> Figures:
    scores = softmax(finished.held_out / finished.single.temperature)[:, :-1]
    # The listener's answer may also be "not music"; which label is likeliest is asked here.
    whole = by_track(scores, music.tracks)
    first = np.unique(music.tracks, return_index=True)[1]
    labels, groups = music.labels[first], music.groups[first]
    own = softmax(whole)[np.arange(len(labels)), labels]
    doubted = [
        Doubted(tracks[place].path, names[labels[place]], names[int(whole[place].argmax())], float(own[place]))
        for place in np.argsort(own, kind="stable")[:_MOST_DOUBTED]
    ]
    return Figures(
        names,
        share_right(scores.argmax(axis=1) == music.labels, music.groups),
        share_right(whole.argmax(axis=1) == labels, groups),
        calibration_error(scores, music.labels),
        float((top_confidence(scores) < finished.single.threshold).mean()),
        confusion(labels, whole.argmax(axis=1), len(names)),
        tuple(doubted),
        tuple(ungrouped),
    )
