"""Dates of messages made before the clock was synchronised, and sent before or after."""

from datetime import datetime, timedelta

import msgspec
import pytest

from headnod.clock import Clock
from headnod.mqtt.payloads import encode, estimate_payload, redated, song_payload
from headnod.pipeline.estimate import SongSegmenter, SongSettings
from support.mqtt_publisher import BEGAN, numbered_estimate

BOOT = "737fc121"
WRONG = timedelta(days=-68)


class Machine:
    """Its clock may be set."""

    def __init__(self, *, kept=False, boot=BOOT):
        self.seconds, self.wrong, self.kept = 0.0, WRONG, kept
        self.clock = Clock(now=self.now, monotonic=lambda: self.seconds, kept=lambda: self.kept, boot=boot)

    def now(self):
        return BEGAN + timedelta(seconds=self.seconds) + self.wrong


def estimate(number, **changes):
    """By a clock that is 68 days behind."""
    right = numbered_estimate(number)
    return msgspec.structs.replace(right, time=right.time + WRONG, clock_synchronised=False, **changes)


def published(payload):
    """As it waits in the queue."""
    return msgspec.json.decode(payload if isinstance(payload, bytes) else encode(payload))


def queued(number, **changes):
    return published(encode(estimate_payload(estimate(number, **changes), node="kitchen", boot="b007", boot_id=BOOT)))


def moment(told, key="ts"):
    date = told[key]
    return datetime.fromisoformat(date) if isinstance(date, str) else date


def test_an_estimate_before_the_clock_is_set_says_so():
    told = queued(3)
    assert (told["clock_synchronised"], told["boot_id"]) == (False, BOOT)
    assert moment(told) == BEGAN + WRONG + timedelta(seconds=9)


@pytest.mark.parametrize("kept", [False, True])
def test_what_is_queued_gets_its_right_date_when_the_clock_is_set(kept):
    machine = Machine(kept=kept)
    machine.seconds, machine.wrong = 600.0, timedelta(0)
    told = published(encode(redated(queued(3), machine.clock)))
    right = BEGAN + timedelta(seconds=9)
    assert moment(told) == right
    assert told["time_unix"] == right.timestamp()
    assert told["clock_synchronised"] is kept
    assert told["seq"] == 3


def test_a_song_gets_both_of_its_dates():
    machine, songs = Machine(kept=True), SongSegmenter(SongSettings())
    for number in range(10):
        songs.update(estimate(number))
    song = published(song_payload(songs.finish(), node="kitchen", boot="b007", boot_id=BOOT))
    assert song["clock_synchronised"] is False
    machine.seconds, machine.wrong = 600.0, timedelta(0)
    told = redated(song, machine.clock)
    assert [moment(told, key) for key in ("start", "end")] == [BEGAN, BEGAN + timedelta(seconds=27)]
    assert (told["duration_s"], told["clock_synchronised"]) == (27.0, True)


def test_another_boot_says_nothing_of_the_date_so_it_stays_marked():
    machine = Machine(kept=True, boot="another")
    machine.wrong = timedelta(0)
    assert redated(queued(3), machine.clock) == queued(3)


def test_a_machine_without_a_boot_id_dates_nothing_anew():
    told = {**queued(3), "boot_id": ""}
    assert redated(told, Machine(kept=True, boot="").clock) == told


def test_the_date_of_a_synchronised_clock_is_left_alone():
    machine = Machine(kept=True)
    told = published(encode(estimate_payload(numbered_estimate(3), node="kitchen", boot="b007", boot_id=BOOT)))
    assert redated(told, machine.clock) == told


def test_what_an_older_headnod_queued_is_left_alone():
    told = {"id": "kitchen-b007-1", "ts": "2026-11-22T12:00:00Z"}
    assert redated(told, Machine(kept=True).clock) == told
