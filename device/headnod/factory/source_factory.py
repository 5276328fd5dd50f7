"""Audio sources, built from the configuration and the command line."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from headnod.address import checked_address, is_address
from headnod.audio.audio_process import AudioProcess, open_command
from headnod.audio.blocks import Block, real_time
from headnod.audio.microphone import NODES, SHORTEST, find_device, microphone_blocks, open_device, opened_card
from headnod.audio.processing import CONSTANT, OutputRate, remove_dc
from headnod.config import MicrophoneSection
from headnod.errors import AudioError
from headnod.factory.output_factory import runtime_folder
from headnod.resources import demo_clip

_log = logging.getLogger(__name__)

MICROPHONE, STANDARD_INPUT = "mic", "-"
"""Values of --audio that are not file names."""


def microphone_or_demo(section: MicrophoneSection, *, recorded: bool) -> str:
    """The default of --audio: the microphone, or the demo clip if no microphone works and none is named.

    Args:
        section: The microphone.
        recorded: Estimates leave the terminal (MQTT, history, LEDs, a service). The demo clip would be recorded as
            music of the room, so the listener waits for a microphone then.
    """
    if section.command or section.address:
        return MICROPHONE
    try:
        open_device(find_device(section.device)).close()
    except AudioError as error:
        if section.device or recorded:
            _log.warning("%s; waiting for it", error)
            return MICROPHONE
        _log.warning("%s; the demo clip plays instead", error)
        return str(demo_clip())
    return MICROPHONE


@contextlib.contextmanager
def source(
    audio: str, section: MicrophoneSection, rate: int | OutputRate, pace: str | None, *, block: float = SHORTEST
) -> Iterator[Iterator[Block]]:
    """Open a source: blocks of mono audio at a sample rate.

    Args:
        audio: `mic`, `-`, the address of a web radio or camera, or a file.
        section: The microphone, or the address in its place, and the format of raw samples.
        rate: Sample rate of the blocks in Hz; an `OutputRate` can be changed while the source is read.
        pace: `real` plays files in real time.
        block: Seconds of audio in one block of a microphone.

    Raises:
        AudioError: The file cannot be read, or another headnod uses the microphone.
    """
    delivered = rate.delivered if isinstance(rate, OutputRate) else rate
    if audio == MICROPHONE and section.address:
        audio = section.address
    if audio == MICROPHONE:
        with contextlib.closing(_MicrophoneLock()) as lock:
            start = opener(section, block, claim=lock.acquire)
            with contextlib.closing(microphone_blocks(start, rate)) as blocks:
                yield remove_dc(blocks, delivered)
        return
    if is_address(audio):
        from headnod.audio.audio_process import radio_blocks  # noqa: PLC0415 - for streams only

        checked_address(audio)
        with contextlib.closing(radio_blocks(audio, rate)) as blocks:
            yield remove_dc(blocks, delivered, least=CONSTANT)
        return
    with contextlib.ExitStack() as stack:
        stored: Iterator[Block]
        if audio == STANDARD_INPUT:
            from headnod.audio.audio_process import raw_blocks  # noqa: PLC0415

            raw = raw_blocks(sys.stdin.fileno(), rate=section.rate, wanted=rate, channels=section.channels)
            stored = remove_dc(raw, delivered)
        else:
            from headnod.audio.audio_file import file_blocks  # noqa: PLC0415 - libsndfile is for files only

            stored = stack.enter_context(file_blocks(Path(audio), rate))
        yield real_time(stored, delivered, monotonic=time.monotonic, sleep=time.sleep) if pace == "real" else stored


def opener(
    section: MicrophoneSection,
    block: float = SHORTEST,
    *,
    claim: Callable[[str], None] = lambda _identity: None,
    nodes: Path = NODES,
) -> Callable[[], AudioProcess]:
    """A function that opens the microphone of a configuration, or the stream in its place.

    Args:
        section: The microphone.
        block: Seconds of audio in one block.
        claim: Raises AudioError if another headnod uses the microphone of that identity. It is called again with the
            card once that is open, because two names can lead to one card.
        nodes: Folder of the device nodes of sound cards.

    Raises:
        AudioError: Another headnod uses it.
    """
    if section.address:
        from headnod.audio.audio_process import open_radio  # noqa: PLC0415 - for streams only

        return lambda: open_radio(section.address)
    if section.command:
        command, rate, channels = list(section.command), section.rate, section.channels
        claim(" ".join(command))
        return lambda: _claimed(open_command(command, rate, channels), claim, nodes)
    try:
        first = [find_device(section.device)]
    except AudioError:
        first = []
        claim(section.device or "default")
    for device in first:
        claim(device.identity)

    def start() -> AudioProcess:
        device = first.pop() if first else find_device(section.device)
        claim(device.identity)
        return _claimed(open_device(device, block), claim, nodes)

    return start


def _claimed(capture: AudioProcess, claim: Callable[[str], None], nodes: Path) -> AudioProcess:
    """The capture, after a claim to the card that it opened: a name such as `default` can lead to any card."""
    try:
        if card := opened_card(capture.process, nodes=nodes):
            claim(card)
    except BaseException:
        capture.close()
        raise
    return capture


class _MicrophoneLock:
    """A lock file for one microphone, so that two listeners do not open it."""

    def __init__(self) -> None:
        self._identity = ""
        self._file: IO[str] | None = None

    def acquire(self, identity: str) -> None:
        """Lock the microphone of an identity, and release the one before.

        Raises:
            AudioError: Another headnod holds the lock.
        """
        if identity == self._identity:
            return
        folder = runtime_folder() or os.environ.get("TMPDIR", "/tmp")  # noqa: S108 - tempfile would import all compression modules
        safe = "".join(letter if letter.isalnum() else "-" for letter in identity)[:64]
        path = Path(folder) / f"headnod-{os.getuid()}-{safe}.lock"
        try:
            file = path.open("a+")
        except OSError as error:
            message = f"{path}: cannot be locked: {(error.strerror or '').lower()} (check its folder and owner)"
            raise AudioError(message) from error
        try:
            _lock(file, identity)
        except BaseException:
            file.close()
            raise
        self.close()
        self._identity, self._file = identity, file

    def close(self) -> None:
        """Release the lock."""
        if self._file is not None:
            self._file.close()
        self._identity, self._file = "", None


def _lock(file: IO[str], name: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        message = f"another headnod (process {holder}) listens to microphone '{name}' already (stop it first)"
        raise AudioError(message) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
