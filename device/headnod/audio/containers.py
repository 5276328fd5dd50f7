"""Recognition of audio formats by their first bytes, and reading of streams that cannot seek."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

SNIFFED = 12
"""Number of bytes that identify all formats but MPEG audio, which needs `MPEG_SNIFFED`."""

MPEG_SNIFFED = 8_192
"""Maximum size of three MP3 frames in bytes."""

_BEGINS = {
    b"fLaC": "FLAC",
    b"OggS": "Ogg",
    b".snd": "AU",
    # Little-endian, as pw-record of PipeWire 1.4 writes it.
    b"dns.": "AU",
    b"ID3": "MP3",
    b"\x1aE\xdf\xa3": "Matroska or WebM",
    b"0&\xb2u\x8ef\xcf\x11": "WMA",
}
_RIFF, _RIFF_KINDS = (b"RIFF", b"RIFX", b"RF64"), b"WAVE"
_AIFF_KINDS = (b"AIFF", b"AIFC")

FOREIGN = frozenset({"MP4 or M4A", "Matroska or WebM", "WMA", "AAC"})
"""Formats that only PyAV can decode."""

READABLE = "WAV, FLAC, Ogg and MP3 can; with PyAV also M4A, AAC, WMA, WebM and Matroska"
"""List of the supported formats, for messages."""

_MPEG_1, _LAYER_3 = 3, 1
_BITRATES = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def kind_of(begins: bytes) -> str | None:
    """The format of audio by its first bytes; None for raw samples, text and unknown formats.

    Args:
        begins: At least `SNIFFED` bytes, or `MPEG_SNIFFED` if `may_be_mpeg`, or all bytes of a shorter file.

    >>> kind_of(b"fLaC" + bytes(8)), kind_of(b"just some text")
    ('FLAC', None)
    """
    if begins[:4] in _RIFF and begins[8:12] == _RIFF_KINDS:
        return "WAV"
    if begins[:4] == b"FORM" and begins[8:12] in _AIFF_KINDS:
        return "AIFF"
    if begins[4:8] == b"ftyp":
        return "MP4 or M4A"
    for magic, kind in _BEGINS.items():
        if begins.startswith(magic):
            return kind
    if _frame_follows(begins, 0, adts_frame):
        return "AAC"
    return "MP3" if _frame_follows(begins, 0, mp3_frame) else None


def may_be_mpeg(begins: bytes) -> bool:
    """Whether more bytes are needed to distinguish MPEG audio from raw samples."""
    return len(begins) >= SNIFFED and bool(mp3_frame(begins, 0) or adts_frame(begins, 0))


def mp3_frame(data: bytes, place: int) -> int:
    """Length in bytes of the MPEG layer III frame at a position; 0 if there is none."""
    if len(data) < place + 4 or data[place] != 0xFF or data[place + 1] < 0xE0:  # noqa: PLR2004 - eleven bits of sync
        return 0
    version, layer = data[place + 1] >> 3 & 3, data[place + 1] >> 1 & 3
    bitrate, rate, padding = data[place + 2] >> 4, data[place + 2] >> 2 & 3, data[place + 2] >> 1 & 1
    if layer != _LAYER_3 or version not in _RATES or not 0 < bitrate < 15 or rate == 3:  # noqa: PLR2004 - reserved
        return 0
    first = version == _MPEG_1
    return (144_000 if first else 72_000) * _BITRATES[first][bitrate] // _RATES[version][rate] + padding


def adts_frame(data: bytes, place: int) -> int:
    """Length in bytes of the AAC frame with an ADTS header at a position; 0 if there is none."""
    if len(data) < place + 7 or data[place] != 0xFF or data[place + 1] & 0xF6 != 0xF0:  # noqa: PLR2004 - sync, layer 0
        return 0
    return (data[place + 3] & 3) << 11 | data[place + 4] << 3 | data[place + 5] >> 5


def first_mp3_frame(data: bytes) -> int | None:
    """Position of the first of three successive MP3 frames, for streams that start within a frame; None if absent."""
    place = data.find(b"\xff")
    while place >= 0:
        if _frame_follows(data, place, mp3_frame):
            return place
        place = data.find(b"\xff", place + 1)
    return None


def _frame_follows(data: bytes, place: int, frame: Callable[[bytes, int], int]) -> bool:
    """Whether three frames follow each other; a single one may be a coincidence."""
    for _ in range(3):
        length = frame(data, place)
        if not length:
            return False
        place += length
    return True


_KEPT = 1 << 18
"""Bytes at the start of a stream that can be read again."""
_ENDLESS = 1 << 40
_TAG = 128
"""Size of an ID3v1 tag at the end of an MP3 in bytes."""


_WAV_HEAD = 4_096
"""Bytes in which the chunk `data` of a WAV begins."""


def with_length(head: bytes) -> bytes:
    r"""The start of a WAV whose length is 0, as an interrupted recorder leaves it, with the largest length instead.

    >>> head = b"RIFF\0\0\0\0WAVEdata\0\0\0\0\x12\xff"
    >>> with_length(head), with_length(head[:-2] + b"LIST")[16:20]
    (b'RIFF\x00\x00\x00\x00WAVEdata\xff\xff\xff\xff\x12\xff', b'\x00\x00\x00\x00')
    """
    place = 12
    while head[:4] == b"RIFF" and head[8:12] == b"WAVE" and place + 8 < len(head):
        size, first = int.from_bytes(head[place + 4 : place + 8], "little"), head[place + 8 : place + 12]
        if head[place : place + 4] == b"data":
            # Letters and digits are the name of the next chunk: the recording is really empty.
            interrupted = size == 0 and not first.strip().isalnum()
            return head[: place + 4] + b"\xff" * 4 + head[place + 8 :] if interrupted else head
        place += 8 + size + size % 2
    return head


def wav_reader(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """A function that reads a WAV, with `with_length`."""
    return prepend(with_length(read_exactly(read, _WAV_HEAD)), read)


class WavFile:
    """File interface to a WAV file, with `with_length`, for libsndfile."""

    def __init__(self, raw: Any) -> None:  # noqa: ANN401 - IO[bytes] has no readinto
        """Read from an open file."""
        self._raw, self._head = raw, with_length(raw.read(_WAV_HEAD))
        self.seek, self.tell = raw.seek, raw.tell
        raw.seek(0)

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer with the next bytes; returns their number."""
        start = self._raw.tell()
        count = self._raw.readinto(buffer)
        known = self._head[start : start + count]
        memoryview(buffer)[: len(known)] = known
        return count


class ForwardReader:
    """File interface to a stream for libsndfile: its start can be read again, and its size is unknown."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        """Read by a function that returns up to the given number of bytes, none at the end."""
        self._read = read
        self._head = b""
        self._place, self._reached, self._tag = 0, 0, 0
        self.ended = False
        """The end was reached."""

    def read(self, size: int = -1) -> bytes:
        """The next bytes; none at positions that were skipped."""
        if self._place >= _ENDLESS - _TAG:
            # The position of an ID3v1 tag: answered with zeros once, that is, without a tag.
            zeros, self._tag = min(size, self._tag), 0
            self._place += zeros
            return bytes(zeros)
        while self._reached < self._place + max(size, 1) and self._reached < _KEPT:
            piece = self._read(min(_KEPT, 4_096))
            if not piece:
                self.ended = True
                break
            self._head += piece
            self._reached += len(piece)
        if self._place < len(self._head):
            given = self._head[self._place : self._place + size]
            self._place += len(given)
            return given
        while self._reached < self._place:
            piece = self._read(min(65_536, self._place - self._reached))
            if not piece:
                return b""
            self._reached += len(piece)
        if self._reached > self._place:
            return b""
        given = self._read(size)
        self.ended = not given
        self._reached += len(given)
        self._place += len(given)
        return given

    def rest(self) -> Callable[[int], bytes]:
        """A function that reads the rest of the stream; afterwards this object must not be used."""
        return prepend(self._head[self._place :], self._read)

    def tell(self) -> int:
        """Position of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position; bytes between the start and the current position cannot be read again."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: _ENDLESS}[whence]
        self._place, self._tag = max(base + offset, 0), _TAG
        return self._place


def pipe_reader(pipe: int, begins: bytes) -> Callable[[int], bytes]:
    """A function that reads bytes that were already read, then a pipe."""
    return prepend(begins, lambda size: os.read(pipe, size))


def head_of(read: Callable[[int], bytes]) -> bytes:
    """The first bytes of a stream, enough to recognise its format."""
    begins = b""
    while len(begins) < SNIFFED or (may_be_mpeg(begins) and len(begins) < MPEG_SNIFFED):
        piece = read(MPEG_SNIFFED)
        if not piece:
            break
        begins += piece
    return begins


def read_exactly(read: Callable[[int], bytes], size: int) -> bytes:
    """Read `size` bytes, fewer only at the end."""
    data = b""
    while len(data) < size and (piece := read(size - len(data))):
        data += piece
    return data


def prepend(head: bytes, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """A function that reads `head` first, then by `read`."""

    def joined(size: int) -> bytes:
        nonlocal head
        if not head:
            return read(size)
        given, head = head[:size], head[size:]
        return given

    return joined
