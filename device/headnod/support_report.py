"""The archive of `headnod check --report FILE`: what a stranger needs to help, without passwords and without audio."""

from __future__ import annotations

import io
import platform
import re
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from headnod import __version__
from headnod.address import without_login
from headnod.check_result import CheckResult
from headnod.config import Loaded
from headnod.errors import HeadnodError
from headnod.files import write_atomically
from headnod.inference.model import runtime_name
from headnod.privacy import check_privacy
from headnod.service import Service
from headnod.system import board, memory, temperature

_LINES = 2000
"""Lines of the service's log."""
_JOURNAL_SECONDS = 20.0
_LONGEST_FILE = 1 << 20
_USB_PROPERTIES = ("idVendor", "idProduct", "bcdDevice", "manufacturer", "product", "speed", "bMaxPower")
_AUDIO_CLASS = "01"
_SECRET = re.compile(r"(?i)((?:password|passwd|token|secret|api[_-]?key)\w*\s*[=:]\s*)\S+")
_CONTENTS = """A report of headnod {version}, made {date}.

    checks.txt          the results of `headnod check` and `headnod check --privacy`
    configuration.json  every setting with its origin
    versions.json       headnod, Python, packages, system and board
    log.txt             the last {lines} lines of the service's log
    health.json         memory, temperature, uptime and the latest estimate
    microphones.json    sound cards, and the descriptors of USB microphones without serial numbers

It contains no audio, no history and no password. It contains names and addresses of your network (broker, lamps, this
machine): read the files before you publish them.
"""


def write_report(
    path: Path, loaded: Loaded, service: Service | None, checks: Iterable[CheckResult], *, latest: Callable[[], object]
) -> None:
    """Write the archive, a gzipped tar.

    Args:
        path: The file; it is replaced.
        loaded: The configuration with its origins.
        service: The installed service with this configuration, if any.
        checks: Results of `headnod check`.
        latest: Reads the latest estimate of the running listener.

    Raises:
        HeadnodError: The file cannot be written.
    """
    results = [*checks, *check_privacy(loaded.config, service)]
    date = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    contents = {
        "README.txt": _CONTENTS.format(version=__version__, date=date, lines=_LINES),
        "checks.txt": "".join(f"{each.verdict:<8} {each.part:<14} {each.message}\n" for each in results),
        "configuration.json": _json(configuration(loaded)),
        "versions.json": _json(versions()),
        "log.txt": log_of(service),
        "health.json": _json({"memory_mib": memory(), "temperature": temperature(), "latest": _safely(latest)}),
        "microphones.json": _json(microphones()),
    }
    folder = f"headnod-report-{time.strftime('%Y%m%d-%H%M%S')}"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in contents.items():
            data = redacted(text).encode(errors="replace")
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mtime = len(data), int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    try:
        write_atomically(path, packed.getvalue())
    except OSError as error:
        message = f"{path}: cannot be written: {(error.strerror or '').lower()} (name a file in a folder of yours)"
        raise HeadnodError(message) from error


def redacted(text: str) -> str:
    """A text without the logins of addresses and the values after words such as `password=`.

    >>> redacted("mqtt_password=hunter2 at mqtt://me:hunter2@broker")
    'mqtt_password=*** at mqtt://broker'
    """
    return _SECRET.sub(r"\1***", without_login(text))


def configuration(loaded: Loaded) -> list[dict[str, Any]]:
    """Every setting with its value and origin; a user name is only said to be set."""
    rows = []
    for section, key, value, origin in loaded.rows():
        shown = "(set)" if (section, key) == ("mqtt", "username") and value else value
        rows.append({"section": section, "key": key, "value": shown, "origin": origin})
    return rows


def versions() -> dict[str, Any]:
    """Versions of headnod, Python, installed packages, system and board."""
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    return {
        "headnod": __version__,
        "installed_at": str(Path(__file__).parent),
        "python": platform.python_version(),
        "runtime": _safely(runtime_name),
        "packages": dict(sorted((each.name, each.version) for each in metadata.distributions())),
        "system": release.get("PRETTY_NAME", ""),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "board": board(),
    }


def log_of(service: Service | None) -> str:
    """The last lines of the service's log, or why there are none."""
    if service is None:
        return "no service is installed for this configuration\n"
    command = ["journalctl", f"--unit={service.unit}", f"--lines={_LINES}", "--no-pager", "--output=short-iso"]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=_JOURNAL_SECONDS, check=False)  # noqa: S603 - fixed
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the log cannot be read: {error}\n"
    return (ended.stdout + ended.stderr)[-_LONGEST_FILE:].decode(errors="replace")


def microphones(*, sound: Path = Path("/sys/class/sound"), cards: Path = Path("/proc/asound/cards")) -> dict[str, Any]:
    """Sound cards, and the descriptors of those on USB.

    Args:
        sound: Folder of sysfs with the sound cards.
        cards: ALSA's list of cards.
    """
    return {
        "cards": _text(cards).splitlines(),
        "usb": [_usb(device) for device in sorted({*_usb_devices(sound)})],
    }


def _usb_devices(sound: Path) -> Iterator[Path]:
    for card in sound.glob("card[0-9]*"):
        device = (card / "device").resolve().parent
        if (device / "idVendor").exists():
            yield device


def _usb(device: Path) -> dict[str, Any]:
    found: dict[str, Any] = {name: _text(device / name).strip() for name in _USB_PROPERTIES}
    try:
        # The descriptors of USB hold the index of the serial number and not the number itself.
        found["descriptors"] = (device / "descriptors").read_bytes().hex()
    except OSError as error:
        found["descriptors"] = str(error)
    interfaces = (each.parent for each in device.glob("*/bInterfaceClass") if _text(each).strip() == _AUDIO_CLASS)
    found["audio_interfaces"] = sorted(each.name for each in interfaces)
    return found


def _safely(read: Callable[[], object]) -> object:
    try:
        return read()
    except (HeadnodError, OSError) as error:
        return str(error)


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
