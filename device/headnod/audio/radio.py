"""Streams of the network: Icecast and Shoutcast, any audio file behind http or https, and RTSP.

A stream is fetched and decoded by a process of its own (`headnod.audio.decoder`), which can be killed while it waits
for a name server, a connection or a stalled stream.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from headnod.audio.audio_process import AudioProcess
from headnod.audio.blocks import Block, Gap, real_time
from headnod.audio.processing import ChannelMixer, OutputRate, Resampler, from_s16
from headnod.audio.web_address import RefusedError, checked_address, display_address
from headnod.errors import AudioError
from headnod.pipeline.estimate import State
from headnod.retry import Backoff, Cause

_TICK = 1.0
"""Maximum time between gaps that are yielded while waiting, in seconds."""
_STEADY = 60.0
"""Seconds of audio after which the delay between attempts starts from its minimum again."""


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
    """Audio that may be ahead of real time, such as the burst that servers start with; more is delayed."""


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

    Args:
        address: An address of http, https, rtsp or rtsps; a login in it does not appear in messages.
        wanted: Sample rate of the blocks.
        limits: Timeouts.
        rng: Jitter of the delays between attempts.
        monotonic: A monotonic clock in seconds.
        sleep: Waits for a number of seconds.

    Yields:
        Mono blocks in [-1, 1], rate changes, and a gap at least every second while there is no stream.

    Raises:
        RefusedError: The address is not valid.
    """
    checked_address(address)
    limits = limits or RadioLimits()
    back_off = Backoff(rng or random.Random())  # noqa: S311 - spreads attempts, hides nothing
    while True:
        cause, reason = Cause.NETWORK, f"{display_address(address)}: the stream ended"
        delivered = wanted.delivered if isinstance(wanted, OutputRate) else wanted
        try:
            with open_radio(address, limits) as capture:
                began = monotonic()
                blocks = _sound(capture, wanted, limits.silent, display_address(address))
                for block in real_time(blocks, delivered, monotonic=monotonic, sleep=sleep, lead=limits.lead):
                    if monotonic() - began > _STEADY:
                        back_off.reset()
                    yield block
        except RefusedError as error:
            cause, reason = Cause.REFUSED, str(error)
        except AudioError as error:
            reason = str(error)
        left = back_off.after(cause)
        while left > 0.0:
            yield Gap(State.WAITING, reason)
            sleep(min(left, _TICK))
            left -= _TICK


def open_radio(address: str, limits: RadioLimits | None = None) -> AudioProcess:
    """Start the process that plays a stream.

    Raises:
        AudioError: It cannot be played.
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


def _sound(capture: AudioProcess, wanted: int | OutputRate, silent: float, name: str) -> Iterator[Block]:
    resampler, mixer = Resampler(capture.rate, wanted), ChannelMixer(capture.rate, capture.channels)
    while samples := capture.read(silent):
        yield from resampler.blocks(mixer.mix(from_s16(samples, capture.channels)))
    if samples is None:
        message = f"{name}: no sound came for {silent:g} s"
        raise AudioError(message)
    capture.check_end()
