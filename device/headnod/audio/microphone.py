"""The microphone: a child process that is read, judged and, when it fails, replaced.

The child is killed when no frame came for two seconds, whatever it says of
itself, and the microphone is looked up by its name at every start. Any command
that writes raw samples can stand in for the child.
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
"""Seconds: to open, and without a frame until it counts as lost."""
_READ, _PIPE = 1 << 20, 1 << 16
"""Bytes that are read at once, and that a pipe holds unless it is asked to hold more."""
_FASTEST = 4 * 48_000
"""Bytes a second, of two channels."""
SHORTEST, LONGEST = 0.1, 1.0
"""Seconds of sound that come at once."""
_LONGEST_HEADER = 4096


@dataclass(frozen=True)
class RetryDelays:
    """How long to wait between attempts to open a microphone."""

    first: float = 1.0
    """Seconds before the second attempt; they double from there."""

    most: float = 3.0
    """Seconds between attempts in the long run."""

    longest_tick: float = 1.0
    """Seconds of waiting before the caller hears of it again."""


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
    there = list_devices()
    return find(name, there.devices, there.closed)


def open_device(device: Device, block: float = SHORTEST) -> AudioProcess:
    """Start listening to a microphone.

    Args:
        device: Which one.
        block: Seconds of sound that come at once.

    Raises:
        AudioError: It is absent, busy, or hears at no rate that is good enough.
    """
    command = [sys.executable, "-P", str(CAPTURE), "read", device.portaudio, str(block), *_FALLBACK_RATES]
    # What holds a block whole wakes each side once for it.
    return AudioProcess(command, pipe=max(_PIPE, round(block * _FASTEST)))


def microphone_blocks(
    start: Callable[[], AudioProcess],
    wanted: int | OutputRate,
    *,
    patience: RetryDelays | None = None,
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
    patience = patience or RetryDelays()
    pause = patience.first
    while True:
        try:
            with start() as capture:
                for block in _sound(capture, wanted, monotonic):
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


def _sound(capture: AudioProcess, wanted: int | OutputRate, monotonic: Callable[[], float]) -> Iterator[Block]:
    resampler, gaps = Resampler(capture.rate, wanted), GapDetector(capture.rate)
    mixer = ChannelMixer(capture.rate, capture.channels)
    patience = _OPENING
    while samples := capture.read(patience):
        patience = _SILENT
        missing, sound = gaps.update(from_s16(samples, capture.channels), monotonic())
        if missing:
            resampler = Resampler(capture.rate, wanted)
            yield Gap(State.BEHIND, f"{missing:.2f} s of sound were lost on the way from the microphone", missing)
        for frames in sound:
            yield from resampler.blocks(mixer.mix(frames))
    if samples is None:
        message = f"no sound came from the microphone for {patience:.0f} s (it hangs, or its sound server does)"
        raise AudioError(message)
