"""Audio files in memory: WAV files written byte by byte, the wrong ones too, and tones in other formats."""

import io
import struct

import numpy as np
import soundfile

from support.signals import RATE, sine

PCM, FLOAT = 1, 3


def wav(
    data: bytes,
    *,
    rate: int = 22_050,
    channels: int = 1,
    bits: int = 16,
    kind: int = PCM,
    promised: int | None = None,
) -> bytes:
    """A WAV file.

    Args:
        data: The samples.
        rate: What the header says.
        channels: What the header says.
        bits: What the header says.
        kind: Format tag.
        promised: Bytes of samples that the header promises; as many as there are where None.
    """
    width = channels * bits // 8
    size = len(data) if promised is None else promised
    header = struct.pack("<4sIHHIIHH", b"fmt ", 16, kind, channels, rate, rate * width % 2**32, width, bits)
    return (
        struct.pack("<4sI4s", b"RIFF", 20 + len(header) - 8 + size, b"WAVE")
        + header
        + struct.pack("<4sI", b"data", size)
        + data
    )


def tone(
    hertz: float, seconds: float, kind: str = "MP3", codec: str | None = None, *, rate: int = RATE, channels: int = 1
) -> bytes:
    """A tone as an audio file."""
    file = io.BytesIO()
    audio = sine(hertz, seconds, rate=rate)
    soundfile.write(file, np.stack([audio] * channels, axis=1), rate, format=kind, subtype=codec)
    return file.getvalue()


def pitch(audio: np.ndarray) -> float:
    """The strongest frequency of audio at `RATE`, in hertz."""
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(audio.size)))
    return float(spectrum.argmax() * RATE / audio.size)
