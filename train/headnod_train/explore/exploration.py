"""An exploration: figures of a collection, accuracy of classical methods, a page, and a list of suspicious labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from rich.console import Console
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from headnod_train.console import print_line
from headnod_train.dataset.archive import Archive
from headnod_train.dataset.split import components, folds
from headnod_train.explore import pictures
from headnod_train.explore.classical import (
    FRONT_END,
    NEAREST_NEIGHBOURS,
    REGRESSION,
    Summaries,
    pipeline,
)
from headnod_train.explore.collection_statistics import (
    NEAR,
    CollectionStatistics,
    LabelCheck,
    check_labels,
    collection_statistics,
    csv_table,
    doubtful_places,
    principal,
    umap,
)
from headnod_train.report import (
    DARK,
    Axes,
    Figure,
    SourceFiles,
    Theme,
    degraded_examples,
    letters_without_glyphs,
    new_figure,
    render,
    save_png,
    style_axes,
    typical_tracks,
)
from headnod_train.storage import write_file
from headnod_train.training.run_folder import read_history

_FOLDS = 5
_SHARES = (0.1, 0.2, 0.35, 0.6, 1.0)
_NEIGHBOURS = (1, 3, 5, 10, 20, 40, 80)
_STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_DIMENSIONS = (2, 5, 10, 20, 40, 100, 200)
_PCA, _STRENGTH = 40, 0.03
_TRACKS = "training tracks"


@dataclass(frozen=True)
class Curve:
    """Accuracy on left-out folds."""

    title: str
    across: str
    values: tuple[float, ...]
    accuracy: NDArray[np.float64]
    """Of each value and fold, (values, folds)."""


def method_curves(archive: Archive, summaries: Summaries, *, seed: int) -> list[Curve]:
    """The curves of a collection; none if it has too few genres or artists."""
    labels, count = archive.labels, int(components(archive).max()) + 1
    if len(labels) < 2 or count < 2:  # noqa: PLR2004 - nothing to tell apart, or nothing to leave out
        return []
    targets, parts = archive.targets(labels), folds(archive, min(_FOLDS, count), seed=seed)
    if any(len(np.unique(targets[train])) == 1 for train, _ in parts):
        return []
    fewest = min(int(train.sum()) for train, _ in parts)
    most = min(fewest - 1, summaries.shape[1])
    thinned: dict[float, Sequence[tuple[NDArray[np.intp], NDArray[np.bool_]]]] = {
        size: [
            (_thinned(targets, train, size / fewest, (seed, place)), valid)
            for place, (train, valid) in enumerate(parts)
        ]
        for size in sorted({max(round(share * fewest), 2) for share in _SHARES})
    }
    small = min(_PCA, max(int(_SHARES[0] * fewest) - 1, 1))

    def regression(pca: int, strength: float = _STRENGTH) -> Pipeline:
        return pipeline(REGRESSION, {"pca": min(pca, most), "last__C": strength})

    def nearest(neighbours: int) -> Pipeline:
        return pipeline(NEAREST_NEIGHBOURS, {"pca": min(20, most), "last__n_neighbors": neighbours})

    def curve(title: str, across: str, models: Mapping[float, Pipeline]) -> Curve:
        divisions = thinned if across == _TRACKS else dict.fromkeys(models, parts)
        rows = [cross_val_score(model, summaries, targets, cv=divisions[value]) for value, model in models.items()]
        return Curve(title, across, tuple(models), np.array(rows))

    learning = {
        size: regression(min(small, *(len(rows) - 1 for rows, _ in divided))) for size, divided in thinned.items()
    }
    # One thread: on matrices this small, synchronisation takes longer than the work.
    with threadpool_limits(1):
        return [
            curve("Learning curve (logistic regression)", _TRACKS, learning),
            curve("Number of neighbours", "k", {each: nearest(each) for each in _NEIGHBOURS if each <= fewest}),
            curve("Inverse strength of regularisation", "C", {each: regression(_PCA, each) for each in _STRENGTHS}),
            curve("Dimensions of the PCA", "dimensions", {min(each, most): regression(each) for each in _DIMENSIONS}),
        ]


def _thinned(
    targets: NDArray[np.intp], train: NDArray[np.bool_], share: float, seed: tuple[int, int]
) -> NDArray[np.intp]:
    """A share of the training tracks of each genre, at least one."""
    rng = np.random.default_rng(seed)
    genres = (np.flatnonzero(train & (targets == label)) for label in np.unique(targets[train]))
    return np.sort(np.concatenate([rng.permutation(own)[: max(round(share * own.size), 1)] for own in genres]))


def curves_picture(theme: Theme, curves: Sequence[Curve]) -> Figure:
    """One plot for each curve: the mean over folds, and their range."""
    figure = new_figure(theme, 8.0, 5.6)
    for axes, curve in zip(figure.subplots(2, 2, sharey=True).ravel(), curves, strict=True):
        style_axes(axes, theme, grid="y").set_title(curve.title, fontsize=10)
        mean = curve.accuracy.mean(axis=1)
        axes.fill_between(curve.values, curve.accuracy.min(axis=1), curve.accuracy.max(axis=1),
                          color=theme.first, alpha=0.25, linewidth=0)  # fmt: skip
        axes.plot(curve.values, mean, color=theme.first, marker="o", markersize=4, linewidth=1.8)
        axes.set_xscale("log")
        axes.set_xlabel(curve.across)
        axes.set_ylim(0.0, 1.03)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_xticks(curve.values, [f"{value:g}" for value in curve.values], fontsize=8)
        axes.minorticks_off()
    return figure


def history_picture(theme: Theme, history: Sequence[dict[str, float]]) -> Figure:
    """Loss, and held-out accuracy if there is any, by epoch."""
    held_out = [name for name in ("windows", "tracks") if name in history[-1]]
    figure = new_figure(theme, 8.0, 3.0)
    grid = figure.subplots(1, 2 if held_out else 1, squeeze=False)[0]
    epochs = [each["epoch"] for each in history]
    _line(grid[0], theme, epochs, {"loss": [each["loss"] for each in history]})
    if held_out:
        _line(grid[1], theme, epochs, {name: [each[name] for each in history] for name in held_out})
        grid[1].yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        grid[1].set_ylabel("right on tracks that are left out")
    return figure


def _line(axes: Axes, theme: Theme, epochs: Sequence[float], series: dict[str, list[float]]) -> None:
    style_axes(axes, theme, grid="y")
    for (name, values), colour in zip(series.items(), (theme.first, theme.second), strict=False):
        axes.plot(epochs, values, color=colour, linewidth=1.8, label=name)
    axes.set_xlabel("epoch")
    axes.set_ylabel(next(iter(series)))
    if len(series) > 1:
        axes.legend(frameon=False, labelcolor=theme.ink, fontsize=9)


PAGE, SUSPICIOUS = "index.html", "suspicious.csv"
LEAKY = "Leaky: rows are segments of 3 s, and those of one track are in several splits. Segments are counted here."
_SHOWN = 40
_SAME_LENGTH = 1.0
_EXAMPLES = 4
"""Genres whose augmentation is shown."""


class Picture(NamedTuple):
    """A figure with its text."""

    name: str
    """File name without suffix."""

    title: str
    caption: str
    draw: Callable[[Theme], Figure]


def explore(
    archive: Archive,
    folder: Path,
    *,
    data: str,
    with_umap: bool,
    seed: int,
    music: Path | None = None,
    run: Path | None = None,
    console: Console,
) -> list[LabelCheck]:
    """Draw the figures of a collection and write the page and the list.

    Returns:
        The check of each label, the most suspicious first.

    Raises:
        MissingExtraError: UMAP is wanted and not installed.
        OSError: The folder cannot be written to.
    """
    statistics = collection_statistics(archive, FRONT_END, console=console)
    console.print("checking labels", highlight=False)
    checks = check_labels(archive, statistics.summaries, seed=seed)
    write_file(folder / SUSPICIOUS, csv_table(checks).encode())
    suspicious = [check for check in checks if check.suspicious]
    ringed = np.isin(archive.tracks, [check.track for check in suspicious])
    if missing := letters_without_glyphs(archive.labels):
        text = f"no installed font has {missing[:_SHOWN]}: pictures show boxes (install one, such as fonts-noto-cjk)"
        print_line(console, text)
    typical = typical_tracks(archive, statistics.summaries)
    drawn = [
        *_figures(archive, statistics, typical, seed=seed),
        *_scatters(statistics, ringed, with_umap=with_umap, seed=seed),
        *_curves(archive, statistics, run, seed=seed),
    ]
    for picture in drawn:
        console.print(f"drawing {picture.name}", highlight=False)
        save_png(folder, picture.name, picture.draw)
    facts = _facts(archive, statistics, len(suspicious))
    warning = LEAKY if archive.leaky else ""
    players, examples = {}, []
    if music is not None:
        files = SourceFiles(music, folder)
        places = doubtful_places(archive, suspicious[:_SHOWN])
        for check, (second, length) in zip(suspicious, places, strict=False):
            players[check.track] = files.player(check.track, second, length)
        examples = degraded_examples(archive, typical[:_EXAMPLES], files, folder, seed=seed)
    page = exploration_page(
        data, warning=warning, facts=facts, pictures=drawn, suspicious=suspicious, players=players, examples=examples
    )
    write_file(folder / PAGE, page.encode())
    return checks


def exploration_page(
    data: str,
    *,
    warning: str,
    facts: Sequence[tuple[str, str, str]],
    pictures: Sequence[Picture],
    suspicious: Sequence[LabelCheck],
    players: Mapping[str, Markup] = MappingProxyType({}),
    examples: Sequence[tuple[str, Markup, Markup]] = (),
) -> str:
    """The page as HTML; facts are a figure, its name and a note, players are audio elements of tracks."""
    note = (
        f"{len(suspicious)} tracks look like another genre to a regression trained on other artists and to their "
        f"{NEAR} nearest tracks of other artists. Listen before you change a label: it may be wrong, the track may be "
        f"unusual, and genres overlap. {SUSPICIOUS} lists every track."
    )
    return render(
        "exploration.html",
        title=f"Exploration of {data}",
        warning=warning,
        facts=facts,
        pictures=pictures,
        dark_suffix=DARK.suffix,
        labels_note=note if suspicious else "No track clearly looks like another genre to both methods.",
        headings=(
            "track", "label", "looks like", "probability of that", "of the label", "nearest tracks with that",
            "with the label", *(["listen"] if players else []),
        ),
        examples=examples,
        rows=[
            (
                each.track, each.genre, each.other, f"{each.other_probability:.0%}", f"{each.own_probability:.0%}",
                str(each.other_neighbours), str(each.own_neighbours), *([players[each.track]] if players else []),
            )
            for each in suspicious[:_SHOWN]
        ],
    )  # fmt: skip


def _facts(archive: Archive, statistics: CollectionStatistics, suspicious: int) -> list[tuple[str, str, str]]:
    known, seconds = archive.artists[archive.artists >= 0], statistics.seconds
    return [
        (f"{len(archive):,}", "segments" if archive.leaky else "tracks", ""),
        (str(len(statistics.labels)), "genres", ""),
        (f"{seconds.sum() / 3600:.1f} h", "of music", f"{seconds.min():.0f} to {seconds.max():.0f} s each"),
        (f"{len(np.unique(known)):,}", "known artists", f"of {len(known):,} tracks"),
        (f"{suspicious:,}", "suspicious labels", ""),
    ]


def _figures(archive: Archive, statistics: CollectionStatistics, typical: list[int], *, seed: int) -> Iterator[Picture]:
    yield Picture(
        "balance", "Class balance", _balance(archive),
        lambda theme: pictures.balance(theme, statistics, archive.splits),
    )  # fmt: skip
    if np.ptp(statistics.seconds) >= _SAME_LENGTH:
        least, middle, most = np.percentile(statistics.seconds, (0, 50, 100))
        text = f"From {least:.0f} s to {most:.0f} s, half of them over {middle:.0f} s."
        yield Picture("durations", "Lengths", text, lambda theme: pictures.durations(theme, statistics))
    yield Picture(
        "loudness", "Loudness",
        "Mean power of each track, and the range of its loudness from the 10th to the 90th percentile. Boxes contain "
        "half of the tracks. headnod's features do not depend on the level: a network whose features do would learn "
        "the mastering instead of the music where genres differ here.",
        lambda theme: pictures.loudness(theme, statistics),
    )  # fmt: skip
    yield Picture(
        "bands", "Mean spectrum",
        "Level of each mel band relative to the mean of its track: the line is the median of the genre, the ribbon "
        "contains half of its tracks, and the dashed line is the mean of the collection.",
        lambda theme: pictures.bands(theme, statistics, FRONT_END),
    )  # fmt: skip
    yield Picture(
        "spectrograms", "Mean spectrogram around an onset",
        "Log-mel of all tracks of a genre, averaged around their twelve strongest onsets. A bright line at 0 is a "
        "sharp attack, followed by its decay; further lines are a beat that most tracks share.",
        lambda theme: pictures.spectrograms(theme, statistics, FRONT_END),
    )  # fmt: skip
    yield Picture(
        "mfccs", "MFCCs around an onset",
        "The same as MFCCs, the input of the network: each coefficient in deviations from its mean over all genres, "
        "the slope of the spectrum at the bottom and its fine structure at the top. White is average.",
        lambda theme: pictures.mfccs(theme, statistics, FRONT_END),
    )  # fmt: skip
    names = "; ".join(f"{archive.genres[track]}: {archive.tracks[track]}" for track in typical)
    yield Picture(
        "tracks", "MFCCs of single tracks",
        f"One track of each genre, the one nearest to the mean of its genre, over its whole length. {names}.",
        lambda theme: pictures.single_tracks(theme, archive, typical, FRONT_END),
    )  # fmt: skip
    yield Picture(
        "augmentation", "Augmentation",
        "Log-mel of 3 s before and after the random changes of a training, 60 dB from the loudest cell down.",
        lambda theme: pictures.augmented(theme, archive, typical[:_EXAMPLES], FRONT_END, seed=seed),
    )  # fmt: skip
    yield Picture(
        "covariances", "Covariance of MFCCs",
        "Coefficients that rise and fall together within 3 s are red, those that move in opposite directions blue. "
        "The diagonal is the variance of each one, in units of its variance in the collection.",
        lambda theme: pictures.covariances(theme, statistics),
    )  # fmt: skip


def _scatters(
    statistics: CollectionStatistics, ringed: NDArray[np.bool_], *, with_umap: bool, seed: int
) -> Iterator[Picture]:
    points, shares = principal(statistics.summaries)
    names = f"first component ({shares[0]:.0%} of the variance)", f"second component ({shares[1]:.0%})"
    yield Picture(
        "pca", "Tracks as points (PCA)",
        "Mean and covariance of each track's MFCCs, in the two directions of the largest variance. Genres that overlap "
        "here may be separable in other directions. Rings mark suspicious labels.",
        lambda theme: pictures.scatter(theme, statistics, points, names, ringed),
    )  # fmt: skip
    if with_umap:
        places = umap(statistics.summaries, seed=seed)
        yield Picture(
            "umap", "Tracks as points (UMAP)",
            "The same values, arranged so that neighbours stay neighbours. Distances between clusters mean nothing.",
            lambda theme: pictures.scatter(theme, statistics, places, ("", ""), ringed),
        )  # fmt: skip


def _curves(archive: Archive, statistics: CollectionStatistics, run: Path | None, *, seed: int) -> Iterator[Picture]:
    if curves := method_curves(archive, statistics.summaries, seed=seed):
        yield Picture(
            "curves", "Accuracy by tracks and settings",
            "Tracks of left-out artists that are right: the line is the mean over folds, the ribbon their range. If "
            "the learning curve still rises at its right end, more tracks help most.",
            lambda theme: curves_picture(theme, curves),
        )  # fmt: skip
    if run is not None:
        history = read_history(run)
        yield Picture(
            "history", "Training history", f"Loss and held-out accuracy of {run.name} by epoch.",
            lambda theme: history_picture(theme, history),
        )  # fmt: skip


def _balance(archive: Archive) -> str:
    counts = Counter(archive.genres.tolist())
    (most, tracks), (least, few) = counts.most_common()[0], counts.most_common()[-1]
    return (
        f"{most} has {tracks:,} {'segments' if archive.leaky else 'tracks'} and {least} {few:,}. A network learns the "
        "common genres first; with fewer than about 30 training tracks a genre is hardly learned at all."
    )
