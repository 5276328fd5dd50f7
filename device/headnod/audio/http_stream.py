"""Playlists, and HTTP for web radios: redirects and the status line of Shoutcast.

Only http and https are allowed, also in redirects and playlists. Every wait and every size but that of the stream is
bounded, and a login is only sent to the host of the address that contains it. A playlist on this machine may contain
files of this machine; addresses in it are reported and not fetched.
"""

from __future__ import annotations

import base64
import codecs
import contextlib
import http.client
import io
import os
import socket
import ssl
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from headnod.address import WEB, RefusedError, checked_address, display_address
from headnod.errors import AudioError

PLAYLISTS = frozenset({".m3u", ".m3u8", ".pls"})
AUDIO = frozenset({
    ".wav", ".au", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".caf",
    ".w64", ".snd", ".m4a", ".m4b", ".mp4", ".aac", ".wma", ".webm", ".mka", ".mkv",
})  # fmt: skip
"""Suffixes of audio files in folders."""

_MOST_BYTES, _MOST_ENTRIES = 1 << 20, 10_000


def expanded(words: Iterable[str], *, recursive: bool) -> tuple[list[str], list[str]]:
    """Expand folders and playlists to files; returns the files, and a line for everything that is skipped.

    Args:
        words: Files, playlists and folders.
        recursive: Include the audio files in folders and their subfolders.
    """
    files: list[str] = []
    notes: list[str] = []
    for word in words:
        path = Path(word)
        if path.is_dir() and recursive:
            found, passed = _in_folder(path)
            files += found
            notes += passed
        elif path.is_dir():
            notes.append(f"{word}: is a folder (-r classifies the audio files in it)")
        elif path.suffix.lower() in PLAYLISTS and path.is_file():
            try:
                found, passed = _in_playlist(path)
            except AudioError as error:
                found, passed = [], [str(error)]
            files += found
            notes += passed
        else:
            files.append(word)
    return files, notes


def _in_folder(folder: Path) -> tuple[list[str], list[str]]:
    files, others, links = [], Counter[str](), 0
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        # os.walk does not follow links to folders, which may form a loop.
        links += sum(Path(place, name).is_symlink() for name in folders)
        for name in sorted(name for name in names if not name.startswith(".")):
            ending = Path(name).suffix.lower()
            if ending in AUDIO:
                files.append(str(Path(place, name)))
            else:
                others[ending or "without an ending"] += 1
    notes = []
    if not files:
        notes.append(f"{folder}: holds no audio files")
    if others:
        kinds = ", ".join(f"{count} {ending}" for ending, count in others.most_common(5))
        number = others.total()
        passed = "1 file is not audio and was" if number == 1 else f"{number} files are not audio and were"
        notes.append(f"{folder}: {passed} passed over ({kinds})")
    if links:
        passed = "1 link to a folder was" if links == 1 else f"{links} links to folders were"
        notes.append(f"{folder}: {passed} not followed (name them themselves)")
    return files, notes


def _in_playlist(path: Path) -> tuple[list[str], list[str]]:
    """Expand a playlist.

    Raises:
        AudioError: The playlist cannot be read or is too long.
    """
    try:
        with path.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise AudioError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    if len(content) > _MOST_BYTES:
        raise AudioError(f"{path}: is longer than a playlist (1 MiB)")
    files, notes = [], []
    entries = playlist_entries(content, path.suffix.lower())
    for entry in entries[:_MOST_ENTRIES]:
        address = urlsplit(entry) if "://" in entry else None
        if address is not None and address.scheme != "file":
            notes.append(f"{path}: '{entry}' is an address (only files are classified)")
        elif Path(entry).suffix.lower() in PLAYLISTS:
            notes.append(f"{path}: '{entry}' is no audio file (playlists in playlists are not read)")
        else:
            files.append(_file_of(path.parent / (unquote(address.path) if address is not None else entry)))
    if len(entries) > _MOST_ENTRIES:
        notes.append(f"{path}: names {len(entries)} files, of which {_MOST_ENTRIES} were taken")
    if b"#EXT-X-" in content:
        files, notes = [], [f"{path}: is an HLS playlist, which names pieces of a stream (convert it to a file)"]
    elif any("\0" in entry for entry in entries):
        files, notes = [], [f"{path}: is not a playlist (it holds bytes that are not text)"]
    elif not entries:
        notes.append(f"{path}: names no file")
    return files, notes


def _file_of(path: Path) -> str:
    """The path; where only that exists, the one with slashes of Windows, or with the bytes that the playlist has."""
    slashed = Path(str(path).replace("\\", "/"))
    if slashed != path and not path.exists() and slashed.exists():
        return str(slashed)
    with contextlib.suppress(UnicodeEncodeError):
        verbatim = os.fsdecode(str(path).encode("latin-1"))
        if not path.exists() and os.path.exists(verbatim):  # noqa: PTH110 - as the other name
            return verbatim
    return str(path)


def playlist_entries(content: bytes, ending: str) -> list[str]:
    r"""The files and addresses in a playlist.

    `ending` is one of `PLAYLISTS`.

    >>> playlist_entries(b"#EXTM3U\na.mp3\nhttp://radio.example/live\n", ".m3u")
    ['a.mp3', 'http://radio.example/live']
    """
    # Windows' editors write UTF-16 as well.
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return [entry for line in text.splitlines() if (entry := _entry(line.strip(), ending))]


def _entry(line: str, ending: str) -> str:
    if ending == ".pls":
        key, _, value = line.partition("=")
        return value.strip() if key.lower().startswith("file") else ""
    return "" if line.startswith("#") else line


_MOST_REDIRECTS = 5
_MOST_TRIED = 5
"""Maximum number of addresses of a playlist that are tried."""
_MOST_PLAYLIST = 1 << 16
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PLAYLIST_TYPES = frozenset({
    "audio/x-mpegurl", "audio/mpegurl", "application/x-mpegurl", "application/vnd.apple.mpegurl",
    "audio/x-scpls", "audio/scpls", "application/pls+xml",
})  # fmt: skip
_KEPT_IN_URLS = "%/:=&?~#+!$,;'@()*[]"
_LONGEST_REASON = 80


class _Answer(NamedTuple):
    connection: http.client.HTTPConnection
    response: http.client.HTTPResponse

    def close(self) -> None:
        self.response.close()
        self.connection.close()


class HttpStream:
    """The body of a response. `read` does not raise, because libsndfile would print the exception and go on."""

    def __init__(self, address: str, answer: _Answer) -> None:
        """Start to read the body of a response."""
        self.name = display_address(address)
        """The address for messages."""
        self.address = address
        """The address after redirects."""
        response = answer.response
        self.content_type = response.headers.get_content_type()
        """Media type in lower case."""
        self.failure = ""
        """Reason of the end, if the server did not end the stream."""
        self.ended = False
        """The end was reached."""
        self._answer = answer
        # Some servers send song titles within the audio without a request for them.
        interval = response.headers.get("icy-metaint", "")
        self._interval = int(interval) if interval.isascii() and interval.isdigit() and len(interval) < 9 else 0  # noqa: PLR2004 - under 1 GB
        self._until_title = self._interval

    def read(self, size: int = -1) -> bytes:
        """The next bytes as soon as they arrive; none at the end."""
        wanted = size if size > 0 else io.DEFAULT_BUFFER_SIZE
        if self._interval:
            if not self._until_title:
                self._skip_title()
            wanted = min(wanted, self._until_title)
        data = self._receive(wanted) if not self.ended else b""
        self._until_title -= len(data)
        return data

    def close(self) -> None:
        """Close the connection."""
        self._answer.close()

    def _skip_title(self) -> None:
        length = self._receive(1)
        left = 16 * length[0] if length else 0
        while left and (piece := self._receive(left)):
            left -= len(piece)
        self._until_title = self._interval

    def _receive(self, size: int) -> bytes:
        try:
            data = self._answer.response.read1(size)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.failure, data = _reason(error), b""
        self.ended = not data
        return data


def open_stream(address: str, timeout: float) -> HttpStream:
    """Open the stream of a web radio, or the first available stream of a playlist.

    `timeout` is that of each step, in seconds: the connection, and each read.

    Raises:
        RefusedError: The address is not valid, or the server refuses the request.
        AudioError: The server cannot be reached.
    """
    stream = _fetched(address, timeout)
    entries = _entries(stream)
    if entries is None:
        return stream
    refused: AudioError = RefusedError(f"{stream.name}: is a playlist without an address of http or https")
    for entry in entries[:_MOST_TRIED]:
        try:
            found = _fetched(urljoin(stream.address, entry), timeout)
            if _is_playlist(found):
                found.close()
                raise RefusedError(f"{stream.name}: names another playlist, {found.name}, which is not followed")
        except AudioError as error:
            refused = error
        else:
            return found
    raise refused


def _fetched(address: str, timeout: float) -> HttpStream:
    parts = checked_address(address, WEB)
    login = _login(parts)
    for _ in range(_MOST_REDIRECTS + 1):
        answer = _answer(address, login, timeout)
        if answer.response.status not in _REDIRECTS:
            break
        answer.close()
        address = urljoin(address, answer.response.headers.get("Location", ""))
        former, parts = parts, checked_address(address, WEB)
        if (former.scheme, former.hostname, former.port) != (parts.scheme, parts.hostname, parts.port):
            login = ""
    else:
        raise RefusedError(f"{display_address(address)}: more than {_MOST_REDIRECTS} redirects")
    if answer.response.status != http.client.OK:
        answer.close()
        raise RefusedError(_refusal(address, answer.response))
    stream = HttpStream(address, answer)
    if stream.content_type in {"text/html", "application/xhtml+xml"}:
        stream.close()
        raise RefusedError(
            f"{stream.name}: is a web page, not an audio stream (look there for the address of the stream)"
        )
    return stream


def _answer(address: str, login: str, timeout: float) -> _Answer:
    parts = checked_address(address, WEB)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    target = quote(parts.path or "/", safe=_KEPT_IN_URLS) + (
        f"?{quote(parts.query, safe=_KEPT_IN_URLS)}" if parts.query else ""
    )
    headers = {"User-Agent": "headnod", "Accept": "audio/*, */*;q=0.5", "Connection": "close"}
    if login:
        headers["Authorization"] = login
    connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    connection.response_class = _IcyResponse
    try:
        connection.request("GET", target, headers=headers)
        return _Answer(connection, connection.getresponse())
    except (OSError, http.client.HTTPException, ValueError) as error:
        connection.close()
        raise AudioError(f"{display_address(address)}: {_reason(error, timeout)}") from error


def _login(parts: SplitResult) -> str:
    if parts.username is None:
        return ""
    both = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(both.encode()).decode('ascii')}"


def _refusal(address: str, response: http.client.HTTPResponse) -> str:
    reason = "".join(letter for letter in response.reason if letter.isprintable())[:_LONGEST_REASON]
    refusal = f"{display_address(address)}: the server answers {response.status} {reason}".rstrip()
    if response.status == http.client.UNAUTHORIZED:
        return f"{refusal} (write http://NAME:PASSWORD@host/...)"
    if response.status == http.client.NOT_FOUND:
        return f"{refusal} (is the address right, and the station on air?)"
    return refusal


def _reason(error: Exception, timeout: float | None = None) -> str:
    if isinstance(error, TimeoutError):
        return "no answer" + (f" within {timeout:g} s" if timeout is not None else "")
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, socket.gaierror):
        return "the name of its host is not known (is the network up?)"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the server closed the connection without an answer"
    if isinstance(error, (http.client.HTTPException, ValueError)):
        return "the server does not answer as HTTP prescribes"
    strerror = error.strerror if isinstance(error, OSError) else ""
    return (strerror or str(error) or type(error).__name__).lower()


def _is_playlist(stream: HttpStream) -> bool:
    ending = urlsplit(stream.address).path.lower().rpartition(".")[2]
    # Media types of playlists are unreliable, but an audio type with the name of a playlist is audio.
    return stream.content_type in _PLAYLIST_TYPES or (
        f".{ending}" in PLAYLISTS and not stream.content_type.startswith("audio/")
    )


def _entries(stream: HttpStream) -> list[str] | None:
    """The addresses in a playlist; None if the stream is not a playlist."""
    if not _is_playlist(stream):
        return None
    content = b""
    with contextlib.closing(stream):
        while len(content) <= _MOST_PLAYLIST and (piece := stream.read(_MOST_PLAYLIST)):
            content += piece
    if len(content) > _MOST_PLAYLIST:
        raise RefusedError(f"{stream.name}: is longer than a playlist ({_MOST_PLAYLIST >> 10} KiB)")
    if b"#EXT-X-" in content:
        raise RefusedError(
            f"{stream.name}: is an HLS stream, which headnod does not play (look for the station's MP3, AAC or Ogg "
            f'stream, or let FFmpeg play it: microphone.command = ["ffmpeg", "-v", "error", "-i", "{stream.name}", '
            '"-f", "wav", "-"])'
        )
    is_pls = content.lstrip().lower().startswith(b"[playlist]")
    return playlist_entries(content, ".pls" if is_pls else ".m3u")


_ICY = b"ICY "


class _IcyResponse(http.client.HTTPResponse):
    """A response whose status line may be `ICY 200 OK` of Shoutcast."""

    def __init__(self, sock: socket.socket, *others: Any, **options: Any) -> None:  # noqa: ANN401 - as the base class
        super().__init__(sock, *others, **options)
        try:
            begins = self.fp.peek(len(_ICY))[: len(_ICY)]
        except OSError:
            # Not of the file alone: the response would be closed again when it is collected.
            self.close()
            raise
        if begins == _ICY:
            self.fp.read(len(_ICY))
            self.fp = io.BufferedReader(_Preceded(b"HTTP/1.0 ", self.fp))


class _Preceded(io.RawIOBase):
    """A file with other bytes before its own."""

    def __init__(self, head: bytes, rest: io.BufferedIOBase) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        given = self._head[: len(buffer)] or self._rest.read1(len(buffer))
        self._head = self._head[len(given) :]
        buffer[: len(given)] = given
        return len(given)

    def close(self) -> None:
        self._rest.close()
        super().close()
