"""Decoding of M4A, AAC, WMA, WebM and Matroska by PyAV, the optional library of the extra `formats`.

Only the listed containers are allowed: other containers of FFmpeg open further files and addresses that a file names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import av
import numpy as np
from numpy.typing import NDArray

from headnod.audio.containers import READABLE
from headnod.audio.processing import LEAST_RATE, MOST_RATE
from headnod.audio.sound import Sound
from headnod.errors import AudioError

_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf,aac,ogg,mp3,flac,wav"
_MOST_CHANNELS = 64


def open_foreign(raw: Any, name: str) -> Sound:  # noqa: ANN401 - an object with read, or with seek and tell too
    """Start to decode an open file or a stream.

    Raises:
        AudioError: The file contains no audio that FFmpeg can decode.
    """
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"}
    try:
        container = av.open(raw, mode="r", options=options, io_open=_refuse)
        stream = container.streams.audio[0] if container.streams.audio else None
        rate = int(stream.rate or 0) if stream is not None else 0
        channels = int(stream.codec_context.layout.nb_channels) if stream is not None else 0
    except (av.FFmpegError, ValueError, IndexError) as error:
        message = f"{name}: is not audio that can be read: {error} ({READABLE})"
        raise AudioError(message) from error
    if stream is None:
        message = f"{name}: holds no audio (a film without sound?)"
        raise AudioError(message)
    if not LEAST_RATE <= rate <= MOST_RATE or not 1 <= channels <= _MOST_CHANNELS:
        message = f"{name}: has {channels} channels of {rate} Hz, which cannot be"
        raise AudioError(message)
    promised = int(stream.duration * stream.time_base * rate) if stream.duration and stream.time_base else None
    return Sound(rate, channels, promised, _blocks(container, stream, rate, name))


def _blocks(container: Any, stream: Any, rate: int, name: str) -> Iterator[NDArray[np.float32]]:  # noqa: ANN401 - PyAV's types differ by version
    resampler = av.AudioResampler(format="fltp", layout=stream.codec_context.layout, rate=rate)
    count = 0
    try:
        for frame in container.decode(stream):
            for even in resampler.resample(frame):
                frames = np.ascontiguousarray(even.to_ndarray().T, np.float32)
                if not np.isfinite(frames).all():
                    message = f"{name}: holds samples that are no numbers (export it again)"
                    raise AudioError(message)
                count += len(frames)
                yield frames
    except av.FFmpegError as error:
        message = f"{name}: is damaged after {count / rate:.1f} s: {error} (copy or record it again)"
        raise AudioError(message) from error
    finally:
        container.close()


def _refuse(url: str, *_flags: object) -> NoReturn:
    message = f"refers to another file ({url[:100]})"
    raise ValueError(message)
