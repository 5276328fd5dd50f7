"""Decoding of streams: lengths that are placeholders, tags, and frames that are searched for."""

import contextlib
import io
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headnod.audio.containers import Sound, kind_of, pipe_reader
from headnod.audio.decoder import open_stream, write_all
from headnod.audio.microphone import CAPTURE
from headnod.errors import AudioError
from support.command_line import PATIENCE
from support.listener_process import waits_until
from support.signals import RATE, tone, wav

MP3 = tone(440.0, 2.0)


def opened(content, skipped=None):
    return open_stream(io.BytesIO(content).read, kind_of(content), "stream", skipped)


def seconds(sound):
    return sum(map(len, sound.blocks)) / sound.rate


@pytest.mark.parametrize(("channels", "samples"), [(1, 1 << 28), (2, 1 << 27), (4, 1 << 26)])
def test_a_length_of_2_to_28_samples_is_a_placeholder(channels, samples):
    width = 2 * channels
    for promised, frames in ((samples, None), (samples - 1, samples - 1)):
        sound = opened(wav(bytes(1_000 * width), channels=channels, promised=promised * width))
        assert sound.frames == frames
        if frames is None:
            assert sum(map(len, sound.blocks)) == 1_000
        else:
            with pytest.raises(AudioError, match="it was cut off"):
                list(sound.blocks)


@pytest.mark.parametrize(("size", "found"), [(64_000, True), (65_536, False)])
def test_the_first_frame_of_an_mp3_is_searched_for_in_64_kibibytes(size, found):
    content = bytes(size) + MP3
    if found:
        assert seconds(opened(content)) == pytest.approx(2.0, abs=0.1)
    else:
        with pytest.raises(AudioError, match="is not audio that can be read"):
            opened(content)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 65_536, 65_537, 1 << 21])
def test_a_tag_before_an_mp3_is_skipped_whatever_its_size(size):
    tag = b"ID3\x03\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + b"\xff\xfb" * (size // 2 + 1)
    content = tag[: 10 + size] + MP3
    assert np.concatenate(list(opened(content).blocks)).tobytes() == np.concatenate(list(opened(MP3).blocks)).tobytes()


def test_bytes_that_were_read_already_come_before_those_of_the_pipe(tmp_path):
    (tmp_path / "rest").write_bytes(b"defgh")
    with (tmp_path / "rest").open("rb") as file:
        read = pipe_reader(file.fileno(), b"abc")
        assert [read(2), read(2), read(4), read(4), read(4)] == [b"ab", b"c", b"defg", b"h", b""]


def test_samples_are_rounded_and_clipped_to_16_bits(capfdbinary):
    values = [0.0, 0.4 / 32_768, 0.6 / 32_768, 1.0, 1.5, 32_766.6 / 32_768, -1.0, -1.5, -0.6 / 32_768]
    write_all(Sound(RATE, 1, None, iter([np.array(values, np.float32)[:, None]])))
    header, _, samples = capfdbinary.readouterr().out.partition(b"\n")
    assert header == b'{"rate": 22050, "channels": 1}'
    assert np.frombuffer(samples, "<i2").tolist() == [0, 0, 1, 32_767, 32_767, 32_767, -32_768, -32_768, -1]


PARENT = """
import signal, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdin=0, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
signal.pause()
"""
LONG = wav(bytes(20_000), promised=1 << 20)
"""The start of a WAV, whose rest does not come."""
HANGING = {"name": "mic", "rate": RATE, "channels": 1, "takes": [RATE], "hangs": True}


def runs(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    "command",
    [[str(CAPTURE), "read", "mic", "0.1"], ["-m", "headnod.audio.decoder", "a pipe", LONG[:44].hex()]],
    ids=["microphone", "decoder"],
)
def test_a_process_that_hangs_ends_with_the_one_that_started_it(command):
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).with_name("stand_in")),
        "STAND_IN": json.dumps([HANGING]),
    }
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, sys.executable, "-P", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as parent:
        try:
            parent.stdin.write(LONG[44:])
            parent.stdin.flush()
            assert select.select([parent.stdout], [], [], PATIENCE)[0]
            process = int(parent.stdout.readline())
            assert runs(process)
        finally:
            parent.kill()
        try:
            assert waits_until(lambda: not runs(process))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
