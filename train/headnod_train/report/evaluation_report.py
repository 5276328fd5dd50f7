"""The report of an evaluation: one HTML file without network access, and the figures as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup

from headnod_train.evaluation.metrics import Share
from headnod_train.evaluation.results import Evaluation, save
from headnod_train.evaluation.tables import facts, interval, paired_rows, title, warning
from headnod_train.report.audible import SourceFiles
from headnod_train.report.evaluation_charts import accuracy_curves, condition_bars, delay_histogram, genre_bars
from headnod_train.report.pages import render
from headnod_train.report.plots import inline_svg
from headnod_train.storage import write_file

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Headings and rows."""


def write_report(evaluation: Evaluation, folder: Path, music: Path | None = None) -> Path:
    """Write index.html, and evaluation.json beside it.

    Args:
        evaluation: The figures.
        folder: Where to write.
        music: Folder of the audio files; the page plays the doubtful places.

    Returns:
        The page.
    """
    save(evaluation, folder / "evaluation.json")
    written = folder / "index.html"
    write_file(written, page(evaluation, SourceFiles(music, folder) if music else None).encode())
    return written


def page(evaluation: Evaluation, files: SourceFiles | None = None) -> str:
    """The page as HTML, with players of the audio files if they are given."""
    confusion = evaluation.confusion
    return render(
        "evaluation.html",
        title=title(evaluation),
        warning=warning(evaluation),
        summary=f"{evaluation.tracks.count:,} tracks, {evaluation.windows.count:,} windows of 3 s; "
        "95 % intervals by bootstrap over tracks.",
        headline_cards=list(_cards(evaluation)),
        labels=confusion.labels,
        track_counts=confusion.tracks,
        window_counts=confusion.windows,
        figures=list(_figures(evaluation)),
        degraded=_degraded(evaluation),
        table_sections=[*_doubtful(evaluation, files), *_table_sections(evaluation)],
        facts=[("method", evaluation.how), *facts(evaluation), *_settings(evaluation)],
    )


def _cards(evaluation: Evaluation) -> Iterator[tuple[str, str, str]]:
    """Figure, name and note of each headline."""

    def card(name: str, share: Share) -> tuple[str, str, str]:
        return f"{share.accuracy:.1%}", name, interval(share)

    yield card("of whole tracks right", evaluation.tracks)
    yield card("of windows of 3 s right", evaluation.windows)
    if evaluation.stream.after_12s:
        yield card("of the stream after 12 s", evaluation.stream.after_12s)
    if evaluation.unsaid.accuracy_of_80:
        yield card("of its most confident 80 %", evaluation.unsaid.accuracy_of_80)
    calibration, degraded = evaluation.calibration, evaluation.degraded
    yield f"{calibration.ece:.3f}", "calibration error", f"clean; noise floor {calibration.honest:.3f}"
    if degraded:
        loss = degraded.mean_loss_points
        yield f"{0.0 - loss.windows:+.1f}", "points of windows", "mean loss under conditions"
        yield f"{0.0 - loss.tracks:+.1f}", "points of tracks", "mean loss under conditions"
        yield f"{degraded.calibration.ece:.3f}", "calibration error", "of the stream, under conditions"


def _figures(evaluation: Evaluation) -> Iterator[tuple[str, str, Markup]]:
    """Title, note and SVG of each chart."""
    labels, degraded, coverage = evaluation.confusion.labels, evaluation.degraded, evaluation.unsaid.curve
    draw = partial(genre_bars, genres=evaluation.genres, labels=labels)
    yield "By genre", "Bars are tracks, diamonds are windows.", inline_svg("Accuracy by genre", draw, labels)
    curves = [("clean", [(each.confidence, each.accuracy) for each in evaluation.calibration.curve])]
    if degraded:
        curves.append(("under conditions", [(each.confidence, each.accuracy) for each in degraded.calibration.curve]))
    yield (
        "Calibration",
        "On the dashed line, 70 % of the estimates with a confidence of 70 % are right.",
        inline_svg(
            "Accuracy by confidence",
            partial(accuracy_curves, across="confidence of the stream", curves=curves, diagonal=True),
        ),
    )
    if coverage:
        yield (
            "Risk and coverage",
            "Accuracy after 12 s if the least confident estimates are rejected.",
            inline_svg(
                "Accuracy by coverage",
                partial(accuracy_curves, across="share of estimates that is kept", curves=[("", coverage)]),
            ),
        )
    moments = [("clean", evaluation.stream.moments)]
    if degraded:
        moments.append(("under conditions", degraded.stream.moments))
    yield (
        "Accuracy over time",
        "Accuracy of the stream at each time of a track.",
        inline_svg(
            "Accuracy by seconds",
            partial(accuracy_curves, across="seconds since the start of the track", curves=moments, shares=False),
        ),
    )
    if (changes := evaluation.changes) is not None:
        median = "mostly never" if changes.median_seconds is None else f"median {changes.median_seconds:.1f} s"
        note = (
            f"Delay until the new genre is named: {median}, of {changes.changes} changes between correctly classified "
            f"tracks; {changes.never:.0%} are never named. {changes.spurious_per_10_min:.1f} spurious changes in 10 "
            "minutes."
        )
        yield "Changes of genre", note, inline_svg("Delays", partial(delay_histogram, changes=changes))


def _degraded(evaluation: Evaluation) -> dict[str, Any] | None:
    degraded = evaluation.degraded
    if degraded is None:
        return None
    clean, mean, worst = evaluation.windows.accuracy, degraded.mean_loss_points, degraded.worst_loss_points
    draw = partial(condition_bars, clean=clean, degraded=degraded)
    return {
        "note": f"Accuracy of windows and its loss under each condition; the line is clean music ({clean:.1%}). Mean "
        f"loss {mean.windows:.1f} points of windows and {mean.tracks:.1f} of tracks, worst {worst.windows:.1f} and "
        f"{worst.tracks:.1f} ({degraded.worst}).",
        "figure": inline_svg("Accuracy of windows by condition", draw),
        "headings": ("", "tracks", "loss", "after 12 s", "loss", "calibration error", "refused"),
        "rows": [
            (
                row.name,
                f"{row.tracks.accuracy:.1%}",
                f"{row.loss_points.tracks:.1f}",
                f"{row.stream.after_12s.accuracy:.1%}" if row.stream.after_12s else "",
                f"{row.loss_points.stream_after_12s:.1f}" if row.loss_points.stream_after_12s is not None else "",
                f"{row.calibration.ece:.3f}",
                f"{row.refused:.1%}",
            )
            for row in degraded.conditions
        ],
        "conditions": [(row.name, row.how) for row in degraded.conditions],
    }


def _table_sections(evaluation: Evaluation) -> Iterator[tuple[str, str, list[Table]]]:
    """Title, note and tables of each section."""
    model, other, sounds, level = evaluation.model, evaluation.against, evaluation.not_music, evaluation.level
    if other:
        note = (
            f"{other.model}: {other.windows.accuracy:.1%} of windows, {other.tracks.accuracy:.1%} of tracks. Exact "
            "McNemar test. Windows of one track are not independent: decide by the first two rows."
        )
        paired = [
            (name, f"{each.this_only:,}", f"{each.other_only:,}", f"{each.p:.3g}") for name, each in paired_rows(other)
        ]
        yield f"Against {other.model}", note, [(("", f"only {model} right", "only the other", "p"), paired)]
    if sounds:
        rows = [
            (sound.name, f"{sound.named}", f"{sound.windows}", f"{sound.named / max(sound.windows, 1):.1%}")
            for sound in sounds.sounds
        ]
        parts: list[Table] = [(("sound", "with a genre", "windows", "share"), rows)]
        if sounds.music:
            music = [
                (
                    "clean" if each.snr is None else f"{each.snr:.0f} dB over noise",
                    f"{each.refused}",
                    f"{each.silent}",
                    f"{each.windows}",
                    f"{each.refused / max(each.windows, 1):.1%}",
                )
                for each in sounds.music
            ]
            parts.append((("music", "rejected", "as silence", "windows", "share"), music))
        note = "Through the whole listener, with its gates for silence and steady noise."
        yield "Other sounds than music", note, parts
    if level:
        gains = [
            (f"{gain.decibels:+.0f} dB", f"{gain.windows}", f"{gain.flips}", f"{gain.flips_16_bit}", f"{gain.silent}")
            for gain in level.gains
        ]
        headings = ("level", "windows", "other genre", "after rounding to 16 bits", "silent")
        yield "Softer and louder", f"{level.clips} clips; windows whose genre changes.", [(headings, gains)]


def _doubtful(evaluation: Evaluation, files: SourceFiles | None) -> Iterator[tuple[str, str, list[Table]]]:
    if not evaluation.doubtful:
        return
    rows = [
        (
            each.track, each.label, each.answer, f"{each.probability:.0%}", f"{each.second:.0f} s",
            *([files.player(each.track, each.second, each.length)] if files else []),
        )
        for each in evaluation.doubtful
    ]  # fmt: skip
    headings = ("track", "label", "recognised as", "its label", "from", *(["listen"] if files else []))
    note = "Tracks whose label has the lowest probability, and where it is lowest. A wrong label is found by listening."
    yield "Doubtful tracks", note, [(headings, rows)]


def _settings(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    single = evaluation.single
    alone = f", of single windows {single.temperature:g}" if single else ""
    yield "temperature", f"{evaluation.temperature:g}{alone}"
    alone = f", of single windows {single.threshold:g}" if single else ""
    yield "threshold", f"{evaluation.certainty:g}{alone}"
    yield "model file", f"sha256 {evaluation.sha256}" if evaluation.sha256 else "not packed yet"
