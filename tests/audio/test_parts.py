"""Files and streams of several parts: chained Ogg, joined FLAC and MP3, MP3 with damage in the middle."""

import io
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest

from headnod.audio.audio_file import audio_file
from headnod.audio.containers import BEGINNINGS, READABLE, StreamParts
from headnod.errors import AudioError
from support.signals import RATE, pitch, tone, wav

LOW, HIGH = 440.0, 1_760.0
KINDS = [("OGG", "VORBIS"), ("OGG", "OPUS"), ("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III")]


def encoded(frequency, seconds, kind, rate=48_000, channels=1):
    return tone(frequency, seconds, *kind, rate=rate, channels=channels)


def decoded(path):
    with audio_file(path, RATE) as blocks:
        return np.concatenate([np.zeros(0, np.float32), *blocks])


def piped(tmp_path, content):
    """What a pipe with this content gives."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(content))
    writer.start()
    try:
        return decoded(pipe)
    finally:
        writer.join()


@pytest.mark.parametrize("through", ["file", "pipe"])
@pytest.mark.parametrize("other", [{}, {"rate": 16_000}, {"channels": 2}, {"rate": 24_000, "channels": 2}], ids=str)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_each_part_is_decoded_at_its_own_rate(tmp_path, kind, other, through):
    parts = [encoded(LOW, 3.0, kind), encoded(HIGH, 4.0, kind, **other), encoded(LOW, 2.0, kind)]
    if through == "file":
        (tmp_path / "joined").write_bytes(b"".join(parts))
        found = decoded(tmp_path / "joined")
    else:
        found = piped(tmp_path, b"".join(parts))
    assert found.size / RATE == pytest.approx(9.0, abs=0.3)
    at = [found[round(start * RATE) :][:RATE] for start in (1.0, 4.5, 7.8)]
    assert [round(pitch(audio)) for audio in at] == pytest.approx([LOW, HIGH, LOW], abs=2.0)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_file_of_one_part_is_decoded_once(tmp_path, kind):
    (tmp_path / "song").write_bytes(encoded(LOW, 3.0, kind) + b"a comment at the end" * 50)
    assert decoded(tmp_path / "song").size / RATE == pytest.approx(3.0, abs=0.1)


def test_a_tag_at_the_end_of_an_mp3_is_no_part(tmp_path):
    tag = b"ID3\x03\0\0\0\0\x01\0" + bytes(128)
    (tmp_path / "song.mp3").write_bytes(encoded(LOW, 3.0, KINDS[3]) + tag)
    assert decoded(tmp_path / "song.mp3").size / RATE == pytest.approx(3.0, abs=0.1)


def test_a_second_mp3_with_a_large_tag_is_decoded(tmp_path):
    picture = b"ID3\x03\0\0" + bytes([0, 6, 0, 0]) + bytes(6 << 14)
    content = encoded(LOW, 3.0, KINDS[3]) + picture + encoded(HIGH, 3.0, KINDS[3])
    (tmp_path / "song.mp3").write_bytes(content)
    assert decoded(tmp_path / "song.mp3").size / RATE == pytest.approx(6.0, abs=0.2)
    assert piped(tmp_path, content).size / RATE == pytest.approx(6.0, abs=0.2)


@pytest.mark.parametrize("damage", ["zeros", "noise"])
def test_sound_after_damage_is_decoded_and_the_gap_is_logged(tmp_path, caplog, damage):
    content = bytearray(encoded(LOW, 20.0, KINDS[3]))
    first, size = len(content) // 4, len(content) // 5
    noise = np.random.default_rng(0).bytes(size)
    content[first : first + size] = noise if damage == "noise" else bytes(size)
    (tmp_path / "song.mp3").write_bytes(content)
    assert 15.0 < decoded(tmp_path / "song.mp3").size / RATE < 16.5
    (line,) = caplog.messages
    told = re.fullmatch(r".*song\.mp3: is damaged after (.*) s: \d+ bytes, about (.*) s, were skipped .*", line)
    assert float(told[1]) == pytest.approx(5.0, abs=1.0)
    assert float(told[2]) == pytest.approx(4.0, abs=1.0)


def test_sound_after_damage_in_a_pipe_is_decoded_and_the_place_is_logged(tmp_path, caplog):
    content = bytearray(encoded(LOW, 20.0, KINDS[3]))
    for place in (4, 2):
        first, size = len(content) // place, len(content) // 10
        content[first : first + size] = np.random.default_rng(place).bytes(size)
    assert 15.0 < piped(tmp_path, bytes(content)).size / RATE < 16.5
    told = [
        float(re.fullmatch(r".*pipe: is damaged after (.*) s; decoding went on .*", line)[1])
        for line in caplog.messages
    ]
    assert told == pytest.approx([5.0, 8.0], abs=1.0)


@pytest.mark.parametrize("through", ["file", "pipe"])
def test_damage_to_the_end_is_an_error(tmp_path, through):
    content = encoded(LOW, 20.0, KINDS[3])
    damaged = content[: len(content) // 2] + bytes(len(content) // 2)
    (tmp_path / "song.mp3").write_bytes(damaged)
    with pytest.raises(AudioError, match=r": is damaged after \d+\.\d s"):
        piped(tmp_path, damaged) if through == "pipe" else decoded(tmp_path / "song.mp3")


def test_a_stream_is_parted_wherever_it_is_cut():
    # The second beginning is within the same part: Ogg streams that run side by side begin together.
    first = b"OggS\0\x02" + bytes(100) + b"OggS\0\x02" + bytes(3_000)
    second = b"OggS\0\x02" + bytes(2_000)
    for size in (1, 2, 7, 8, 9, 1_000, 10_000):
        content = io.BytesIO(first + second)
        parts = StreamParts(lambda _, content=content, size=size: content.read(size), BEGINNINGS["Ogg"])
        assert b"".join(iter(lambda parts=parts: parts.read(4_096), b"")) == first
        assert parts.advance()
        assert b"".join(iter(lambda parts=parts: parts.read(4_096), b"")) == second
        assert not parts.advance()


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/urandom"])
def test_an_endless_device_is_refused_with_the_formats(name):
    with pytest.raises(AudioError) as caught:
        decoded(Path(name))
    assert str(caught.value).startswith(f"{name}: is not audio that can be read ({READABLE}; ")


def test_every_refusal_names_the_same_formats(tmp_path):
    messages = []
    for name, content in (("text", b"no music\n" * 999), ("cut.flac", b"fLaC"), ("empty.m4a", b"\0\0\0\x20ftypM4A ")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AudioError) as caught:
            decoded(tmp_path / name)
        messages.append(str(caught.value))
    assert [READABLE in message or "needs PyAV" in message for message in messages] == [True] * 3


def test_a_wav_in_the_midst_of_an_ogg_file_is_no_part(tmp_path):
    (tmp_path / "song.ogg").write_bytes(encoded(LOW, 3.0, KINDS[0]) + wav(bytes(20_000)))
    assert decoded(tmp_path / "song.ogg").size / RATE == pytest.approx(3.0, abs=0.1)
