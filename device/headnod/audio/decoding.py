"""Decodes one open file or stream: libsndfile for WAV, FLAC, Ogg and MP3, PyAV for the rest where it is installed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from headnod.audio.containers import FOREIGN, MPEG_SNIFFED, READABLE, first_mp3_frame, kind_of
from headnod.audio.processing import LEAST_RATE, MOST_RATE
from headnod.audio.sound import BEGINNINGS, CutOffError, DamagedError, Slice, Sound, file_parts, mp3_parts
from headnod.errors import AudioError

BLOCK = 16_384
_MOST_CHANNELS = 64
_ENDLESS = 1 << 40
_GUESSED = 1 << 36
"""Frames above this come from the size `_ENDLESS`: the file itself promises no length."""
_REST = 16_384
"""Bytes after an MP3's promised end that may be tags."""
_OWN_WORDS = (b"[src/libmpg123", b"Warning: ", b"Note: ")
"""How libmpg123 begins its lines."""
_STDERR = threading.Lock()


def open_sound(raw: IO[bytes], name: str) -> Sound:
    """Look into an open file and begin to decode it.

    Args:
        raw: A file that can be searched.
        name: What to call it in errors.

    Raises:
        AudioError: It is no audio, or needs PyAV, which is not installed.
    """
    begins = raw.read(MPEG_SNIFFED)
    kind = kind_of(begins)
    raw.seek(0)
    if kind in FOREIGN:
        return open_foreign(raw, name, kind)
    if kind == "MP3":
        return _mp3(raw, name)
    try:
        sound = sound_of(soundfile.SoundFile(raw), name)
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:
        start = first_mp3_frame(raw.read(_REST)) if raw.seek(0) == 0 else None
        if start is not None:
            return _mp3(raw, name, start)
        raise _unreadable(name, error) from error
    if kind not in BEGINNINGS:
        return sound
    return dataclasses.replace(sound, blocks=file_parts(sound, raw, kind, lambda place: _sliced(raw, name, place)))


def open_foreign(raw: Any, name: str, kind: str) -> Sound:  # noqa: ANN401 - PyAV needs its read only
    """Begin to decode a kind that only PyAV reads.

    Args:
        raw: An object with `read`; one that has `seek` and `tell` too can be searched.
        name: What to call it in errors.
        kind: A member of `FOREIGN`.

    Raises:
        AudioError: It holds no audio, or PyAV is not installed.
    """
    try:
        from headnod.audio import pyav  # noqa: PLC0415 - an optional library
    except ImportError:
        from headnod.extras import how_to_install  # noqa: PLC0415

        message = f"{name}: is {kind}, which needs PyAV (install it with: {how_to_install('formats')})"
        raise AudioError(message) from None
    return pyav.open_foreign(raw, name)


def _mp3(raw: IO[bytes], name: str, start: int = 0) -> Sound:
    """An MP3: its length is believed only where a Xing or VBRI header gives it; all of joined files are decoded."""
    sound = _mp3_at(raw, name, start)
    return dataclasses.replace(sound, blocks=mp3_parts(sound, raw, name, lambda place: _mp3_at(raw, name, place)))


def _mp3_at(raw: IO[bytes], name: str, start: int) -> Sound:
    return forward_sound(_Endless(raw, start), name, lambda: _at_end(raw))


def _sliced(raw: IO[bytes], name: str, start: int) -> Sound:
    try:
        return sound_of(soundfile.SoundFile(Slice(raw, start)), name)
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:
        raise _unreadable(name, error) from error


def _at_end(raw: IO[bytes]) -> bool:
    return raw.tell() >= os.fstat(raw.fileno()).st_size


class _Endless:
    """A file that hides its size, so that libsndfile guesses no length from it and decodes to the end."""

    def __init__(self, raw: IO[bytes], start: int) -> None:
        self._raw, self._start, self._at_end = raw, start, False
        raw.seek(start)

    def read(self, size: int = -1) -> bytes:
        return b"" if self._at_end else self._raw.read(size)

    def tell(self) -> int:
        return _ENDLESS if self._at_end else self._raw.tell() - self._start

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at_end = whence == os.SEEK_END and offset == 0
        if not self._at_end:
            place = max(offset + (self._start if whence == os.SEEK_SET else 0), -(1 << 62))
            with contextlib.suppress(OSError):
                self._raw.seek(place, whence)
        return self.tell()


class _OnlyForward(soundfile.SoundFile):  # type: ignore[misc]
    """A SoundFile that never seeks after a read, as streams need it."""

    def seekable(self) -> bool:
        """Never: soundfile would seek to where it stands anyway."""
        return False


def forward_sound(file: Any, name: str, ended: Callable[[], bool] = lambda: False) -> Sound:  # noqa: ANN401 - as `_opened`
    """What libsndfile finds in an object with read, seek and tell, of which it reads forward only.

    Raises:
        AudioError: It is no audio that can be read.
    """
    return sound_of(_opened(file, name), name, ended)


def pipe_sound(pipe: int, name: str) -> Sound:
    """What libsndfile finds in a pipe: WAV, AIFF, AU and Ogg, whose length it need not know.

    Raises:
        AudioError: It is no audio that can be read from a pipe.
    """
    try:
        return sound_of(soundfile.SoundFile(pipe, closefd=True), name)
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:
        raise _unreadable(name, error) from error


def _opened(file: Any, name: str) -> soundfile.SoundFile:  # noqa: ANN401 - soundfile has no types
    try:
        with quiet_mpg123():
            return _OnlyForward(file)
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:
        raise _unreadable(name, error) from error


def sound_of(file: soundfile.SoundFile, name: str, ended: Callable[[], bool] = lambda: False) -> Sound:
    """What libsndfile found.

    Args:
        file: What it opened.
        name: What to call it in errors.
        ended: Whether all bytes were read, so that an error is a last frame that was cut.

    Raises:
        AudioError: It cannot be audio.
    """
    if not 1 <= file.channels <= _MOST_CHANNELS:
        message = f"{name}: has {file.channels} channels (1 to {_MOST_CHANNELS} can be read)"
        raise AudioError(message)
    if not LEAST_RATE <= file.samplerate <= MOST_RATE:
        message = f"{name}: has a sample rate of {file.samplerate} Hz ({LEAST_RATE} to {MOST_RATE} can be read)"
        raise AudioError(message)
    promised = file.frames if file.frames < _GUESSED else None
    return Sound(file.samplerate, file.channels, promised, _blocks(file, promised, name, ended))


def _blocks(
    file: soundfile.SoundFile, promised: int | None, name: str, ended: Callable[[], bool]
) -> Iterator[NDArray[np.float32]]:
    count = 0
    with file:
        while True:
            try:
                with quiet_mpg123() if file.format == "MP3" else contextlib.nullcontext():
                    frames = file.read(BLOCK, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                if ended():
                    break
                seconds = count / file.samplerate
                message = f"{name}: is damaged after {seconds:.1f} s: {_reason(error)} (copy or record it again)"
                raise DamagedError(message) from error
            if not len(frames):
                break
            if not np.isfinite(frames).all():
                message = f"{name}: holds samples that are no numbers (export it again)"
                raise AudioError(message)
            count += len(frames)
            yield frames
        rate = file.samplerate
    # Ogg and MP3 headers promise a length that may be an estimate; a tenth of a second is none.
    if promised is not None and promised - count > rate // 10:
        message = (
            f"{name}: ends after {count / rate:.1f} s of {promised / rate:.1f} s "
            "(it was cut off: copy or record it again)"
        )
        raise CutOffError(message)


@contextlib.contextmanager
def quiet_mpg123() -> Iterator[None]:
    """Keep libmpg123's own lines off stderr, and no others: it writes one per frame and names no file."""
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


def _unreadable(name: str, error: Exception) -> AudioError:
    return AudioError(f"{name}: is not audio that can be read: {_reason(error)} ({READABLE})")


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", "") or str(error)
    return text.strip().rstrip(".").removeprefix("Error : ").lower()
