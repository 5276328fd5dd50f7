"""What an import found, for a person: a table by genre, and what to look at."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
from rich.table import Table

from headnod.features.frontend import FrontEnd
from headnod_train.dataset.archive import BATCH_SIZE, LEAKY, Archive, count_windows
from headnod_train.dataset.tracks import SIDES, Collection

_MOST_NAMED = 10


def table(archive: Archive, collection: Collection, front_end: FrontEnd) -> Table:
    """Tracks of each genre, where they stand, and what was left out."""
    rows = "segments" if archive.leaky else "tracks"
    shown = Table(caption=LEAKY if archive.leaky else None, caption_justify="left")
    sides = [*SIDES, *sorted({str(side) for side in archive.splits} - set(SIDES))]
    for heading in ("genre", rows, "minutes", *sides, "skipped", "duplicates"):
        shown.add_column(heading, justify="left" if heading == "genre" else "right")
    skipped = Counter(each.genre for each in collection.skipped)
    genres = sorted({*map(str, archive.genres), *skipped} - {""})
    for genre in genres:
        shown.add_row(genre, *_cells(archive, archive.genres == genre, sides, skipped[genre], front_end))
    shown.add_section()
    everything = np.ones(len(archive), np.bool_)
    shown.add_row("all", *_cells(archive, everything, sides, skipped.total(), front_end))
    return shown


def remarks(archive: Archive, collection: Collection, front_end: FrontEnd) -> Iterator[str]:
    """What a person should look at, a line each."""
    yield from _duplicates(archive)
    genres = archive.labels
    if len(genres) == 1 < len({track.genre for track in collection.tracks}):
        yield f"one genre is left, '{genres[0]}': a model needs two to tell apart"
    for side, lost, without in (
        ("train", "no model can learn it", "fit needs one"),
        ("valid", "nothing watches over it", "quantise and pack need one"),
    ):
        there = archive.splits == side
        if not there.any():
            yield f"no track stands on side {side}: {without} (add music, or split anew with --valid 0.15)"
        elif absent := sorted(set(genres) - {str(genre) for genre in archive.genres[there]}):
            yield f"side {side} has no track of {', '.join(absent[:_MOST_NAMED])}: {lost}"
    windows = count_windows(archive.chosen(archive.splits == "train"), front_end)
    if 0 < windows < BATCH_SIZE:
        yield f"side train has {windows} windows of 3 s, fewer than one training step takes ({BATCH_SIZE}): add music"


def _duplicates(archive: Archive) -> Iterator[str]:
    alike: dict[int, dict[str, str]] = defaultdict(dict)
    for track, genre, group in zip(archive.tracks, archive.genres, archive.groups, strict=True):
        if group >= 0:
            alike[int(group)][str(track)] = str(genre)
    # Those that carry different labels first: one of them is wrong.
    ordered = sorted(alike.values(), key=lambda found: len(set(found.values())) == 1)
    for found in ordered[:_MOST_NAMED]:
        genres = sorted(set(found.values()))
        wrong = f", labelled {' and '.join(genres)}: look which is right" if len(genres) > 1 else ""
        yield f"the same recording: {', '.join(found)}{wrong}"
    if len(ordered) > _MOST_NAMED:
        yield f"and {len(ordered) - _MOST_NAMED} more recordings that are there several times"


def _cells(archive: Archive, rows: np.ndarray, sides: list[str], skipped: int, front_end: FrontEnd) -> Iterator[str]:
    yield f"{rows.sum():,}"
    yield f"{archive.frames[rows].sum() * front_end.hop / front_end.sample_rate / 60:,.1f}"
    for side in sides:
        yield f"{(archive.splits[rows] == side).sum():,}"
    yield f"{skipped:,}"
    yield f"{(archive.groups[rows] >= 0).sum():,}"
