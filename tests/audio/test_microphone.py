"""The microphone is read, judged and replaced, whatever its process does."""

import array
import fcntl
import os
import select
import shlex
import termios
import time

import numpy as np
import pytest
import soundfile

from headnod.audio.audio_process import AudioProcess, open_command
from headnod.audio.blocks import Gap
from headnod.audio.microphone import block_seconds, microphone_blocks
from headnod.errors import AudioError
from headnod.pipeline.estimate import State
from headnod.testing import ManualClock
from support.command_line import PATIENCE, PROMPT
from support.signals import RATE, sine

SONG = (sine(440.0, 2.0) * 32767).astype("<i2").tobytes()
HEADER = '{"device": "mic", "rate": 48000, "channels": 2}'


def waiting(pipe):
    """Bytes that nobody has read yet."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def shell(script, **others):
    return AudioProcess(["sh", "-c", script], **others)


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.raw"
    path.write_bytes(SONG)
    return shlex.quote(str(path))


def all_of(capture):
    with capture:
        return b"".join(iter(lambda: capture.read(PATIENCE), b""))


def test_any_program_that_writes_samples_is_a_microphone(song):
    assert all_of(shell(f"cat {song}", rate=RATE)) == SONG


def test_a_first_line_says_what_was_opened(song):
    with shell(f"echo '{HEADER}'; cat {song}") as capture:
        assert (capture.rate, capture.channels) == (48_000, 2)
        assert b"".join(iter(lambda: capture.read(PATIENCE), b"")) == SONG


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_only_whole_frames_are_given(channels):
    script = "printf abc; sleep 0.05; printf defgh; sleep 0.05; printf ijklmno"
    with shell(script, rate=RATE, channels=channels) as capture:
        pieces = list(iter(lambda: capture.read(PATIENCE), b""))
    assert all(len(piece) % (2 * channels) == 0 for piece in pieces)
    assert b"".join(pieces) == b"abcdefghijklmno"[: 15 // (2 * channels) * 2 * channels]


def test_a_program_that_hangs_gives_none_after_so_many_seconds(song):
    with shell(f"cat {song}; exec sleep 60", rate=RATE) as capture:
        heard = b""
        while len(heard) < len(SONG):
            heard += capture.read(PATIENCE)
        began = time.monotonic()
        assert capture.read(0.3) is None
        assert 0.25 < time.monotonic() - began < PROMPT


def test_a_second_of_stereo_comes_at_once_so_that_nobody_wakes_twice_for_it():
    second = 2 * 2 * 48_000
    with shell(f"head -c {second} /dev/zero; sleep 9", rate=48_000, channels=2, pipe=second) as capture:
        # What filled the pipe before anybody looked is there in one piece.
        assert select.select([capture.fileno()], [], [], PATIENCE)[0]
        deadline = time.monotonic() + PATIENCE
        while waiting(capture.fileno()) < second:
            assert time.monotonic() < deadline, "the pipe is shorter than a second of sound"
        assert len(capture.read(PATIENCE)) == second


@pytest.mark.parametrize(("every", "seconds"), [(0.1, 0.1), (0.9, 0.3), (3.0, 1.0), (10.0, 1.0)])
def test_sound_comes_the_more_seldom_the_more_seldom_an_estimate_is_wanted(every, seconds):
    assert block_seconds(every) == pytest.approx(seconds)


def test_closing_ends_the_program_also_when_it_will_not_end(tmp_path):
    told = tmp_path / "pid"
    capture = shell(
        f"trap '' TERM INT HUP; echo $$ > {shlex.quote(str(told))}; echo '{HEADER}'; while :; do sleep 1; done"
    )
    capture.close()
    capture.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


def test_a_program_that_is_not_there_is_named():
    with pytest.raises(AudioError, match="cannot start 'no-such-recorder': no such file or directory"):
        AudioProcess(["no-such-recorder", "-t", "raw"], rate=RATE)


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("exit 3", r"the microphone ended without output \(is the sound system running\?\)"),
        (
            'echo \'{"error": "Device busy"}\'',
            r"cannot open the microphone: device busy \(is it held by another program",
        ),
        ("echo ALSA lib pcm.c:2664", "microphone"),
        ("echo '{\"rate\": 48000}'", "microphone"),
        ("echo '[]'", "microphone"),
        ("exec cat /dev/zero", "the microphone ended without output"),
    ],
)
def test_a_program_that_does_not_say_what_it_opened_is_refused(script, complaint):
    with pytest.raises(AudioError, match=complaint):
        shell(script)


class FakeCapture:
    """A microphone in virtual time: each reading takes a while, and brings samples, None or the end."""

    end_reason = "the microphone went away"

    def __init__(self, clock, readings, *, rate=RATE, channels=1):
        self.rate, self.channels, self.closed = rate, channels, False
        self._clock, self._readings = clock, iter(readings)

    def read(self, patience):
        after, frames = next(self._readings, (0.0, b""))
        self._clock.seconds += patience if frames is None else after
        return frames

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True


def frames(seconds, *, rate=RATE, channels=1, value=1_000):
    return np.full(round(seconds * rate) * channels, value, "<i2").tobytes()


def steady(seconds, **others):
    return [(0.25, frames(0.25, **others))] * round(seconds * 4)


def heard(clock, starts, count, **others):
    """So many things that came of a microphone which starts like each of `starts` in turn."""
    starts = iter(starts)

    def start():
        opened = next(starts)
        if isinstance(opened, Exception):
            raise opened
        return opened

    blocks = microphone_blocks(start, RATE, monotonic=clock.monotonic, sleep=clock.sleep, **others)
    found = [next(blocks) for _ in range(count)]
    blocks.close()
    return found


def seconds_of(blocks):
    return sum(block.size for block in blocks if not isinstance(block, Gap)) / RATE


def test_steady_sound_comes_through_without_a_hole():
    clock = ManualClock()
    found = heard(clock, [FakeCapture(clock, steady(60.0))], 240)
    assert not any(isinstance(block, Gap) for block in found)
    assert seconds_of(found) == pytest.approx(60.0, abs=0.01)
    assert found[7] == pytest.approx(1_000 / 32_768)


def test_another_rate_and_two_channels_become_what_the_model_hears():
    clock = ManualClock()
    capture = FakeCapture(clock, steady(10.0, rate=48_000, channels=2), rate=48_000, channels=2)
    found = heard(clock, [capture], 40)
    assert seconds_of(found) == pytest.approx(10.0, abs=0.1)
    assert found[20] == pytest.approx(1_000 / 32_768, abs=1e-5)


def test_an_absent_microphone_is_looked_for_ever_more_rarely_and_told_every_second():
    clock = ManualClock()
    absent = [AudioError(f"not there, attempt {number}") for number in range(9)]
    found = heard(clock, absent, 12)
    assert [block.message[-1] for block in found] == list("011222333444")
    assert {block.state for block in found} == {State.WAITING}
    assert max(clock.slept) <= 1.0
    assert clock.seconds == pytest.approx(11.0)


def test_the_delays_start_anew_once_sound_came():
    clock = ManualClock()
    absent = [AudioError(f"not there, attempt {number}") for number in range(5)]
    starts = [*absent[:3], FakeCapture(clock, steady(1.0)), *absent[3:]]
    found = heard(clock, starts, 6 + 4 + 1 + 2)
    messages = [block.message[-1] for block in found if isinstance(block, Gap)]
    assert messages == [*"011222", "y", *"33"]
    assert seconds_of(found) == pytest.approx(1.0, abs=0.01)


def test_a_microphone_that_went_away_is_reported_closed_and_opened_again():
    clock = ManualClock()
    first, second = FakeCapture(clock, steady(1.0)), FakeCapture(clock, steady(1.0))
    found = heard(clock, [first, second], 6)
    assert first.closed
    assert found[4] == Gap(State.WAITING, "the microphone went away")
    assert not isinstance(found[5], Gap)


def test_a_microphone_that_hangs_for_two_seconds_is_replaced():
    clock = ManualClock()
    first = FakeCapture(clock, [*steady(1.0), (0.0, None)])
    found = heard(clock, [first, FakeCapture(clock, steady(1.0))], 6)
    assert first.closed
    assert found[4].state is State.WAITING
    assert found[4].message.startswith("no sound came from the microphone for 2 s")
    assert not isinstance(found[5], Gap)


def test_lost_sound_is_a_hole_as_long_as_what_was_lost_and_left_while_it_settled():
    clock = ManualClock()
    readings = [*steady(5.0), (1.25, frames(0.25)), *steady(5.0)]
    found = heard(clock, [FakeCapture(clock, readings)], 36)
    holes = [block for block in found if isinstance(block, Gap)]
    assert [hole.state for hole in holes] == [State.BEHIND]
    assert holes[0].lost == pytest.approx(2.0, abs=0.3)
    assert holes[0].lost + seconds_of(found) == pytest.approx(clock.seconds, abs=0.3)


def test_of_a_stale_backlog_the_newest_sound_wins():
    clock = ManualClock()
    backlog = [(4.0, frames(0.25, value=1)), *[(0.001, frames(0.25, value=1))] * 11]
    readings = [*steady(5.0), *backlog, *[(0.001, frames(0.25))] * 4, *steady(5.0)]
    found = heard(clock, [FakeCapture(clock, readings)], 30)
    (hole,) = (block for block in found if isinstance(block, Gap))
    assert hole.state is State.BEHIND
    assert hole.lost == pytest.approx(3.0, abs=0.3)
    assert not any((block == 1 / 32_768).any() for block in found if not isinstance(block, Gap))


def test_a_real_program_that_stops_sending_is_replaced_before_it_ends(song):
    blocks = microphone_blocks(lambda: shell(f"cat {song}; exec sleep 60", rate=RATE), RATE)
    heard = 0
    while heard < len(SONG) // 2:
        heard += next(blocks).size
    began = time.monotonic()
    hole = next(blocks)
    assert isinstance(hole, Gap)
    assert time.monotonic() - began < PROMPT
    blocks.close()


def test_a_program_that_writes_a_file_with_a_header_is_decoded(tmp_path):
    tone = sine(440.0, 2.0, rate=48_000)
    soundfile.write(tmp_path / "song.flac", np.stack([tone, tone], axis=1), 48_000)
    with open_command(["cat", str(tmp_path / "song.flac")], RATE, 1) as capture:
        assert (capture.rate, capture.channels) == (48_000, 2)
        samples = b"".join(iter(lambda: capture.read(PATIENCE), b""))
    assert len(samples) == 2 * 2 * tone.size


def test_a_program_that_writes_samples_loses_none_to_the_look_at_them(song):
    with open_command(["sh", "-c", f"cat {song}"], RATE, 1) as capture:
        assert b"".join(iter(lambda: capture.read(PATIENCE), b"")) == SONG


def test_a_microphone_has_five_seconds_for_its_first_sound():
    clock = ManualClock()
    (gap,) = heard(clock, [FakeCapture(clock, [(0.0, None)])], 1)
    assert gap.message.startswith("no sound came from the microphone for 5 s")
    assert clock.seconds == 5.0


def test_the_pipe_of_a_program_holds_64_kibibytes_where_nothing_else_is_asked_for():
    with shell("exec cat", rate=RATE) as capture:
        assert fcntl.fcntl(capture.fileno(), fcntl.F_GETPIPE_SZ) == 65_536


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["false"], "the command 'false' ended with status 1"),
        (["true"], "the command 'true' ended with status 0"),
        (["sh", "-c", "kill -KILL $$"], "the command 'sh' ended by signal 9"),
        (["sh", "-c", "exec >&-; sleep 60"], "the command 'sh' closed its output"),
    ],
)
def test_the_end_of_a_command_is_reported_with_its_status(command, reason):
    with open_command(command, RATE, 1) as capture:
        assert capture.read(PATIENCE) == b""
        assert capture.end_reason == reason


def test_the_end_of_a_microphone_is_no_command(tmp_path):
    (tmp_path / "header").write_text('{"rate": 48000, "channels": 1}\n')
    with AudioProcess(["cat", str(tmp_path / "header")]) as capture:
        assert capture.read(PATIENCE) == b""
        assert capture.end_reason == "the microphone went away (unplugged, or the sound server ended)"


@pytest.mark.parametrize(
    ("status", "reason"), [(0, "the command 'sh' ended with status 0"), (3, "the command 'sh' ended with status 3")]
)
def test_the_end_of_a_command_that_writes_a_file_is_reported_with_its_status(tmp_path, status, reason):
    soundfile.write(tmp_path / "song.flac", sine(440.0, 2.0, rate=RATE), RATE)
    with open_command(["sh", "-c", f"cat {tmp_path / 'song.flac'}; exit {status}"], RATE, 1) as capture:
        while capture.read(PATIENCE):
            pass
        assert capture.end_reason == reason


def test_a_command_that_writes_a_damaged_file_is_reported_by_the_decoder(tmp_path):
    soundfile.write(tmp_path / "song.flac", sine(440.0, 9.0, rate=RATE), RATE)
    content = (tmp_path / "song.flac").read_bytes()
    (tmp_path / "song.flac").write_bytes(content[: len(content) // 2] + bytes(4_000))
    with open_command(["cat", str(tmp_path / "song.flac")], RATE, 1) as capture:
        while capture.read(PATIENCE):
            pass
        assert capture.end_reason.startswith("the output of 'cat'")


def test_a_command_without_output_is_named():
    with pytest.raises(AudioError, match=r"^the command 'sleep' wrote nothing for 5 s$"):
        open_command(["sleep", "60"], RATE, 1)
