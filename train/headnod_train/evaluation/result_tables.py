"""An evaluation in the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from headnod_train.evaluation.metrics import Share
from headnod_train.evaluation.result_parts import DegradedResult, PairedTest
from headnod_train.evaluation.results import Evaluation

LEAKY = "LEAKY: windows of one track stand on several sides, no figure here says anything of other music"
"""What every output says of an archive that leaks."""

LEARNED = "LEAKY: the model learned from these very tracks, no figure here says anything about other music"
"""What every output says where a model was measured on what it learned from."""


def tables(evaluation: Evaluation) -> Iterator[Table]:
    """Each part of an evaluation that was made."""
    yield table(evaluation)
    yield _genres(evaluation)
    if evaluation.degraded:
        yield _degraded(evaluation, evaluation.degraded)
    if evaluation.against:
        yield _against(evaluation)
    yield _facts(evaluation)


def table(evaluation: Evaluation) -> Table:
    """The figures that matter most."""
    shown = _table(title(evaluation), "", "right", "95 % interval", "of")
    for name, share in headlines(evaluation):
        shown.add_row(name, f"{share.accuracy:.1%}", interval(share), f"{share.count:,}")
    shown.caption = f"calibration error {evaluation.calibration.ece:.3f}"
    if evaluation.leaky:
        shown.caption = warning(evaluation)
    return shown


def warning(evaluation: Evaluation) -> str:
    """What is said of an evaluation that leaks."""
    return LEARNED if evaluation.learned else LEAKY


def title(evaluation: Evaluation) -> str:
    """What was measured on what, labelled if it leaks."""
    leaky = "LEAKY: " if evaluation.leaky else ""
    return f"{leaky}{evaluation.model} on {evaluation.data}, {evaluation.split}"


def headlines(evaluation: Evaluation) -> list[tuple[str, Share]]:
    """Each accuracy with its name, as far as it could be measured."""
    stream, degraded = evaluation.stream, evaluation.degraded
    shares = [
        ("windows of 3 s", evaluation.windows),
        ("whole tracks", evaluation.tracks),
        ("stream after 3 s", stream.after_3s),
        ("stream after 6 s", stream.after_6s),
        ("stream after 12 s", stream.after_12s),
        ("its surest 80 %", evaluation.unsaid.accuracy_of_80),
        ("windows, degraded", degraded.windows if degraded else None),
        ("whole tracks, degraded", degraded.tracks if degraded else None),
        ("stream after 12 s, degraded", degraded.stream.after_12s if degraded else None),
    ]
    return [(name, share) for name, share in shares if share is not None]


def interval(share: Share) -> str:
    """The 95 % interval in words."""
    return f"{share.ci95[0]:.1%} to {share.ci95[1]:.1%}"


def facts(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    """Everything else that is one line."""
    calibration, degraded = evaluation.calibration, evaluation.degraded
    said = f"{calibration.ece:.3f} of the stream, {calibration.ece_of_windows:.3f} of single windows"
    if degraded:
        said += f"; degraded {degraded.calibration.ece:.3f} and {degraded.calibration.ece_of_windows:.3f}"
    yield "expected calibration error", said
    yield "the same if every score were true", f"{calibration.honest:.3f} of the stream, on as few tracks"
    settled = evaluation.stream.after_12s
    if settled:
        yield (
            "certain enough after 12 s",
            f"{settled.named:.1%} of the estimates, {settled.accuracy_of_named:.1%} of those right",
        )
    if evaluation.float_agreement is not None:
        yield (
            "int8 and float agree",
            f"on {evaluation.float_agreement:.1%} of windows ({evaluation.float_agreement_of})",
        )
    if evaluation.floating:
        yield "int8 loses", f"{evaluation.floating.lost_points:+.1f} points of windows"
    yield from _song_facts(evaluation)
    yield from _sound_facts(evaluation)


def _song_facts(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    changes = evaluation.changes
    if changes is None:
        return
    median = f"{changes.median_seconds:.1f} s" if changes.median_seconds is not None else "never"
    every = f"{changes.median_seconds_of_all:.1f} s" if changes.median_seconds_of_all is not None else "never"
    yield (
        "a new genre is named after",
        f"{median} in the median of {changes.changes} changes between tracks that it knows ({every} of all)",
    )
    yield "spurious changes", f"{changes.spurious_per_10_min:.1f} in 10 minutes"


def _sound_facts(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    if evaluation.level:
        flips = sum(gain.flips for gain in evaluation.level.gains)
        rough = sum(gain.flips_16_bit for gain in evaluation.level.gains)
        windows = sum(gain.windows for gain in evaluation.level.gains)
        low, high = evaluation.level.gains[0].decibels, evaluation.level.gains[-1].decibels
        yield (
            f"genre flips from {low:+.0f} to {high:+.0f} dB",
            f"{flips} of {windows:,} windows, {rough} once rounded to 16 bits",
        )
    if evaluation.not_music:
        sounds = evaluation.not_music.sounds
        named, heard = sum(sound.named for sound in sounds), sum(sound.windows for sound in sounds)
        each = ", ".join(f"{sound.name} {sound.named} of {sound.windows}" for sound in sounds if sound.named)
        yield (
            "no music, yet given a genre",
            f"{named / heard:.1%} of {heard:,} windows" + (f" ({each})" if each else ""),
        )
        for refusal in evaluation.not_music.music:
            where = "clean" if refusal.snr is None else f"at {refusal.snr:.0f} dB over noise"
            share = refusal.refused / max(refusal.windows, 1)
            yield (
                f"music refused {where}",
                f"{share:.1%} of {refusal.windows:,} windows, {refusal.silent} of them as silence",
            )


def _genres(evaluation: Evaluation) -> Table:
    shown = _table("by genre" + (", LEAKY" if evaluation.leaky else ""), "", "windows", "tracks", "of")
    for genre in evaluation.genres:
        shown.add_row(genre.label, f"{genre.windows:.1%}", f"{genre.tracks:.1%}", f"{genre.count:,}")
    return shown


def _degraded(evaluation: Evaluation, degraded: DegradedResult) -> Table:
    name = "as it arrives" + (", LEAKY" if evaluation.leaky else "") + " (loss in points against clean)"
    shown = _table(name, "", "windows", "loss", "tracks", "loss", "error", "refused")
    for row in degraded.conditions:
        loss = row.loss_points
        shown.add_row(
            row.name,
            f"{row.windows.accuracy:.1%}",
            f"{loss.windows:.1f}",
            f"{row.tracks.accuracy:.1%}",
            f"{loss.tracks:.1f}",
            f"{row.calibration.ece:.3f}",
            f"{row.refused:.1%}",
        )
    mean, worst = degraded.mean_loss_points, degraded.worst_loss_points
    shown.caption = (
        f"mean loss {mean.windows:.1f} points of windows, {mean.tracks:.1f} of tracks; "
        f"worst {worst.windows:.1f} and {worst.tracks:.1f} ({degraded.worst})"
    )
    return shown


def _against(evaluation: Evaluation) -> Table:
    other = evaluation.against
    assert other is not None  # noqa: S101 - asked for where there is one
    name = f"{evaluation.model} against {other.model} (McNemar, exact)" + (", LEAKY" if evaluation.leaky else "")
    shown = _table(name, "", "only this right", "only the other", "p")
    for what, paired in paired_rows(other.by_tracks, other.by_windows_of_tracks, other.by_windows):
        shown.add_row(what, f"{paired.this_only:,}", f"{paired.other_only:,}", f"{paired.p:.3g}")
    shown.caption = "windows of one track are not independent: decide by the first two"
    return shown


def paired_rows(
    by_tracks: PairedTest, by_windows_of_tracks: PairedTest, by_windows: PairedTest
) -> list[tuple[str, PairedTest]]:
    """Each test with its name."""
    return [
        ("whole tracks", by_tracks),
        ("tracks by their windows", by_windows_of_tracks),
        ("windows", by_windows),
    ]


def _facts(evaluation: Evaluation) -> Table:
    shown = Table(show_header=False, title_justify="left", box=None)
    for name, text in facts(evaluation):
        shown.add_row(name, text)
    return shown


def _table(name: str, *headings: str) -> Table:
    shown = Table(title=name, title_justify="left", caption_justify="left")
    for heading in headings:
        shown.add_column(heading, justify="left" if not heading else "right")
    return shown
