"""Microphones: their stable names, and the child process that is read, monitored and, when it fails, restarted.

ALSA numbers sound cards in the order of detection. Stable are the properties of the
hardware: USB vendor, product and serial number, the USB port, and ALSA's card id.

The process is killed after two seconds without frames, and the microphone is looked up
by its name at every start. Any command that writes samples can replace the process.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headnod.audio.audio_process import PIPE, AudioProcess
from headnod.audio.blocks import Block, Gap, GapDetector, waiting
from headnod.audio.processing import ChannelMixer, OutputRate, Resampler, from_s16
from headnod.errors import AudioError
from headnod.pipeline.estimate import State
from headnod.system import how_to_install, permission_denied

SYS_SOUND, PROC_CARDS = Path("/sys/class/sound"), Path("/proc/asound")
CAPTURE = Path(__file__).with_name("capture.py")
_ANSWER_TIMEOUT = 10.0
_GROUP = "audio"
NODES = Path("/dev/snd")
_NODE = re.compile(r"pcmC(\d+)D(\d+)c")
_CARD = re.compile(r"\(hw:(\d+),(\d+)\)")


@dataclass(frozen=True)
class Device:
    """A microphone that PortAudio lists."""

    name: str
    """The most stable name, for the configuration."""

    others: tuple[str, ...]
    """Other names of the device."""

    portaudio: str
    """Current name of the device in PortAudio."""

    rate: int
    """Preferred sample rate."""

    channels: int
    """Maximum number of channels."""

    @property
    def identity(self) -> str:
        """Card and device number if it has them, otherwise the PortAudio name: the same for all names of a device."""
        match = _CARD.search(self.portaudio)
        return f"hw-{match[1]}-{match[2]}" if match else self.portaudio

    @property
    def usb(self) -> bool:
        """Whether it is a USB device."""
        return self.name.startswith("usb:")


@dataclass(frozen=True)
class UnavailableDevice:
    """A microphone that cannot be opened."""

    names: tuple[str, ...]
    """Names, the most stable first."""

    reason: str
    """The reason and its solution."""


@dataclass(frozen=True)
class DeviceList:
    """The microphones of this machine."""

    devices: list[Device]
    """Microphones that can be opened, in the order of PortAudio."""

    closed: list[UnavailableDevice]
    """Microphones that are in use by another program or not permitted to this user."""


def list_devices(*, sound: Path = SYS_SOUND, capture: Path = CAPTURE, cards: Path = PROC_CARDS) -> DeviceList:
    """All microphones, with those that cannot be opened.

    `sound` is the folder of sysfs with the sound cards, `cards` that of procfs with their users, `capture` the program
    that queries PortAudio.

    Raises:
        AudioError: PortAudio is not installed or does not answer.
    """
    answer = _listed(capture)
    found = []
    for listed in answer["devices"]:
        names = _names(listed["name"], sound)
        found.append(Device(names[0], tuple(names[1:]), listed["name"], listed["rate"], listed["channels"]))
    closed = [
        UnavailableDevice(tuple(_names(each["name"], sound)), _reason(each, cards)) for each in answer.get("closed", [])
    ]
    return DeviceList(found, closed)


def _reason(closed: dict[str, Any], cards: Path) -> str:
    if closed["errno"] == errno.EBUSY:
        holder = _holder(closed["name"], cards)
        return f"is held by {holder or 'another program'} (stop it; `fuser -v /dev/snd/*` lists who has sound devices)"
    if closed["errno"] in {errno.EACCES, errno.EPERM}:
        return f"may not be opened: {permission_denied(_GROUP)}"
    # USB reports ENOSPC where the devices of one controller need more bandwidth than it has.
    way_out = "use another USB port" if closed["errno"] == errno.ENOSPC else "plug it in again"
    return f"cannot be opened: {os.strerror(closed['errno']).lower()} ({way_out})"


def _holder(name: str, cards: Path) -> str:
    """Name and process id of the program that uses an input; empty if unknown."""
    match = _CARD.search(name)
    for status in sorted(cards.glob(f"card{match[1]}/pcm{match[2]}c/sub*/status")) if match else ():
        owner = re.search(r"owner_pid\s*:\s*(\d+)", _text(status))
        if owner is not None:
            return f"{_text(Path('/proc', owner[1], 'comm')).strip() or 'a program'} (process {owner[1]})"
    return ""


def opened_card(process: int, *, nodes: Path = NODES) -> str:
    """The identity of the card that a process or one of its children records from, whatever name it was opened by.

    Returns:
        As `Device.identity`; empty where it has no card open, as with a sound server.
    """
    for link in sorted(Path(f"/proc/{process}/fd").glob("*")):
        with contextlib.suppress(OSError):
            target = link.readlink()
            match = _NODE.fullmatch(target.name)
            if match and target.parent == nodes:
                return f"hw-{match[1]}-{match[2]}"
    children = _text(Path(f"/proc/{process}/task/{process}/children")).split()
    return next(filter(None, (opened_card(int(child), nodes=nodes) for child in children)), "")


def find(wanted: str, among: list[Device], closed: Sequence[UnavailableDevice] = ()) -> Device:
    """Find a microphone by name.

    `wanted` is a name of a `Device`, or empty for a USB microphone if there is one, otherwise the default of the
    system.

    Raises:
        AudioError: The microphone is absent, in use or not permitted; the message lists those that are present.
    """
    for shut in closed:
        matches = wanted in shut.names or any(name.startswith(f"{wanted}:") for name in shut.names)
        if matches if wanted else not among:
            raise AudioError(f"microphone '{wanted or shut.names[0]}' {shut.reason}")
    if not among and not wanted:
        raise AudioError("no microphone is plugged in (plug one in, or name a file with --audio)")
    if not wanted:
        usual = (device for device in among if device.name == "pcm:default")
        return next((device for device in among if device.usb), next(usual, among[0]))
    for device in among:
        # A USB name may leave the serial number out.
        if wanted in {device.name, *device.others} or device.name.startswith(f"{wanted}:"):
            return device
    there = ", ".join(device.name for device in among) or "no microphone at all"
    raise AudioError(f"microphone '{wanted}' is not there (there is {there})")


def _listed(capture: Path) -> dict[str, Any]:
    command = [sys.executable, "-P", str(capture), "list"]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=_ANSWER_TIMEOUT, check=False)  # noqa: S603 - our own
        answer = json.loads(ended.stdout or b'{"error": "it ended without output"}')
    except subprocess.TimeoutExpired:
        raise AudioError(
            f"the sound system did not answer within {_ANSWER_TIMEOUT:.0f} s (is the sound server hung?)"
        ) from None
    except json.JSONDecodeError as error:
        raise AudioError(f"the sound system gave no list of microphones: {error}") from error
    if "extra" in answer:
        raise AudioError(f"{answer['error']}: {how_to_install(answer['extra'])}")
    if "error" in answer:
        raise AudioError(answer["error"])
    return dict(answer)


def _names(portaudio: str, sound: Path) -> list[str]:
    """Names of a device, the most stable first."""
    match = _CARD.search(portaudio)
    if match is None:
        return [f"pcm:{portaudio}"]
    card = sound / f"card{match[1]}"
    names = [*_usb_names(card)]
    if label := _property(card / "id"):
        names.append(f"card:{label}")
    names.append(f"pcm:{portaudio}")
    # The second and later inputs of a card have the number of the input in their names.
    return names if match[2] == "0" else [f"{name},{match[2]}" for name in names]


def _usb_names(card: Path) -> list[str]:
    # The card belongs to an interface of the USB device, whose folder is the parent.
    device = (card / "device").resolve().parent
    vendor, product, serial = (_property(device / name) for name in ("idVendor", "idProduct", "serial"))
    if not vendor:
        return []
    return [":".join(filter(None, ("usb", vendor, product, serial))), f"path:{device.name}"]


def _property(path: Path) -> str:
    return re.sub(r"[^\w.-]+", "_", _text(path).strip())


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


_FALLBACK_RATES = ("44100", "48000", "32000", "22050", "16000")
_OPENING, _SILENT = 5.0, 2.0
"""Timeouts in seconds: for opening the microphone, and for the next frames."""
_FASTEST = 4 * 48_000
"""Bytes per second of two channels at 48 kHz."""
SHORTEST, LONGEST = 0.1, 1.0
"""Range of the duration of a block in seconds."""
_FIRST_DELAY, _LONGEST_DELAY = 1.0, 3.0
"""Seconds between attempts to open a microphone: the first delay, which doubles with each attempt, and the longest."""


def block_seconds(every: float) -> float:
    """Duration of a block in seconds, for an estimate every `every` seconds.

    Each block wakes two processes. A third of the interval delays estimates little, and with
    at most one second a hanging microphone is still detected within two.
    """
    return min(max(every / 3.0, SHORTEST), LONGEST)


def find_device(name: str) -> Device:
    """The microphone of a name; see `find`."""
    there = list_devices()
    return find(name, there.devices, there.closed)


def open_device(device: Device, block: float = SHORTEST) -> AudioProcess:
    """Start the process of a microphone.

    `block` is the duration of a block in seconds.

    Raises:
        AudioError: The microphone is absent, busy, or has no sample rate of 16 kHz or more.
    """
    command = [sys.executable, "-P", str(CAPTURE), "read", device.portaudio, str(block), *_FALLBACK_RATES]
    # A pipe that holds a whole block wakes each side once per block.
    return AudioProcess(command, pipe=max(PIPE, round(block * _FASTEST)))


def microphone_blocks(
    start: Callable[[], AudioProcess],
    wanted: int | OutputRate,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[Block, None, None]:
    """The audio of a microphone, without end.

    `start` is called again after every failure: in a second, then in two, then every three. `wanted` is the sample rate
    of the blocks.

    Yields:
        Mono blocks in [-1, 1], rate changes, and gaps: after lost audio, and at least
        every second while there is no microphone.
    """
    pause = _FIRST_DELAY
    while True:
        try:
            with start() as capture:
                for block in _sound(capture, wanted, monotonic):
                    pause = _FIRST_DELAY
                    yield block
                reason = capture.end_reason
        except AudioError as error:
            reason = str(error)
        yield from waiting(pause, reason, sleep=sleep)
        pause = min(2.0 * pause, _LONGEST_DELAY)


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
        raise AudioError(f"no sound came from the microphone for {timeout:.0f} s (it hangs, or its sound server does)")
