"""Network addresses: a host with or without a port, and the URLs of web radios and cameras."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from headnod.errors import AudioError

WEB = ("http", "https")
"""Schemes of web radios."""

RTSP = ("rtsp", "rtsps")
"""Schemes of cameras and of other RTSP servers."""

ALL = ("0.0.0.0", "::")  # noqa: S104 - not bound
"""Hosts that mean all addresses of this machine."""

_HOST = re.compile(r"[^\s/\\@?#:\[\]]+")
_SCHEMES = {"mqtt": False, "tcp": False, "ws": False, "mqtts": True, "ssl": True, "tls": True, "wss": True}
"""Whether a URL scheme of other MQTT programs means TLS."""
_LARGEST_PORT = 65_535
_AVAHI = Path("/run/avahi-daemon/socket")
_LONGEST_NAME = 120


class RefusedError(AudioError):
    """The server refused the request; a repetition soon would fail too."""


def split_address(text: str) -> tuple[str, int]:
    """Host and port of an address; port 0 if it has none.

    >>> split_address("broker.lan:1884"), split_address("[::1]:1883"), split_address("::1")
    (('broker.lan', 1884), ('::1', 1883), ('::1', 0))

    Raises:
        ValueError: The address is invalid; the message shows valid ones.
    """
    if "://" in text:
        raise ValueError(_as_settings(text))
    if "@" in text:
        host = text.rpartition("@")[2]
        raise ValueError(f"'...@{host}' holds a login (write {host} alone; a login has settings of its own)")
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or not _is_ipv6(host) or rest == ":" or (rest and not rest.startswith(":")):
            raise ValueError(f"'{text}' is not an IPv6 address with a port (write [::1]:1883)")
        return host, _port(text, rest[1:]) if rest else 0
    if text.count(":") > 1:
        if not _is_ipv6(text):
            raise ValueError(f"'{text}' is not an address (write broker.lan, broker.lan:1883, ::1 or [::1]:1883)")
        return text, 0
    host, colon, port = text.partition(":")
    if host.isdecimal():
        raise ValueError(f"'{text}' is a number (write a name or an address, such as broker.lan)")
    if not _HOST.fullmatch(host) or not _is_name(host):
        raise ValueError(f"'{text}' is not a host name or address (write broker.lan, 192.0.2.7 or [::1]:1883)")
    return host, _port(text, port) if colon else 0


def is_local(host: str) -> bool:
    """Whether a server bound to this host can be reached only from this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def page_url(host: str, port: int, *, tls: bool = False, avahi: Path = _AVAHI) -> str:
    """The address of a page for a browser; of all addresses of this machine the one that others can open.

    `avahi` is the socket of Avahi, which knows the name of this machine.

    >>> page_url("127.0.0.1", 8080), page_url("::1", 8080, tls=True)
    ('http://127.0.0.1:8080/', 'https://[::1]:8080/')
    """
    name = _own_name(avahi) if host in ALL else host
    return f"{'https' if tls else 'http'}://{f'[{name}]' if ':' in name else name}:{port}/"


def _own_name(avahi: Path) -> str:
    """The name that avahi gives to this machine in the local network (mDNS), without it an IP address."""
    name = socket.gethostname().partition(".")[0]
    if avahi.exists():
        return f"{name}.local"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Looks a route up; nothing is sent.
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return name


def _port(text: str, digits: str) -> int:
    if not (digits.isascii() and digits.isdigit() and 1 <= int(digits[:6]) <= _LARGEST_PORT):
        raise ValueError(f"'{text}': the port is not a whole number from 1 to {_LARGEST_PORT}")
    return int(digits)


def _is_name(host: str) -> bool:
    """Whether the resolver can look a host up: it refuses empty parts, and parts of more than 63 characters."""
    try:
        return bool(host.encode("idna"))
    except UnicodeError:
        return False


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6  # noqa: PLR2004 - the version that has colons
    except ValueError:
        return False


def _as_settings(text: str) -> str:
    """The settings that replace a URL; a password in it is not repeated."""
    scheme = text.partition("://")[0].lower()
    if scheme in {"unix", "mqtt+unix"}:
        path = text.partition("://")[2]
        return f'\'{scheme}://...\' is a URL (write transport = "unix", host = "{path or "/run/mosquitto.sock"}")'
    if scheme not in _SCHEMES:
        return f"'{scheme}://...' is not MQTT over TCP, TLS or WebSocket (write the name alone, such as broker.lan)"
    try:
        url = urlsplit(text)
        host, port, login, path = url.hostname or "", url.port, url.username, url.path
    except ValueError:
        host, port, login, path = "", None, None, ""
    parts = [f'host = "{host or "broker.lan"}"']
    parts += [f"port = {port}"] if port else []
    parts += ['transport = "websockets"'] if scheme in {"ws", "wss"} else []
    parts += [f'path = "{path}"'] if scheme in {"ws", "wss"} and path not in {"", "/mqtt"} else []
    parts += ["tls = true"] if _SCHEMES[scheme] else []
    parts += [f'username = "{login}", and the password in the file named by password_file'] if login else []
    return f"'{scheme}://...' is a URL; the section [mqtt] has a key for each part of it (write {', '.join(parts)})"


def is_address(audio: str) -> bool:
    """Whether an audio source is a URL, not the name of a file."""
    scheme, separator, _ = audio.partition("://")
    return bool(separator) and scheme.isascii() and scheme.replace("+", "").isalnum()


def display_address(address: str) -> str:
    """An address for messages, without login and query, which may contain secrets.

    >>> display_address("http://me:secret@radio.example:8000/live.mp3?key=17")
    'http://radio.example:8000/live.mp3'
    """
    try:
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "the address"
    name = f"{parts.scheme}://{host}{parts.path}"
    printable = "".join(letter if letter.isprintable() else "?" for letter in name)
    return printable if len(printable) <= _LONGEST_NAME else f"{printable[:_LONGEST_NAME]}..."


def without_login(text: str) -> str:
    """A text, such as a command line, without the logins of the addresses in it.

    >>> without_login("ffmpeg -i rtsp://me:secret@camera/live -f s16le -")
    'ffmpeg -i rtsp://camera/live -f s16le -'
    """
    return re.sub(r"(://)[^\s/]*@", r"\1", text)


def checked_address(address: str, schemes: Collection[str] = (*WEB, *RTSP)) -> SplitResult:
    """The parts of a valid address with one of these schemes.

    Raises:
        RefusedError: The scheme is not allowed, or the host is missing.
    """
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise RefusedError(
            f"{display_address(address)}: is not a web address: {error} (write http://radio.example:8000/live.mp3)"
        ) from error
    if parts.scheme not in schemes:
        *most, last = (f"{scheme}://" for scheme in schemes)
        raise RefusedError(
            f"{display_address(address)}: only {', '.join(most)} and {last} can be played "
            "(write the path of a file without file://)"
        )
    if not host or not _is_name(host):
        raise RefusedError(f"{display_address(address)}: names no host (write http://radio.example:8000/live.mp3)")
    return parts
