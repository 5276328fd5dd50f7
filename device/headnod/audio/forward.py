"""Streams that cannot be searched, as libsndfile reads them."""

from __future__ import annotations

import os
from collections.abc import Callable

from headnod.audio.containers import MPEG_SNIFFED, SNIFFED, may_be_mpeg

_KEPT = 1 << 18
"""Bytes at the head of a stream that can be read again."""
_ENDLESS = 1 << 40
_TAG = 128
"""Bytes of the tag at the end of an MP3."""


class Forward:
    """A stream as a file: its head can be read again, and its size is unknown."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        """Read it by a function that gives up to so many bytes, none at the end."""
        self._read = read
        self._head = b""
        self._place, self._reached, self._tag = 0, 0, 0
        self.ended = False
        """All was read."""

    def read(self, size: int = -1) -> bytes:
        """The next bytes; none where the stream has passed by."""
        if self._place >= _ENDLESS - _TAG:
            # Where an MP3's tag would be, once: there is none.
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
        """Gives what was not asked for yet, once nobody reads here any more."""
        return preceded(self._head[self._place :], self._read)

    def tell(self) -> int:
        """Place of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go somewhere; only the head and what is still to come can be read there."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: _ENDLESS}[whence]
        self._place, self._tag = max(base + offset, 0), _TAG
        return self._place


def pipe_reader(pipe: int, begins: bytes) -> Callable[[int], bytes]:
    """Gives first what was read already, then what the pipe gives."""
    return preceded(begins, lambda size: os.read(pipe, size))


def head_of(read: Callable[[int], bytes]) -> bytes:
    """What a stream begins with: enough to tell what it is, if it gives so much."""
    begins = b""
    while len(begins) < SNIFFED or (may_be_mpeg(begins) and len(begins) < MPEG_SNIFFED):
        piece = read(MPEG_SNIFFED)
        if not piece:
            break
        begins += piece
    return begins


def exactly(read: Callable[[int], bytes], size: int) -> bytes:
    """So many bytes, fewer only at the end."""
    data = b""
    while len(data) < size and (piece := read(size - len(data))):
        data += piece
    return data


def preceded(head: bytes, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Gives first these bytes, then what `read` gives."""

    def joined(size: int) -> bytes:
        nonlocal head
        if not head:
            return read(size)
        given, head = head[:size], head[size:]
        return given

    return joined
