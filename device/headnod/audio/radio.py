"""A web radio as a source of sound: an Icecast or Shoutcast stream, or any audio file behind http or https.

Fetched and decoded by a process of its own (`radio_decoder`), which can be killed at once whatever it waits for: a name
server, a connection, a stream that stalls.
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
"""Seconds of waiting after which the caller hears of it again."""
_STEADY = 60.0
"""Seconds of sound after which the next loss counts as the first one."""


@dataclass(frozen=True)
class RadioLimits:
    """How long a server may take, in seconds."""

    answer: float = 8.0
    """Each step of connecting, and each piece of the answer."""

    opening: float = 20.0
    """All of it until the first sound: name, connection, redirects, playlist, the decoder's start."""

    silent: float = 10.0
    """Without a sound, until the connection counts as lost."""

    lead: float = 30.0
    """Sound that may come ahead of time, as in the burst that servers begin with; more, as of a file, is held back."""


def radio_blocks(
    address: str,
    wanted: int | OutputRate,
    *,
    limits: RadioLimits | None = None,
    rng: random.Random | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[Block, None, None]:
    """The sound of a web radio, for ever.

    Args:
        address: An address of http or https; a login in it is used and never shown.
        wanted: Sample rate that the blocks shall have.
        limits: How long the server may take.
        rng: Spreads the attempts of several listeners.
        monotonic: A clock in seconds that is never set.
        sleep: Waits for so many seconds.

    Yields:
        Mono blocks in [-1, 1], and while there is no stream a hole at least every second.

    Raises:
        RefusedError: It is no address of http or https.
    """
    checked_address(address)
    limits = limits or RadioLimits()
    back_off = Backoff(rng or random.Random())  # noqa: S311 - spreads attempts, hides nothing
    while True:
        cause, reason = Cause.NETWORK, f"{display_address(address)}: the stream ended"
        delivered = wanted.delivered if isinstance(wanted, OutputRate) else wanted
        try:
            with _opened(address, limits) as capture:
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


def _opened(address: str, limits: RadioLimits) -> AudioProcess:
    # Not an argument: everybody on this machine could read a login there.
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
