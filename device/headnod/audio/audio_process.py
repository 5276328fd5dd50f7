"""Audio from the output of a child process: a microphone, a decoder or a program of the user."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from headnod.audio.blocks import Block
from headnod.audio.containers import MPEG_SNIFFED, SNIFFED, head_of, kind_of, may_be_mpeg
from headnod.audio.processing import ChannelMixer, OutputRate, Resampler, from_s16
from headnod.audio.web_address import RefusedError
from headnod.errors import AudioError

_OPENING = 5.0
_READ, _PIPE = 1 << 20, 1 << 16
"""Bytes that are read at once, and that a pipe holds unless it is asked to hold more."""
_LONGEST_HEADER = 4096


class AudioProcess:
    """A process whose standard output is sound."""

    def __init__(
        self,
        command: list[str],
        *,
        rate: int | None = None,
        channels: int = 1,
        pipe: int = _PIPE,
        stdin: int = subprocess.DEVNULL,
        name: str = "",
        opening: float = _OPENING,
    ) -> None:
        """Start a process.

        Args:
            command: The program and its arguments.
            rate: Samples per second of its output; None if its first line says
                so, as the one of capture.py does.
            channels: Channels of its output, where no line says so.
            pipe: Bytes that wait between it and whoever reads; more would only grow stale.
            stdin: What it reads.
            name: What it decodes, for errors; it writes its own to stderr. Empty for a microphone.
            opening: Seconds that it may take to open.

        Raises:
            AudioError: It cannot be started, or says that it cannot hear.
        """
        try:
            self._child = subprocess.Popen(  # noqa: S603 - our own, or the configuration's
                command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE if name else None, bufsize=0
            )
        except OSError as error:
            message = f"cannot start '{command[0]}': {(error.strerror or '').lower()}"
            raise AudioError(message) from error
        assert self._child.stdout is not None  # noqa: S101 - asked for above
        self._pipe = self._child.stdout.fileno()
        # Without the right to a longer pipe a shorter one serves.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, pipe)
        self._rest, self._name, self._opening = b"", name, opening
        self._source: AudioProcess | None = None
        self.rate, self.channels = rate or 0, channels
        if rate is None:
            try:
                self._read_header()
            except BaseException:
                self.close()
                raise

    def _read_header(self) -> None:
        deadline = time.monotonic() + self._opening
        while b"\n" not in self._rest:
            piece = self._receive(max(deadline - time.monotonic(), 0.0))
            if not piece or len(self._rest) > _LONGEST_HEADER:
                what = "did not open" if piece is None else "ended without a word"
                message = f"{self._name or 'the microphone'} {what} (is the sound system running?)"
                if self._name:
                    message = f"{self._name}: the decoder {what}"
                raise AudioError(message)
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            header = json.loads(line)
            reason = str(header.get("error", ""))
            self.rate, self.channels = header.get("rate", 0), header.get("channels", 0)
        except (ValueError, AttributeError) as error:
            message = f"the microphone's program does not say what it opened: {error} (reinstall headnod)"
            raise AudioError(message) from error
        if reason and self._name:
            raise RefusedError(reason) if header.get("refused") else AudioError(reason)
        reason = reason.lower()
        if reason or not (self.rate and self.channels):
            why = reason or "it does not say its rate"
            message = f"cannot open the microphone: {why} (is it held by another program, or under 16 kHz?)"
            raise AudioError(message)

    @property
    def process(self) -> int:
        """Its process id."""
        return self._child.pid

    def fileno(self) -> int:
        """The pipe that sound comes by, for whoever waits for several."""
        return self._pipe

    def read(self, patience: float) -> bytes | None:
        """Whole frames as they come; None if none came in so many seconds; empty at the end."""
        deadline, width = time.monotonic() + patience, 2 * self.channels
        if len(self._rest) >= width:
            used = len(self._rest) // width * width
            whole, self._rest = self._rest[:used], self._rest[used:]
            return whole
        while piece := self._receive(max(deadline - time.monotonic(), 0.0)):
            whole = self._rest + piece
            used = len(whole) // width * width
            self._rest = whole[used:]
            if used:
                return whole[:used]
        return piece

    def _receive(self, patience: float, most: int = _READ) -> bytes | None:
        ready, _, _ = select.select([self._pipe], [], [], patience)
        return os.read(self._pipe, most) if ready else None

    def first_bytes(self) -> bytes:
        """What the stream begins with, so that a header is recognised; it stays to be read.

        Raises:
            AudioError: Nothing came.
        """
        deadline = time.monotonic() + self._opening
        while len(self._rest) < SNIFFED or (may_be_mpeg(self._rest) and len(self._rest) < MPEG_SNIFFED):
            piece = self._receive(max(deadline - time.monotonic(), 0.0), MPEG_SNIFFED)
            if piece is None:
                message = f"no sound came from the microphone for {self._opening:.0f} s (does its command hang?)"
                raise AudioError(message)
            if not piece:
                break
            self._rest += piece
        return self._rest

    def belongs_to(self, source: AudioProcess) -> Self:
        """Close another process with this one, whose stream it decodes."""
        self._source = source
        return self

    def check_end(self) -> None:
        """Raise what the process said of its end.

        Raises:
            AudioError: What it decoded is damaged, or it crashed.
        """
        said = self._child.stderr.read(_LONGEST_HEADER).decode(errors="replace") if self._child.stderr else ""
        status = self._child.wait()
        if said or status:
            raise AudioError(said or f"{self._name}: the decoder ended with status {status}")

    def close(self) -> None:
        """End the process, whatever it hangs in."""
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdout, self._child.stderr):
            if stream is not None:
                stream.close()
        if self._source is not None:
            self._source.close()

    def __enter__(self) -> Self:
        """The capture itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


_FOREVER = 3.0e6
"""Seconds: a writer may pause for as long as it likes."""


def first_bytes(pipe: int) -> bytes:
    """What a pipe begins with: enough to tell what it is, if it gives so much."""
    return head_of(lambda size: os.read(pipe, size))


def stream_blocks(pipe: int, name: str, rate: int | OutputRate) -> Iterator[Block]:
    """The sound of a pipe that gives a WAV, FLAC, Ogg or MP3 file, or another that PyAV reads.

    Args:
        pipe: A file descriptor.
        name: What to call it in errors.
        rate: Sample rate that the blocks shall have.

    Yields:
        Mono blocks in [-1, 1], and changes of an `OutputRate`.
    """
    begins = first_bytes(pipe)
    if not begins:
        message = f"{name}: gave no audio before it ended"
        raise AudioError(message)
    yield from decoded_blocks(pipe, begins, name, rate)


def decoded_blocks(pipe: int, begins: bytes, name: str, rate: int | OutputRate) -> Iterator[Block]:
    """The sound of a pipe whose first bytes were read already."""
    with decoder(pipe, begins, name) as capture:
        resampler, mixer = Resampler(capture.rate, rate), ChannelMixer(capture.rate, capture.channels)
        while samples := capture.read(_FOREVER):
            yield from resampler.blocks(mixer.mix(from_s16(samples, capture.channels)))
        yield resampler.finish()
        capture.check_end()


def decoder(pipe: int, begins: bytes, name: str) -> AudioProcess:
    """A process that decodes a pipe to raw samples.

    Args:
        pipe: A file descriptor that gives the rest of the stream.
        begins: What was read of it already.
        name: What to call it in errors.

    Raises:
        AudioError: It is no audio that can be read.
    """
    command = [sys.executable, "-P", "-m", "headnod.audio.decoder", name, begins.hex()]
    return AudioProcess(command, stdin=pipe, name=name, opening=_FOREVER)


def open_command(command: list[str], rate: int, channels: int) -> AudioProcess:
    """A program that stands for the microphone: its samples, or its file where it writes one with a header.

    Raises:
        AudioError: It cannot be started, gives nothing, or gives a file that cannot be read.
    """
    capture = AudioProcess(command, rate=rate, channels=channels)
    try:
        begins = capture.first_bytes()
        if kind_of(begins) is None:
            return capture
        return decoder(capture.fileno(), begins, f"the output of '{command[0]}'").belongs_to(capture)
    except BaseException:
        capture.close()
        raise


_CHUNK = 16_384


def raw_blocks(pipe: int, *, rate: int, wanted: int | OutputRate, channels: int = 1) -> Iterator[Block]:
    """The sound of a pipe until it is closed.

    Args:
        pipe: A file descriptor that gives little-endian 16-bit samples, interleaved; or a WAV, FLAC, Ogg or
            MP3 file, which is recognised by its header and says its own rate and channels.
        rate: Samples per second that come.
        wanted: Sample rate that the blocks shall have.
        channels: Channels that come.

    Yields:
        Mono blocks in [-1, 1), and changes of an `OutputRate`.
    """
    begins = first_bytes(pipe)
    if kind_of(begins) is not None:
        yield from decoded_blocks(pipe, begins, "standard input", wanted)
        return
    resampler, mixer = Resampler(rate, wanted), ChannelMixer(rate, channels)
    rest, width, chunk = b"", 2 * channels, begins
    while chunk:
        whole = rest + chunk
        used = len(whole) // width * width
        rest = whole[used:]
        yield from resampler.blocks(mixer.mix(from_s16(whole[:used], channels)))
        chunk = os.read(pipe, _CHUNK)
    yield resampler.finish()
