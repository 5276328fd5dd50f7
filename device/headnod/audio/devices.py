"""Microphones by names that stay theirs.

ALSA numbers its cards anew at every boot and every plug. What stays is what the
hardware says of itself: USB vendor, product and serial number, the port that it
is plugged into, or the id that ALSA gives a card.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headnod.errors import AudioError
from headnod.extras import how_to_install

SYS_SOUND = Path("/sys/class/sound")
CAPTURE = Path(__file__).with_name("capture.py")
_PATIENCE = 10.0
_CARD = re.compile(r"\(hw:(\d+),(\d+)\)")


@dataclass(frozen=True)
class Device:
    """A microphone that PortAudio lists."""

    name: str
    """The name to put into the configuration: the most lasting that it has."""

    others: tuple[str, ...]
    """Further names that find it."""

    portaudio: str
    """What PortAudio calls it today."""

    rate: int
    """Samples per second that it prefers."""

    channels: int
    """Channels that it offers."""

    @property
    def usb(self) -> bool:
        """It is plugged in by USB."""
        return self.name.startswith("usb:")


def devices(*, sound: Path = SYS_SOUND, capture: Path = CAPTURE) -> list[Device]:
    """Every microphone that can be opened, in PortAudio's order.

    Args:
        sound: Where Linux tells of sound cards.
        capture: The program that asks PortAudio.

    Raises:
        AudioError: PortAudio cannot be asked.
    """
    found = []
    for listed in _listed(capture):
        names = _names(listed["name"], sound)
        found.append(Device(names[0], tuple(names[1:]), listed["name"], listed["rate"], listed["channels"]))
    return found


def find(wanted: str, among: list[Device]) -> Device:
    """The microphone of a name, or the likeliest one for an empty name.

    Args:
        wanted: A name as `devices` gives it, or "": then a USB microphone if
            there is one, and else the system's default.
        among: The microphones that are there.

    Raises:
        AudioError: It is not there; the message says what is.
    """
    if not among and not wanted:
        message = "no microphone is plugged in (plug one in, or name a file with --audio)"
        raise AudioError(message)
    if not wanted:
        usual = (device for device in among if device.name == "pcm:default")
        return next((device for device in among if device.usb), next(usual, among[0]))
    for device in among:
        # A USB name may leave the serial number out.
        if wanted in {device.name, *device.others} or device.name.startswith(f"{wanted}:"):
            return device
    there = ", ".join(device.name for device in among) or "no microphone at all"
    message = f"microphone '{wanted}' is not there (there is {there})"
    raise AudioError(message)


def _listed(capture: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-P", str(capture), "list"]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False)  # noqa: S603 - our own
        answer = json.loads(ended.stdout or b'{"error": "it ended without a word"}')
    except subprocess.TimeoutExpired:
        message = f"the sound system did not answer within {_PATIENCE:.0f} s (is the sound server hung?)"
        raise AudioError(message) from None
    except json.JSONDecodeError as error:
        message = f"the sound system gave no list of microphones: {error}"
        raise AudioError(message) from error
    if "extra" in answer:
        message = f"{answer['error']}: {how_to_install(answer['extra'])}"
        raise AudioError(message)
    if "error" in answer:
        raise AudioError(answer["error"])
    return list(answer["devices"])


def _names(portaudio: str, sound: Path) -> list[str]:
    """Names of a device, the most lasting first."""
    match = _CARD.search(portaudio)
    if match is None:
        return [f"pcm:{portaudio}"]
    card = sound / f"card{match[1]}"
    names = [*_usb_names(card)]
    if label := _said(card / "id"):
        names.append(f"card:{label}")
    names.append(f"pcm:{portaudio}")
    # A card with several inputs: the second and later ones say which they are.
    return names if match[2] == "0" else [f"{name},{match[2]}" for name in names]


def _usb_names(card: Path) -> list[str]:
    # The card belongs to an interface of the USB device, which is the folder above.
    device = (card / "device").resolve().parent
    vendor, product, serial = (_said(device / name) for name in ("idVendor", "idProduct", "serial"))
    if not vendor:
        return []
    return [":".join(filter(None, ("usb", vendor, product, serial))), f"path:{device.name}"]


def _said(path: Path) -> str:
    try:
        return re.sub(r"[^\w.-]+", "_", path.read_text(errors="replace").strip())
    except OSError:
        return ""
