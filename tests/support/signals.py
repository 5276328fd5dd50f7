"""Sounds made by formulas, the same at every run, and audio files of them."""

import io
import struct

import numpy as np
import soundfile

from headnod.features.frontend import Audio

RATE = 22_050


def sine(hertz: float, seconds: float, *, amplitude: float = 0.5, rate: int = RATE) -> Audio:
    turns = hertz * np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2.0 * np.pi * turns)).astype(np.float32)


def noise(seconds: float, *, dbfs: float, seed: int = 0, rate: int = RATE) -> Audio:
    """White noise of that level."""
    hiss = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    return (10.0 ** (dbfs / 20.0) * hiss).astype(np.float32)


def music(seconds: float, *, seed: int = 0, rate: int = RATE) -> Audio:
    """Plucked chords and a drum, a beat every half second: its loudest moment at a half of full scale."""
    rng = np.random.default_rng(seed)
    beat = rate // 2
    since = np.arange(beat) / rate
    played = []
    for _ in range(round(seconds * 2)):
        pitches = 110.0 * 2.0 ** (rng.integers(0, 25, size=3) / 12.0)
        chord = sum(
            np.sin(2.0 * np.pi * pitch * overtone * since) / overtone for pitch in pitches for overtone in (1, 2, 3, 4)
        )
        drum = rng.standard_normal(beat) * np.exp(-40.0 * since)
        played.append(chord * np.exp(-4.0 * since) + 2.0 * drum)
    whole = np.concatenate(played)[: round(seconds * rate)]
    return (0.5 * whole / np.abs(whole).max()).astype(np.float32)


def scaled(audio: Audio, decibels: float) -> Audio:
    return audio * np.float32(10.0 ** (decibels / 20.0))


def song(seconds, rate, seed=7):
    """Sound under 6 kHz that never repeats itself."""
    rng = np.random.default_rng(seed)
    sound = rng.standard_normal(round(seconds * rate))
    spectrum = np.fft.rfft(sound)
    spectrum[np.fft.rfftfreq(sound.size, 1 / rate) > 6_000] = 0
    filtered = np.fft.irfft(spectrum, sound.size)
    # It swells, or it would be steady noise.
    filtered *= 10.0 ** (-0.375 * (1.0 + np.sin(2.0 * np.pi * 2.3 * np.arange(sound.size) / rate)))
    return (0.3 * filtered / np.abs(filtered).max()).astype(np.float32)


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
