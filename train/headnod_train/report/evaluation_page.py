"""What stands on the page of an evaluation, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from headnod_train.evaluation.metrics import Share
from headnod_train.evaluation.result_parts import DegradedResult, GenreChanges, Level, ModelComparison, NotMusic
from headnod_train.evaluation.result_tables import facts, interval, paired_rows, title, warning
from headnod_train.evaluation.results import Evaluation
from headnod_train.report.charts import SHARES, Axis, bar, heat, histogram, lines, table

_STYLE = Path(__file__).with_name("style.css")
_ALL = Axis("", 0.0, 1.0, SHARES)


def page(evaluation: Evaluation) -> str:
    """The whole page."""
    name = escape(title(evaluation))
    leaky = f'<p class="leaky">{escape(warning(evaluation))}</p>' if evaluation.leaky else ""
    sections = "".join(_sections(evaluation))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{name}</title>'
        f"<style>\n{_STYLE.read_text(encoding='utf-8')}</style></head><body><main>"
        f"<h1>{name}</h1>{leaky}<p class='soft'>{evaluation.tracks.count:,} tracks, "
        f"{evaluation.windows.count:,} windows of 3 s; intervals are 95 %, by bootstrap over tracks.</p>"
        f'<div class="heads">{_heads(evaluation)}</div><div class="grid">{sections}</div></main></body></html>\n'
    )


def _heads(evaluation: Evaluation) -> str:
    stream, degraded = evaluation.stream.after_12s, evaluation.degraded
    cards = [_head("whole tracks right", evaluation.tracks), _head("windows of 3 s right", evaluation.windows)]
    if stream:
        cards.append(_head("of the stream after 12 s", stream))
    if evaluation.unsaid.accuracy_of_80:
        cards.append(_head("of its surest 80 %", evaluation.unsaid.accuracy_of_80))
    honest = f"clean; {evaluation.calibration.honest:.3f} if every score were true"
    cards.append(_card(f"{evaluation.calibration.ece:.3f}", "calibration error", honest))
    if degraded:
        loss = degraded.mean_loss_points
        cards.append(_card(f"{-loss.windows:+.1f}", "points of windows", "mean loss as it arrives"))
        cards.append(_card(f"{-loss.tracks:+.1f}", "points of tracks", "mean loss as it arrives"))
        cards.append(_card(f"{degraded.calibration.ece:.3f}", "calibration error", "of the stream, as it arrives"))
    return "".join(cards)


def _head(name: str, share: Share) -> str:
    return _card(f"{share.accuracy:.1%}", name, interval(share))


def _card(figure: str, name: str, note: str) -> str:
    return f'<div class="head"><b>{figure}</b><span>{escape(name)}</span><span class="soft">{escape(note)}</span></div>'


def _sections(evaluation: Evaluation) -> Iterator[str]:
    confusion, unsaid = evaluation.confusion, evaluation.unsaid
    yield _section(
        "What is taken for what: tracks",
        "Rows were played, columns were said; blue is right.",
        heat(confusion.labels, confusion.tracks),
    )
    yield _section(
        "What is taken for what: windows", "The same for windows of 3 s.", heat(confusion.labels, confusion.windows)
    )
    yield _genres(evaluation)
    yield _reliability(evaluation)
    if unsaid.curve:
        curve = lines(
            "Accuracy by share said", Axis("share of estimates said", 0.0, 1.0, SHARES), _up(), [("", unsaid.curve)]
        )
        yield _section("Leaving the least certain unsaid", "After 12 s: how often right is what is still said.", curve)
    yield _growth(evaluation)
    if evaluation.degraded:
        yield _degraded(evaluation, evaluation.degraded)
    if evaluation.changes:
        yield _changes(evaluation.changes)
    if evaluation.against:
        yield _against(evaluation.model, evaluation.against)
    if evaluation.not_music:
        yield _not_music(evaluation.not_music)
    if evaluation.level:
        yield _level(evaluation.level)
    yield _how(evaluation)


def _genres(evaluation: Evaluation) -> str:
    rows = []
    for genre in evaluation.genres:
        rows.append(bar(genre.label, genre.tracks, text=f"{genre.tracks:.0%} of {genre.count} tracks"))
        rows.append(bar("", genre.windows, text=f"{genre.windows:.0%} of windows", kind=2))
    return _section("By genre", "Tracks in blue, windows in green.", "".join(rows))


def _reliability(evaluation: Evaluation) -> str:
    curves = [("clean", [(each.confidence, each.accuracy) for each in evaluation.calibration.curve])]
    if evaluation.degraded:
        arrived = evaluation.degraded.calibration.curve
        curves.append(("as it arrives", [(each.confidence, each.accuracy) for each in arrived]))
    drawn = lines("Accuracy by confidence", Axis("how sure the stream was", 0.0, 1.0, SHARES), _up(), curves, even=True)
    return _section("Are scores chances?", "On the dashed line, of estimates that are 70 % sure 70 % are right.", drawn)


def _growth(evaluation: Evaluation) -> str:
    curves = [("clean", evaluation.stream.moments)]
    if evaluation.degraded:
        curves.append(("as it arrives", evaluation.degraded.stream.moments))
    last = evaluation.stream.moments[-1][0]
    ticks = tuple(float(each) for each in range(0, int(last) + 1, max(3, 3 * round(last / 18))))
    across = Axis("seconds of the track heard", 0.0, last, ticks, percent=False)
    return _section(
        "As the listener hears more",
        "Right estimates of the stream at each moment.",
        lines("Accuracy by seconds", across, _up(), curves),
    )


def _degraded(evaluation: Evaluation, degraded: DegradedResult) -> str:
    clean = evaluation.windows.accuracy
    rows = [bar("clean", evaluation.windows, text=f"{clean:.1%} of windows", mark=clean, kind=2)]
    rows += [
        bar(
            row.name,
            row.windows,
            text=f"{row.windows.accuracy:.1%}, {-row.loss_points.windows:+.1f}",
            mark=clean,
        )
        for row in degraded.conditions
    ]
    headings = ("", "tracks", "loss", "after 12 s", "loss", "calibration error", "refused")
    figures = [
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
    ]
    steps = "".join(
        f"<dt>{escape(row.name)}</dt><dd><code>{escape(row.how)}</code></dd>" for row in degraded.conditions
    )
    mean, worst = degraded.mean_loss_points, degraded.worst_loss_points
    note = (
        f"Windows right under each condition; the line is clean. Mean loss {mean.windows:.1f} points of windows and "
        f"{mean.tracks:.1f} of tracks, worst {worst.windows:.1f} and {worst.tracks:.1f} ({degraded.worst})."
    )
    more = f"<details><summary>What each condition is</summary><dl>{steps}</dl></details>"
    return _section("As it arrives", note, "".join(rows) + table(headings, figures) + more, full=True)


def _changes(changes: GenreChanges) -> str:
    across = Axis("seconds after the change", 0.0, 30.0, (0.0, 6.0, 12.0, 18.0, 24.0, 30.0), percent=False)
    median = f"{changes.median_seconds:.1f} s in the median" if changes.median_seconds is not None else "mostly never"
    note = (
        f"Until the new genre is named: {median}, of {changes.changes} changes between tracks that it knows "
        f"by the whole; {changes.never:.0%} are never named. "
        f"{changes.spurious_per_10_min:.1f} spurious changes in 10 minutes."
    )
    return _section("When the song changes", note, histogram("Delays", across, changes.seconds, 1.5))


def _against(model: str, other: ModelComparison) -> str:
    rows = [
        (name, f"{pair.this_only:,}", f"{pair.other_only:,}", f"{pair.p:.3g}")
        for name, pair in paired_rows(other.by_tracks, other.by_windows_of_tracks, other.by_windows)
    ]
    note = (
        f"{other.model}: {other.windows.accuracy:.1%} of windows, {other.tracks.accuracy:.1%} of tracks. "
        "McNemar's test, exact. Windows of one track are not independent: decide by the first two rows."
    )
    return _section(f"Beside {other.model}", note, table(("", f"only {model} right", "only the other", "p"), rows))


def _not_music(found: NotMusic) -> str:
    rows = [
        (sound.name, f"{sound.named}", f"{sound.windows}", f"{sound.named / max(sound.windows, 1):.1%}")
        for sound in found.sounds
    ]
    drawn = table(("no music", "given a genre", "windows", "share"), rows)
    if found.music:
        music = [
            (
                "clean" if each.snr is None else f"{each.snr:.0f} dB over noise",
                f"{each.refused}",
                f"{each.silent}",
                f"{each.windows}",
                f"{each.refused / max(each.windows, 1):.1%}",
            )
            for each in found.music
        ]
        drawn += table(("music", "refused", "as silence", "windows", "share"), music)
    return _section(
        "What is no music", "Through the whole listener, with its gates for silence and steady noise.", drawn
    )


def _level(level: Level) -> str:
    rows = [
        (f"{gain.decibels:+.0f} dB", f"{gain.windows}", f"{gain.flips}", f"{gain.flips_16_bit}", f"{gain.silent}")
        for gain in level.gains
    ]
    headings = ("played at", "windows", "other genre", "rounded to 16 bits", "grew silent")
    return _section(
        "Softer and louder", f"{level.clips} clips; windows whose own genre changes.", table(headings, rows)
    )


def _how(evaluation: Evaluation) -> str:
    single = evaluation.single
    known = [
        ("how", evaluation.how),
        *facts(evaluation),
        (
            "temperature",
            f"{evaluation.temperature:g}" + (f", of single windows {single.temperature:g}" if single else ""),
        ),
        ("certainty", f"{evaluation.certainty:g}" + (f", of single windows {single.threshold:g}" if single else "")),
        ("model file", f"sha256 {evaluation.sha256}" if evaluation.sha256 else "not packed yet"),
    ]
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in known)
    return _section(
        "How it was measured",
        "Every figure is also in evaluation.json, beside this page.",
        f"<dl>{rows}</dl>",
        full=True,
    )


def _section(name: str, note: str, drawn: str, *, full: bool = False) -> str:
    wide = ' class="full"' if full else ""
    return f'<section{wide}><h2>{escape(name)}</h2><p class="note">{escape(note)}</p>{drawn}</section>'


def _up() -> Axis:
    return Axis("right", _ALL.low, _ALL.high, SHARES)
