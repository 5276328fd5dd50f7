"""Degradation of waveforms between a recording and a microphone.

The effects of `headnod_train.acoustics` on samples: convolution with measured impulse responses, filters of
loudspeakers and microphones, other sounds, clipping and lossy codecs. Slower than in mel power, but exact.
"""

from __future__ import annotations

import io
import itertools
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from scipy.signal import oaconvolve
from soxr import resample

from headnod.audio.audio_file import audio_file
from headnod.errors import AudioError
from headnod.features.frontend import Audio, FrontEnd
from headnod_train.acoustics import Bands, Transducer

_TAPS = 1024
_BLOCK = 16_384
_LEAST = 1e-9
_SIMULATED = 0.75
"""Share of simulated rooms, of which no two are alike."""
_OCTAVES = (0.0, *(177.0 * 2.0 ** np.arange(6)), np.inf)
_SOUND = 343.0
"""Speed of sound in metres a second."""
_MIXING = 0.06
"""Seconds until reflections are as dense as noise."""
_CODECS = (("OGG", "OPUS"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"))
_OPUS_RATE = 24_000
_MODULES = frozenset({".it", ".mod", ".s3m", ".stm", ".xm"})
"""Music as notes and samples, which ffmpeg with libopenmpt plays."""


@dataclass(frozen=True)
class DegradationRates:
    """Probability and strength of each effect."""

    codec: float = 0.15
    """Share of recordings that pass a lossy codec first."""

    room: float = 0.88
    """Share played in a room."""

    noise: float = 0.6
    """Share with another sound beside the music."""

    snr: tuple[float, float] = (3.0, 25.0)
    """Level of the music over that sound, in decibels, uniform."""

    clip: float = 0.1
    """Share with an overdriven input."""

    quiet: float = 0.2
    """Share recorded at a low level, so that the steps of 16 bits matter."""


class Degrader:
    """Plays recordings through random loudspeakers, rooms and microphones."""

    def __init__(
        self, rate: int, rooms: Sequence[Audio], sounds: Sequence[Audio], chances: DegradationRates | None = None
    ) -> None:
        """Set what is chosen from.

        Args:
            rate: Sample rate of everything here, in Hz.
            rooms: Impulse responses, each of shape (n,).
            sounds: Other sounds to mix with music, each of shape (n,).
            chances: Probabilities of the effects.
        """
        self._rate, self._rooms, self._sounds = rate, [from_direct_sound(room) for room in rooms], list(sounds)
        self._chances = chances or DegradationRates()
        self._bands = Bands(FrontEnd(sample_rate=rate, f_max=rate / 2))

    def degrade(self, audio: Audio, rng: np.random.Generator) -> Audio:
        """The recording through a random loudspeaker, room and microphone.

        Args:
            audio: Mono samples in [-1, 1], shape (n,).
            rng: Source of randomness.

        Returns:
            Samples of the same shape, in time with the original.
        """
        chances, size = self._chances, audio.size
        if rng.uniform() < chances.codec:
            audio = through_codec(audio, self._rate, rng)
        speaker = Transducer(low=(60.0, 300.0), high=(4000.0, 10_500.0), order=(1, 4), height=3.0)
        audio = self._filtered(audio, speaker, rng)
        if rng.uniform() < chances.room:
            audio = in_room(audio, self._room(rng))
        if rng.uniform() < chances.noise:
            audio = with_sound(audio, self.sound(size, rng), rng.uniform(*chances.snr))
        audio = self._filtered(
            audio, Transducer(low=(30.0, 150.0), high=(6000.0, 11_000.0), order=(1, 3), height=2.0), rng
        )
        audio = audio / max(float(np.abs(audio).max()), _LEAST)
        if rng.uniform() < chances.clip:
            audio = np.clip(audio * rng.uniform(1.5, 4.0), -1.0, 1.0)
        level = 10.0 ** (-rng.uniform(30.0, 55.0) / 20.0) if rng.uniform() < chances.quiet else 0.7
        return (np.rint(audio * (level * 32_767.0)) / 32_768.0).astype(np.float32)

    def _room(self, rng: np.random.Generator) -> Audio:
        """A measured room, made a little larger or smaller, or a simulated one."""
        if not self._rooms or rng.uniform() < _SIMULATED:
            return simulated_room(self._rate, rng)
        measured = self._rooms[rng.integers(len(self._rooms))]
        return resample(measured, 1.0, float(rng.uniform(0.85, 1.18))).astype(np.float32)

    def sound(self, size: int, rng: np.random.Generator) -> Audio:
        """Another sound of a length in samples: a recorded one repeated, or synthetic noise of some colour."""
        if self._sounds and rng.uniform() < 0.5:  # noqa: PLR2004 - half of them recorded, half synthetic
            recorded = self._sounds[rng.integers(len(self._sounds))]
            return np.resize(np.roll(recorded, -int(rng.integers(recorded.size))), size)
        # A transform of a prime length takes ten times as long.
        return coloured_noise(next_fast_len(size, real=True), float(rng.uniform(0.0, 9.0)), rng)[:size]

    def _filtered(self, audio: Audio, device: Transducer, rng: np.random.Generator) -> Audio:
        decibels = device.responses(1, self._bands, rng)[0]
        hertz = np.linspace(0.0, self._rate / 2, _TAPS // 2 + 1)
        gains = 10.0 ** (np.interp(hertz, self._bands.centres, decibels) / 20.0)
        taps = np.roll(np.fft.irfft(gains), _TAPS // 2) * np.hanning(_TAPS)
        return oaconvolve(audio, taps.astype(np.float32), mode="same").astype(np.float32)


def in_room(audio: Audio, response: Audio) -> Audio:
    """Sound with the reverberation of a room, shape as `audio`; the response begins at its direct sound."""
    return oaconvolve(audio, response)[: audio.size].astype(np.float32)


def simulated_room(rate: int, rng: np.random.Generator) -> Audio:
    """An impulse response of a rectangular room drawn at random, from the direct sound on, with a power of 1.

    Reflections of the first 60 ms are image sources (Allen and Berkley, 1979), those after them Gaussian noise that
    decays exponentially (Polack, 1988). Each octave has its own decay time and is absorbed by the walls accordingly.
    """
    decay = float(np.exp(rng.uniform(np.log(0.25), np.log(1.3))))
    octaves, damping = np.arange(len(_OCTAVES) - 1) - 2, rng.uniform((0.8, 0.45), (1.9, 1.0))
    decays = decay * np.where(octaves < 0, damping[0] ** (-octaves / 2), damping[1] ** (octaves / 3))
    decays = np.clip(decays * np.exp(rng.normal(0.0, 0.12, decays.shape)), 0.08, 2.5)
    volume = np.exp(rng.uniform(np.log(15.0), np.log(90.0))) * (decay / 0.5) ** 0.5
    sides = np.array([rng.uniform(0.8, 1.3), rng.uniform(1.0, 1.8), rng.uniform(0.6, 1.0)])
    sides *= (volume / sides.prod()) ** (1 / 3)
    surface = 2.0 * float(np.sum(sides * np.roll(sides, 1)))
    # Eyring's formula, and walls that differ.
    absorption = 1.0 - np.exp(-0.161 * volume / (surface * decays))
    walls = np.exp(rng.normal(0.0, 0.5, (3, 2, 1)))
    reflected = np.sqrt(1.0 - np.clip(absorption * walls / walls.mean(), 0.02, 0.98))
    source, microphone = sides * rng.uniform(0.08, 0.92, (2, 3))
    distance, gain = _images(sides, source, microphone, reflected)
    direct = int(distance.argmin())
    # The directivity of loudspeaker and microphone.
    gain[direct] *= 10.0 ** (rng.uniform(-10.0, 4.0) / 20.0)
    size = next_fast_len(round(min(max(float(decays.max()), 0.15), 1.6) * rate))
    seconds = np.arange(size) / rate
    places = np.minimum(np.rint((distance - distance[direct]) * (rate / _SOUND)).astype(np.intp), size - 1)
    late = 1.0 / (1.0 + np.exp((0.6 - seconds / _MIXING) / 0.1))
    # The energy of image sources per second, 4 pi c / V, at the time since the sound left the source.
    strength = np.sqrt(4.0 * np.pi * _SOUND / (volume * rate)) * late
    noise, hertz = np.fft.rfft(rng.standard_normal(size), 2 * size), np.fft.rfftfreq(2 * size, 1 / rate)
    response = np.zeros(size)
    for octave, (low, high) in enumerate(itertools.pairwise(_OCTAVES)):
        band = (hertz >= low) & (hertz < high)
        early = np.bincount(places, gain[:, octave], size) * np.sqrt(1.0 - np.square(late))
        response += np.fft.irfft(np.fft.rfft(early, 2 * size) * band)[:size]
        # -60 dB in power is a factor of e to the -6.9 in amplitude.
        fall = np.exp(-6.908 * (seconds + distance[direct] / _SOUND) / decays[octave])
        response += np.fft.irfft(noise * band)[:size] * fall * strength
    return (response / max(float(np.sqrt(np.sum(np.square(response)))), _LEAST)).astype(np.float32)


def _images(
    sides: NDArray[np.float64],
    source: NDArray[np.float64],
    microphone: NDArray[np.float64],
    reflected: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance of each image source in metres, shape (n,), and its amplitude in each octave, shape (n, octaves)."""
    reach = _MIXING * _SOUND + float(np.linalg.norm(source - microphone))
    offsets, losses = [], []
    for axis, side in enumerate(sides):
        room = np.arange(-int(reach / (2.0 * side)) - 1, int(reach / (2.0 * side)) + 2)[:, None]
        mirrored = np.array([0, 1])
        offsets.append(((1 - 2 * mirrored) * source[axis] + 2.0 * room * side - microphone[axis]).ravel())
        low, high = np.log(reflected[axis])
        losses.append((np.abs(room - mirrored)[..., None] * low + np.abs(room)[..., None] * high).reshape(-1, low.size))
    distance = np.sqrt(sum(np.square(each) for each in np.ix_(*offsets)))
    near = np.nonzero(distance < reach)
    amplitude = np.exp(sum(loss[place] for loss, place in zip(losses, near, strict=True)))
    return distance[near], amplitude / np.maximum(distance[near], 0.1)[:, None]


def with_sound(audio: Audio, sound: Audio, snr: float) -> Audio:
    """The sum of music and another sound of the same length, at a ratio of powers in decibels."""
    power, other = (float(np.mean(np.square(part, dtype=np.float64))) for part in (audio, sound))
    if other <= _LEAST**2:
        return audio
    return (audio + sound * np.float32(np.sqrt(power / other * 10.0 ** (-snr / 10.0)))).astype(np.float32)


def coloured_noise(size: int, slope: float, rng: np.random.Generator) -> Audio:
    """Gaussian noise whose power falls by `slope` decibels an octave, shape (size,)."""
    spectrum = np.fft.rfft(rng.standard_normal(size))
    octaves = np.log2(np.maximum(np.arange(spectrum.size) * (24_000.0 / size), 1.0))
    noise = np.fft.irfft(spectrum * 10.0 ** (-slope * octaves / 20.0), size)
    return (noise / max(float(np.abs(noise).max()), _LEAST)).astype(np.float32)


def through_codec(audio: Audio, rate: int, rng: np.random.Generator) -> Audio:
    """Sound coded and decoded by Opus, Vorbis or MP3 at a low to middling quality, shape as `audio`.

    Opus has few sample rates, so the samples are declared as 24 kHz: its filters then lie a tenth lower than usual.
    """
    container, codec = _CODECS[rng.integers(len(_CODECS))]
    coded = io.BytesIO()
    declared = _OPUS_RATE if codec == "OPUS" else rate
    with soundfile.SoundFile(
        coded,
        "w",
        samplerate=declared,
        channels=1,
        format=container,
        subtype=codec,
        compression_level=float(rng.uniform(0.4, 0.95)),
    ) as file:
        # libsndfile's Vorbis encoder keeps a whole call on its stack and overflows it with minutes of sound.
        for start in range(0, audio.size, _BLOCK):
            file.write(np.clip(audio[start : start + _BLOCK], -1.0, 1.0))
    coded.seek(0)
    decoded, _ = soundfile.read(coded, dtype="float32")
    padded = np.zeros(audio.size, np.float32)
    padded[: decoded.size] = decoded[: audio.size]
    return padded


def has_ffmpeg() -> bool:
    """Whether ffmpeg is installed."""
    return shutil.which("ffmpeg") is not None


def through_aac(audio: Audio, rate: int) -> Audio:
    """Sound coded by ffmpeg as AAC at 64 kbit/s and decoded, shape as `audio`.

    Raises:
        AudioError: ffmpeg fails.
    """
    samples = ("-f", "f32le", "-ar", str(rate), "-ac", "1")
    coded = _ffmpeg(*samples, "-i", "-", "-c:a", "aac", "-b:a", "64k", "-f", "adts", "-", content=audio.tobytes())
    decoded = np.frombuffer(_ffmpeg("-f", "aac", "-i", "-", *samples, "-", content=coded), "<f4")
    padded = np.zeros(audio.size, np.float32)
    padded[: decoded.size] = decoded[: audio.size]
    return padded


def _ffmpeg(*words: str, content: bytes) -> bytes:
    if not has_ffmpeg():
        message = "ffmpeg is not installed"
        raise AudioError(message)
    command = ["ffmpeg", "-v", "error", *words]
    ended = subprocess.run(command, input=content, capture_output=True, check=False)  # noqa: S603 - fixed words, no shell
    if ended.returncode:
        raise AudioError(f"ffmpeg: {ended.stderr.decode(errors='replace').strip()[-200:]}")
    return ended.stdout


def read_all(path: Path, rate: int) -> Audio:
    """A whole audio file or, with ffmpeg, tracker module, mono, at a sample rate.

    Raises:
        AudioError: It cannot be read.
    """
    if path.suffix.lower() in _MODULES:
        words = ("-i", str(path), "-f", "f32le", "-ar", str(rate), "-ac", "1", "-")
        return np.frombuffer(_ffmpeg(*words, content=b""), "<f4")
    with audio_file(path, rate) as blocks:
        return np.concatenate([np.zeros(0, np.float32), *blocks])


def impulse_responses(folder: Path | None, rate: int) -> list[Audio]:
    """The FLAC files of a folder by their names, each (n,); none without a folder."""
    return [read_all(path, rate) for path in sorted(folder.glob("*.flac"))] if folder else []


def from_direct_sound(response: Audio) -> Audio:
    """An impulse response from its direct sound on, with a power of 1."""
    direct = response[int(np.abs(response).argmax()) :]
    return direct / max(float(np.sqrt(np.sum(np.square(direct, dtype=np.float64)))), _LEAST)
