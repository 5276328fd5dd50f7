"""What headnod has open, for `headnod check --privacy`, and the archive of `headnod check --report FILE`.

The kernel reports sockets and written files in /proc, so the result does not depend on what headnod claims. The archive
has what a stranger needs to help, without passwords and without audio.
"""

from __future__ import annotations

import io
import ipaddress
import os
import platform
import re
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from headnod import __version__
from headnod.address import display_address, without_login
from headnod.config import Config, Loaded
from headnod.errors import CheckResult, HeadnodError, Verdict
from headnod.files import write_atomically
from headnod.inference.model import runtime_name
from headnod.service import Sandbox, Service
from headnod.system import board, memory, temperature

PROC = Path("/proc")
_PROGRAM = re.compile(r"(^|/)headnod(-train)?$|(^|/)headnod/audio/capture\.py$")
_MODULE = re.compile(r"headnod(\.|$)")
_LISTENS, _UDP_UNCONNECTED = "0A", "07"
_FAMILIES = (("tcp", "TCP"), ("tcp6", "TCP"), ("udp", "UDP"), ("udp6", "UDP"))
_LEAST_FIELDS = 10

_LINES = 2000
"""Lines of the service's log."""
_JOURNAL_SECONDS = 20.0
_LONGEST_FILE = 1 << 20
_USB_PROPERTIES = ("idVendor", "idProduct", "bcdDevice", "manufacturer", "product", "speed", "bMaxPower")
_AUDIO_CLASS = "01"
_NAMES = r"pass(?:word|wd|phrase)?|pwd|token|secret|api[_-]?key|authorization|credentials?|cookie"
_SECRET = re.compile(
    rf"(?i)((?:{_NAMES})\w*[\"']?\s*[=:]\s*[\"']?)(?:(?:basic|bearer|digest)\s+)?[^\s\"',]+|((?:basic|bearer)\s+)[\w.~+/=-]+"
)
"""The value after such a name, or after the scheme of an HTTP login."""

_SECRET_OPTION = re.compile(rf"(?i)-[\w-]*(?:{_NAMES}|\bu(?:ser)?\b)\w*")
"""A word of a command line before a word that is secret."""

_QUERY = re.compile(r"(\w://[^\s?\"']+\?)[^\s\"']+")
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


@dataclass(frozen=True)
class Socket:
    """One internet socket."""

    protocol: str
    """`TCP` or `UDP`."""

    local: str
    """Own address with its port."""

    remote: str
    """The other side's address with its port; empty for a socket that waits for connections or packets."""

    @property
    def leaves_the_house(self) -> bool:
        """Whether the other side has an address of the internet."""
        host = self.remote.rpartition(":")[0].strip("[]")
        return bool(host) and ipaddress.ip_address(host).is_global

    def __str__(self) -> str:
        """As in the output of the command."""
        return f"{self.protocol} to {self.remote}" if self.remote else f"{self.protocol} at {self.local}, waiting"


def check_privacy(config: Config, service: Service | None) -> Iterator[CheckResult]:
    """Data that headnod may send, with the receiver, then sockets and files that its processes have open."""
    yield CheckResult("audio", "well", "is kept in memory for one window and then overwritten; no file receives it")
    yield CheckResult("configured", "well", "; ".join(_configured(config)) or "nothing is sent to another machine")
    sandbox = Sandbox(service.unit) if service is not None else None
    if sandbox is None or not sandbox.installed:
        yield CheckResult("sandbox", "none", "no service is installed for this configuration")
    else:
        allowed = sandbox.allowed_addresses()
        limit = f"may connect to {' '.join(allowed)} only (enforced by systemd)" if allowed else "may connect anywhere"
        yield CheckResult("sandbox", "well" if allowed else "warning", f"{sandbox.unit} {limit}")
    found = False
    for process in processes():
        found = True
        yield from _process(process)
    if not found:
        yield CheckResult("processes", "none", "no headnod runs now")


def _configured(config: Config) -> Iterator[str]:
    if config.mqtt.host:
        way = f"port {config.mqtt.used_port}, {'encrypted' if config.mqtt.tls else 'not encrypted'}"
        way = "a socket of this machine" if config.mqtt.transport == "unix" else way
        yield f"estimates, songs and health to the broker {config.mqtt.host} ({way})"
    yield from (f"colours to the lamp {output.host}" for output in config.leds if output.kind == "wled")
    if config.microphone.address:
        yield f"requests to {display_address(config.microphone.address)}"


def processes(proc: Path = PROC) -> Iterator[int]:
    """Process ids of every headnod but this one, and of its microphone and decoder processes."""
    for folder in sorted((each for each in proc.iterdir() if each.name.isdigit()), key=lambda each: int(each.name)):
        number = int(folder.name)
        if number != os.getpid() and _is_headnod(_words(number, proc)):
            yield number


def _words(process: int, proc: Path) -> list[str]:
    try:
        return (proc / str(process) / "cmdline").read_text(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def _is_headnod(words: list[str]) -> bool:
    if not words or not (Path(words[0]).name.startswith("python") or _PROGRAM.search(words[0])):
        return False
    module = words[words.index("-m") + 1 :][:1] if "-m" in words[:4] else []
    return any(_PROGRAM.search(word) for word in words[:4]) or any(_MODULE.match(word) for word in module)


def _process(process: int) -> Iterator[CheckResult]:
    words = _words(process, PROC)
    # The interpreter and its options say nothing.
    shown = without_login(" ".join(word for word in words[1:] if not word.startswith("-P"))[:80]) or "ended"
    part = f"process {process}"
    try:
        links = {link.name: link.readlink() for link in (PROC / str(process) / "fd").iterdir()}
    except PermissionError:
        yield CheckResult(part, "warning", f"{shown}: belongs to another user (run this command with sudo)")
        return
    except OSError:
        return
    sockets = open_sockets(process, {str(link) for link in links.values()})
    far = [each for each in sockets if each.leaves_the_house]
    what = "; ".join(map(str, sockets)) or "no socket of the network"
    verdict: Verdict = "warning" if far else "well"
    warning = " (an address of the internet)" if far else ""
    yield CheckResult(part, verdict, f"{shown}: {what}{warning}")
    files = sorted({str(link) for number, link in links.items() if _is_written(process, number, link)})
    yield CheckResult(part, "well", f"writes {', '.join(files) if files else 'no file'}")


def open_sockets(process: int, links: set[str]) -> list[Socket]:
    """The internet sockets of a process; `links` has the targets of its file descriptors, such as `socket:[1234]`."""
    found = []
    for name, protocol in _FAMILIES:
        try:
            lines = (PROC / str(process) / "net" / name).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if len(fields) < _LEAST_FIELDS or f"socket:[{fields[9]}]" not in links:
                continue
            waits = fields[3] == (_LISTENS if protocol == "TCP" else _UDP_UNCONNECTED)
            found.append(Socket(protocol, _address(fields[1]), "" if waits else _address(fields[2])))
    return sorted(found, key=str)


def _address(text: str) -> str:
    """An address of /proc/net, such as `0100007F:1F90`: words of 32 bits in the byte order of the machine."""
    host, _, port = text.partition(":")
    words = [int.from_bytes(bytes.fromhex(host[at : at + 8]), "little").to_bytes(4) for at in range(0, len(host), 8)]
    ip = ipaddress.ip_address(b"".join(words))
    if isinstance(ip, ipaddress.IPv6Address):
        mapped = ip.ipv4_mapped
        return f"{mapped}:{int(port, 16)}" if mapped else f"[{ip}]:{int(port, 16)}"
    return f"{ip}:{int(port, 16)}"


def _is_written(process: int, number: str, link: Path) -> bool:
    path = str(link)
    if not path.startswith("/") or path.startswith(("/dev/", "/proc/", "/memfd:", "/sys/")):
        return False
    try:
        info = (PROC / str(process) / "fdinfo" / number).read_text(encoding="ascii")
    except OSError:
        return False
    flags = re.search(r"^flags:\s*(\d+)", info, re.MULTILINE)
    return flags is not None and int(flags[1], 8) & os.O_ACCMODE != os.O_RDONLY


def write_report(
    path: Path, loaded: Loaded, service: Service | None, checks: Iterable[CheckResult], *, latest: Callable[[], object]
) -> None:
    """Write the archive, a gzipped tar, in place of an earlier one.

    `checks` has the results of `headnod check`; `latest` reads the latest estimate of the running listener.

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
        raise HeadnodError(
            f"{path}: cannot be written: {(error.strerror or '').lower()} (name a file in a folder of yours)"
        ) from error


def redacted(text: str) -> str:
    """A text without the logins and queries of addresses, and the values after words such as `password=`.

    >>> redacted("mqtt_password=hunter2 at mqtt://me:hunter2@broker, http://radio/live?id=7")
    'mqtt_password=*** at mqtt://broker, http://radio/live?***'
    """
    return _QUERY.sub(r"\1***", _SECRET.sub(r"\1\2***", without_login(text)))


def configuration(loaded: Loaded) -> list[dict[str, Any]]:
    """Every setting with its value and origin; a user name is only said to be set."""
    rows = []
    for section, key, value, origin in loaded.rows():
        shown = "(set)" if (section, key) == ("mqtt", "username") and value else value
        if (section, key) == ("microphone", "command"):
            shown = ["***" if _SECRET_OPTION.fullmatch(before) else word for before, word in pairwise(["", *value])]
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

    `sound` is the folder of sysfs with the sound cards, `cards` the list of cards by ALSA.
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
