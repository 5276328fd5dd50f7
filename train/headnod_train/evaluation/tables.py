"""Evaluations as tables for the terminal, and the lines of text that reports and model cards share with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rich.table import Table

from headnod_train.console import text_table
from headnod_train.evaluation.conditions import SimulationAgreement
from headnod_train.evaluation.listener_sounds import SongNaming
from headnod_train.evaluation.metrics import Share
from headnod_train.evaluation.recordings_evaluation import Played, RecordingsEvaluation, Refused
from headnod_train.evaluation.results import DegradedResult, Evaluation, ModelComparison

LEAKY = "LEAKY: segments of one track are in several splits, so no figure here applies to other music"
"""Shown with every figure of an archive that leaks."""

LEARNED = "LEAKY: the model was trained on these tracks, so no figure here applies to other music"
"""Shown with every figure of a model that was evaluated on its training data."""


def tables(evaluation: Evaluation) -> Iterator[Table]:
    """Each part of an evaluation that was measured."""
    mark = ", LEAKY" if evaluation.leaky else ""
    yield headline_table(evaluation)
    yield text_table("", "windows", "tracks", "95 %", "of", rows=_genres(evaluation), title=f"by genre{mark}")
    if degraded := evaluation.degraded:
        mean, worst = degraded.mean_loss_points, degraded.worst_loss_points
        yield text_table(
            "", "windows", "loss", "tracks", "loss", "error", "refused", rows=condition_rows(degraded),
            title=f"under acoustic conditions{mark} (loss in points against clean)",
            caption=f"mean loss {mean.windows:.1f} points of windows, {mean.tracks:.1f} of tracks; "
            f"worst {worst.windows:.1f} and {worst.tracks:.1f} ({degraded.worst})",
        )  # fmt: skip
    if other := evaluation.against:
        yield text_table(
            "", "only this right", "only the other", "p", rows=paired_rows(other),
            title=f"{evaluation.model} against {other.model} (exact McNemar test){mark}",
            caption="windows of one track are not independent: decide by the first two rows",
        )  # fmt: skip
    lines = Table(show_header=False, title_justify="left", box=None)
    for name, text in facts(evaluation):
        lines.add_row(name, text)
    yield lines


def headline_table(evaluation: Evaluation) -> Table:
    """The most important accuracies."""
    return text_table(
        "", "right", "95 % interval", "of",
        rows=((name, _percent(share), interval(share), f"{share.count:,}") for name, share in headlines(evaluation)),
        title=title(evaluation),
        caption=warning(evaluation) or f"calibration error {evaluation.calibration.ece:.3f}",
    )  # fmt: skip


def _genres(evaluation: Evaluation) -> Iterator[tuple[str, ...]]:
    for genre in evaluation.genres:
        low, high = genre.tracks_ci95
        between = f"{low:.1%} to {high:.1%}"
        yield genre.label, f"{genre.windows:.1%}", f"{genre.tracks:.1%}", between, f"{genre.count:,}"


def warning(evaluation: Evaluation) -> str:
    """The warning about a leaky evaluation; empty if there is none."""
    if not evaluation.leaky:
        return ""
    return LEARNED if evaluation.learned else LEAKY


def title(evaluation: Evaluation) -> str:
    """Model, archive and split, marked if the evaluation leaks."""
    leaky = "LEAKY: " if evaluation.leaky else ""
    return f"{leaky}{evaluation.model} on {evaluation.data}, {evaluation.split}"


def headlines(evaluation: Evaluation) -> list[tuple[str, Share]]:
    """Each accuracy that was measured, with its name."""
    stream, degraded = evaluation.stream, evaluation.degraded
    shares = [
        ("windows of 3 s", evaluation.windows),
        ("whole tracks", evaluation.tracks),
        ("whole tracks, interval by artist", evaluation.tracks_by_artist),
        ("stream after 3 s", stream.after_3s),
        ("stream after 6 s", stream.after_6s),
        ("stream after 12 s", stream.after_12s),
        ("its most confident 80 %", evaluation.unsaid.accuracy_of_80),
        ("windows, degraded", degraded.windows if degraded else None),
        ("whole tracks, degraded", degraded.tracks if degraded else None),
        ("stream after 12 s, degraded", degraded.stream.after_12s if degraded else None),
    ]
    return [(name, share) for name, share in shares if share is not None]


def interval(share: Share) -> str:
    """The 95 % interval as text."""
    return f"{share.ci95[0]:.1%} to {share.ci95[1]:.1%}"


def facts(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    """Name and text of every other figure."""
    calibration, degraded = evaluation.calibration, evaluation.degraded
    text = f"{calibration.ece:.3f} of the stream, {calibration.ece_of_windows:.3f} of single windows"
    if degraded:
        text += f"; degraded {degraded.calibration.ece:.3f} and {degraded.calibration.ece_of_windows:.3f}"
    yield "expected calibration error", text
    yield "its noise floor", f"{calibration.honest:.3f} of the stream, for perfectly calibrated scores on these tracks"
    settled = evaluation.stream.after_12s
    if settled:
        right = f"{settled.named:.1%} of the estimates, {settled.accuracy_of_named:.1%} of those right"
        yield "above the threshold after 12 s", right
    if evaluation.float_agreement is not None:
        source = evaluation.float_agreement_of
        yield "int8 and float agree", f"on {evaluation.float_agreement:.1%} of windows ({source})"
    if evaluation.floating:
        yield "int8 loses", f"{evaluation.floating.lost_points:+.1f} points of windows"
    if (changes := evaluation.changes) is not None:
        median, every = (
            "never" if seconds is None else f"{seconds:.1f} s"
            for seconds in (changes.median_seconds, changes.median_seconds_of_all)
        )
        pairs = f"{changes.changes} changes between correctly classified tracks"
        yield "a new genre is named after", f"{median} in the median of {pairs} ({every} of all)"
        yield "spurious changes", f"{changes.spurious_per_10_min:.1f} in 10 minutes"
    yield from _sound_facts(evaluation)


def _sound_facts(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    if evaluation.level:
        gains = evaluation.level.gains
        flips, rounded, windows = (
            sum(getattr(gain, name) for gain in gains) for name in ("flips", "flips_16_bit", "windows")
        )
        name = f"genre changes from {gains[0].decibels:+.0f} to {gains[-1].decibels:+.0f} dB"
        yield name, f"{flips} of {windows:,} windows, {rounded} after rounding to 16 bits"
    if evaluation.not_music:
        sounds = evaluation.not_music.sounds
        named, windows = sum(sound.named for sound in sounds), sum(sound.windows for sound in sounds)
        each = ", ".join(f"{sound.name} {sound.named} of {sound.windows}" for sound in sounds if sound.named)
        kinds = f" ({each})" if each else ""
        yield "other sounds with a genre", f"{named / windows:.1%} of {windows:,} windows{kinds}"
        for refusal in evaluation.not_music.music:
            where = "clean" if refusal.snr is None else f"at {refusal.snr:.0f} dB over noise"
            share = refusal.refused / max(refusal.windows, 1)
            yield f"music rejected {where}", f"{share:.1%} of {refusal.windows:,} windows, {refusal.silent} as silence"


def condition_rows(degraded: DegradedResult) -> list[tuple[str, ...]]:
    """Each condition: accuracy of windows and its loss, the same of tracks, calibration error, and share refused."""
    return [
        (
            row.name, f"{row.windows.accuracy:.1%}", f"{row.loss_points.windows:.1f}", f"{row.tracks.accuracy:.1%}",
            f"{row.loss_points.tracks:.1f}", f"{row.calibration.ece:.3f}", f"{row.refused:.1%}",
        )
        for row in degraded.conditions
    ]  # fmt: skip


def paired_rows(other: ModelComparison) -> list[tuple[str, ...]]:
    """Each paired test: its name, predictions that only one of the models has right, and the p-value."""
    return [
        (name, f"{paired.this_only:,}", f"{paired.other_only:,}", f"{paired.p:.3g}")
        for name, paired in (
            ("whole tracks", other.by_tracks),
            ("tracks by their windows", other.by_windows_of_tracks),
            ("windows", other.by_windows),
        )
    ]


class RecordingsPart(NamedTuple):
    """One table of an evaluation on audio files."""

    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    note: str = ""


def recordings_title(found: RecordingsEvaluation) -> str:
    """Model and files, marked if the model was trained on some of them."""
    return f"{'LEAKY: ' if found.leaky else ''}{found.model} on {found.data}"


def recordings_tables(found: RecordingsEvaluation) -> Iterator[Table]:
    """Each part of an evaluation on audio files, for the terminal."""
    for part in recordings_parts(found):
        yield text_table(*part.headings, rows=part.rows, title=part.title, caption=part.note or None)


def recordings_parts(found: RecordingsEvaluation) -> Iterator[RecordingsPart]:
    """Each part of an evaluation on audio files; all titles are marked if the model was trained on some of them."""
    mark = "LEAKY: " if found.leaky else ""
    notes = ["The model was trained on some of these files: every figure is too good."] if found.leaky else []
    if found.float_agreement is not None:
        notes.append(f"The float network predicts the same genre on {found.float_agreement:.1%} of clean windows.")
    yield RecordingsPart(
        recordings_title(found),
        ("", "windows (95 %)", "files (95 %)", "by artist", "refused", "calibration error (noise)"),
        [_played(played) for played in found.played],
        "\n".join(notes),
    )
    yield RecordingsPart(
        f"{mark}files of each genre, clean",
        ("", "right", "95 %", "of"),
        [(label, *_with_interval(share), str(share.count)) for label, share in found.played[0].genres.items()],
    )
    if found.not_music:
        yield RecordingsPart(
            f"{mark}other sounds, each alone in a quiet room",
            ("", "windows with a genre", "files with a genre"),
            [_other_sound(kind) for kind in found.not_music],
        )
    if found.simulation:
        yield RecordingsPart(
            f"{mark}windows, degraded by simulation in mel power and as waveforms",
            ("", "same genre", "clean and real", "simulated correct", "real correct"),
            [_simulated(each) for each in found.simulation],
        )
    if songs := found.songs:
        title = f"{mark}{songs.songs} files of {songs.data} through the listener ({songs.minutes:g} min)"
        yield RecordingsPart(title, ("", ""), list(_songs(songs)))
    if other := found.against:
        yield RecordingsPart(
            f"{mark}against {other.model}, clean",
            ("", f"{other.model} right", f"only {found.model}", f"only {other.model}", "p (McNemar)"),
            [("files", _percent(other.clips), str(other.this_only), str(other.other_only), f"{other.p:g}")],
        )


def _played(played: Played) -> tuple[str, ...]:
    by_artist = played.clips_by_artist
    return (
        played.name,
        f"{_percent(played.windows)} ({_whole_interval(played.windows)})",
        f"{_percent(played.clips)} ({_whole_interval(played.clips)})",
        _whole_interval(by_artist) if by_artist else "",
        f"{played.refused:.1%}",
        f"{played.calibration_error:.3f} ({played.calibration_noise:.3f})",
    )


def _whole_interval(share: Share) -> str:
    """The 95 % interval in whole percent, for narrow columns."""
    low, high = share.ci95
    return f"{100 * low:.0f} to {100 * high:.0f}"


def _other_sound(kind: Refused) -> tuple[str, ...]:
    return (
        kind.kind,
        f"{kind.windows_named} of {kind.windows} ({kind.windows_named / max(kind.windows, 1):.1%})",
        f"{kind.files_named} of {kind.files} ({kind.files_named / kind.files:.1%})",
    )


def _simulated(found: SimulationAgreement) -> tuple[str, ...]:
    shares = (found.agreement, found.agreement_of_clean, found.simulated, found.real)
    return (found.name, *(f"{share:.1%}" for share in shares))


def _songs(songs: SongNaming) -> Iterator[tuple[str, str]]:
    yield "changes between genres within a file, per 10 min", f"{songs.genre_changes_per_10_min:.1f}"
    yield "all changes of the shown state, per 10 min", f"{songs.changes_per_10_min:.1f}"
    yield f"files after one of another genre, in {songs.orders} random orders", str(songs.new_genres)
    if songs.new_genres:
        yield "whose genre is shown at all", f"{len(songs.seconds) / songs.new_genres:.1%}"
    for name, seconds in (
        ("seconds until its genre is shown, median", songs.median_seconds),
        ("seconds until nine of ten are shown", songs.ninth_decile_seconds),
    ):
        yield name, "never" if seconds is None else f"{seconds:.1f}"


def _with_interval(share: Share) -> tuple[str, str]:
    return _percent(share), interval(share)


def _percent(share: Share) -> str:
    return f"{share.accuracy:.1%}"
