"""The decoder's own process: an audio file on stdin, raw samples on stdout.

Its first line of output is JSON: the sample rate and the channels, or the error; samples follow, little-endian 16
bit. An error after that is one line on stderr and status 1.

    python -m headnod.audio.decoder NAME BEGINS

BEGINS is what was read of stdin already, in hexadecimal.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headnod.audio.containers import FOREIGN, first_mp3_frame, kind_of
from headnod.audio.decoding import CutOffError, Sound, forward_sound, open_sound, pipe_sound
from headnod.errors import AudioError

_PR_SET_PDEATHSIG = 1
_KEPT = 1 << 18
"""Bytes at the head of a stream that can be read again."""
_ENDLESS = 1 << 40
_TAG = 128
"""Bytes of the tag at the end of an MP3."""
_MOST_SPOOLED = 1 << 30
_ID3_HEADER = 10
_SEARCHED = 1 << 16
_LONGEST = 1 << 28
"""Samples of two hours and more: 0xFFFFFFFF bytes, or half of that, in any width."""


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

    def tell(self) -> int:
        """Place of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go somewhere; only the head and what is still to come can be read there."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: _ENDLESS}[whence]
        self._place, self._tag = max(base + offset, 0), _TAG
        return self._place


def reader(pipe: int, begins: bytes) -> Callable[[int], bytes]:
    """Gives first what was read already, then what the pipe gives."""
    rest = memoryview(begins)

    def read(size: int) -> bytes:
        nonlocal rest
        given = bytes(rest[:size]) if rest else os.read(pipe, size)
        rest = rest[size:]
        return given

    return read


def open_stream(pipe: int, begins: bytes, name: str) -> Sound:
    """Begin to decode a pipe whose first bytes were read already.

    Raises:
        AudioError: It is no audio that can be read.
    """
    kind, read = kind_of(begins), reader(pipe, begins)
    if kind == "MP3":
        return _mp3(_without_tag(read), name)
    if kind == "FLAC":
        return forward_sound(Forward(read), name)
    if kind in FOREIGN:
        return open_sound(_spooled(read, name), name)
    if kind is None:
        return _mp3(_from_first_frame(read, name), name)
    sound = pipe_sound(_pumped(read), name)
    # Programs that write a WAV into a pipe cannot give its length, and promise the greatest.
    unknown = sound.frames is not None and sound.frames * sound.channels >= _LONGEST
    return dataclasses.replace(sound, frames=None, blocks=_unpromised(sound.blocks)) if unknown else sound


def _mp3(read: Callable[[int], bytes], name: str) -> Sound:
    stream = Forward(read)
    return forward_sound(stream, name, lambda: stream.ended)


def _unpromised(blocks: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    with contextlib.suppress(CutOffError):
        yield from blocks


def _from_first_frame(read: Callable[[int], bytes], name: str) -> Callable[[int], bytes]:
    """An MP3 stream that was joined midway, from its first whole frame."""
    head = _exactly(read, _SEARCHED)
    start = first_mp3_frame(head)
    if start is None:
        message = (
            f"{name}: begins like no audio that is known (WAV, FLAC, Ogg and MP3 are; "
            "raw samples go into `headnod listen --audio -`)"
        )
        raise AudioError(message)
    return _after(head[start:], read)


def _without_tag(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """An MP3 stream without the ID3 tag at its head, which may be longer than what can be read again."""
    head = _exactly(read, _ID3_HEADER)
    if head[:3] == b"ID3":
        size = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(reversed(head[6:10])))
        while size > 0:
            piece = read(min(size, 65_536))
            if not piece:
                break
            size -= len(piece)
        return read
    return _after(head, read)


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := read(size - len(data))):
        data += piece
    return data


def _after(head: bytes, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    def joined(size: int) -> bytes:
        nonlocal head
        if not head:
            return read(size)
        given, head = head[:size], head[size:]
        return given

    return joined


def _pumped(read: Callable[[int], bytes]) -> int:
    output, into = os.pipe()

    def pump() -> None:
        with os.fdopen(into, "wb", buffering=0) as file:
            while piece := read(65_536):
                file.write(piece)

    threading.Thread(target=pump, daemon=True).start()
    return output


def _spooled(read: Callable[[int], bytes], name: str) -> Any:  # noqa: ANN401 - a temporary file has no type of its own
    """The whole of a stream in a temporary file: the index of an MP4 may stand at its end."""
    file, size = tempfile.TemporaryFile(), 0  # noqa: SIM115 - lives as long as the process
    while piece := read(65_536):
        size += len(piece)
        if size > _MOST_SPOOLED or shutil.disk_usage(tempfile.gettempdir()).free < _MOST_SPOOLED >> 4:
            message = f"{name}: is too long for a pipe (save it to a file first)"
            raise AudioError(message)
        file.write(piece)
    file.seek(0)
    return file


def write_all(sound: Sound) -> None:
    """The header, then every sample, on stdout."""
    _write(json.dumps({"rate": sound.rate, "channels": sound.channels}).encode() + b"\n")
    for frames in sound.blocks:
        _write(_as_s16(frames))


def _as_s16(frames: NDArray[np.float32]) -> bytes:
    return np.clip(np.rint(frames * np.float32(32_768.0)), -32_768, 32_767).astype("<i2").tobytes()


def _write(data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(1, rest) :]


def run(open_it: Callable[[], Sound]) -> int:
    """Decode to stdout; what goes wrong is told as the module's docstring says."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # libmpg123 writes to stderr, which is for one line of ours.
    own = os.dup(2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        sound = open_it()
    except (AudioError, OSError) as error:
        _write(json.dumps({"error": str(error)}).encode() + b"\n")
        return 1
    try:
        write_all(sound)
    except BrokenPipeError:
        return 0
    except (AudioError, OSError) as error:
        os.write(own, str(error).encode(errors="replace"))
        return 1
    return 0


if __name__ == "__main__":
    os._exit(run(lambda: open_stream(0, bytes.fromhex(sys.argv[2]), sys.argv[1])))
