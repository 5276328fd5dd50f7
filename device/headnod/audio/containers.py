"""Audio formats: recognition by their first bytes, reading of streams that cannot seek, and files of several parts.

Chained Ogg files, joined FLAC and MP3 files, and MP3 files with damage have several parts. libsndfile stops at the
end of the first part; here the next part is searched for and decoded at the sample rate of the first.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from headnod.audio.processing import ChannelMixer, Resampler
from headnod.errors import AudioError

_log = logging.getLogger(__name__)

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
    b"caff": "CAF",
    b"riff\x2e\x91\xcf\x11": "Wave64",
    b"Creative Voi": "VOC",
    b"\x1aE\xdf\xa3": "Matroska or WebM",
    b"0&\xb2u\x8ef\xcf\x11": "WMA",
}
_RIFF, _RIFF_KINDS = (b"RIFF", b"RIFX", b"RF64"), b"WAVE"
_AIFF_KINDS = (b"AIFF", b"AIFC")

FOREIGN = frozenset({"MP4 or M4A", "Matroska or WebM", "WMA", "AAC"})
"""Formats that only PyAV can decode."""

NO_PIPE = frozenset({"CAF", "VOC"})
"""Formats that libsndfile cannot decode from a pipe."""

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
ENDLESS = 1 << 40
"""Size of a file that hides its size."""
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
        if self._place >= ENDLESS - _TAG:
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
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: ENDLESS}[whence]
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


@dataclass(frozen=True)
class Sound:
    """Content of an audio file."""

    rate: int
    """Frames per second."""

    channels: int
    """Number of channels."""

    frames: int | None
    """Length according to the header; None if the header has none."""

    blocks: Iterator[NDArray[np.float32]]
    """Samples in [-1, 1], each of shape (n, channels)."""


def check_finite(frames: NDArray[np.float32], name: str) -> None:
    """Raise an AudioError if a sample is infinite or not a number."""
    if not np.isfinite(frames).all():
        raise AudioError(f"{name}: holds samples that are no numbers (export it again)")


class CutOffError(AudioError):
    """A file is shorter than its header says."""


class DamagedError(AudioError):
    """A file contains bytes that cannot be decoded."""


def converted(sound: Sound, rate: int, channels: int) -> Iterator[NDArray[np.float32]]:
    """The blocks of a sound at another sample rate and number of channels.

    If either differs, the channels are mixed to mono, and each channel of the result is this mix.
    """
    if (sound.rate, sound.channels) == (rate, channels):
        yield from sound.blocks
        return
    resampler, mixer = Resampler(sound.rate, rate), ChannelMixer(sound.rate, sound.channels)
    for frames in sound.blocks:
        yield np.repeat(resampler.convert(mixer.mix(frames))[:, None], channels, axis=1)
    yield np.repeat(resampler.finish()[:, None], channels, axis=1)


BEGINNINGS = {
    # The first page of a logical bitstream.
    "Ogg": re.compile(rb"OggS\0[\x02\x06]", re.DOTALL),
    # STREAMINFO, which is always first and has 34 bytes.
    "FLAC": re.compile(rb"fLaC[\0\x80]\0\0\x22", re.DOTALL),
}
"""Start of each part of a joined file."""

_LONGEST_BEGINNING = 8
_LEAST_PART = 1_024
"""Minimum size of a part in bytes: Ogg streams that start closer belong to one part."""
_READ_AHEAD = 1 << 17
"""Maximum number of bytes that a decoder reads beyond the end of a part: an Ogg page and a buffer."""
_CHUNK, _OVERLAP = 1 << 16, 8_192
"""Bytes per read, and overlap for three MP3 frames."""
_ID3 = re.compile(rb"ID3[\x02-\x04]\0")
_HEADER = 4
"""Size of an MP3 frame header in bytes, which the decoder reads before it stops at another format."""
_MOST_PARTS = 10_000


def file_parts(
    first: Sound, raw: IO[bytes], kind: str, open_at: Callable[[int], Sound]
) -> Iterator[NDArray[np.float32]]:
    """The blocks of all parts of an Ogg or FLAC file.

    `raw` is the open file, which `first` reads, `kind` a key of `BEGINNINGS`. `open_at` opens the part at a position of
    the file.
    """
    yield from first.blocks
    start = 0

    def beginning(data: bytes) -> int | None:
        match = BEGINNINGS[kind].search(data)
        return match.start() if match else None

    for _ in range(_MOST_PARTS):
        place = _find(raw, max(start + _LEAST_PART, raw.tell() - _READ_AHEAD), beginning, _LONGEST_BEGINNING)
        if place is None:
            return
        start = place
        yield from converted(open_at(start), first.rate, first.channels)


def mp3_parts(
    first: Sound, raw: IO[bytes], name: str, open_at: Callable[[int], Sound]
) -> Iterator[NDArray[np.float32]]:
    """The blocks of an MP3 file: all joined files, and the audio after damage, which is logged.

    `raw` is the open file, which `first` reads. `open_at` opens the part at a position of the file.

    Raises:
        AudioError: The file is damaged, and no audio follows the damage.
    """
    sound, start, decoded, began = first, 0, 0, raw.tell()
    sound_to = began
    for _ in range(_MOST_PARTS):
        damage: AudioError | None = None
        try:
            for block in converted(sound, first.rate, first.channels):
                decoded, sound_to = decoded + len(block), raw.tell()
                yield block
        except DamagedError as error:
            damage = error
        ended = raw.tell()
        following = _find(raw, max(start + 1, ended - _HEADER), _next_mp3, _OVERLAP)
        if following is None:
            if damage is not None:
                raise damage
            return
        if damage is not None:
            seconds, skipped = decoded / first.rate, following - sound_to
            _log.warning(
                "%s: is damaged after %.1f s: %d bytes, about %.1f s, were skipped (copy or record it again)",
                name,
                seconds,
                skipped,
                skipped * seconds / max(sound_to - began, 1),
            )
        try:
            start, sound = following, open_at(following)
        except AudioError:
            # A tag at the end looks like a tag before the next song.
            return


def _find(raw: IO[bytes], place: int, search: Callable[[bytes], int | None], overlap: int) -> int | None:
    """Position in a file, from `place` on, of what `search` finds in pieces that overlap by a number of bytes."""
    raw.seek(place)
    rest = b""
    while chunk := raw.read(_CHUNK):
        data = rest + chunk
        if (found := search(data)) is not None:
            return place - len(rest) + found
        rest = data[-overlap:]
        place += len(chunk)
    return None


def _next_mp3(data: bytes) -> int | None:
    """Position of the first MP3 frame or of the ID3 tag before it."""
    tag, frame = _ID3.search(data), first_mp3_frame(data)
    return min((each for each in (tag and tag.start(), frame) if each is not None), default=None)


class FilePart:
    """File interface to a file from a position on, for libsndfile."""

    def __init__(self, raw: IO[bytes], start: int = 0, *, endless: bool = False) -> None:
        """Begin at position `start` of an open file.

        With `endless` the size is hidden, so that libsndfile does not estimate the length and decodes to the end.
        """
        self._raw, self._start, self._endless, self._past_end = raw, start, endless, False
        raw.seek(start)
        self._head = b"" if start else with_length(raw.read(_WAV_HEAD))
        raw.seek(start)

    def read(self, size: int = -1) -> bytes:
        """Read the next bytes."""
        if self._past_end:
            return b""
        place, data = self._raw.tell(), self._raw.read(size)
        known = self._head[place : place + len(data)]
        return known + data[len(known) :]

    def tell(self) -> int:
        """Position of the next byte."""
        return ENDLESS if self._past_end else self._raw.tell() - self._start

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position, at least the start of the part."""
        self._past_end = self._endless and whence == os.SEEK_END and offset == 0
        if not self._past_end:
            size = os.fstat(self._raw.fileno()).st_size
            base = {os.SEEK_SET: self._start, os.SEEK_CUR: self._raw.tell(), os.SEEK_END: size}[whence]
            # Offsets of damaged files may exceed the largest position.
            with contextlib.suppress(OSError, ValueError, OverflowError):
                self._raw.seek(max(base + offset, self._start))
        return self.tell()


class StreamParts:
    r"""Splits a stream into its parts: reading ends at the start of the next part.

    >>> pieces = iter([b"OggS\0\x02one" + bytes(2_000), b"OggS\0", b"\x02two", b""])
    >>> parts = StreamParts(lambda size: next(pieces), BEGINNINGS["Ogg"])
    >>> def rest():
    ...     return b"".join(iter(lambda: parts.read(4_096), b""))
    >>> len(rest()), parts.advance(), rest(), parts.advance()
    (2009, True, b'OggS\x00\x02two', False)
    """

    def __init__(self, read: Callable[[int], bytes], beginning: re.Pattern[bytes]) -> None:
        """Read by a function that returns up to the given number of bytes, none at the end."""
        self._read, self._beginning = read, beginning
        self._waiting = b""
        self._given, self._ended = 0, False

    def read(self, size: int) -> bytes:
        """The next bytes of the current part; none at its end."""
        while True:
            match = self._beginning.search(self._waiting, max(_LEAST_PART - self._given, 0))
            known = len(self._waiting) if self._ended else max(len(self._waiting) - _LONGEST_BEGINNING, 0)
            if match is not None or known or self._ended:
                break
            piece = self._read(size)
            self._ended = not piece
            self._waiting += piece
        given = self._waiting[: min(size, known if match is None else match.start())]
        self._waiting = self._waiting[len(given) :]
        self._given += len(given)
        return given

    def advance(self) -> bool:
        """Start the next part; false if there is none."""
        self._given = 0
        return bool(self._waiting)
