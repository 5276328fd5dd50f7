"""Sockets, addresses and written files of the headnod processes on this machine, for `headnod check --privacy`.

The kernel reports them in /proc, so the result does not depend on what headnod claims.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headnod.address import display_address, without_login
from headnod.check_result import CheckResult, Verdict
from headnod.config import Config
from headnod.service import Sandbox, Service

PROC = Path("/proc")
_PROGRAM = re.compile(r"(^|/)headnod(-train)?$|(^|/)headnod/audio/capture\.py$")
_MODULE = re.compile(r"headnod(\.|$)")
_LISTENS, _UDP_UNCONNECTED = "0A", "07"
_FAMILIES = (("tcp", "TCP"), ("tcp6", "TCP"), ("udp", "UDP"), ("udp6", "UDP"))
_LEAST_FIELDS = 10


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


def check_privacy(config: Config, service: Service | None, *, proc: Path = PROC) -> Iterator[CheckResult]:
    """What headnod may send and to whom, then what its running processes have open.

    Args:
        config: The configuration.
        service: The installed service with this configuration, if any.
        proc: Where procfs is mounted.
    """
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
    for process in processes(proc):
        found = True
        yield from _process(process, proc)
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


def _process(process: int, proc: Path) -> Iterator[CheckResult]:
    words = _words(process, proc)
    # The interpreter and its options say nothing.
    shown = without_login(" ".join(word for word in words[1:] if not word.startswith("-P"))[:80]) or "ended"
    part = f"process {process}"
    try:
        links = {link.name: link.readlink() for link in (proc / str(process) / "fd").iterdir()}
    except PermissionError:
        yield CheckResult(part, "warning", f"{shown}: belongs to another user (run this command with sudo)")
        return
    except OSError:
        return
    sockets = open_sockets(process, {str(link) for link in links.values()}, proc)
    far = [each for each in sockets if each.leaves_the_house]
    what = "; ".join(map(str, sockets)) or "no socket of the network"
    verdict: Verdict = "warning" if far else "well"
    warning = " (an address of the internet)" if far else ""
    yield CheckResult(part, verdict, f"{shown}: {what}{warning}")
    files = sorted({str(link) for number, link in links.items() if _is_written(process, number, link, proc)})
    yield CheckResult(part, "well", f"writes {', '.join(files) if files else 'no file'}")


def open_sockets(process: int, links: set[str], proc: Path = PROC) -> list[Socket]:
    """The internet sockets of a process.

    Args:
        process: Its id.
        links: Targets of its file descriptors, such as `socket:[1234]`.
        proc: Where procfs is mounted.
    """
    found = []
    for name, protocol in _FAMILIES:
        try:
            lines = (proc / str(process) / "net" / name).read_text(encoding="ascii").splitlines()[1:]
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


def _is_written(process: int, number: str, link: Path, proc: Path) -> bool:
    path = str(link)
    if not path.startswith("/") or path.startswith(("/dev/", "/proc/", "/memfd:", "/sys/")):
        return False
    try:
        info = (proc / str(process) / "fdinfo" / number).read_text(encoding="ascii")
    except OSError:
        return False
    flags = re.search(r"^flags:\s*(\d+)", info, re.MULTILINE)
    return flags is not None and int(flags[1], 8) & os.O_ACCMODE != os.O_RDONLY
