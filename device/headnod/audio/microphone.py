"""The microphone: a child process that is read, judged and, when it fails, replaced.

The child is killed when no frame came for two seconds, whatever it says of
itself, and the microphone is looked up by its name at every start. Any command
that writes raw samples can stand in for the child.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from headnod.audio.blocks import Block, Gap
from headnod.audio.channels import ChannelMixer
from headnod.audio.containers import MPEG_SNIFFED, SNIFFED, may_be_mpeg
from headnod.audio.devices import CAPTURE, Device, find, listing
from headnod.audio.gaps import Doubt
from headnod.audio.resampling import OutputRate, Resampler, from_s16
from headnod.audio.web_address import RefusedError
from headnod.errors import AudioError
from headnod.pipeline.estimate import State

_FALLBACK_RATES = ("44100", "48000", "32000", "22050", "16000")
_OPENING, _SILENT = 5.0, 2.0
"""Seconds: to open, and without a frame until it counts as lost."""
_READ, _PIPE = 1 << 20, 1 << 16
"""Bytes that are read at once, and that a pipe holds unless it is asked to hold more."""
_FASTEST = 4 * 48_000
"""Bytes a second, of two channels."""
SHORTEST, LONGEST = 0.1, 1.0
"""Seconds of sound that come at once."""
_LONGEST_HEADER = 4096


@dataclass(frozen=True)
class Patience:
    """How long to wait between attempts to open a microphone."""

    first: float = 1.0
    """Seconds before the second attempt; they double from there."""

    most: float = 3.0
    """Seconds between attempts in the long run."""

    longest_tick: float = 1.0
    """Seconds of waiting before the caller hears of it again."""


class Capture:
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
        self._source: Capture | None = None
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

    def belongs_to(self, source: Capture) -> Self:
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


def block_seconds(every: float) -> float:
    """How much sound shall come at once for an estimate every so many seconds.

    Each block wakes two processes. A third of the time between estimates delays
    them little, and one second still shows within two that a microphone hangs.
    """
    return min(max(every / 3.0, SHORTEST), LONGEST)


def find_device(name: str) -> Device:
    """The microphone of a name; "" takes the likeliest.

    Raises:
        AudioError: It is absent, busy, or may not be opened.
    """
    there = listing()
    return find(name, there.devices, there.closed)


def open_device(device: Device, block: float = SHORTEST) -> Capture:
    """Start listening to a microphone.

    Args:
        device: Which one.
        block: Seconds of sound that come at once.

    Raises:
        AudioError: It is absent, busy, or hears at no rate that is good enough.
    """
    command = [sys.executable, "-P", str(CAPTURE), "read", device.portaudio, str(block), *_FALLBACK_RATES]
    # What holds a block whole wakes each side once for it.
    return Capture(command, pipe=max(_PIPE, round(block * _FASTEST)))


def microphone_blocks(
    start: Callable[[], Capture],
    wanted: int | OutputRate,
    *,
    patience: Patience | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[Block, None, None]:
    """The sound of a microphone, for ever.

    Args:
        start: Opens the microphone anew.
        wanted: Sample rate that the blocks shall have.
        patience: How long to wait between attempts.
        monotonic: The clock that frames are counted against.
        sleep: Waits for so many seconds.

    Yields:
        Mono blocks in [-1, 1], and a hole whenever sound is missing: while the
        microphone is looked for at least one every second.
    """
    patience = patience or Patience()
    pause = patience.first
    while True:
        try:
            with start() as capture:
                for block in _hear(capture, wanted, monotonic):
                    pause = patience.first
                    yield block
            reason = "the microphone went away (unplugged, or the sound server ended)"
        except AudioError as error:
            reason = str(error)
        left = pause
        pause = min(2.0 * pause, patience.most)
        while left > 0.0:
            yield Gap(State.WAITING, reason)
            sleep(min(left, patience.longest_tick))
            left -= patience.longest_tick


def _hear(capture: Capture, wanted: int | OutputRate, monotonic: Callable[[], float]) -> Iterator[Block]:
    resampler, doubt = Resampler(capture.rate, wanted), Doubt(capture.rate)
    mixer = ChannelMixer(capture.rate, capture.channels)
    patience = _OPENING
    while samples := capture.read(patience):
        patience = _SILENT
        missing, sound = doubt.hear(from_s16(samples, capture.channels), monotonic())
        if missing:
            resampler = Resampler(capture.rate, wanted)
            yield Gap(State.BEHIND, f"{missing:.2f} s of sound were lost on the way from the microphone", missing)
        for frames in sound:
            yield from resampler.blocks(mixer.mix(frames))
    if samples is None:
        message = f"no sound came from the microphone for {patience:.0f} s (it hangs, or its sound server does)"
        raise AudioError(message)
