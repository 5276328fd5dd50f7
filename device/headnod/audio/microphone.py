"""The microphone: a child process that is read, monitored and, when it fails, restarted.

The process is killed after two seconds without frames, and the microphone is looked up
by its name at every start. Any command that writes samples can replace the process.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from headnod.audio.audio_process import AudioProcess
from headnod.audio.blocks import Block, Gap
from headnod.audio.devices import CAPTURE, Device, find, list_devices
from headnod.audio.gaps import GapDetector
from headnod.audio.processing import ChannelMixer, OutputRate, Resampler, from_s16
from headnod.errors import AudioError
from headnod.pipeline.estimate import State

_FALLBACK_RATES = ("44100", "48000", "32000", "22050", "16000")
_OPENING, _SILENT = 5.0, 2.0
"""Timeouts in seconds: for opening the microphone, and for the next frames."""
_READ, _PIPE = 1 << 20, 1 << 16
"""Bytes that are read at once, and that a pipe holds unless it is asked to hold more."""
_FASTEST = 4 * 48_000
"""Bytes per second of two channels at 48 kHz."""
SHORTEST, LONGEST = 0.1, 1.0
"""Range of the duration of a block in seconds."""
_LONGEST_HEADER = 4096


@dataclass(frozen=True)
class RetryDelays:
    """Delays between attempts to open a microphone."""

    first: float = 1.0
    """Seconds before the second attempt; the delay doubles with each attempt."""

    most: float = 3.0
    """Maximum delay in seconds."""

    longest_tick: float = 1.0
    """Maximum time between gaps that are yielded while waiting, in seconds."""


def block_seconds(every: float) -> float:
    """Duration of a block in seconds, for an estimate every `every` seconds.

    Each block wakes two processes. A third of the interval delays estimates little, and with
    at most one second a hanging microphone is still detected within two.
    """
    return min(max(every / 3.0, SHORTEST), LONGEST)


def find_device(name: str) -> Device:
    """The microphone of a name; see `headnod.audio.devices.find`."""
    there = list_devices()
    return find(name, there.devices, there.closed)


def open_device(device: Device, block: float = SHORTEST) -> AudioProcess:
    """Start the process of a microphone.

    Args:
        device: The microphone.
        block: Duration of a block in seconds.

    Raises:
        AudioError: The microphone is absent, busy, or has no sample rate of 16 kHz or more.
    """
    command = [sys.executable, "-P", str(CAPTURE), "read", device.portaudio, str(block), *_FALLBACK_RATES]
    # A pipe that holds a whole block wakes each side once per block.
    return AudioProcess(command, pipe=max(_PIPE, round(block * _FASTEST)))


def microphone_blocks(
    start: Callable[[], AudioProcess],
    wanted: int | OutputRate,
    *,
    delays: RetryDelays | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[Block, None, None]:
    """The audio of a microphone, without end.

    Args:
        start: Opens the microphone; called again after every failure.
        wanted: Sample rate of the blocks.
        delays: Delays between attempts.
        monotonic: The clock that frames are compared with.
        sleep: Waits for a number of seconds.

    Yields:
        Mono blocks in [-1, 1], rate changes, and gaps: after lost audio, and at least
        every second while there is no microphone.
    """
    delays = delays or RetryDelays()
    pause = delays.first
    while True:
        try:
            with start() as capture:
                for block in _sound(capture, wanted, monotonic):
                    pause = delays.first
                    yield block
            reason = "the microphone went away (unplugged, or the sound server ended)"
        except AudioError as error:
            reason = str(error)
        left = pause
        pause = min(2.0 * pause, delays.most)
        while left > 0.0:
            yield Gap(State.WAITING, reason)
            sleep(min(left, delays.longest_tick))
            left -= delays.longest_tick


def _sound(capture: AudioProcess, wanted: int | OutputRate, monotonic: Callable[[], float]) -> Iterator[Block]:
    resampler, gaps = Resampler(capture.rate, wanted), GapDetector(capture.rate)
    mixer = ChannelMixer(capture.rate, capture.channels)
    timeout = _OPENING
    while samples := capture.read(timeout):
        timeout = _SILENT
        missing, sound = gaps.update(from_s16(samples, capture.channels), monotonic())
        if missing:
            resampler = Resampler(capture.rate, wanted)
            yield Gap(State.BEHIND, f"{missing:.2f} s of sound were lost on the way from the microphone", missing)
        for frames in sound:
            yield from resampler.blocks(mixer.mix(frames))
    if samples is None:
        message = f"no sound came from the microphone for {timeout:.0f} s (it hangs, or its sound server does)"
        raise AudioError(message)
