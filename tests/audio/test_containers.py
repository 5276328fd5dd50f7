"""Formats by their first bytes, frames of MPEG audio, and files that are read forwards only."""

import io
import os

import numpy as np
import pytest

from headnod.audio.containers import (
    BEGINNINGS,
    ENDLESS,
    FilePart,
    ForwardReader,
    Sound,
    StreamParts,
    adts_frame,
    converted,
    first_mp3_frame,
    head_of,
    kind_of,
    may_be_mpeg,
    mp3_frame,
    prepend,
    read_exactly,
    with_length,
)

MPEG_1 = b"\xff\xfb"
"""Sync, version and layer III, without a checksum."""
MPEG_2, MPEG_25 = b"\xff\xf3", b"\xff\xe3"


def mp3(version=MPEG_1, bitrate=9, rate=0, padding=0):
    return version + bytes([bitrate << 4 | rate << 2 | padding << 1, 0])


def adts(length):
    return bytes([0xFF, 0xF1, 0x50, 0x80 | length >> 11, length >> 3 & 0xFF, (length & 7) << 5 | 0x1F, 0xFC])


@pytest.mark.parametrize(
    ("begins", "kind"),
    [
        (b"RIFF\0\0\0\0WAVE", "WAV"),
        (b"RIFX\0\0\0\0WAVE", "WAV"),
        (b"RF64\0\0\0\0WAVE", "WAV"),
        (b"RIFF\0\0\0\0AVI ", None),
        (b"RIFG\0\0\0\0WAVE", None),
        (b"FORM\0\0\0\0AIFF", "AIFF"),
        (b"FORM\0\0\0\0AIFC", "AIFF"),
        (b"FORM\0\0\0\0ILBM", None),
        (b"\0\0\0\x20ftypM4A ", "MP4 or M4A"),
        (b"fLaC\0\0\0\x22\0\0\0\0", "FLAC"),
        (b"OggS\0\x02\0\0\0\0\0\0", "Ogg"),
        (b".snd\0\0\0\x18\0\0\0\0", "AU"),
        (b"ID3\x04\0\0\0\0\0\0\0\0", "MP3"),
        (b"caff\0\x01\0\0desc", "CAF"),
        (b"\x1aE\xdf\xa3\0\0\0\0\0\0\0\0", "Matroska or WebM"),
        (adts(100) + bytes(93) + adts(20) + bytes(13) + adts(50), "AAC"),
        (adts(100) + bytes(93) + adts(20) + bytes(13), None),
        (mp3() + bytes(413) + mp3() + bytes(413) + mp3(), "MP3"),
        (mp3() + bytes(413) + mp3() + bytes(413), None),
        (mp3() + bytes(414) + mp3() + bytes(413) + mp3(), None),
    ],
)
def test_a_format_is_recognised_by_its_first_bytes(begins, kind):
    assert kind_of(begins) == kind


@pytest.mark.parametrize(
    ("header", "length"),
    [
        # 144 bytes a kilobit and kilohertz in MPEG 1, and half of it in MPEG 2 and 2.5.
        (mp3(bitrate=9, rate=0), 417),
        (mp3(bitrate=9, rate=0, padding=1), 418),
        (mp3(bitrate=9, rate=1), 384),
        (mp3(bitrate=9, rate=2), 576),
        (mp3(bitrate=1, rate=0), 104),
        (mp3(bitrate=14, rate=2), 1440),
        (mp3(MPEG_2, bitrate=8, rate=0), 208),
        (mp3(MPEG_2, bitrate=14, rate=2), 720),
        (mp3(MPEG_25, bitrate=1, rate=2), 72),
        (mp3(bitrate=0), 0),
        (mp3(bitrate=15), 0),
        (mp3(rate=3), 0),
        (b"\xff\xdb" + mp3()[2:], 0),
        (b"\xfe" + mp3()[1:], 0),
        # A reserved version, and layer II.
        (b"\xff\xeb" + mp3()[2:], 0),
        (b"\xff\xfd" + mp3()[2:], 0),
        (mp3()[:3], 0),
    ],
)
def test_the_length_of_an_mp3_frame_follows_from_its_header(header, length):
    assert mp3_frame(header, 0) == length
    assert mp3_frame(b"\xff" + header, 1) == length


@pytest.mark.parametrize("length", [7, 100, 2_047, 2_048, 8_191])
def test_the_length_of_an_aac_frame_is_in_its_header(length):
    assert adts_frame(adts(length), 0) == length
    assert adts_frame(b"\0" + adts(length), 1) == length
    assert adts_frame(adts(length)[:-1], 0) == 0
    assert adts_frame(b"\xfe" + adts(length)[1:], 0) == 0
    assert adts_frame(b"\xff\xf3" + adts(length)[2:], 0) == 0, "a layer"


@pytest.mark.parametrize("begins", [mp3(), adts(100) + bytes(5)])
def test_what_may_be_mpeg_needs_more_bytes(begins):
    assert not may_be_mpeg(begins.ljust(11, b"\0")[:11])
    assert may_be_mpeg(begins.ljust(12, b"\0"))
    assert not may_be_mpeg(bytes(12))


def test_the_first_of_three_frames_is_found_after_a_coincidence():
    frames = (mp3() + bytes(413)) * 2 + mp3()
    assert first_mp3_frame(frames) == 0
    assert first_mp3_frame(mp3()[:2] + b"\0\xff" + frames) == 4
    assert first_mp3_frame(mp3() + bytes(417) + mp3()) is None


@pytest.mark.parametrize(
    ("before", "first", "endless"),
    [
        (b"", b"\x12\xff\0\0", True),
        (b"LIST\x05\0\0\0abcde\0", b"\x12\xff\0\0", True),
        (b"LIST\x04\0\0\0abcd", b"\x12\xff\0\0", True),
        (b"", b"LIST", False),
        (b"", b"id3 ", False),
    ],
)
def test_a_wav_without_a_length_gets_the_largest_one(before, first, endless):
    head = b"RIFF\0\0\0\0WAVE" + before + b"data\0\0\0\0" + first
    size = head.index(b"data") + 4
    assert with_length(head) == head[:size] + (b"\xff" * 4 if endless else bytes(4)) + first
    assert with_length(b"RIFX" + head[4:]) == b"RIFX" + head[4:]
    assert with_length(head[:8] + b"AVI " + head[12:]) == head[:8] + b"AVI " + head[12:]
    # Without a sample after the header there is nothing to read.
    assert with_length(head[: size + 4]) == head[: size + 4]


def test_a_wav_with_a_length_keeps_it():
    head = b"RIFF\0\0\0\0WAVEdata\x02\0\0\0\x12\xff"
    assert with_length(head) == head


@pytest.mark.parametrize("start", [0, 3, 15, 4_000, 5_000])
def test_a_wav_file_without_a_length_is_read_with_the_largest_one(tmp_path, start):
    content = b"RIFF\0\0\0\0WAVEdata\0\0\0\0" + bytes(range(1, 251)) * 24
    (tmp_path / "song.wav").write_bytes(content)
    with (tmp_path / "song.wav").open("rb") as raw:
        file = FilePart(raw)
        file.seek(start)
        assert file.read(200) == with_length(content)[start : start + 200]
        assert file.tell() == start + 200


def reader(content, piece=1 << 20):
    """A function that returns at most `piece` bytes at once."""
    stream = io.BytesIO(content)
    return lambda size: stream.read(min(size, piece))


CONTENT = bytes(range(251)) * 1_400
"""351,400 bytes: more than can be read again."""
KEPT = 1 << 18


def test_the_start_of_a_stream_is_read_again_and_later_bytes_are_not():
    stream = ForwardReader(reader(CONTENT))
    assert stream.read(100) == CONTENT[:100]
    assert stream.tell() == 100
    assert stream.seek(20) == 20
    assert stream.read(100) == CONTENT[20:120]
    assert stream.seek(-10, os.SEEK_CUR) == 110
    assert stream.read(5) == CONTENT[110:115]
    assert stream.seek(-5) == 0
    stream.seek(KEPT - 10)
    assert stream.read(1_000) == CONTENT[KEPT - 10 : KEPT]
    assert stream.read(50) == CONTENT[KEPT : KEPT + 50]
    assert stream.tell() == KEPT + 50
    stream.seek(KEPT)
    assert stream.read(10) == b"", "passed"
    stream.seek(KEPT + 100)
    assert stream.read(10) == CONTENT[KEPT + 100 : KEPT + 110], "skipped"
    assert not stream.ended
    stream.seek(0)
    assert stream.read(10) == CONTENT[:10]


def test_a_stream_ends_where_its_bytes_do():
    stream = ForwardReader(reader(CONTENT[:100], piece=30))
    assert stream.read(60) == CONTENT[:60]
    assert not stream.ended
    assert stream.read(60) == CONTENT[60:100]
    assert stream.ended
    assert stream.read(60) == b""
    stream.seek(200)
    assert stream.read(1) == b""
    assert b"".join(iter(lambda: stream.rest()(10), b"")) == b""


def test_the_rest_of_a_stream_begins_at_the_position():
    stream = ForwardReader(reader(CONTENT))
    stream.read(100)
    stream.seek(40)
    rest = stream.rest()
    assert b"".join(iter(lambda: rest(100_000), b"")) == CONTENT[40:]


def test_a_tag_at_the_end_of_a_stream_is_answered_with_zeros_once():
    stream = ForwardReader(reader(CONTENT))
    end = stream.seek(-128, os.SEEK_END)
    assert end > 1 << 39
    assert stream.read(200) == bytes(128)
    assert stream.tell() == end + 128
    assert stream.read(200) == b""
    stream.seek(-128, os.SEEK_END)
    assert stream.read(3) == bytes(3)
    stream.seek(-129, os.SEEK_END)
    assert stream.read(3) == b"", "before the tag"


@pytest.mark.parametrize(("content", "size"), [(bytes(20_000), 12), (mp3() + bytes(20_000), 8_192), (mp3(), 4)])
def test_as_many_bytes_are_read_as_a_format_is_recognised_by(content, size):
    assert size <= len(head_of(reader(content, piece=12))) < size + 12


def test_bytes_that_were_read_come_before_the_others():
    read = prepend(b"abcde", reader(b"fgh"))
    assert [read(2), read(2), read(2), read(2), read(2), read(2)] == [b"ab", b"cd", b"e", b"fg", b"h", b""]
    assert read_exactly(reader(b"abcdefgh", piece=3), 7) == b"abcdefg"
    assert read_exactly(reader(b"abc", piece=2), 7) == b"abc"


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 2), (16_000, 1), (16_000, 2), (8_000, 1)])
def test_a_later_part_gets_the_rate_and_channels_of_the_first(rate, channels):
    frames = np.stack([np.linspace(-0.5, 0.5, 8_000, dtype=np.float32)] * 2, axis=1)
    blocks = list(converted(Sound(8_000, 2, None, iter([frames[:3_000], frames[3_000:]])), rate, channels))
    joined = np.concatenate(blocks)
    assert joined.shape == (rate, channels)
    assert np.array_equal(joined[:, 0], joined[:, -1])
    if rate == 8_000:
        assert np.array_equal(joined[:, 0], frames[:, 0])


def test_a_part_of_a_file_begins_at_zero(tmp_path):
    (tmp_path / "whole").write_bytes(CONTENT[:1_000])
    with (tmp_path / "whole").open("rb") as raw:
        part = FilePart(raw, 300)
        assert (part.tell(), part.read(4)) == (0, CONTENT[300:304])
        assert part.seek(10) == 10
        assert part.seek(5, os.SEEK_CUR) == 15
        assert part.seek(-100, os.SEEK_CUR) == 0
        assert part.seek(-7, os.SEEK_END) == 693
        assert part.read() == CONTENT[993:1_000]
        assert part.seek(0, os.SEEK_END) == 700
        part.seek(10)
        assert part.seek((1 << 63) - 1) == 10, "further than a file can be"


def test_the_size_of_an_endless_part_is_not_known(tmp_path):
    (tmp_path / "whole").write_bytes(CONTENT[:1_000])
    with (tmp_path / "whole").open("rb") as raw:
        part = FilePart(raw, 300, endless=True)
        assert part.seek(0, os.SEEK_END) == ENDLESS
        assert (part.tell(), part.read(4)) == (ENDLESS, b"")
        assert part.seek(2) == 2
        assert part.read(4) == CONTENT[302:306]
        assert part.seek(-4, os.SEEK_END) == 696


@pytest.mark.parametrize(("before", "parts"), [(1_023, 1), (1_024, 2)])
@pytest.mark.parametrize("piece", [1, 7, 4_096])
def test_a_beginning_within_a_kilobyte_is_no_part(before, parts, piece):
    page = b"OggS\0\x02"
    content = page.ljust(before, b".") + page + b"end"
    stream, found = StreamParts(reader(content, piece), BEGINNINGS["Ogg"]), []
    while True:
        found.append(b"".join(iter(lambda: stream.read(4_096), b"")))
        if not stream.advance():
            break
    assert b"".join(found) == content
    assert len(found) == parts


@pytest.mark.parametrize(
    ("version", "factor", "kilobits"),
    [
        # By ISO 11172-3 and 13818-3. At 48, 24 and 12 kHz a frame has three bytes for each of these, or twice as many.
        (MPEG_1, 3, [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]),
        (MPEG_2, 3, [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160]),
        (MPEG_25, 6, [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160]),
    ],
)
def test_every_bitrate_of_mp3_is_known(version, factor, kilobits):
    lengths = [mp3_frame(mp3(version, bitrate=index, rate=1), 0) for index in range(1, 15)]
    assert lengths == [factor * each for each in kilobits]


def test_no_more_of_a_stream_is_read_than_is_needed():
    """A radio sends its bytes in real time."""
    pieces = iter([CONTENT[:4_096], CONTENT[4_096:8_192]])
    stream = ForwardReader(lambda _size: next(pieces))
    assert stream.read(4_096) == CONTENT[:4_096]
    assert next(pieces) == CONTENT[4_096:8_192]
