"""The process that decodes an audio file on stdin, or the stream of a web radio or camera, to raw samples on stdout.

Its first line of output is a JSON object with sample rate and channels, or an error; little-endian 16-bit samples
follow. A later error is one line on stderr, with exit status 1. With status 0, lines on stderr name what was skipped.

    python -m headnod.audio.decoder NAME BEGINS
    python -m headnod.audio.decoder --radio

BEGINS are the bytes that were already read from stdin, in hexadecimal. With `--radio`, stdin is a JSON object with
the address and the timeout of each step of the connection in seconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headnod.address import RTSP, RefusedError
from headnod.audio.audio_file import forward_sound, open_foreign, open_rtsp, open_sound, pipe_sound
from headnod.audio.containers import (
    BEGINNINGS,
    FOREIGN,
    MPEG_SNIFFED,
    NO_PIPE,
    READABLE,
    CutOffError,
    DamagedError,
    ForwardReader,
    Sound,
    StreamParts,
    converted,
    first_mp3_frame,
    head_of,
    kind_of,
    pipe_reader,
    prepend,
    read_exactly,
    wav_reader,
)
from headnod.errors import AudioError

if TYPE_CHECKING:
    from headnod.audio.http_stream import HttpStream

_OTHER_TYPES = re.compile(r"\A(?:text|image|font)/|[/+](?:json|xml)\Z")
"""Media types that are not audio. Servers of audio also send `application/octet-stream` and the like."""

_PR_SET_PDEATHSIG = 1
_MOST_SAVED = 1 << 30
_ID3_HEADER = 10
_SEARCHED = 1 << 16
_MOST_REPORTED = 5
_LONGEST = 1 << 28
"""Number of samples from which the length of a WAV is a placeholder, such as 0xFFFFFFFF bytes, for any width."""

Skipped = Callable[[str], object] | None
"""Takes the message on each damaged stretch that is skipped; None makes damage an error."""


def open_stream(read: Callable[[int], bytes], kind: str | None, name: str, skipped: Skipped = None) -> Sound:
    """Start to decode a stream with all its parts.

    `read` returns up to the given number of bytes, none at the end; `kind` comes from `kind_of`.

    Raises:
        AudioError: The format is not supported.
    """
    if kind == "MP3":
        return _mp3(_without_tag(read), name, skipped)
    if kind in BEGINNINGS:
        parts = StreamParts(read, BEGINNINGS[kind])
        first = _part(parts, kind, name)
        return dataclasses.replace(first, blocks=_all_parts(first, parts, kind, name))
    if kind in FOREIGN or kind in NO_PIPE:
        return open_sound(_saved(read, name), name)
    if kind is None:
        return _mp3(_from_first_frame(read, name), name, skipped)
    sound = pipe_sound(_piped(wav_reader(read) if kind == "WAV" else read), name)
    # Programs that write a WAV to a pipe do not know its length and write the maximum.
    unknown = sound.frames is not None and sound.frames * sound.channels >= _LONGEST
    return dataclasses.replace(sound, frames=None, blocks=_until_cut_off(sound.blocks)) if unknown else sound


def _part(parts: StreamParts, kind: str, name: str) -> Sound:
    return forward_sound(ForwardReader(parts.read), name) if kind == "FLAC" else pipe_sound(_piped(parts.read), name)


def _all_parts(first: Sound, parts: StreamParts, kind: str, name: str) -> Iterator[NDArray[np.float32]]:
    yield from first.blocks
    while parts.advance():
        yield from converted(_part(parts, kind, name), first.rate, first.channels)


def _mp3(read: Callable[[int], bytes], name: str, skipped: Skipped) -> Sound:
    first, stream = _one_mp3(read, name)
    return dataclasses.replace(first, blocks=_joined_mp3s(first, stream, name, skipped))


def _one_mp3(read: Callable[[int], bytes], name: str) -> tuple[Sound, ForwardReader]:
    stream = ForwardReader(read)
    return forward_sound(stream, name, lambda: stream.ended), stream


def _joined_mp3s(first: Sound, stream: ForwardReader, name: str, skipped: Skipped) -> Iterator[NDArray[np.float32]]:
    sound, decoded = first, 0
    while True:
        damage = None
        try:
            for block in converted(sound, first.rate, first.channels):
                decoded += len(block)
                yield block
        except (DamagedError, CutOffError) as error:
            # libmpg123 looks for the next frame before the damage, where a stream has ended for it.
            if skipped is None or stream.ended:
                raise
            damage = error
        if stream.ended:
            return
        try:
            sound, stream = _one_mp3(_next_mp3(stream.rest(), name), name)
        except AudioError:
            if damage is not None:
                raise damage from None
            # The rest is a tag at the end.
            return
        if damage is not None and skipped is not None:
            skipped(f"{name}: is damaged after {decoded / first.rate:.1f} s; decoding went on at the next whole frame")


def _next_mp3(read: Callable[[int], bytes], name: str) -> Callable[[int], bytes]:
    head = read_exactly(read, _ID3_HEADER)
    read = prepend(head, read)
    return _without_tag(read) if head[:3] == b"ID3" else _from_first_frame(read, name)


def _until_cut_off(blocks: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    with contextlib.suppress(CutOffError):
        yield from blocks


def _from_first_frame(read: Callable[[int], bytes], name: str) -> Callable[[int], bytes]:
    """An MP3 stream from its first whole frame on."""
    head, start = b"", None
    # Not more than necessary: a radio sends its bytes in real time.
    while start is None and len(head) < _SEARCHED and (piece := read(MPEG_SNIFFED)):
        head += piece
        start = first_mp3_frame(head)
    if start is None:
        raise AudioError(
            f"{name}: is not audio that can be read ({READABLE}; raw samples go into `headnod listen --audio -`)"
        )
    return prepend(head[start:], read)


def _without_tag(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """An MP3 stream without the ID3 tag at its start, which may be longer than `ForwardReader` can read again."""
    head = read_exactly(read, _ID3_HEADER)
    if head[:3] == b"ID3":
        size = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(reversed(head[6:10])))
        while size > 0:
            piece = read(min(size, 65_536))
            if not piece:
                break
            size -= len(piece)
        return read
    return prepend(head, read)


def _piped(read: Callable[[int], bytes]) -> int:
    output, into = os.pipe()

    def pump() -> None:
        with os.fdopen(into, "wb", buffering=0) as file:
            while piece := read(65_536):
                file.write(piece)

    threading.Thread(target=pump, daemon=True).start()
    return output


def _saved(read: Callable[[int], bytes], name: str) -> Any:  # noqa: ANN401 - a temporary file has no type of its own
    """A temporary file with the whole stream, because the index of an MP4 may be at its end."""
    file, size = tempfile.TemporaryFile(), 0  # noqa: SIM115 - lives as long as the process
    while piece := read(65_536):
        size += len(piece)
        if size > _MOST_SAVED or shutil.disk_usage(tempfile.gettempdir()).free < _MOST_SAVED >> 4:
            raise AudioError(f"{name}: is too long for a pipe (save it to a file first)")
        file.write(piece)
    file.seek(0)
    return file


def write_all(sound: Sound) -> None:
    """Write the header and all samples to stdout."""
    _write(json.dumps({"rate": sound.rate, "channels": sound.channels}).encode() + b"\n")
    for frames in sound.blocks:
        _write(_as_s16(frames))


def _as_s16(frames: NDArray[np.float32]) -> bytes:
    return np.clip(np.rint(frames * np.float32(32_768.0)), -32_768, 32_767).astype("<i2").tobytes()


def _write(data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(1, rest) :]


def run(open_it: Callable[[], Sound], skipped: Sequence[str] = ()) -> int:
    """Decode to stdout; errors and what was skipped are reported as the module says. Returns the exit status."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # libmpg123 writes to stderr, which is reserved for the error.
    own = os.dup(2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        sound = open_it()
    except (AudioError, OSError) as error:
        refused = {"refused": True} if isinstance(error, RefusedError) else {}
        _write(json.dumps({"error": str(error), **refused}).encode() + b"\n")
        return 1
    try:
        write_all(sound)
    except BrokenPipeError:
        return 0
    except (AudioError, OSError) as error:
        os.write(own, str(error).encode(errors="replace"))
        return 1
    os.write(own, "\n".join(skipped[:_MOST_REPORTED]).encode(errors="replace"))
    return 0


def radio_sound(address: str, timeout: float) -> Sound:
    """Connect to a web radio or an RTSP server and start to decode it.

    `timeout` is that of each step of the connection, in seconds.

    Raises:
        RefusedError: The server refuses the request, or the stream is not audio.
        AudioError: The server cannot be reached.
    """
    if address.partition("://")[0].lower() in RTSP:
        return open_rtsp(address, timeout)
    from headnod.audio.http_stream import open_stream as open_radio  # noqa: PLC0415 - ssl and http take long to load

    stream = open_radio(address, timeout)
    begins = head_of(stream.read)
    kind, read = kind_of(begins), prepend(begins, stream.read)
    try:
        if kind in FOREIGN or (kind is None and "aac" in stream.content_type):
            sound = open_foreign(SimpleNamespace(read=read), stream.name, kind or "AAC")
        else:
            sound = open_stream(read, kind, stream.name)
    except AudioError as error:
        if stream.failure or not begins:
            raise AudioError(f"{stream.name}: {stream.failure or 'the stream ended before any sound came'}") from error
        if _OTHER_TYPES.search(stream.content_type):
            named = f"{stream.name}: is not audio: the server sends {stream.content_type}"
            raise RefusedError(f"{named} (is it the address of the stream itself?)") from error
        raise RefusedError(str(error)) from error
    return dataclasses.replace(sound, frames=None, blocks=_until_end(sound, stream))


def _until_end(sound: Sound, stream: HttpStream) -> Iterator[NDArray[np.float32]]:
    try:
        yield from sound.blocks
    except AudioError:
        # The end of a connection cuts a frame.
        if not stream.ended:
            raise
    if stream.failure:
        raise AudioError(f"{stream.name}: {stream.failure}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--radio"]:
        request = json.load(sys.stdin)
        os._exit(run(lambda: radio_sound(request["address"], request["timeout"])))
    begins, messages = bytes.fromhex(sys.argv[2]), list[str]()
    opened = functools.partial(open_stream, pipe_reader(0, begins), kind_of(begins), sys.argv[1], messages.append)
    os._exit(run(opened, messages))
