"""The figures of a collection and of a comparison of methods: one function for each, in any theme."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import FrontEnd, mel_corners
from headnod_train.acoustics import Bands
from headnod_train.dataset.archive import Archive
from headnod_train.explore.baselines import LEAKY, Comparison
from headnod_train.explore.collection_statistics import AFTER, BEFORE, CollectionStatistics, Points
from headnod_train.report import Axes, Figure, Theme, genre_marks, new_figure, save_png, small_multiples, style_axes
from headnod_train.training.augment import LEAD, MelAugmentation, augment, through_rooms

_HERTZ = {"x": (100, 1000, 8000), "y": (100, 500, 2000, 8000)}

_SPLITS = "train valid test"
"""Order of the splits; others follow."""


def balance(theme: Theme, statistics: CollectionStatistics, splits: NDArray[np.str_]) -> Figure:
    """Number of tracks of each genre by split."""
    names = sorted({str(name) for name in splits}, key=lambda name: (name not in _SPLITS, _SPLITS.find(name), name))
    labels, drawn = statistics.labels, genre_marks(statistics.labels, theme)
    figure = new_figure(theme, 8.0, 1.0 + 0.3 * len(labels))
    axes = style_axes(figure.subplots(), theme, grid="x")
    left = np.zeros(len(labels))
    for place, name in enumerate(names):
        counts = np.bincount(statistics.targets[splits == name], minlength=len(labels))
        bars = axes.barh(
            labels, counts, left=left, color=[drawn[label].colour for label in labels],
            alpha=1.0 - 0.6 * place / max(len(names) - 1, 1), height=0.72,
        )  # fmt: skip
        behind = {"facecolor": theme.ground, "edgecolor": "none", "pad": 1, "alpha": 0.75}
        words = [str(count) if count else "" for count in counts]
        axes.bar_label(bars, words, label_type="center", fontsize=8, color=theme.ink, bbox=behind)
        left += counts
    axes.invert_yaxis()
    axes.set_xlabel(f"tracks, from left to right: {', '.join(names)}")
    return figure


def durations(theme: Theme, statistics: CollectionStatistics) -> Figure:
    """Histogram of the lengths of tracks."""
    figure = new_figure(theme, 8.0, 2.6)
    axes = style_axes(figure.subplots(), theme, grid="y")
    least, most = float(statistics.seconds.min()), float(statistics.seconds.max())
    edges = np.linspace(max(least - 0.5, 0.0), most + 0.5, 41).tolist()
    axes.hist(statistics.seconds, edges, color=theme.ink, alpha=0.75)
    axes.set_xlabel("length of a track (s)")
    axes.set_ylabel("tracks")
    return figure


def loudness(theme: Theme, statistics: CollectionStatistics) -> Figure:
    """Loudness and loudness range of the tracks of each genre."""
    labels, drawn = statistics.labels, genre_marks(statistics.labels, theme)
    figure = new_figure(theme, 8.0, 1.0 + 0.34 * len(labels))
    for axes, values, words in zip(
        figure.subplots(1, 2, sharey=True), (statistics.loudness, statistics.swing),
        ("mean mel power (dB)", "range: 10th to 90th percentile (dB)"), strict=True,
    ):  # fmt: skip
        style_axes(axes, theme, grid="x")
        boxes = axes.boxplot(
            [values[statistics.targets == genre] for genre in range(len(labels))], orientation="horizontal",
            tick_labels=labels, widths=0.6, patch_artist=True, flierprops={"marker": ".", "markeredgecolor": theme.ink},
        )  # fmt: skip
        for box, label in zip(boxes["boxes"], labels, strict=True):
            box.set(facecolor=drawn[label].colour, edgecolor=theme.ink)
        for part in ("whiskers", "caps", "medians"):
            for line in boxes[part]:
                line.set_color(theme.ink)
        axes.set_xlabel(words)
    axes.invert_yaxis()
    return figure


def bands(theme: Theme, statistics: CollectionStatistics, front_end: FrontEnd) -> Figure:
    """Median level and quartiles of each mel band."""
    drawn = genre_marks(statistics.labels, theme)
    figure, grid = small_multiples(theme, statistics.labels, width=1.8, height=1.5)
    places = np.arange(statistics.bands.shape[1])
    everything = statistics.bands.mean(axis=0)
    for genre, (axes, label) in enumerate(zip(grid, statistics.labels, strict=True)):
        low, middle, high = np.percentile(statistics.bands[statistics.targets == genre], (25, 50, 75), axis=0)
        axes.fill_between(places, low, high, color=drawn[label].colour, alpha=0.35, linewidth=0)
        axes.plot(places, middle, color=drawn[label].colour, linewidth=1.8)
        axes.plot(places, everything, color=theme.ink, linewidth=0.8, linestyle=(0, (2, 2)))
        _hertz(axes, front_end, "x")
    _words(figure, theme, "frequency (Hz)", "relative level (dB)")
    return figure


def spectrograms(theme: Theme, statistics: CollectionStatistics, front_end: FrontEnd) -> Figure:
    """Mean spectrogram of each genre around its onsets."""
    figure, grid = small_multiples(theme, statistics.labels, width=1.8, height=1.7)
    low, high = np.percentile(statistics.spectrograms, (1, 99.5))
    for axes, picture in zip(grid, statistics.spectrograms, strict=True):
        shown = axes.imshow(
            picture.T, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high,
            extent=_extent(front_end, picture.shape[1]),
        )  # fmt: skip
        _hertz(axes, front_end, "y")
    _bar(figure, grid, shown, theme, "dB")
    _words(figure, theme, "seconds from an onset", "frequency (Hz)")
    return figure


def mfccs(theme: Theme, statistics: CollectionStatistics, front_end: FrontEnd) -> Figure:
    """Mean MFCCs of each genre around its onsets, relative to all genres."""
    figure, grid = small_multiples(theme, statistics.labels, width=1.8, height=1.7)
    centre = statistics.images.mean(axis=(0, 1))
    spread = np.maximum(statistics.images.std(axis=(0, 1)), 1e-6)
    for axes, picture in zip(grid, (statistics.images - centre) / spread, strict=True):
        shown = axes.imshow(
            picture.T, origin="lower", aspect="auto", cmap="RdBu_r", vmin=-2.5, vmax=2.5,
            extent=_extent(front_end, picture.shape[1]),
        )  # fmt: skip
    _bar(figure, grid, shown, theme, "deviations")
    _words(figure, theme, "seconds from an onset", "MFCC")
    return figure


def single_tracks(theme: Theme, archive: Archive, tracks: Sequence[int], front_end: FrontEnd) -> Figure:
    """MFCCs of one track of each genre over its whole length, in deviations from the means of these tracks."""
    pictures = [front_end.cepstra(archive.log_mel(track)) for track in tracks]
    everything = np.concatenate(pictures)
    centre, spread = everything.mean(axis=0), np.maximum(everything.std(axis=0), 1e-6)
    figure = new_figure(theme, 8.0, 0.95 * len(tracks) + 0.8)
    grid = figure.subplots(len(tracks), 1, sharex=True, squeeze=False)[:, 0]
    for axes, track, picture in zip(grid, tracks, pictures, strict=True):
        style_axes(axes, theme)
        seconds = len(picture) * front_end.hop / front_end.sample_rate
        shown = axes.imshow(
            ((picture - centre) / spread).T, origin="lower", aspect="auto", cmap="RdBu_r", vmin=-2.5, vmax=2.5,
            extent=(0.0, seconds, -0.5, picture.shape[1] - 0.5), interpolation="nearest",
        )  # fmt: skip
        axes.set_ylabel(archive.genres[track], rotation=0, ha="right", va="center", fontsize=9)
        axes.set_yticks([])
    _bar(figure, list(grid), shown, theme, "deviations")
    _words(figure, theme, "seconds", "")
    return figure


def augmented(theme: Theme, archive: Archive, tracks: Sequence[int], front_end: FrontEnd, *, seed: int) -> Figure:
    """Log-mel of windows before, and twice after, the random changes of a training."""
    settings, rng = MelAugmentation(rooms=1.0), np.random.default_rng(seed)
    second = front_end.hop / front_end.sample_rate
    figure = new_figure(theme, 8.0, 1.3 * len(tracks) + 0.8)
    grid = figure.subplots(len(tracks), 3, squeeze=False, sharex=True, sharey=True)
    for row, track in zip(grid, tracks, strict=True):
        whole = archive.log_mel(track)
        first = max((len(whole) - front_end.frames) // 2, LEAD)
        crop = np.resize(whole, (max(len(whole), first + front_end.frames), whole.shape[1]))
        crop = crop[first - LEAD : first + front_end.frames].astype(np.float32)
        both = np.repeat(crop[None], 2, axis=0)
        plain = MelAugmentation(rooms=0.0)
        changed = (
            augment(both[:1, LEAD:], plain, rng)[0],
            augment(through_rooms(both[1:], settings, Bands(front_end), rng), settings, rng)[0],
        )
        for axes, picture in zip(row, (crop[LEAD:], *changed), strict=True):
            style_axes(axes, theme)
            top = float(np.percentile(picture, 99.5))
            axes.imshow(
                picture.T, origin="lower", aspect="auto", cmap="magma", vmin=top - 60.0, vmax=top,
                extent=(0.0, front_end.frames * second, -0.5, front_end.n_mels - 0.5),
            )  # fmt: skip
            axes.set_yticks([])
        row[0].set_ylabel(archive.genres[track], rotation=0, ha="right", va="center", fontsize=9)
    for axes, title in zip(grid[0], ("before", "equalised, with noise and masks", "also in a room"), strict=True):
        axes.set_title(title, fontsize=10)
    _words(figure, theme, "seconds", "")
    return figure


def covariances(theme: Theme, statistics: CollectionStatistics) -> Figure:
    """Covariance of MFCCs in each genre."""
    figure, grid = small_multiples(theme, statistics.labels, width=1.8, height=1.8)
    for axes, matrix in zip(grid, statistics.covariances, strict=True):
        shown = axes.imshow(matrix, cmap="RdBu_r", vmin=-1.0, vmax=1.0)
    _bar(figure, grid, shown, theme, "covariance")
    _words(figure, theme, "MFCC", "MFCC")
    return figure


def scatter(
    theme: Theme, statistics: CollectionStatistics, points: Points, names: tuple[str, str], ringed: NDArray[np.bool_]
) -> Figure:
    """Tracks as points; rings mark suspicious labels."""
    drawn = genre_marks(statistics.labels, theme)
    figure = new_figure(theme, 8.0, 6.2)
    axes = style_axes(figure.subplots(), theme)
    for genre, label in enumerate(statistics.labels):
        across, up = points[statistics.targets == genre].T
        axes.scatter(
            across, up, s=26, c=drawn[label].colour, marker=drawn[label].shape, label=_keyed(label),
            edgecolors=theme.ground, linewidths=0.4,
        )  # fmt: skip
    if ringed.any():
        across, up = points[ringed].T
        axes.scatter(across, up, s=110, facecolors="none", edgecolors=theme.ink, linewidths=1.0, label="suspicious")
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.set_xticks([])
    axes.set_yticks([])
    legend = figure.legend(loc="outside right upper", frameon=False, labelcolor=theme.ink, fontsize=9)
    legend.set_in_layout(True)
    return figure


def _extent(front_end: FrontEnd, rows: int) -> tuple[float, float, float, float]:
    second = front_end.hop / front_end.sample_rate
    return -(BEFORE + 0.5) * second, (AFTER + 0.5) * second, -0.5, rows - 0.5


def _hertz(axes: Axes, front_end: FrontEnd, side: str) -> None:
    centres = mel_corners(front_end.n_mels, front_end.f_min, front_end.f_max)[1:-1]
    there = [hertz for hertz in _HERTZ[side] if centres[0] <= hertz <= centres[-1]]
    places = np.interp(there, centres, np.arange(len(centres)))
    words = [f"{hertz / 1000:g}k" if hertz >= 1000 else str(hertz) for hertz in there]  # noqa: PLR2004
    (axes.set_xticks if side == "x" else axes.set_yticks)(places, words, fontsize=8)


def _words(figure: Figure, theme: Theme, across: str, up: str) -> None:
    figure.supxlabel(across, fontsize=10, color=theme.ink)
    figure.supylabel(up, fontsize=10, color=theme.ink)


def _bar(figure: Figure, grid: list[Axes], shown: object, theme: Theme, words: str) -> None:
    bar = figure.colorbar(shown, ax=grid, shrink=0.8, pad=0.01)  # type: ignore[arg-type]
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=theme.ink, length=0, labelsize=8)
    bar.set_label(words, fontsize=9, color=theme.ink)


def _keyed(label: str) -> str:
    # matplotlib leaves out of a legend what begins with an underscore.
    return f" {label}" if label.startswith("_") else label


_WINDOWS, _TRACKS = 0.14, -0.14


def draw_comparison(comparison: Comparison, folder: Path) -> None:
    """Draw the accuracies of windows and tracks with their 95 % intervals in both themes."""
    save_png(folder, "baselines", lambda theme: _draw(theme, comparison))


def _draw(theme: Theme, comparison: Comparison) -> Figure:
    rows = comparison.rows
    figure = new_figure(theme, 8.0, 1.5 + 0.5 * len(rows))
    axes = style_axes(figure.subplots(), theme, grid="x")
    for shift, unit, shape in ((_TRACKS, "tracks", "o"), (_WINDOWS, "windows of 3 s", "D")):
        shares = [row.tracks if unit == "tracks" else row.windows for row in rows]
        colour = theme.ink if unit == "tracks" else theme.first
        places = [place + shift for place in range(len(rows))]
        axes.hlines(
            places, [100 * share.ci95[0] for share in shares], [100 * share.ci95[1] for share in shares],
            color=colour, linewidth=2.2,
        )  # fmt: skip
        axes.scatter(
            [100 * share.accuracy for share in shares], places, color=colour, marker=shape, s=42, label=unit, zorder=3
        )
        for share, place in zip(shares, places, strict=True):
            axes.annotate(
                f"{share.accuracy:.1%}", (100 * share.ci95[1], place), (6, 0), textcoords="offset points",
                va="center", fontsize=8, color=colour,
            )  # fmt: skip
    axes.set_yticks(range(len(rows)), [row.method for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("accuracy (%), with 95 % interval by track")
    title = f"{comparison.data}, {comparison.split}"
    axes.set_title(f"{title}\n{LEAKY}" if comparison.leaky else title, fontsize=10, color=theme.ink)
    axes.legend(frameon=False, labelcolor=theme.ink, fontsize=9, loc="best")
    return figure
