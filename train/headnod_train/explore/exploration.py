"""An exploration: every picture of a collection, a page around them, and a list of doubtful labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod_train.baselines.mfcc_summary import FRONT_END
from headnod_train.dataset.archive import Archive
from headnod_train.explore import label_errors, pictures
from headnod_train.explore.collection_statistics import CollectionStatistics, collection_statistics
from headnod_train.explore.explore_page import PagePicture, write_page
from headnod_train.explore.label_errors import LabelCheck
from headnod_train.explore.plotting import Figure, Theme, draw_all, letters_without_glyphs, write
from headnod_train.explore.projection import principal, umap

PAGE, SUSPICIOUS = "index.html", "suspicious.csv"
LEAKY = "Leaky: rows are segments of 3 s, and those of one track stand on several sides. Segments are counted here."
_SHOWN = 40
_SAME_LENGTH = 1.0

_Drawing = tuple[str, str, str, Callable[[Theme], Figure]]
"""File name without ending, title, caption, and what draws it."""


def explore(
    archive: Archive, folder: Path, *, data: str, with_umap: bool, seed: int, console: Console
) -> list[LabelCheck]:
    """Draw a collection.

    Args:
        archive: Its tracks.
        folder: Where pictures, page and list go; made if it is not there.
        data: What the archive is called.
        with_umap: Draw the scatter of UMAP too.
        seed: Seed of every random choice.
        console: Where progress is shown.

    Returns:
        What is thought of each track's label, the most doubtful first.

    Raises:
        MissingExtraError: UMAP is wanted and not installed.
        PictureError: The folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seen = collection_statistics(archive, FRONT_END, console=console)
    console.print("asking two judges about every label", highlight=False)
    found = label_errors.check_labels(archive, seen.summaries, seed=seed)
    write(folder / SUSPICIOUS, label_errors.table(found).encode())
    doubtful = [opinion for opinion in found if opinion.suspicious]
    ringed = np.isin(archive.tracks, [opinion.track for opinion in doubtful])
    if lacking := letters_without_glyphs(archive.labels):
        console.print(
            f"no installed font has {lacking[:_SHOWN]}: pictures show boxes (install one, such as fonts-noto-cjk)"
        )
    drawings = [*_drawings(archive, seen), *_scatters(seen, ringed, with_umap=with_umap, seed=seed)]
    plates = []
    for name, title, caption, draw in drawings:
        console.print(f"drawing {name}", highlight=False)
        plates.append(PagePicture(draw_all(folder, name, draw), title, caption))
    write_page(
        folder / PAGE,
        title=f"What {data} sounds like",
        warning=LEAKY if archive.leaky else "",
        facts=_facts(archive, seen, len(doubtful)),
        plates=plates,
        opinions=doubtful,
        most=_SHOWN,
    )
    return found


def _facts(archive: Archive, seen: CollectionStatistics, doubtful: int) -> list[tuple[str, str]]:
    known = archive.artists[archive.artists >= 0]
    return [
        (f"{len(archive):,}", "segments" if archive.leaky else "tracks"),
        (str(len(seen.labels)), "genres"),
        (
            f"{seen.seconds.sum() / 3600:.1f} h",
            f"of music, from {seen.seconds.min():.0f} to {seen.seconds.max():.0f} s each",
        ),
        (f"{len(np.unique(known)):,}", f"known artists, of {len(known):,} tracks"),
        (f"{doubtful:,}", "suspicious labels"),
    ]


def _drawings(archive: Archive, seen: CollectionStatistics) -> Iterator[_Drawing]:
    yield (
        "balance", "Class balance", _balance(archive),
        lambda theme: pictures.balance(theme, seen, archive.splits),
    )  # fmt: skip
    if np.ptp(seen.seconds) >= _SAME_LENGTH:
        yield "durations", "Lengths", _lengths(seen), lambda theme: pictures.durations(theme, seen)
    yield (
        "loudness", "Loudness",
        ("Mean power of each track, and how far its loudness swings between its quiet tenth and its loud tenth. Boxes "
        "hold half of the tracks. The features of headnod are free of level: if genres differ here, a network that "
        "is not would learn the mastering instead of the music."),
        lambda theme: pictures.loudness(theme, seen),
    )  # fmt: skip
    yield (
        "bands", "Mean spectrum",
        ("The level of each mel band against the mean of its track: the line is the middle track of the genre, half of "
        "its tracks lie in the ribbon, and the dashed line is the mean of the whole collection."),
        lambda theme: pictures.bands(theme, seen, FRONT_END),
    )  # fmt: skip
    yield (
        "spectrograms", "Mean spectrogram around an onset",
        ("The log-mel of all tracks of a genre, averaged around their twelve strongest onsets. A bright line at 0 is "
        "a sharp attack, what follows is its decay, and further lines are a beat that most tracks share."),
        lambda theme: pictures.spectrograms(theme, seen, FRONT_END),
    )  # fmt: skip
    yield (
        "mfccs", "MFCC image",
        ("The same as MFCCs, which is what the network is given: each coefficient in deviations from its mean over all "
        "genres, the slope of the spectrum below and its fine structure above. Where a genre is white it is average."),
        lambda theme: pictures.mfccs(theme, seen, FRONT_END),
    )  # fmt: skip
    yield (
        "covariances", "Covariance of MFCCs",
        ("Which coefficients rise and fall together within 3 s: red together, blue against each other, and on the "
        "diagonal how much each one moves at all, in units of its movement in the whole collection."),
        lambda theme: pictures.covariances(theme, seen),
    )  # fmt: skip


def _scatters(
    seen: CollectionStatistics, ringed: NDArray[np.bool_], *, with_umap: bool, seed: int
) -> Iterator[_Drawing]:
    points, shares = principal(seen.summaries)
    words = f"first component ({shares[0]:.0%} of the variance)", f"second component ({shares[1]:.0%})"
    yield (
        "pca", "Tracks as points (PCA)",
        ("The mean and covariance of each track's MFCCs, in the two directions in which they vary most. Genres that "
        "overlap here may still be told apart in the other directions. Rings mark suspicious labels."),
        lambda theme: pictures.scatter(theme, seen, points, words, ringed),
    )  # fmt: skip
    if with_umap:
        places = umap(seen.summaries, seed=seed)
        yield (
            "umap", "Tracks as points (UMAP)",
            "The same numbers, laid out so that neighbours stay neighbours. Distances between clusters mean nothing.",
            lambda theme: pictures.scatter(theme, seen, places, ("", ""), ringed),
        )  # fmt: skip


def _balance(archive: Archive) -> str:
    counts = Counter(archive.genres.tolist())
    (most, tracks), (least, few) = counts.most_common()[0], counts.most_common()[-1]
    return (
        f"{most} has {tracks:,} {'segments' if archive.leaky else 'tracks'} and {least} {few:,}. A network learns the "
        "common genres first; under some 30 training tracks a genre is hardly learned at all."
    )


def _lengths(seen: CollectionStatistics) -> str:
    least, middle, most = np.percentile(seen.seconds, (0, 50, 100))
    return f"From {least:.0f} s to {most:.0f} s, half of them over {middle:.0f} s."
