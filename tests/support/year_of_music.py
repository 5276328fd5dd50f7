"""A history of a year: songs of every day, and estimates of the last day."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import structs

from headnod.escaping import UNKNOWN
from headnod.outputs.history import HistoryFile
from headnod.outputs.history.records import write
from headnod.pipeline.estimate import Song
from support.estimates import GTZAN, estimate

LIKED = dict(zip(GTZAN, (6, 5, 1, 2, 3, 9, 1, 4, 5, 4), strict=True))
"""How often each genre is played."""

MOODS = {"jazz": ("mellow", "instrumental", "piano"), "metal": ("heavy", "guitar"), "classical": ("quiet", "strings")}


def write_year(path: Path, now: datetime, *, days: int = 330, seed: int = 5, until: timedelta = timedelta(0)):
    """Write songs and estimates that end some time before now; the same ones for the same seed."""
    rng = random.Random(seed)
    songs, estimates = [], []
    midnight = now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    for day in range(days, -1, -1):
        begin = midnight - timedelta(days=day)
        liked = rng.choices(GTZAN, list(LIKED.values()), k=3 if day else 6)
        hours = rng.uniform(0.1, 1.2) + (begin.weekday() > 4)
        for start in (7.2, 12.1, 15.4, 18.5):
            if day and rng.random() > 0.3 + hours / 2:
                continue
            at = begin + timedelta(hours=start + rng.random())
            end = min(at + timedelta(hours=(1.1 + hours) if not day else hours), now - until)
            while at < end:
                seconds = min(rng.randint(120, 380), (end - at).total_seconds())
                genre = rng.choice(liked) if rng.random() < 0.8 else rng.choice(GTZAN)
                if seconds >= 15:
                    songs.append(_song(at.astimezone(UTC), seconds, genre, rng))
                if day < 2:
                    estimates += _estimates(at.astimezone(UTC), seconds, genre, rng, len(estimates))
                at += timedelta(seconds=seconds + rng.choice((3, 6, 9, 30, 120)))
    file = HistoryFile(path)
    with file.transaction() as db:
        write(db, estimates, songs)
    file.close()


def _song(start: datetime, seconds: float, genre: str, rng: random.Random) -> Song:
    tags = MOODS.get(genre, ("guitar", "rock"))
    stability = round(rng.uniform(0.62, 1.0), 3)
    end = start + timedelta(seconds=seconds)
    return Song(start=start, end=end, genre=genre, stability=stability, estimates=int(seconds / 3), tags=tags)


def _estimates(start: datetime, seconds: float, genre: str, rng: random.Random, sequence: int):
    for place in range(int(seconds / 3)):
        named = UNKNOWN if place * 3 > seconds - 6 else genre
        each = estimate(named, **{genre: rng.uniform(0.55, 0.9)})
        yield structs.replace(each, sequence=sequence + place, time=start + timedelta(seconds=3 * place))
