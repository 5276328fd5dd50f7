"""Figures of a bundle on audio files, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from headnod_train.evaluation.metrics import Share
from headnod_train.evaluation.recordings_evaluation import PairedClips, Played, RecordingsEvaluation, Refused
from headnod_train.evaluation.result_tables import interval
from headnod_train.evaluation.song_naming import SongNaming


def recordings_tables(found: RecordingsEvaluation) -> Iterator[Table]:
    """Each part of the evaluation that was made."""
    yield _played(found)
    yield _genres(found.played[0])
    if found.not_music:
        yield _not_music(found.not_music)
    if found.songs:
        yield _songs(found.songs)
    if found.against:
        yield _against(found.model, found.against)


def _played(found: RecordingsEvaluation) -> Table:
    mark = "LEAKY: " if found.leaky else ""
    title = f"{mark}{found.model} on {found.data}"
    table = _table(title, "", "windows", "95 %", "files", "95 %", "by artist", "refused", "calibration error")
    for each in found.played:
        artists = interval(each.clips_by_artist) if each.clips_by_artist else ""
        table.add_row(
            each.name, _percent(each.windows), interval(each.windows), _percent(each.clips), interval(each.clips),
            artists, f"{each.refused:.1%}", f"{each.calibration_error:.3f}",
        )  # fmt: skip
    if found.leaky:
        table.caption = "The model learned from some of these files: every figure is too good."
    return table


def _genres(clean: Played) -> Table:
    table = _table("files of each genre, clean", "", "right", "95 %", "of")
    for label, share in clean.genres.items():
        table.add_row(label, _percent(share), interval(share), str(share.count))
    return table


def _not_music(kinds: tuple[Refused, ...]) -> Table:
    table = _table("sounds that are no music, each alone in a quiet room", "", "windows with a genre", "files")
    for kind in kinds:
        table.add_row(
            kind.kind,
            f"{kind.windows_named} of {kind.windows} ({kind.windows_named / max(kind.windows, 1):.1%})",
            f"{kind.files_named} of {kind.files} ({kind.files_named / kind.files:.1%})",
        )
    return table


def _songs(songs: SongNaming) -> Table:
    title = f"{songs.songs} files of {songs.data} through the listener ({songs.minutes:g} min)"
    table = _table(title, "", "")
    table.add_row("changes between genres within a file, per 10 min", f"{songs.genre_changes_per_10_min:.1f}")
    table.add_row("all changes of what is shown, per 10 min", f"{songs.changes_per_10_min:.1f}")
    table.add_row("files after one of another genre", str(songs.new_genres))
    table.add_row("seconds until its genre is shown, median", _seconds(songs.median_seconds))
    table.add_row("seconds until nine of ten are shown", _seconds(songs.ninth_decile_seconds))
    return table


def _seconds(found: float | None) -> str:
    return "never" if found is None else f"{found:.1f}"


def _against(model: str, other: PairedClips) -> Table:
    title = f"beside {other.model}, clean"
    table = _table(title, "", f"{other.model} right", f"only {model}", f"only {other.model}", "p (McNemar)")
    table.add_row("files", _percent(other.clips), str(other.this_only), str(other.other_only), f"{other.p:g}")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column else "left")
    return table


def _percent(share: Share) -> str:
    return f"{share.accuracy:.1%}"
