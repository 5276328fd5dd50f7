"""The page of an evaluation on audio files: charts, every table, and the figures as JSON beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from markupsafe import Markup

from headnod_train.evaluation.evaluation_report import genre_bars, share_bars, write_page
from headnod_train.evaluation.recordings_evaluation import RecordingsEvaluation
from headnod_train.evaluation.tables import LEARNED, interval, recordings_parts, recordings_title
from headnod_train.report import inline_svg, render


def write_recordings_report(found: RecordingsEvaluation, folder: Path, labels: Sequence[str]) -> Path:
    """Write index.html, and evaluation.json beside it.

    Args:
        found: The figures.
        folder: Where to write; made if necessary.
        labels: Labels of the model, which determine the colours of genres.

    Returns:
        The page.
    """
    return write_page(found, _page(found, labels), folder)


def _page(found: RecordingsEvaluation, labels: Sequence[str]) -> str:
    clean = found.played[0]
    mark = "LEAKY: " if found.leaky else ""
    return render(
        "recordings.html",
        title=recordings_title(found),
        warning=LEARNED if found.leaky else "",
        summary=f"{clean.clips.count:,} audio files, {clean.windows.count:,} windows of 3 s, through the device's own "
        "code; 95 % intervals by bootstrap over files (or artists), those of genres by Wilson's formula. Every figure "
        "is also in evaluation.json, beside this page.",
        headline_cards=list(_cards(found)),
        figures=[(mark + name, note, figure) for name, note, figure in _figures(found, labels)],
        labels=labels,
        table_sections=[(part.title, part.note, part.headings, part.rows) for part in recordings_parts(found)],
    )


def _cards(found: RecordingsEvaluation) -> Iterator[tuple[str, str, str]]:
    """Figure, name and note of each headline."""
    clean, *degraded = found.played
    by_artist = f"; by artist {interval(clean.clips_by_artist)}" if clean.clips_by_artist else ""
    yield f"{clean.clips.accuracy:.1%}", "of files right", interval(clean.clips) + by_artist
    yield f"{clean.windows.accuracy:.1%}", "of windows of 3 s right", interval(clean.windows)
    if degraded:
        worst = min(degraded, key=lambda played: played.clips.accuracy)
        yield f"{worst.clips.accuracy:.1%}", "of files right at worst", worst.name
    for kind in found.not_music:
        yield f"{kind.files_named / kind.files:.1%}", f"of {kind.kind} with a genre", f"of {kind.files} files"
    if found.songs and found.songs.median_seconds is not None:
        yield f"{found.songs.median_seconds:.1f} s", "to the genre of a new song", "median"


def _figures(found: RecordingsEvaluation, labels: Sequence[str]) -> Iterator[tuple[str, str, Markup]]:
    """Title, note and SVG of each chart."""
    draw = partial(genre_bars, genres=found.played[0].genres, labels=labels)
    yield "files of each genre", "Files, clean, with 95 % intervals.", inline_svg("Accuracy by genre", draw, labels)
    bars = partial(share_bars, shares={played.name: played.clips for played in found.played})
    yield "files by the way of playing", "Files with 95 % intervals.", inline_svg("Accuracy by way of playing", bars)
