"""Addresses of web radios and cameras: validation, and a form for messages without secrets."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit

from headnod.errors import AudioError

WEB = ("http", "https")
"""Schemes of web radios."""

RTSP = ("rtsp", "rtsps")
"""Schemes of cameras and of other RTSP servers."""

_LONGEST_NAME = 120


class RefusedError(AudioError):
    """The server refused the request; a repetition soon would fail too."""


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
    """The parts of a valid address.

    Args:
        address: The address.
        schemes: Schemes that are allowed.

    Raises:
        RefusedError: The scheme is not allowed, or the host is missing.
    """
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        message = (
            f"{display_address(address)}: is not a web address: {error} (write http://radio.example:8000/live.mp3)"
        )
        raise RefusedError(message) from error
    if parts.scheme not in schemes:
        *most, last = (f"{scheme}://" for scheme in schemes)
        message = (
            f"{display_address(address)}: only {', '.join(most)} and {last} can be played "
            "(write the path of a file without file://)"
        )
        raise RefusedError(message)
    if not host:
        message = f"{display_address(address)}: names no host (write http://radio.example:8000/live.mp3)"
        raise RefusedError(message)
    return parts
