"""A new model from corrections: the last layer is adapted to them, all layers before it stay identical to the bit.

The new layer starts from the present one and is held close to it, so answers without a correction change little. Needs
numpy only, and some seconds on a Raspberry Pi 3.

    python -m headnod.teaching.teacher

does it for a running listener, in a process of its own with low priority: one line with a `TeachRequest` on stdin, a
`TeachResult` on stdout.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from headnod.errors import HeadnodError
from headnod.inference.manifest import (
    CARD,
    GOLDEN,
    MANIFEST,
    MODEL,
    Manifest,
    Training,
    manifest_bytes,
    read_checked,
    read_manifest,
    softmax,
    with_hashes,
)
from headnod.inference.model import GenreModel, golden_windows, runtime_name, write_golden
from headnod.resources import models
from headnod.teaching.correction_commands import TeachRequest, TeachResult
from headnod.teaching.corrections import NOT_MUSIC, WEIGHTS, CorrectionStore, LabelledEmbeddings, spread
from headnod.teaching.fitting import Features, fit
from headnod.teaching.last_layer import LastLayer, Layer, TeachError
from headnod.updates.installer import Installer
from headnod.updates.state import Report, Stage, UpdateProgress, id_of
from headnod.updates.store import Store

LEAST = 4
"""Windows that corrections need together."""

_LONGEST = 40
"""Windows of one correction that are used, spread evenly over it."""
_MOST_CORRECTIONS = 100
_CONTEXT = 400
"""Windows of context that are used."""
_CONTEXT_MASS = 1.0
"""Weight of the whole context relative to that of all corrections."""
_LEAST_CONTEXT = 20
_STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_CAREFUL_STRENGTHS = _STRENGTHS[:3]
"""Inverse strengths of regularisation to choose from, with that many windows of context and with less. Without context
the higher ones answer all music with the corrected labels: of other music 23 % stay right instead of 74 %."""
_CONFIDENT = 0.5
"""Probability from which the present answer for a window of context counts as right."""
_FOLDS = 3
_LONGEST_NAME = 32

_PRIORITY = 10


class Improvement(msgspec.Struct, frozen=True):
    """Corrections of one label, answered before and after; the fit had no part of the correction that is answered."""

    label: str
    """The label."""

    windows: int
    """Windows of its corrections."""

    before: int
    """Windows that the present model answers with the label."""

    after: int
    """Windows that a new layer answers with it which was fitted without the correction."""

    corrections: int = 1
    """Number of corrections. One alone is halved: a layer that is fitted to one half answers the other."""


@dataclass(frozen=True)
class TaughtModel:
    """A bundle, and what it improves."""

    manifest: Manifest
    files: dict[str, bytes]
    """Its files by name, without a signature."""

    improvements: tuple[Improvement, ...]
    """By label."""

    left_out: tuple[str, ...]
    """Labels that media players gave and that neither the model nor a person knows."""

    @property
    def improves(self) -> bool:
        """Whether more windows that were left out are right, each label with the same weight."""
        return sum((each.after - each.before) / each.windows for each in self.improvements) > 0.0


def starting_bundle(active: Path, folders: Iterable[Path]) -> Path:
    """The bundle to start from: the active one, or for a model that was taught here, the bundle that it started from.

    So no correction is counted twice.
    """
    recipe = read_manifest(active).training.recipe
    wanted = recipe.get("start_sha256")
    for folder in folders if wanted else ():
        try:
            if read_manifest(folder).sha256[MODEL] == wanted:
                return folder
        except HeadnodError:
            continue
    return active


def teach(labelled: LabelledEmbeddings, start: Path, *, name: str, version: str) -> TaughtModel:
    """Adapt the last layer of a bundle to corrections.

    The corrections are those of the body of `start`, the bundle. A version has three numbers.

    Raises:
        TeachError: There are too few windows, or the network cannot be taught.
        ManifestError: The bundle is damaged.
    """
    manifest = read_manifest(start)
    last = LastLayer(read_checked(start, MODEL, manifest), manifest)
    labels, left_out = _labels(labelled, manifest)
    answers = (*labels, NOT_MUSIC) if manifest.rejection.not_music else labels
    used = _used(labelled, answers)
    if len(used) < LEAST:
        raise TeachError(
            f"{len(used)} windows have a label that can be used, and {LEAST} are needed (correct more songs)"
        )
    features = last.features_of(labelled.embeddings[used])
    context = labelled.context_embeddings[spread(len(labelled.context_embeddings), _CONTEXT)]
    around = last.features_of(context) if len(context) else np.empty((0, features.shape[1]), np.float32)
    # Probabilities are those of logits divided by the temperature.
    prior = _prior(last.shipped, manifest, len(answers))
    scaled = Layer(prior.kernel / manifest.temperature, prior.bias / manifest.temperature)
    music = _assembled(labelled, used, features, around, answers, scaled)
    enough = len(music.labels) - len(used) >= _LEAST_CONTEXT
    strengths = _STRENGTHS if enough else _CAREFUL_STRENGTHS
    fitted = fit(music, len(answers), prior=scaled, strengths=strengths, outer=_FOLDS)
    layer = Layer(fitted.layer.kernel * manifest.temperature, fitted.layer.bias * manifest.temperature)
    content = last.replaced(layer, [], layer.logits(music.values))
    corrected = np.arange(len(used))
    improvements = _improvements(music, corrected, scaled.logits(features), fitted.held_out[corrected], answers)
    recipe: dict[str, str | int | float | bool] = {
        "base": manifest.id, "base_sha256": manifest.body, "start_sha256": manifest.sha256[MODEL],
        "inverse_strength": fitted.inverse_strength, "windows": len(used), "context": len(around),
        "corrections": len(np.unique(labelled.groups[used])),
    }  # fmt: skip
    taught = _manifest(manifest, labels, name, version, recipe, improvements)
    files = {
        MODEL: content,
        GOLDEN: write_golden(GenreModel(taught, content), golden_windows(read_checked(start, GOLDEN, manifest))),
        CARD: _card(taught).encode(),
    }
    taught = with_hashes(taught, files)
    return TaughtModel(taught, {**files, MANIFEST: manifest_bytes(taught)}, improvements, left_out)


def default_name(start: Manifest) -> str:
    """Name of a model that is taught here: that of its start with `-taught`."""
    ending = "-taught"
    return start.name if start.name.endswith(ending) else start.name[: _LONGEST_NAME - len(ending)] + ending


def matching_label(label: str, labels: Sequence[str]) -> str | None:
    """The one of these labels that differs in case, spaces and hyphens at most.

    >>> matching_label("Hip-Hop", ("rock", "hiphop"))
    'hiphop'
    """
    return next((each for each in labels if _key(each) == _key(label)), None)


def _key(label: str) -> str:
    return "".join(filter(str.isalnum, label.casefold())) or label


def _labels(labelled: LabelledEmbeddings, manifest: Manifest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Labels of the new model, and those of media players that are left out."""
    by_person = {
        label
        for label, weight in zip(labelled.labels, labelled.weights, strict=True)
        if weight >= WEIGHTS["person"] and label != NOT_MUSIC
    }
    new = sorted(label for label in by_person if matching_label(label, manifest.labels) is None)
    labels = (*manifest.labels, *dict.fromkeys(matching_label(label, new) or label for label in new))
    given = set(labelled.labels) - {NOT_MUSIC}
    return labels, tuple(sorted(label for label in given if matching_label(label, labels) is None))


def _used(labelled: LabelledEmbeddings, answers: Sequence[str]) -> NDArray[np.intp]:
    """Windows with a label of the new model, at most some of each correction, the newest corrections first."""
    fitting = {label for label in set(labelled.labels) if matching_label(label, answers) is not None}
    fits = np.array([label in fitting for label in labelled.labels])
    rows = []
    for group in np.unique(labelled.groups[fits])[::-1][:_MOST_CORRECTIONS]:
        there = np.flatnonzero((labelled.groups == group) & fits)
        rows.append(there[spread(len(there), _LONGEST)])
    return np.sort(np.concatenate(rows)) if rows else np.empty(0, np.intp)


def _prior(shipped: Layer, manifest: Manifest, answers: int) -> Layer:
    """The present layer with rows for new labels, which give the mean of all labels: never the greatest."""
    genres = len(manifest.labels)
    new = answers - genres - manifest.rejection.not_music
    kernel, bias = shipped.kernel[:genres], shipped.bias[:genres]
    return Layer(
        np.concatenate([kernel, np.tile(kernel.mean(axis=0), (new, 1)), shipped.kernel[genres:]]),
        np.concatenate([bias, np.full(new, bias.mean()), shipped.bias[genres:]]),
    )


def _assembled(
    labelled: LabelledEmbeddings,
    used: NDArray[np.intp],
    features: NDArray[np.float32],
    around: NDArray[np.float32],
    answers: Sequence[str],
    prior: Layer,
) -> Features:
    """Corrected windows, then those of the context for which the present answer counts as right."""
    labels = [labelled.labels[row] for row in used]
    places = {label: answers.index(matching_label(label, answers) or "") for label in set(labels)}
    corrected = [places[label] for label in labels]
    scores = softmax(prior.logits(around)) if len(around) else np.empty((0, len(answers)))
    kept = np.flatnonzero(scores.max(axis=1) >= _CONFIDENT) if len(around) else np.empty(0, np.intp)
    _, groups = np.unique(labelled.groups[used], return_inverse=True)
    counts = np.bincount(groups)
    trust = labelled.weights[used].astype(np.float64)
    mass = float((trust / counts[groups]).sum())
    # Each half of a correction is a track, so that the only one of a label can be halved.
    place = np.array([np.count_nonzero(groups[:row] == group) for row, group in enumerate(groups)])
    tracks = 2 * groups + (2 * place >= counts[groups])
    own = groups.max() + 1 + np.arange(len(kept))
    return Features(
        np.concatenate([features, around[kept]]),
        np.concatenate([corrected, scores[kept].argmax(axis=1)]).astype(np.intp),
        np.concatenate([tracks, 2 * own]).astype(np.intp),
        np.concatenate([groups, own]).astype(np.intp),
        np.concatenate([trust / counts[groups], np.full(len(kept), _CONTEXT_MASS * mass / max(len(kept), 1))]),
    )


def _improvements(
    music: Features,
    corrected: NDArray[np.intp],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    answers: Sequence[str],
) -> tuple[Improvement, ...]:
    labels, groups = music.labels[corrected], music.groups[corrected]
    found = []
    for label in np.unique(labels):
        there = labels == label
        right = [int((logits[there].argmax(axis=1) == label).sum()) for logits in (before, after)]
        corrections = len(np.unique(groups[there]))
        found.append(Improvement(answers[label], int(there.sum()), right[0], right[1], corrections))
    return tuple(found)


def _manifest(
    start: Manifest,
    labels: tuple[str, ...],
    name: str,
    version: str,
    recipe: dict[str, str | int | float | bool],
    improvements: Sequence[Improvement],
) -> Manifest:
    shape = (1, len(labels) + start.rejection.not_music)
    outputs = tuple(replace(output, shape=shape) if output.role == "answers" else output for output in start.outputs)
    return replace(
        start,
        name=name,
        version=version,
        serial=0,
        supersedes=0,
        labels=labels,
        output=replace(start.output, shape=shape),
        outputs=outputs,
        training=Training(
            f"last layer: {recipe['corrections']} corrections of one device. {start.id}: {start.training.data}",
            start.training.licence,
            recipe,
        ),
        measured={"corrections": msgspec.to_builtins(improvements)},
        toolchain={
            "python": platform.python_version(),
            "numpy": np.__version__,
            runtime_name().partition(" ")[0]: runtime_name().partition(" ")[2],
        },
    )


def _card(manifest: Manifest) -> str:
    recipe = manifest.training.recipe
    columns = ("label", "corrections", "windows", "before", "after")
    rows = "\n".join(
        f"| {' | '.join(str(each[column]).replace('|', '') for column in columns)} |"
        for each in manifest.measured["corrections"]
    )
    return f"""# {manifest.id}

The last layer of {recipe["base"]}, adapted on one device to {recipe["corrections"]} corrections ({recipe["windows"]}
windows) by its people. All layers before it are unchanged. Made by `headnod teach`.

Windows that are right, on corrections that were left out of the fit (the only one of a label was halved):

| label | corrections | windows | before | after |
| --- | --- | --- | --- | --- |
{rows}
"""


class Teacher:
    """Teaches from the corrections of one state folder, and installs what comes of it."""

    def __init__(self, state_folder: Path, configured: Path, report: Report, *, budget: float, windows: int) -> None:
        """Use a state folder.

        Corrections and models are there. `configured` is the bundle of the configuration, which listens where no stored
        one is active. `report` is called with each step of the installation. One window may take `budget` seconds; a
        probation has `windows` of them.
        """
        self._state_folder, self._configured = state_folder, configured
        # Made here by a person's request, so it needs no signature.
        self._installer = Installer(state_folder, (), report, budget=budget, windows=windows)

    def teach(self, name: str | None = None) -> TaughtModel:
        """Adapt the active model to the corrections that were made with its network.

        The name of the new model is that of the present one with `-taught` if None.

        Raises:
            TeachError: There are no corrections, or too few.
        """
        store = self._installer.store
        active = store.active_folder() or self._configured
        body = read_manifest(active).body
        corrections = CorrectionStore(self._state_folder)
        labelled = corrections.labelled(body)
        if labelled is None:
            others = sorted({each.model for each in corrections.all()})
            made = f"those of {', '.join(others)} are of another network" if others else "correct songs on the page"
            raise TeachError(f"{corrections.path}: there are no corrections of {read_manifest(active).id} ({made})")
        stored = [store.path(each) for each in store.names()]
        start = starting_bundle(active, (*stored, *models()))
        name = name or default_name(read_manifest(start))
        return teach(labelled, start, name=name, version=_next_version(store, name))

    def install(self, taught: TaughtModel, *, activate: bool = True) -> None:
        """Test and store the model, and activate it on probation.

        Raises:
            BundleError: It does not work here.
        """
        name = self._installer.install(taught.files, trusted=True)
        if activate:
            self._installer.start_probation(name)
        else:
            self._installer.report(Stage.OFFERED, "ready to be activated")


def summary(taught: TaughtModel) -> Iterator[str]:
    """What a model improves, one line each."""
    recipe = taught.manifest.training.recipe
    yield (
        f"{taught.manifest.id}: the last layer of {recipe['base']}, adapted to {recipe['corrections']} corrections "
        f"({recipe['windows']} windows)"
    )
    for each in taught.improvements:
        alone = ", the only correction, halved" if each.corrections == 1 else f" of {each.corrections} corrections"
        yield (
            f"{each.label}: {each.before} of {each.windows} windows right before, {each.after} after, on windows that "
            f"were left out of the fit{alone}"
        )
    if taught.left_out:
        yield f"left out: {', '.join(taught.left_out)} (labels of media players that no person gave)"
    if not recipe["context"]:
        yield "warning: there are no windows of other music to compare with, so the model was changed little"


def _next_version(store: Store, name: str) -> str:
    taken = [id_of(each).rpartition("-") for each in store.names()]
    used = [int(version.partition(".")[0]) for prefix, _, version in taken if prefix == name]
    return f"{max(used, default=0) + 1}.0.0"


def _main() -> None:
    os.nice(_PRIORITY)
    request = msgspec.json.decode(sys.stdin.buffer.readline(), type=TeachRequest)
    steps: list[UpdateProgress] = []
    result = TeachResult()
    try:
        teacher = Teacher(
            Path(request.state), Path(request.configured), steps.append, budget=request.budget, windows=request.windows
        )
        taught = teacher.teach()
        lines = tuple(summary(taught))
        if taught.improves:
            teacher.install(taught)
            result = TeachResult(model=taught.manifest.id, summary=lines)
        else:
            result = TeachResult(summary=lines, error="nothing improves: correct more songs of each label")
    except HeadnodError as error:
        result = TeachResult(error=str(error))
    sys.stdout.buffer.write(msgspec.json.encode(result))


if __name__ == "__main__":
    _main()
