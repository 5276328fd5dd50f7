"""Decoding of M4A, AAC, WMA, WebM, Matroska and RTSP by PyAV, the optional library of the extra `formats`.

Only the listed containers are allowed: other containers of FFmpeg open further files and addresses that a file names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import av
import numpy as np
from numpy.typing import NDArray

from headnod.address import RTSP, RefusedError, checked_address, display_address
from headnod.audio.containers import READABLE, Sound, check_finite
from headnod.audio.processing import LEAST_RATE, MOST_CHANNELS, MOST_RATE
from headnod.errors import AudioError

_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf,aac,ogg,mp3,flac,wav"
_RTSP_OPTIONS = {
    # One connection: it passes firewalls, and no packet is lost.
    "rtsp_transport": "tcp",
    "format_whitelist": "rtsp,rtp,sdp",
    "protocol_whitelist": "rtp,tcp,tls",
    # The video of a camera is not requested.
    "allowed_media_types": "audio",
}


def open_foreign(raw: Any, name: str) -> Sound:  # noqa: ANN401 - an object with read, or with seek and tell too
    """Start to decode an open file or a stream.

    Raises:
        AudioError: The file contains no audio that FFmpeg can decode.
    """
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"}
    try:
        container = av.open(raw, mode="r", options=options, io_open=_refuse)
        return _sound(container, name, "is damaged", " (copy or record it again)")
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise AudioError(f"{name}: is not audio that can be read: {error} ({READABLE})") from error


def open_rtsp(address: str, timeout: float) -> Sound:
    """Connect to an RTSP server, such as a camera, and start to decode its audio.

    `timeout` is that of the connection and of each read, in seconds.

    Raises:
        RefusedError: The server refuses the request, or the stream has no audio.
        AudioError: The server cannot be reached.
    """
    checked_address(address, RTSP)
    name = display_address(address)
    try:
        container = av.open(address, mode="r", options=_RTSP_OPTIONS, timeout=timeout)
        return _sound(container, name, "the stream broke off")
    except av.HTTPUnauthorizedError as error:
        raise RefusedError(f"{name}: the server requires a login (write rtsp://NAME:PASSWORD@host/...)") from error
    except (av.HTTPClientError, av.InvalidDataError, ValueError, IndexError) as error:
        raise RefusedError(f"{name}: the server refuses: {_reason(error)} (is the path right?)") from error
    except av.FFmpegError as error:
        raise AudioError(f"{name}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    # The text of the exception itself contains the address, with its login.
    return (getattr(error, "strerror", "") or type(error).__name__).lower()


def _sound(container: Any, name: str, broken: str, hint: str = "") -> Sound:  # noqa: ANN401 - PyAV's types differ by version
    stream = container.streams.audio[0] if container.streams.audio else None
    if stream is None:
        raise RefusedError(f"{name}: holds no audio (a film without sound?)")
    if stream.codec_context is None:
        raise RefusedError(f"{name}: its audio has a codec that cannot be decoded (convert it to FLAC or MP3)")
    rate, channels = int(stream.rate or 0), int(stream.codec_context.layout.nb_channels)
    if not LEAST_RATE <= rate <= MOST_RATE or not 1 <= channels <= MOST_CHANNELS:
        raise RefusedError(f"{name}: has {channels} channels of {rate} Hz, which cannot be")
    promised = int(stream.duration * stream.time_base * rate) if stream.duration and stream.time_base else None
    return Sound(rate, channels, promised, _blocks(container, stream, rate, name, broken, hint))


def _blocks(
    container: Any,  # noqa: ANN401 - PyAV's types differ by version
    stream: Any,  # noqa: ANN401 - as before
    rate: int,
    name: str,
    broken: str,
    hint: str,
) -> Iterator[NDArray[np.float32]]:
    resampler = av.AudioResampler(format="fltp", layout=stream.codec_context.layout, rate=rate)
    count = 0
    try:
        for frame in container.decode(stream):
            for even in resampler.resample(frame):
                frames = np.ascontiguousarray(even.to_ndarray().T, np.float32)
                check_finite(frames, name)
                count += len(frames)
                yield frames
    except av.FFmpegError as error:
        raise AudioError(f"{name}: {broken} after {count / rate:.1f} s: {_reason(error)}{hint}") from error
    finally:
        container.close()


def _refuse(url: str, *_flags: object) -> NoReturn:
    raise ValueError(f"refers to another file ({url[:100]})")
