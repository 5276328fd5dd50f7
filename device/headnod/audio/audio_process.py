"""Audio from the output of a child process: a microphone, a decoder, a web radio or a program of the user.

A process can be killed when it hangs in a driver, a sound server or a damaged file, or while it waits for a name
server, a connection or a stalled stream.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import random
import select
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from headnod.address import RefusedError, checked_address, display_address
from headnod.audio.blocks import Block, real_time, waiting
from headnod.audio.containers import head_of, kind_of, pipe_reader
from headnod.audio.processing import OutputRate, from_s16, mono_blocks
from headnod.errors import AudioError
from headnod.retry import Backoff, Cause

_log = logging.getLogger(__name__)

PIPE = 1 << 16
"""Default capacity of a pipe in bytes."""

_OPENING = 5.0
"""Seconds until the first output of a microphone."""
_READ = 1 << 20
"""Bytes per read."""
_LONGEST_HEADER = 4096


class AudioProcess:
    """A child process that writes 16-bit samples to its standard output."""

    def __init__(
        self,
        command: list[str],
        *,
        rate: int | None = None,
        channels: int = 1,
        pipe: int = PIPE,
        stdin: int = subprocess.DEVNULL,
        name: str = "",
        opening: float = _OPENING,
    ) -> None:
        """Start a process.

        Args:
            command: The program and its arguments.
            rate: Sample rate of its output; None if its first line is a JSON object
                with rate and channels, or an error (see capture.py and decoder.py).
            channels: Number of channels, if `rate` is given.
            pipe: Capacity of the pipe in bytes. A larger one delays audio without use.
            stdin: File descriptor of its standard input.
            name: Name of the file, stream or command that `headnod.audio.decoder` decodes, for messages; it
                reports errors on stderr. Empty for a microphone, and for a program that writes raw samples.
            opening: Maximum time until its first output, in seconds.

        Raises:
            AudioError: It cannot be started, or reports an error.
        """
        try:
            self._child = subprocess.Popen(  # noqa: S603 - our own, or the configuration's
                command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE if name else None, bufsize=0
            )
        except OSError as error:
            raise AudioError(f"cannot start '{command[0]}': {(error.strerror or '').lower()}") from error
        assert self._child.stdout is not None  # noqa: S101 - asked for above
        self._pipe = self._child.stdout.fileno()
        # Not permitted above the limit for users; then the default capacity is used.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, pipe)
        self._rest, self._name, self._opening = b"", name, opening
        self._command = command[0] if rate is not None else ""
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
                what = "did not open" if piece is None else "ended without output"
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
            program = f"{self._name}: the decoder" if self._name else "the microphone's program"
            raise AudioError(f"{program} does not report what it opened: {error} (reinstall headnod)") from error
        if reason and self._name:
            raise RefusedError(reason) if header.get("refused") else AudioError(reason)
        reason = reason.lower()
        if reason or not (self.rate and self.channels):
            why = reason or "it does not report its rate"
            raise AudioError(f"cannot open the microphone: {why} (is it held by another program, or under 16 kHz?)")

    @property
    def process(self) -> int:
        """Process id."""
        return self._child.pid

    def fileno(self) -> int:
        """File descriptor of the output."""
        return self._pipe

    def read(self, timeout: float) -> bytes | None:
        """All whole frames that have arrived; None after `timeout` seconds without any; empty at the end."""
        deadline, width = time.monotonic() + timeout, 2 * self.channels
        while not (used := len(self._rest) // width * width):
            piece = self._receive(max(deadline - time.monotonic(), 0.0))
            if not piece:
                return piece
            self._rest += piece
        whole, self._rest = self._rest[:used], self._rest[used:]
        return whole

    def pieces(self, timeout: float) -> Iterator[NDArray[np.float32]]:
        """The samples until the end, each piece of shape (n, channels).

        Raises:
            AudioError: No samples came for `timeout` seconds.
        """
        while samples := self.read(timeout):
            yield from_s16(samples, self.channels)
        if samples is None:
            raise AudioError(f"{self._name}: no sound came for {timeout:g} s")

    def _receive(self, timeout: float, most: int = _READ) -> bytes | None:
        ready, _, _ = select.select([self._pipe], [], [], timeout)
        return os.read(self._pipe, most) if ready else None

    def first_bytes(self) -> bytes:
        """The first bytes, enough to recognise a format; `read` returns them again.

        Raises:
            AudioError: There was no output in time.
        """
        deadline = time.monotonic() + self._opening

        def read(size: int) -> bytes:
            piece = self._receive(max(deadline - time.monotonic(), 0.0), size)
            if piece is None:
                raise AudioError(f"the command '{self._command}' wrote nothing for {self._opening:.0f} s")
            return piece

        self._rest = head_of(read)
        return self._rest

    def belongs_to(self, source: AudioProcess) -> Self:
        """Let `close` close `source` too, the process whose output this one decodes; returns self."""
        self._source = source
        return self

    def check_end(self) -> None:
        """Check how the process ended, and log what it skipped.

        Raises:
            AudioError: The file is damaged, or the process crashed.
        """
        report = self._child.stderr.read(_LONGEST_HEADER).decode(errors="replace") if self._child.stderr else ""
        status = self._child.wait()
        if status:
            raise AudioError(report or f"{self._name}: the decoder ended with status {status}")
        for line in report.splitlines():
            _log.warning("%s", line)

    @property
    def end_reason(self) -> str:
        """Why the samples ended. Waits up to 0.5 s for the exit status of a configured command."""
        if self._name:
            try:
                self.check_end()
            except AudioError as error:
                return str(error)
            return self._source.end_reason if self._source is not None else f"{self._name}: the stream ended"
        if not self._command:
            return "the microphone went away (unplugged, or the sound server ended)"
        try:
            status = self._child.wait(0.5)
        except subprocess.TimeoutExpired:
            return f"the command '{self._command}' closed its output"
        return (
            f"the command '{self._command}' ended {f'with status {status}' if status >= 0 else f'by signal {-status}'}"
        )

    def close(self) -> None:
        """Kill the process."""
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdout, self._child.stderr):
            if stream is not None:
                stream.close()
        if self._source is not None:
            self._source.close()

    def __enter__(self) -> Self:
        """The process itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close it."""
        self.close()


_FOREVER = 3.0e6
"""Seconds, 35 days: the writer of a pipe may pause for any time."""


def stream_blocks(pipe: int, name: str, rate: int | OutputRate) -> Iterator[Block]:
    """Decode a pipe with the content of an audio file.

    Yields:
        Mono blocks in [-1, 1], and changes of an `OutputRate`.

    Raises:
        AudioError: The pipe is empty, not audio, or damaged.
    """
    begins = head_of(pipe_reader(pipe, b""))
    if not begins:
        raise AudioError(f"{name}: ended without any audio")
    yield from decoded_blocks(pipe, begins, name, rate)


def decoded_blocks(pipe: int, begins: bytes, name: str, rate: int | OutputRate) -> Iterator[Block]:
    """Like `stream_blocks`, after the first bytes of the pipe were read."""
    with decoder(pipe, begins, name) as capture:
        yield from mono_blocks(capture.pieces(_FOREVER), capture.rate, capture.channels, rate)
        capture.check_end()


def decoder(pipe: int, begins: bytes, name: str) -> AudioProcess:
    """Start a process that decodes a pipe.

    `begins` has the first bytes, which were read already.

    Raises:
        AudioError: The stream is not audio in a supported format.
    """
    command = [sys.executable, "-P", "-m", "headnod.audio.decoder", name, begins.hex()]
    return AudioProcess(command, stdin=pipe, name=name, opening=_FOREVER)


def open_command(command: list[str], rate: int, channels: int) -> AudioProcess:
    """Start a program that replaces the microphone and writes raw samples, or an audio file with a header.

    `rate` and `channels` are those of raw samples.

    Raises:
        AudioError: It cannot be started, writes nothing, or writes a file that cannot be decoded.
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
    """Read a pipe until its end, such as `arecord -t raw | headnod listen --audio -`.

    The pipe has interleaved little-endian 16-bit samples of `rate` and `channels`, or an audio file, which is
    recognised by its header. `wanted` is the sample rate of the blocks.

    Yields:
        Mono blocks in [-1, 1), and changes of an `OutputRate`.
    """
    begins = head_of(pipe_reader(pipe, b""))
    if kind_of(begins) is not None:
        yield from decoded_blocks(pipe, begins, "standard input", wanted)
        return
    yield from mono_blocks(_raw_pieces(pipe, begins, channels), rate, channels, wanted)


def _raw_pieces(pipe: int, begins: bytes, channels: int) -> Iterator[NDArray[np.float32]]:
    rest, width, chunk = b"", 2 * channels, begins
    while chunk:
        whole = rest + chunk
        used = len(whole) // width * width
        rest = whole[used:]
        yield from_s16(whole[:used], channels)
        chunk = os.read(pipe, _CHUNK)


_STEADY = 60.0
"""Seconds of a connection after which the delay between attempts starts from its minimum again."""


@dataclass(frozen=True)
class RadioLimits:
    """Timeouts and buffer of a web radio, in seconds."""

    answer: float = 8.0
    """Timeout of each step of the connection and of each read."""

    opening: float = 20.0
    """Timeout until the first audio: name, connection, redirects, playlist and start of the decoder."""

    silent: float = 10.0
    """Time without audio after which the connection counts as lost."""

    lead: float = 30.0
    """How far blocks may be ahead of real time: servers send a burst at first. Later blocks wait."""


def radio_blocks(
    address: str,
    wanted: int | OutputRate,
    *,
    limits: RadioLimits | None = None,
    rng: random.Random | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[Block, None, None]:
    """The audio of a web radio, without end.

    A login in the address does not appear in messages. `wanted` is the sample rate of the blocks; `rng` varies the
    delays between attempts.

    Yields:
        Mono blocks in [-1, 1], rate changes, and a gap at least every second while there is no stream.

    Raises:
        RefusedError: The address is not valid.
    """
    checked_address(address)
    limits = limits or RadioLimits()
    back_off = Backoff(rng or random.Random())  # noqa: S311 - spreads attempts, hides nothing
    while True:
        cause = Cause.NETWORK
        delivered = wanted.delivered if isinstance(wanted, OutputRate) else wanted
        try:
            with open_radio(address, limits) as capture:
                began = monotonic()
                pieces = capture.pieces(limits.silent)
                blocks = mono_blocks(pieces, capture.rate, capture.channels, wanted)
                for block in real_time(blocks, delivered, monotonic=monotonic, sleep=sleep, lead=limits.lead):
                    if monotonic() - began > _STEADY:
                        back_off.reset()
                    yield block
                reason = capture.end_reason
        except RefusedError as error:
            cause, reason = Cause.REFUSED, str(error)
        except AudioError as error:
            reason = str(error)
        yield from waiting(back_off.after(cause), reason, sleep=sleep)


def open_radio(address: str, limits: RadioLimits | None = None) -> AudioProcess:
    """Start the process that connects to a stream and decodes it.

    Raises:
        AudioError: It cannot be opened.
    """
    limits = limits or RadioLimits()
    # Not an argument of the process, because every user of this machine could read a login in it.
    request = os.memfd_create("radio")
    try:
        os.write(request, json.dumps({"address": address, "timeout": limits.answer}).encode())
        os.lseek(request, 0, os.SEEK_SET)
        command = [sys.executable, "-P", "-m", "headnod.audio.decoder", "--radio"]
        return AudioProcess(command, stdin=request, name=display_address(address), opening=limits.opening)
    finally:
        os.close(request)
