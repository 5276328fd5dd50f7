"""The history as a table, JSON lines or CSV, for `headnod history`."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Literal, TextIO

import msgspec

from headnod.errors import ConfigError
from headnod.escaping import padded, printable
from headnod.outputs.history.database import read_only
from headnod.outputs.history.records import PastEstimate, PastSong, read_estimates, read_labels, read_songs

Form = Literal["table", "json", "csv"]
Of = Literal["songs", "estimates"]

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SONG = ("start", "end", "genre", "stability", "estimates")
_ESTIMATE = ("time", "genre", "confidence", "level", "model")
_SYNCHRONISED = "clock_synchronised"


def print_history(
    path: Path,
    *,
    since: str | None,
    form: Form,
    out: TextIO,
    now: datetime,
    of: Of = "songs",
    zone: tzinfo | None = None,
) -> None:
    """Write the history to a stream, one line per row, the oldest first.

    Args:
        path: The history file.
        since: A duration or a date, see `parse_since`; None for all.
        form: A table with local times, or JSON lines or CSV with times in UTC.
        out: The stream.
        now: The present, UTC.
        of: Rows to write.
        zone: Local time zone; the system's if None.

    Raises:
        ConfigError: `since` is neither a duration nor a date.
        DatabaseError: There is no history, or it cannot be read.
    """
    begin = None if since is None else parse_since(since, now=now, zone=zone)
    with read_only(path):
        # An error comes before the first line.
        pass
    rows: Iterator[PastSong] | Iterator[PastEstimate]
    rows = read_songs(path, since=begin) if of == "songs" else read_estimates(path, since=begin)
    if form == "json":
        out.writelines(msgspec.json.encode(row).decode() + "\n" for row in rows)
    elif form == "csv":
        fixed = _SONG if of == "songs" else (*_ESTIMATE, *map(_column, read_labels(path)))
        _write_csv(rows, out, (*fixed, _SYNCHRONISED))
    else:
        out.writelines(line + "\n" for line in _table(rows, of, zone))


def parse_since(text: str, *, now: datetime, zone: tzinfo | None = None) -> datetime:
    """The time that `--since` means: a duration before `now`, or a local date.

    >>> parse_since("90m", now=datetime(2026, 11, 20, 12, tzinfo=UTC)).isoformat()
    '2026-11-20T10:30:00+00:00'

    Raises:
        ConfigError: It is neither a duration nor a date.
    """
    try:
        if duration := re.fullmatch(r"(\d+)([smhdw])", text.strip(), re.ASCII):
            return now - timedelta(**{_UNITS[duration[2]]: int(duration[1])})
        date = datetime.fromisoformat(text.strip())
        return (date if date.tzinfo else date.replace(tzinfo=zone) if zone else date.astimezone()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        message = f"--since: '{text}' is neither a duration (90m, 2h, 3d) nor a date (2026-11-20, 2026-11-20T18:30)"
        raise ConfigError(message) from error


def _write_csv(rows: Iterable[PastSong | PastEstimate], out: TextIO, columns: Iterable[str]) -> None:
    writer = csv.DictWriter(out, tuple(columns), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = msgspec.to_builtins(row)
        scores, cells[_SYNCHRONISED] = cells.pop("scores", {}), str(row.clock_synchronised).lower()
        writer.writerow(cells | {_column(label): score for label, score in scores.items()})


def _column(label: str) -> str:
    return f"scores_{label}"


def _table(rows: Iterable[PastSong | PastEstimate], of: Of, zone: tzinfo | None) -> Iterator[str]:
    if of == "songs":
        yield f"{'start':19}  {'end':8}  {'genre':16}  stability  duration"
    else:
        yield f"{'time':19}  {'genre':16}  confidence   level  model"
    for row in rows:
        genre = padded(printable(row.genre), 16)
        note = "" if row.clock_synchronised else "  (clock was not synchronised)"
        if isinstance(row, PastSong):
            start, end = row.start.astimezone(zone), row.end.astimezone(zone)
            yield (
                f"{start:%Y-%m-%d %H:%M:%S}  {end:%H:%M:%S}  {genre}  {row.stability:9.2f}"
                f"  {_duration(row.end - row.start):>8}{note}"
            )
        else:
            time = row.time.astimezone(zone)
            yield f"{time:%Y-%m-%d %H:%M:%S}  {genre}  {row.confidence:10.2f}  {row.level:6.1f}  {row.model}{note}"


def _duration(length: timedelta) -> str:
    minutes, seconds = divmod(round(length.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
