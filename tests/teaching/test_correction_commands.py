"""Corrections while the listener runs: what a media player plays, context, and requests to teach."""

import logging
import sqlite3
import unicodedata
from contextlib import closing
from datetime import UTC, datetime

import numpy as np
import pytest
from msgspec.structs import replace

from headnod.clock import Clock
from headnod.inference.manifest import Prediction
from headnod.log import RecentLog
from headnod.pipeline.estimate import State
from headnod.pipeline.level_meter import PlacementMeter
from headnod.teaching.correction_commands import CorrectionCommands, TeachRequest
from headnod.teaching.corrections import CorrectionError, RecentWindows
from headnod.testing import ManualClock, fixed_manifest
from support.estimates import estimate

ANSWERS = ("jazz", "metal")


class Room:
    """A listener's memory with a clock that the test moves."""

    def __init__(self, folder):
        self.manual = ManualClock()
        self.clock = Clock(now=self.manual.now, monotonic=self.manual.monotonic)
        self.windows = RecentWindows(self.clock)
        self.commands = CorrectionCommands(self.windows, folder, self.clock, teaching=self.request)

    def request(self, folder):
        return TeachRequest(state=str(folder), configured="none", budget=1.0, windows=10)

    def play(self, seconds):
        """Music for some time, a window every three seconds."""
        for _ in range(round(seconds / 3)):
            self.manual.sleep(3.0)
            scores = np.array([0.75, 0.25], np.float32)
            prediction = Prediction(scores, embedding=np.full(4, self.manual.seconds / 1000, np.float32))
            made = replace(estimate("jazz"), monotonic=self.manual.seconds)
            self.windows.add(made, prediction, fixed_manifest(), ANSWERS)

    @property
    def stored(self):
        return [(each.label, each.source, each.windows) for each in self.commands.store.all()]

    def now(self):
        return self.manual.now().timestamp()


@pytest.fixture
def room(tmp_path):
    return Room(tmp_path)


def test_what_a_player_played_is_stored_when_the_next_piece_begins(room):
    room.commands.label("Reggae")
    room.play(180)
    assert room.stored == []
    room.commands.label("Jazz")
    room.play(60)
    room.commands.label("")
    room.play(60)
    room.commands.label("Rock")
    # Five seconds at both ends are left out.
    assert room.stored == [("Reggae", "player", 57), ("Jazz", "player", 17)]


def test_a_short_piece_is_not_kept_and_a_long_one_ends_after_half_an_hour(room):
    room.commands.label("Reggae")
    room.play(24)
    room.commands.label("Rock")
    room.play(7200)
    room.commands.label("")
    assert room.stored == [("Rock", "player", 597)]


def test_silence_of_the_room_is_no_label(room, caplog):
    caplog.set_level("INFO")
    room.play(3)
    room.commands.label("Reggae")
    room.manual.sleep(200.0)
    room.commands.label("")
    assert room.stored == []
    assert "is not kept" in caplog.text


@pytest.mark.parametrize("label", ["Caf\N{LATIN SMALL LETTER E}\N{COMBINING ACUTE ACCENT}", "e\u0301" * 64])
def test_a_label_is_kept_in_the_composed_form(room, label):
    room.play(30)
    found = room.commands.correct(0.0, 4e9, label)
    assert found.label == unicodedata.normalize("NFC", label)


@pytest.mark.parametrize("label", ["unknown", "x" * 65, "a\nb"])
def test_a_label_of_a_player_that_cannot_be_one_is_refused(room, label):
    with pytest.raises(CorrectionError, match="label"):
        room.commands.label(label)


def test_context_is_music_that_nobody_corrected(room):
    room.play(300)
    start = room.now()
    room.play(60)
    room.commands.correct(start + 1, room.now(), "reggae")
    room.play(60)
    again = room.now()
    room.play(30)
    room.commands.correct(again + 1, room.now(), "ska")
    labelled = room.commands.store.labelled(fixed_manifest().body)
    reggae = labelled.times[[label == "reggae" for label in labelled.labels]]
    assert len(reggae) == 20
    with closing(sqlite3.connect(room.commands.store.path)) as db, db:
        (blob,) = db.execute("SELECT context_times FROM corrections ORDER BY id DESC").fetchone()
    around = np.frombuffer(blob, "<i8") / 1e3
    assert len(around) == 40
    assert not ((around >= reggae.min()) & (around <= reggae.max())).any()
    assert 40 <= len(labelled.context_times) <= 80
    assert not set(labelled.context_times.tolist()) & set(labelled.times.tolist())


def test_a_time_before_the_kept_hours_is_named(room):
    with pytest.raises(CorrectionError, match="no window has an embedding"):
        room.commands.correct(0.0, room.now(), "ska")
    room.play(30)
    oldest = f"{datetime.fromtimestamp(room.now() - 27, UTC):%Y-%m-%d %H:%M:%S}"
    with pytest.raises(CorrectionError, match=f"the oldest is of {oldest}"):
        room.commands.correct(0.0, 10.0, "ska")


def test_a_time_that_ends_before_it_starts_is_named(room):
    with pytest.raises(CorrectionError, match="the time range ends 10 s before it starts"):
        room.commands.correct(room.now(), room.now() - 10.0, "ska")


@pytest.mark.parametrize(("act", "arguments"), [("correct", (0.0, 1.0, "ska")), ("label", ("ska",)), ("teach", ())])
def test_without_a_state_folder_the_setting_is_named(act, arguments):
    with pytest.raises(CorrectionError, match=r"set history\.path"):
        getattr(Room(None).commands, act)(*arguments)


def test_the_result_of_teaching_says_why_nothing_was_installed(room):
    assert room.commands.teaching() == {"running": False, "result": None}
    room.commands.teach()
    with pytest.raises(CorrectionError, match="already"):
        room.commands.teach()
    room.commands._thread.join(60.0)  # noqa: SLF001 - the thread of the process
    done = room.commands.teaching()
    assert not done["running"]
    assert done["result"].model == ""
    assert "none" in done["result"].error


def levels(*pairs, state=State.LISTENING):
    meter = PlacementMeter()
    for genre, level in pairs:
        meter.update(replace(estimate(genre), level=level, peak=level + 12.0, state=state))
    return meter.report()


@pytest.mark.parametrize(
    ("pairs", "advice"),
    [
        ([("jazz", -25.0)] * 20 + [("silence", -60.0)] * 20, "placed well"),
        ([("jazz", -55.0)] * 20 + [("silence", -75.0)] * 20, "raise the gain by about 30 dB"),
        ([("jazz", -6.0)] * 20 + [("silence", -60.0)] * 20, "lower the gain"),
        ([("jazz", -30.0)] * 20 + [("silence", -40.0)] * 20, "move it closer"),
        ([("jazz", -25.0)] * 20, "pause the music for a moment"),
        ([("silence", -60.0)] * 20, "play music"),
    ],
)
def test_the_place_of_the_microphone_is_judged_by_music_and_the_room(pairs, advice):
    assert advice in levels(*pairs)["advice"]


@pytest.mark.parametrize(("pauses", "floor"), [(2, None), (3, -60.0)])
def test_the_noise_of_the_room_is_known_after_three_pauses(pauses, floor):
    found = levels(*[("jazz", -25.0)] * 20 + [("silence", -60.0)] * pauses)
    assert (found["noise_floor"], found["loud"], found["gain"]) == (floor, -19.5, 0.0)


def test_a_muted_microphone_is_named_and_nothing_is_known_before_the_first_estimate():
    assert "muted" in levels(*[("silence", -120.0)] * 5, state=State.DEAF)["advice"]
    assert levels() == {}


def test_the_recent_log_is_bounded_in_lines_length_and_time():
    now = [0.0]
    log = RecentLog(now=lambda: now[0])
    logger = logging.getLogger("test of the recent log")
    logger.propagate = False
    logger.addHandler(log)
    for number in range(1_200):
        logger.warning("line %d\x1b[2J %s", number, "x" * 1_000)
    first = log.since(1e12)
    assert len(first) < 1_000
    assert sum(len(line["message"]) for line in first) <= 100_000
    assert first[-1]["message"].startswith("line 1199")
    assert "\x1b" not in first[-1]["message"]
    assert all(len(line["message"]) <= 500 for line in first)
    now[0] = first[-1]["time"] + 10.0
    assert log.since(5.0) == []
    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("it failed")
    assert log.since(1e12)[-1]["message"] == "it failed: ValueError: why"
