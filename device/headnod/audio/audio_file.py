"""Audio files: libsndfile decodes WAV, FLAC, Ogg and MP3, PyAV other formats, if installed.

libsndfile reads by calling Python, and an exception in such a call is printed and lost: Ctrl-C would be reported as
a damaged file, or have no effect. So signals are delayed to the end of a block.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO, Any, NoReturn

import numpy as np
import soundfile
from numpy.typing import NDArray

from headnod.address import RTSP, RefusedError, checked_address, display_address
from headnod.audio.blocks import Block
from headnod.audio.containers import (
    BEGINNINGS,
    FOREIGN,
    MPEG_SNIFFED,
    READABLE,
    CutOffError,
    DamagedError,
    FilePart,
    Sound,
    check_finite,
    file_parts,
    first_mp3_frame,
    kind_of,
    mp3_parts,
)
from headnod.audio.processing import (
    CONSTANT,
    LEAST_RATE,
    MOST_CHANNELS,
    MOST_RATE,
    OutputRate,
    mono_blocks,
    remove_dc,
)
from headnod.errors import AudioError
from headnod.features.frontend import Audio
from headnod.system import how_to_install, signal_handlers, stop_handlers

BLOCK = 16_384
_GUESSED = 1 << 36
"""A number of frames above this was derived from the size `ENDLESS`: the header has no length."""
_REST = 16_384
"""Bytes at the start of a file in which an MP3 frame is searched for."""
_OWN_WORDS = (b"[src/libmpg123", b"Warning: ", b"Note: ")
"""Start of the lines that libmpg123 prints."""
_STDERR = threading.Lock()
_NOT_AUDIO = (soundfile.LibsndfileError, TypeError, ValueError)
"""Errors that soundfile raises when it opens a file that is not audio."""

_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf,aac,ogg,mp3,flac,wav"
_RTSP_OPTIONS = {
    # One connection: it passes firewalls, and no packet is lost.
    "rtsp_transport": "tcp",
    "format_whitelist": "rtsp,rtp,sdp",
    "protocol_whitelist": "rtp,tcp,tls",
    # The video of a camera is not requested.
    "allowed_media_types": "audio",
}


def open_sound(raw: IO[bytes], name: str) -> Sound:
    """Start to decode an open file that can seek; the name is for messages.

    Raises:
        AudioError: The format is not supported, or needs PyAV, which is not installed.
    """
    begins = raw.read(MPEG_SNIFFED)
    kind = kind_of(begins)
    raw.seek(0)
    if kind in FOREIGN:
        return open_foreign(raw, name, kind)
    if kind == "MP3":
        return _mp3(raw, name)
    try:
        with delayed_signals():
            file = soundfile.SoundFile(FilePart(raw) if kind == "WAV" else raw)
        sound = sound_of(file, name)
    except _NOT_AUDIO as error:
        start = first_mp3_frame(raw.read(_REST)) if raw.seek(0) == 0 else None
        if start is not None:
            return _mp3(raw, name, start)
        raw.seek(0)
        if kind in {"Ogg", "WAV"} and "unimplemented" in _reason(error):
            return open_foreign(raw, name, f"{kind} with a codec that libsndfile lacks")
        raise _unreadable(name, error) from error
    if kind not in BEGINNINGS:
        return sound
    return dataclasses.replace(sound, blocks=file_parts(sound, raw, kind, lambda place: _sliced(raw, name, place)))


def open_foreign(raw: Any, name: str, kind: str) -> Sound:  # noqa: ANN401 - PyAV needs its read only
    """Start to decode a format that only PyAV supports.

    `raw` has `read`, and `seek` and `tell` if it can seek; `kind` is a member of `FOREIGN`.

    Raises:
        AudioError: The file contains no audio that FFmpeg can decode, or PyAV is not installed.
    """
    av = _pyav(f"{name}: is {kind}")
    # Other containers open further files and addresses that a file names.
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"}
    try:
        container = av.open(raw, mode="r", options=options, io_open=_refuse)
        return _foreign_sound(av, container, name, "is damaged", " (copy or record it again)")
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise AudioError(f"{name}: is not audio that can be read: {error} ({READABLE})") from error


def open_rtsp(address: str, timeout: float) -> Sound:
    """Connect to an RTSP server, such as a camera, and start to decode its audio.

    `timeout` is that of the connection and of each read, in seconds.

    Raises:
        RefusedError: The server refuses the request, the stream has no audio, or PyAV is not installed.
        AudioError: The server cannot be reached.
    """
    name = display_address(address)
    av = _pyav(f"{name}: is an RTSP stream")
    checked_address(address, RTSP)
    try:
        container = av.open(address, mode="r", options=_RTSP_OPTIONS, timeout=timeout)
        return _foreign_sound(av, container, name, "the stream broke off")
    except av.HTTPUnauthorizedError as error:
        raise RefusedError(f"{name}: the server requires a login (write rtsp://NAME:PASSWORD@host/...)") from error
    except (av.HTTPClientError, av.InvalidDataError, ValueError, IndexError) as error:
        raise RefusedError(f"{name}: the server refuses: {_ffmpeg_reason(error)} (is the path right?)") from error
    except av.FFmpegError as error:
        raise AudioError(f"{name}: {_ffmpeg_reason(error)}") from error


def _pyav(what: str) -> ModuleType:
    try:
        import av  # noqa: PLC0415 - an optional library
    except ImportError:
        raise RefusedError(f"{what}, which needs PyAV (install it with: {how_to_install('formats')})") from None
    return av


def _ffmpeg_reason(error: Exception) -> str:
    # The text of the exception itself contains the address, with its login.
    return (getattr(error, "strerror", "") or type(error).__name__).lower()


def _foreign_sound(av: ModuleType, container: Any, name: str, broken: str, hint: str = "") -> Sound:  # noqa: ANN401 - PyAV's types differ by version
    stream = container.streams.audio[0] if container.streams.audio else None
    if stream is None:
        raise RefusedError(f"{name}: holds no audio (a film without sound?)")
    if stream.codec_context is None:
        raise RefusedError(f"{name}: its audio has a codec that cannot be decoded (convert it to FLAC or MP3)")
    rate, channels = int(stream.rate or 0), int(stream.codec_context.layout.nb_channels)
    if not LEAST_RATE <= rate <= MOST_RATE or not 1 <= channels <= MOST_CHANNELS:
        raise RefusedError(f"{name}: has {channels} channels of {rate} Hz, which cannot be")
    promised = int(stream.duration * stream.time_base * rate) if stream.duration and stream.time_base else None

    def blocks() -> Iterator[NDArray[np.float32]]:
        resampler, count = av.AudioResampler(format="fltp", layout=stream.codec_context.layout, rate=rate), 0
        try:
            for frame in container.decode(stream):
                for even in resampler.resample(frame):
                    frames = np.ascontiguousarray(even.to_ndarray().T, np.float32)
                    check_finite(frames, name)
                    count += len(frames)
                    yield frames
        except av.FFmpegError as error:
            raise AudioError(f"{name}: {broken} after {count / rate:.1f} s: {_ffmpeg_reason(error)}{hint}") from error
        finally:
            container.close()

    return Sound(rate, channels, promised, blocks())


def _refuse(url: str, *_flags: object) -> NoReturn:
    raise ValueError(f"refers to another file ({url[:100]})")


def _mp3(raw: IO[bytes], name: str, start: int = 0) -> Sound:
    """Decode all parts of an MP3. Only a length from a Xing or VBRI header is used."""
    sound = _mp3_at(raw, name, start)
    return dataclasses.replace(sound, blocks=mp3_parts(sound, raw, name, lambda place: _mp3_at(raw, name, place)))


def _mp3_at(raw: IO[bytes], name: str, start: int) -> Sound:
    return forward_sound(FilePart(raw, start, endless=True), name, lambda: _at_end(raw))


def _sliced(raw: IO[bytes], name: str, start: int) -> Sound:
    with _readable(name), delayed_signals():
        return sound_of(soundfile.SoundFile(FilePart(raw, start)), name)


def _at_end(raw: IO[bytes]) -> bool:
    return raw.tell() >= os.fstat(raw.fileno()).st_size


class _OnlyForward(soundfile.SoundFile):  # type: ignore[misc]
    """A SoundFile that does not seek after a read, for streams."""

    def seekable(self) -> bool:
        """False, because soundfile would seek to the current position."""
        return False


def forward_sound(file: Any, name: str, ended: Callable[[], bool] = lambda: False) -> Sound:  # noqa: ANN401 - soundfile has no types
    """Start to decode an object with read, seek and tell by reading it forward only.

    `ended` returns true when all bytes were read: an error is then a cut last frame.

    Raises:
        AudioError: The format is not supported.
    """
    with _readable(name), delayed_signals(), quiet_mpg123():
        opened = _OnlyForward(file)
    return sound_of(opened, name, ended)


def pipe_sound(pipe: int, name: str) -> Sound:
    """Start to decode a pipe with WAV, AIFF, AU or Ogg, which libsndfile decodes without their length.

    Raises:
        AudioError: The format is not supported in a pipe.
    """
    with _readable(name):
        return sound_of(soundfile.SoundFile(pipe, closefd=True), name)


def sound_of(file: soundfile.SoundFile, name: str, ended: Callable[[], bool] = lambda: False) -> Sound:
    """The content of a file that libsndfile opened.

    `ended` returns true when all bytes were read: an error is then a cut last frame.

    Raises:
        AudioError: The sample rate or the number of channels is out of range.
    """
    if not 1 <= file.channels <= MOST_CHANNELS:
        raise AudioError(f"{name}: has {file.channels} channels (1 to {MOST_CHANNELS} can be read)")
    if not LEAST_RATE <= file.samplerate <= MOST_RATE:
        raise AudioError(f"{name}: has a sample rate of {file.samplerate} Hz ({LEAST_RATE} to {MOST_RATE} can be read)")
    promised = file.frames if file.frames < _GUESSED else None
    return Sound(file.samplerate, file.channels, promised, _decoded(file, promised, name, ended))


def _decoded(
    file: soundfile.SoundFile, promised: int | None, name: str, ended: Callable[[], bool]
) -> Iterator[NDArray[np.float32]]:
    count = 0
    with file:
        while True:
            try:
                with delayed_signals(), quiet_mpg123() if file.format == "MP3" else contextlib.nullcontext():
                    frames = file.read(BLOCK, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                if ended():
                    break
                seconds = count / file.samplerate
                raise DamagedError(
                    f"{name}: is damaged after {seconds:.1f} s: {_reason(error)} (copy or record it again)"
                ) from error
            if not len(frames):
                break
            check_finite(frames, name)
            count += len(frames)
            yield frames
        rate = file.samplerate
    # The length in Ogg and MP3 headers may be an estimate, but not by more than a tenth of a second.
    if promised is not None and promised - count > rate // 10:
        raise CutOffError(
            f"{name}: ends after {count / rate:.1f} s of {promised / rate:.1f} s "
            "(it was cut off: copy or record it again)"
        )


@contextmanager
def delayed_signals() -> Iterator[None]:
    """Delay SIGINT and SIGTERM to the end of the `with` block, because an exception in a callback is lost."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    handlers = stop_handlers()
    with signal_handlers(dict.fromkeys(handlers, lambda number, _: received.append(number))):
        yield
    for number in received:
        handlers[number](number, None)


@contextmanager
def quiet_mpg123() -> Iterator[None]:
    """Suppress the lines of libmpg123 on stderr, and no others: it prints one per frame, without the file name."""
    with _STDERR:
        try:
            saved = os.dup(2)
        except OSError:
            yield
            return
        kept = os.memfd_create("stderr")
        os.dup2(kept, 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            written = os.pread(kept, 1 << 20, 0)
            os.close(kept)
            lines = [line for line in written.splitlines(keepends=True) if not line.startswith(_OWN_WORDS)]
            if lines:
                os.write(2, b"".join(lines))


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except _NOT_AUDIO as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> AudioError:
    return AudioError(f"{name}: is not audio that can be read: {_reason(error)} ({READABLE})")


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", "") or str(error)
    return text.strip().rstrip(".").removeprefix("Error : ").lower()


@contextmanager
def audio_file(path: Path, rate: int) -> Iterator[Iterator[Audio]]:
    """Open an audio file as mono blocks of one sample rate; see `file_blocks`.

    >>> from headnod.resources import demo_clip
    >>> with audio_file(demo_clip(), 22_050) as blocks:
    ...     round(sum(block.size for block in blocks) / 22_050)
    27
    """
    with file_blocks(path, rate) as blocks:
        yield (block for block in blocks if isinstance(block, np.ndarray))


@contextmanager
def file_blocks(path: Path, rate: int | OutputRate) -> Iterator[Iterator[Block]]:
    """Open an audio file as mono blocks, decoded on demand.

    The path may also be a named pipe, `/dev/stdin` or a process substitution.

    Yields:
        Mono blocks in [-1, 1] without a DC offset, and changes of an `OutputRate`. For a
        truncated file, all its blocks and then an error.

    Raises:
        AudioError: The file is absent, empty, not audio, or damaged.
    """
    delivered = rate.delivered if isinstance(rate, OutputRate) else rate
    with _errors_of(path):
        if _is_pipe(path):
            from headnod.audio.audio_process import stream_blocks  # noqa: PLC0415 - starts a process

            pipe = os.open(path, os.O_RDONLY)
            try:
                yield remove_dc(stream_blocks(pipe, str(path), rate), delivered, least=CONSTANT)
            finally:
                os.close(pipe)
            return
        # Opened by Python, so that the error message names a folder or a missing permission.
        with path.open("rb") as raw:
            sound = open_sound(raw, str(path))
            blocks = mono_blocks(sound.blocks, sound.rate, sound.channels, rate)
            yield remove_dc(blocks, delivered, least=CONSTANT)


def header_duration(path: Path) -> float | None:
    """Duration of a file in seconds according to its header; None if the header has none.

    Raises:
        AudioError: The file is absent or not audio.
    """
    with _errors_of(path):
        if _is_pipe(path):
            return None
        with path.open("rb") as raw:
            sound = open_sound(raw, str(path))
            return None if sound.frames is None else sound.frames / sound.rate


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except AudioError:
        raise
    except OSError as error:
        raise AudioError(f"{path}: {(error.strerror or str(error)).lower()}") from error


def _is_pipe(path: Path) -> bool:
    found = path.stat()
    if stat.S_ISREG(found.st_mode) and found.st_size == 0:
        raise AudioError(f"{path}: is empty (was the recording or the copy interrupted?)")
    return not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode)
