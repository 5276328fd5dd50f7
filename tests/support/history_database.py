"""A history sink that hears estimates in virtual time, and what its file remembers of them."""

from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

from msgspec import structs

from headnod.clock import Clock
from headnod.config import HistorySection
from headnod.escaping import SILENCE
from headnod.outputs.history.recorder import HistoryRecorder
from headnod.outputs.history.records import read_estimates
from headnod.pipeline.estimate import SongSegmenter, SongSettings
from support import estimates
from support.estimates import GTZAN

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
UP = 5000.0
"""Seconds since boot at START."""


def estimate(index, *, genre=None, model="genre-0.1.0", labels=GTZAN):
    """One of a music that changes its genre every three minutes."""
    genre = labels[index // 60 % len(labels)] if genre is None else genre
    rest = 0.0 if genre == SILENCE else 0.18 / (len(labels) - 1)
    return structs.replace(
        estimates.estimate(genre),
        sequence=index,
        time=START + timedelta(seconds=3 * index, milliseconds=index % 7),
        seconds=3.0 * index,
        monotonic=UP + 3 * index + index % 7 / 1000,
        confidence=0.0 if genre == SILENCE else 0.8213,
        scores={label: 0.82 if label == genre else rest for label in labels},
        level=-20.5,
        model=model,
    )


class Remembering(HistoryRecorder):
    """A history whose clocks show when what it is shown was made, and whose wall clock may be set."""

    def __init__(self, path, *, kept=True, boot="b1", **settings):
        self.up, self.set_by, self.kept = UP, timedelta(0), kept
        clock = Clock(now=self.now, monotonic=lambda: self.up, kept=lambda: self.kept, boot=boot)
        super().__init__(
            path,
            SongSegmenter(SongSettings()),
            HistorySection(**{"days": 30, "megabytes": 100, **settings}),
            clock,
        )

    def now(self):
        return START + timedelta(seconds=self.up - UP) + self.set_by

    def show(self, estimate):
        self.up = estimate.monotonic
        super().show(estimate)

    def show_status(self, condition):
        self.up = UP + (condition.time - START).total_seconds()
        super().show_status(condition)

    def record(self, number, **changes):
        """Show an estimate as the listener would make it by this clock."""
        self.up = estimate(number).monotonic
        synchronised = self._clock.synchronised()
        self.show(structs.replace(estimate(number), time=self.now(), clock_synchronised=synchronised, **changes))


@contextmanager
def listening(path, **settings):
    with closing(Remembering(path, **settings)) as history:
        yield history


def remember(path, numbers, **settings):
    with listening(path, **settings) as history:
        for number in numbers:
            history.show(estimate(number))


def times(path):
    return [past.time for past in read_estimates(path)]


def expected(numbers):
    return [estimate(number).time for number in numbers]
