"""Decoded sound of a file or stream, and of files of several parts."""

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
    """What an open file holds."""

    rate: int
    """Frames per second."""

    channels: int
    """Channels of each frame."""

    frames: int | None
    """Length that its header promises; None where there is no such promise."""

    blocks: Iterator[NDArray[np.float32]]
    """Samples in [-1, 1], each of shape (n, channels)."""


class CutOffError(AudioError):
    """A file ended before the length that its header promises."""


class DamagedError(AudioError):
    """The decoder met bytes that it cannot read."""


def converted(sound: Sound, rate: int, channels: int) -> Iterator[NDArray[np.float32]]:
    """The blocks of a sound at another rate and channel count.

    Where either differs the channels are mixed, and each channel that comes out is that mix.
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
    # A page that begins a logical bitstream.
    "Ogg": re.compile(rb"OggS\0[\x02\x06]", re.DOTALL),
    # STREAMINFO, which is always first and has 34 bytes.
    "FLAC": re.compile(rb"fLaC[\0\x80]\0\0\x22", re.DOTALL),
}
"""How each part of a joined file begins."""

_LONGEST_BEGINNING = 8
_LEAST_PART = 1_024
"""Bytes: Ogg streams that begin within so many are of one part."""
_READ_AHEAD = 1 << 17
"""Bytes that a decoder may have read beyond the end of a part: an Ogg page and a buffer."""
_CHUNK, _OVERLAP = 1 << 16, 8_192
"""Three MP3 frames fit into the second."""
_ID3 = re.compile(rb"ID3[\x02-\x04]\0")
_HEADER = 4
"""Bytes of an MP3 frame's header, which the decoder reads to learn that the frame is of another kind."""
_MOST_PARTS = 10_000


def file_parts(
    first: Sound, raw: IO[bytes], kind: str, open_at: Callable[[int], Sound]
) -> Iterator[NDArray[np.float32]]:
    """The blocks of all parts of an Ogg or FLAC file.

    Args:
        first: Its first part.
        raw: The open file, which `first` reads.
        kind: A key of `BEGINNINGS`.
        open_at: Begins to decode at a byte of the file.
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
    """The blocks of an MP3 file: of all joined files, and of what follows damage, which is logged.

    Args:
        first: Its first part.
        raw: The open file, which `first` reads.
        name: What to call it in the log.
        open_at: Begins to decode at a byte of the file.

    Raises:
        AudioError: It is damaged and nothing follows the damage.
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
            # A tag at the end begins as one before a song does.
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
    """Where the next MP3 begins or goes on, with the tag before it."""
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
    """A file from one of its bytes on, as libsndfile reads it."""

    def __init__(self, raw: IO[bytes], start: int) -> None:
        self._raw, self._start = raw, start
        raw.seek(start)

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        return self._raw.read(size)

    def tell(self) -> int:
        """Place of the next byte."""
        return self._raw.tell() - self._start

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; none before the start."""
        base = {os.SEEK_SET: self._start, os.SEEK_CUR: self._raw.tell(), os.SEEK_END: self._end()}[whence]
        self._raw.seek(max(base + offset, self._start))
        return self.tell()

    def _end(self) -> int:
        return os.fstat(self._raw.fileno()).st_size


class StreamParts:
    r"""A stream that seems to end where its next part begins.

    >>> pieces = iter([b"OggS\0\x02one" + bytes(2_000), b"OggS\0", b"\x02two", b""])
    >>> parts = StreamParts(lambda size: next(pieces), BEGINNINGS["Ogg"])
    >>> def rest():
    ...     return b"".join(iter(lambda: parts.read(4_096), b""))
    >>> len(rest()), parts.advance(), rest(), parts.advance()
    (2009, True, b'OggS\x00\x02two', False)
    """

    def __init__(self, read: Callable[[int], bytes], beginning: re.Pattern[bytes]) -> None:
        """Read it by a function that gives up to so many bytes, none at the end."""
        self._read, self._beginning = read, beginning
        self._waiting = b""
        self._given, self._ended = 0, False

    def read(self, size: int) -> bytes:
        """The next bytes of the present part; none at its end."""
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
        """Begin the next part; false where there is none."""
        self._given = 0
        return bool(self._waiting)
