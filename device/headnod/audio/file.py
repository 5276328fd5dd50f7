"""Audio files: WAV, FLAC, Ogg, MP3 and whatever else libsndfile reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from headnod.audio.centred import CONSTANT, centred
from headnod.audio.channels import ChannelMixer
from headnod.audio.convert import LEAST_RATE, MOST_RATE, Resampler
from headnod.errors import AudioError
from headnod.frontend import Audio

_BLOCK = 16_384
_MOST_CHANNELS = 64


@contextmanager
def audio_file(path: Path, rate: int) -> Iterator[Iterator[Audio]]:
    """The sound of a file in blocks, decoded as it is asked for.

    Args:
        path: The file.
        rate: Sample rate that the blocks shall have.

    Yields:
        Mono blocks in [-1, 1], without a constant. A file that ends before its header says so
        gives what there is of it, and then an error.

    Raises:
        AudioError: The file is absent, empty, no audio, or damaged.
    """
    try:
        if path.stat().st_size == 0:
            message = f"{path}: is empty (was the recording or the copy interrupted?)"
            raise AudioError(message)
        # Through Python's own open, so that a directory or a lack of rights is named.
        with path.open("rb") as raw, soundfile.SoundFile(raw) as file:
            _plausible(file, path)
            yield centred(_blocks(file, path, rate), rate, least=CONSTANT)
    except AudioError:
        raise
    except OSError as error:
        message = f"{path}: {(error.strerror or str(error)).lower()}"
        raise AudioError(message) from error
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:
        message = f"{path}: is not audio that can be read: {_reason(error)} (WAV, FLAC, Ogg and MP3 can)"
        raise AudioError(message) from error


def _plausible(file: soundfile.SoundFile, path: Path) -> None:
    if not 1 <= file.channels <= _MOST_CHANNELS:
        message = f"{path}: has {file.channels} channels (1 to {_MOST_CHANNELS} can be heard)"
        raise AudioError(message)
    if not LEAST_RATE <= file.samplerate <= MOST_RATE:
        message = f"{path}: has a sample rate of {file.samplerate} Hz ({LEAST_RATE} to {MOST_RATE} can be heard)"
        raise AudioError(message)


def _blocks(file: soundfile.SoundFile, path: Path, rate: int) -> Iterator[Audio]:
    resampler, mixer = Resampler(file.samplerate, rate), ChannelMixer(file.samplerate, file.channels)
    heard = 0
    while True:
        try:
            frames = file.read(_BLOCK, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            seconds = heard / file.samplerate
            message = f"{path}: is damaged after {seconds:.1f} s: {_reason(error)} (copy or record it again)"
            raise AudioError(message) from error
        if not len(frames):
            break
        if not np.isfinite(frames).all():
            message = f"{path}: holds samples that are no numbers (export it again)"
            raise AudioError(message)
        heard += len(frames)
        yield resampler.convert(mixer.mix(frames))
    yield resampler.finish()
    # Ogg and MP3 headers promise a length that may be an estimate; a tenth of a second is none.
    if file.frames - heard > file.samplerate // 10:
        message = (
            f"{path}: ends after {heard / file.samplerate:.1f} s of {file.frames / file.samplerate:.1f} s "
            "(it was cut off: copy or record it again)"
        )
        raise AudioError(message)


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", "") or str(error)
    return text.strip().rstrip(".").removeprefix("Error : ").lower()
