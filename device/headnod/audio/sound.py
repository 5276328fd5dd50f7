"""Decoded sound of a file or stream, and of files of several parts.

Chained Ogg files, joined FLAC and MP3 files, and MP3 files with damage have several parts. libsndfile stops at the
end of the first part; here the next part is searched for and decoded at the sample rate of the first.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from headnod.audio.containers import first_mp3_frame
from headnod.audio.processing import ChannelMixer, Resampler
from headnod.errors import AudioError


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


_log = logging.getLogger(__name__)

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

    Args:
        first: The first part.
        raw: The open file, which `first` reads.
        kind: A key of `BEGINNINGS`.
        open_at: Opens the part at a position of the file.
    """
    yield from first.blocks
    start = 0
    for _ in range(_MOST_PARTS):
        place = _find(raw, max(start + _LEAST_PART, raw.tell() - _READ_AHEAD), BEGINNINGS[kind])
        if place is None:
            return
        start = place
        yield from converted(open_at(start), first.rate, first.channels)


def mp3_parts(
    first: Sound, raw: IO[bytes], name: str, open_at: Callable[[int], Sound]
) -> Iterator[NDArray[np.float32]]:
    """The blocks of an MP3 file: all joined files, and the audio after damage, which is logged.

    Args:
        first: The first part.
        raw: The open file, which `first` reads.
        name: Name for messages.
        open_at: Opens the part at a position of the file.

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
        following = _find_mp3(raw, max(start + 1, ended - _HEADER))
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


def _find(raw: IO[bytes], place: int, pattern: re.Pattern[bytes]) -> int | None:
    raw.seek(place)
    rest = b""
    while chunk := raw.read(_CHUNK):
        data = rest + chunk
        if match := pattern.search(data):
            return place - len(rest) + match.start()
        rest = data[-_LONGEST_BEGINNING:]
        place += len(chunk)
    return None


def _find_mp3(raw: IO[bytes], place: int) -> int | None:
    """Position of the next MP3 frame or of the ID3 tag before it."""
    raw.seek(place)
    rest = b""
    while chunk := raw.read(_CHUNK):
        data = rest + chunk
        tag, frame = _ID3.search(data), first_mp3_frame(data)
        found = [each for each in (tag and tag.start(), frame) if each is not None]
        if found:
            return place - len(rest) + min(found)
        rest = data[-_OVERLAP:]
        place += len(chunk)
    return None


class Slice:
    """File interface to the part of a file from a position on, for libsndfile."""

    def __init__(self, raw: IO[bytes], start: int) -> None:
        self._raw, self._start = raw, start
        raw.seek(start)

    def read(self, size: int = -1) -> bytes:
        """Read the next bytes."""
        return self._raw.read(size)

    def tell(self) -> int:
        """Position of the next byte."""
        return self._raw.tell() - self._start

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position, at least the start of the part."""
        base = {os.SEEK_SET: self._start, os.SEEK_CUR: self._raw.tell(), os.SEEK_END: self._end()}[whence]
        self._raw.seek(max(base + offset, self._start))
        return self.tell()

    def _end(self) -> int:
        return os.fstat(self._raw.fileno()).st_size


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
