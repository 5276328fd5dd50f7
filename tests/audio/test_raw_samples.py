"""Raw samples from a pipe, however they arrive."""

import io
import os
import threading

import numpy as np
import pytest
import soundfile

from headnod.audio.audio_process import raw_blocks
from support.signals import RATE, music, sine, wav

SONG = (music(2.0) * 32767).astype("<i2")


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


def write(writing, pieces):
    with os.fdopen(writing, "wb", buffering=0) as file:
        for piece in pieces:
            file.write(piece)


def heard(pipe, pieces, **others):
    reading, writing = pipe
    writer = threading.Thread(target=write, args=(writing, pieces))
    writer.start()
    found = np.concatenate([np.zeros(0, np.float32), *raw_blocks(reading, wanted=RATE, **{"rate": RATE} | others)])
    writer.join()
    return found


@pytest.mark.parametrize("length", [1, 3, 1_001, 4_096, 1_000_000])
def test_samples_cut_anywhere_are_put_together(pipe, length):
    stream = SONG[:3_000].tobytes() if length < 10 else SONG.tobytes()
    found = heard(pipe, [stream[place : place + length] for place in range(0, len(stream), length)])
    assert np.array_equal(found, np.frombuffer(stream, "<i2") / np.float32(32768))


def test_channels_are_averaged(pipe):
    frames = np.stack([SONG, np.roll(SONG, 50)], axis=1)
    found = heard(pipe, [frames.tobytes()], channels=2)
    assert np.allclose(found, frames.mean(axis=1) / 32768, atol=1e-6)


def test_another_rate_is_resampled(pipe):
    tone = sine(1_000, 2.0, rate=48_000)
    found = heard(pipe, [(tone * 32767).astype("<i2").tobytes()], rate=48_000)
    assert abs(found.size - 2 * RATE) <= 1
    assert np.abs(found - sine(1_000, 3.0)[: found.size])[2_000:-2_000].max() < 1e-3


def test_half_a_sample_at_the_end_is_left(pipe):
    assert heard(pipe, [SONG.tobytes() + b"\x01"]).size == SONG.size


def test_an_empty_pipe_gives_nothing(pipe):
    assert heard(pipe, []).size == 0


def test_what_came_is_given_before_more_comes(pipe):
    reading, writing = pipe
    os.write(writing, SONG[:1_000].tobytes())
    blocks = raw_blocks(reading, rate=RATE, wanted=RATE)
    assert next(blocks).size == 1_000
    os.write(writing, SONG[:10].tobytes())
    assert next(blocks).size == 10
    os.close(writing)
    assert sum(block.size for block in blocks) == 0


def test_a_wav_says_its_own_rate_and_channels():
    tone = sine(1_000, 2.0, rate=48_000)
    frames = (np.stack([tone, tone], axis=1) * 32767).astype("<i2").tobytes()
    # What `arecord`, `ffmpeg -f wav -` and others write: the length is not known yet.
    for promised in (0xFFFFFFFF, 0x80000000, 0, len(frames)):
        content = bytearray(wav(frames, rate=48_000, channels=2))
        content[40:44] = promised.to_bytes(4, "little")
        reading, writing = os.pipe()
        found = heard((reading, writing), [bytes(content)])
        os.close(reading)
        assert abs(found.size - 2 * RATE) <= 1
        assert np.abs(found - sine(1_000, 3.0)[: found.size])[2_000:-2_000].max() < 1e-3


@pytest.mark.parametrize("form", ["FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "RF64", "W64", "VOC"])
def test_a_coded_stream_is_recognised_as_it_comes(pipe, form):
    coded = io.BytesIO()
    soundfile.write(coded, SONG, RATE, format=form)
    content = coded.getvalue()
    found = heard(pipe, [content[:5], content[5:3_000], content[3_000:]])
    assert found.size / RATE == pytest.approx(2.0, abs=0.1)


def test_a_stream_is_decoded_before_it_ends(pipe):
    reading, writing = pipe
    coded = io.BytesIO()
    soundfile.write(coded, music(20.0), RATE, format="MP3")
    os.write(writing, coded.getvalue()[:60_000])
    assert next(raw_blocks(reading, rate=RATE, wanted=RATE)).size
    os.close(writing)


@pytest.mark.parametrize("sample", [-1, -1025, -257, 0x4952])
def test_samples_that_look_like_a_header_are_samples(pipe, sample):
    stream = np.full(9_000, sample, "<i2")
    assert heard(pipe, [stream.tobytes()]).size == stream.size
