"""Rooms, loudspeakers, microphones and noises as changes of mel power, without the waveform.

Powers of independent sounds add up, so noise is a sum and clipping a distortion of known spectrum. Power responses of
rooms add up over time in the same way (Polack, 1988; mel-domain model of Sehr and Kellermann, 2008), so a room is a few
gains per band: the share of a frame's power that arrives at once, one frame later, two frames later, and so on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import Audio, FrontEnd, LogMel

Power = NDArray[np.float32]
"""Mel power, shape (n, frames, mels)."""

_LEAST = 1e-30


@dataclass(frozen=True)
class Bands:
    """The mel bands of a front end."""

    front_end: FrontEnd

    @cached_property
    def corners(self) -> NDArray[np.float64]:
        """Corners of the triangles in Hz, shape (mels + 2,)."""
        return self.front_end.corners

    @property
    def centres(self) -> NDArray[np.float64]:
        """Centre frequencies in Hz, shape (mels,)."""
        return self.corners[1:-1]

    @cached_property
    def widths(self) -> NDArray[np.float32]:
        """Weight of each band's power in the total power, shape (mels,)."""
        if self.front_end.mel_norm == "none":
            return np.ones(self.front_end.n_mels, np.float32)
        return (0.5 * (self.corners[2:] - self.corners[:-2])).astype(np.float32)

    @property
    def seconds(self) -> float:
        """Seconds between frames."""
        return self.front_end.hop / self.front_end.sample_rate

    @cached_property
    def hertz(self) -> NDArray[np.float64]:
        """Frequency of each FFT bin in Hz, shape (n_fft // 2 + 1,)."""
        front_end = self.front_end
        return np.arange(front_end.n_fft // 2 + 1, dtype=np.float64) * (front_end.sample_rate / front_end.n_fft)

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """Share of each bin in the mean of each band, shape (bins, mels); columns sum to 1."""
        lower, centre, upper = self.corners[:-2], self.corners[1:-1], self.corners[2:]
        hertz = self.hertz[:, None]
        triangles = np.maximum(np.minimum((hertz - lower) / (centre - lower), (upper - hertz) / (upper - centre)), 0.0)
        sums = triangles.sum(axis=0)
        # A band narrower than a bin gets the bin nearest to its centre.
        empty = np.flatnonzero(sums <= 0.0)
        triangles[np.abs(hertz - centre[empty]).argmin(axis=0), empty] = 1.0
        return triangles / triangles.sum(axis=0)

    @cached_property
    def freedom(self) -> NDArray[np.float32]:
        """Number of independent bins in each band, shape (mels,).

        The power of Gaussian noise in a band is a gamma variable of this shape.
        Neighbouring bins of a Hann window share 4/9 of their variance, the next
        but one 1/36.
        """
        weights, shares = self.weights, (4 / 9, 1 / 36)
        spread = np.square(weights).sum(axis=0)
        for apart, share in enumerate(shares, start=1):
            spread += 2.0 * share * (weights[apart:] * weights[:-apart]).sum(axis=0)
        return (1.0 / spread).astype(np.float32)

    def loudness(self, power: Power) -> NDArray[np.float32]:
        """Total power of each frame, shape (n, frames)."""
        return power @ self.widths

    def grain(self, rows: int, frames: int, rng: np.random.Generator) -> Power:
        """Power of Gaussian noise with mean 1, shape (rows, frames, mels)."""
        shape = (rows, frames, len(self.freedom))
        return rng.standard_gamma(np.broadcast_to(self.freedom, shape), dtype=np.float32) / self.freedom

    def tones(self, hertz: NDArray[np.float64]) -> NDArray[np.float32]:
        """Mel power of steady tones of power 1, on the scale of `loudness`.

        Args:
            hertz: Their frequencies, shape (..., tones).

        Returns:
            Shape (..., tones, mels).
        """
        apart = (self.hertz - np.asarray(hertz)[..., None]) / self.hertz[1]
        # The spectrum of a Hann window, squared; at one bin's distance its limit is a quarter.
        with np.errstate(divide="ignore", invalid="ignore"):
            lobes = np.square(np.sinc(apart) / (1.0 - np.square(apart)))
        lobes = np.where(np.abs(np.abs(apart) - 1.0) < 1e-6, 0.25, lobes)  # noqa: PLR2004 - the limit's neighbourhood
        lobes /= np.maximum(lobes.sum(axis=-1, keepdims=True), _LEAST)
        return ((lobes @ self.weights) / self.hertz[1]).astype(np.float32)


class Transform(Protocol):
    """A change of sound between recording and listener."""

    def apply(self, log_mel: LogMel, bands: Bands, rng: np.random.Generator) -> LogMel:
        """Transform each row with its own random parameters.

        Args:
            log_mel: Decibels, shape (n, frames, mels): windows or whole tracks.
            bands: Mel bands of the front end.
            rng: Random numbers.

        Returns:
            Decibels of the same shape.
        """
        ...


def apply_all(steps: Sequence[Transform], log_mel: LogMel, bands: Bands, rng: np.random.Generator) -> LogMel:
    """Apply transforms in order; shapes as in `Transform.apply`."""
    for step in steps:
        log_mel = step.apply(log_mel, bands, rng)
    return log_mel


def to_power(log_mel: LogMel | NDArray[np.float16]) -> Power:
    """Mel power of decibels."""
    return np.power(np.float32(10.0), np.asarray(log_mel, np.float32) / np.float32(10.0))


def to_decibels(power: Power) -> LogMel:
    """Decibels of mel power."""
    return np.float32(10.0) * np.log10(np.maximum(power, np.float32(_LEAST)))


def drawn(limits: tuple[float, float], rows: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A uniform random number between limits for each row, shape (rows, 1, 1)."""
    return rng.uniform(*limits, (rows, 1, 1)).astype(np.float32)


_FLOOR = -50.0
"""Lowest response of a transducer in decibels."""
_GRID = 256
"""Number of frequency steps for the computation of distortion."""


@dataclass(frozen=True)
class Transducer:
    """Loudspeakers or microphones drawn at random, one for each row."""

    low: tuple[float, float] = (60.0, 120.0)
    """Lower cut-off frequency in Hz, log-uniform."""

    high: tuple[float, float] = (9000.0, 16000.0)
    """Upper cut-off frequency in Hz, log-uniform."""

    order: tuple[int, int] = (2, 4)
    """Order of both filters: 6 dB per octave each."""

    resonances: int = 4
    """Number of peaks and dips between the cut-offs."""

    height: float = 3.0
    """Their standard deviation in decibels."""

    def apply(self, log_mel: LogMel, bands: Bands, rng: np.random.Generator) -> LogMel:
        """Each row through its own device; see `Transform.apply`."""
        return np.asarray(log_mel + self.responses(len(log_mel), bands, rng)[:, None], np.float32)

    def responses(self, rows: int, bands: Bands, rng: np.random.Generator) -> NDArray[np.float64]:
        """Decibels at each band, shape (rows, mels)."""
        octave = np.log2(np.maximum(bands.centres, 10.0))
        low, high = (np.log2(limit)[:, None] for limit in (_spread(self.low, rows, rng), _spread(self.high, rows, rng)))
        order = rng.integers(self.order[0], self.order[1] + 1, (2, rows, 1))
        # Butterworth's response.
        curve = -10.0 * np.log10(1.0 + 4.0 ** (order[0] * (low - octave)))
        curve -= 10.0 * np.log10(1.0 + 4.0 ** (order[1] * (octave - high)))
        for _ in range(self.resonances):
            place = low + (high - low) * rng.uniform(size=(rows, 1))
            width = rng.uniform(0.1, 0.6, (rows, 1))
            curve += rng.normal(0.0, self.height, (rows, 1)) * np.exp(-0.5 * np.square((octave - place) / width))
        return np.maximum(curve, _FLOOR)


@dataclass(frozen=True)
class Clipping:
    """Clipping of an overdriven input.

    Each frame is modelled as Gaussian noise of its spectrum and level, for which the remaining signal, the power of
    the distortion (Bussgang, 1952) and its spectrum (Price, 1958) are known.
    """

    headroom: tuple[float, float] = (3.0, 9.0)
    """Clipping level in decibels above the row's root mean square, uniform."""

    def apply(self, log_mel: LogMel, bands: Bands, rng: np.random.Generator) -> LogMel:
        """Each row clipped at its own level; see `Transform.apply`."""
        power = to_power(log_mel)
        loudness = np.maximum(bands.loudness(power), np.float32(1e-30))
        limit = loudness.mean(axis=1, keepdims=True) * 10.0 ** (drawn(self.headroom, len(power), rng)[..., 0] / 10.0)
        kept, third, fifth = (part.astype(np.float32) for part in _clipped(np.sqrt(limit / loudness)))
        to_grid, from_grid = _grid(bands)
        alike = np.fft.irfft(power @ to_grid, axis=2)
        alike = alike.astype(np.float32, copy=False) / np.maximum(alike[..., :1], np.float32(1e-30))
        square = np.square(alike)
        spread = alike * square * (third[..., None] + fifth[..., None] * square)
        distortion = np.maximum(np.fft.rfft(spread, axis=2).real, 0.0).astype(np.float32, copy=False) @ from_grid
        distortion *= (loudness * (third + fifth) / np.maximum(bands.loudness(distortion), 1e-30))[..., None]
        return to_decibels(power * kept[..., None] + distortion)


@lru_cache(maxsize=4)
def _grid(bands: Bands) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """From bands to equal steps of frequency and back, by interpolation."""
    steps = np.linspace(0.0, bands.front_end.sample_rate / 2, _GRID + 1)
    there = np.stack([np.interp(steps, bands.centres, row) for row in np.eye(len(bands.centres))])
    back = np.stack([np.interp(bands.centres, steps, row) for row in np.eye(len(steps))])
    return there.astype(np.float32), back.astype(np.float32)


def _clipped(limit: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Gaussian noise of variance 1, clipped: power of the signal, and of distortion of the third and higher orders."""
    cut = np.minimum(np.asarray(limit, np.float64), 8.0)
    peak = np.exp(-np.square(cut) / 2.0) / np.sqrt(2.0 * np.pi)
    inside = np.vectorize(math.erf, otypes=[float])(cut / math.sqrt(2.0))
    whole = inside - 2.0 * cut * peak + np.square(cut) * (1.0 - inside)
    kept = np.square(inside)
    # The third Hermite coefficient of the clipper is -2 c phi(c), and its power that squared over 3!.
    third = np.minimum(np.square(2.0 * cut * peak) / 6.0, np.maximum(whole - kept, 0.0))
    return kept, third, np.maximum(whole - kept - third, 0.0)


def _spread(limits: tuple[float, float], rows: int, rng: np.random.Generator) -> NDArray[np.float64]:
    return np.exp(rng.uniform(np.log(limits[0]), np.log(limits[1]), rows))


_DECAY = 6.0 * np.log(10.0)
"""A power that falls by 60 dB has fallen by e to this."""
_KNEE = 1000.0
"""Frequency in Hz above which absorption rises."""


@dataclass(frozen=True)
class Reverberation:
    """Rooms drawn at random, one for each row."""

    decay: tuple[float, float] = (0.3, 0.7)
    """Decay time (RT60) up to 1 kHz in seconds, uniform."""

    direct: tuple[float, float] = (-3.0, 6.0)
    """Direct-to-reverberant ratio in decibels, uniform."""

    damping: tuple[float, float] = (0.5, 0.9)
    """Decay time at 8 kHz as a share of that at 1 kHz, uniform."""

    def apply(self, log_mel: LogMel, bands: Bands, rng: np.random.Generator) -> LogMel:
        """Each row in its own room; see `Transform.apply`."""
        rows = len(log_mel)
        octaves = np.maximum(np.log2(np.maximum(bands.centres, 1.0) / _KNEE), 0.0).astype(np.float32)
        seconds = drawn(self.decay, rows, rng) * drawn(self.damping, rows, rng) ** (octaves / 3.0)
        rate = np.float32(_DECAY * bands.seconds) / seconds
        taps = 1 + int(np.ceil(_DECAY / float(rate.min())))
        late = np.arange(1, taps, dtype=np.float32)[None, :, None]
        # Sound between two frames is shared between them by its distance from each.
        gains = np.concatenate([rate - 1.0 + np.exp(-rate), np.exp(-rate * late) * (2.0 * np.cosh(rate) - 2.0)], axis=1)
        gains *= 10.0 ** (-drawn(self.direct, rows, rng) / 10.0) / rate
        gains[:, :1] *= bands.grain(rows, 1, rng)
        gains[:, :1] += 1.0
        return to_decibels(_tailed(to_power(log_mel), gains.astype(np.float32), bands, rng))


@dataclass(frozen=True, eq=False)
class MeasuredRooms:
    """Rooms whose impulse responses were recorded, one drawn for each row."""

    rooms: tuple[NDArray[np.float32], ...]
    """Gains of each, shape (taps, mels): see `gains_of`."""

    def apply(self, log_mel: LogMel, bands: Bands, rng: np.random.Generator) -> LogMel:
        """Each row in one of the rooms; see `Transform.apply`."""
        power = to_power(log_mel)
        chosen = rng.integers(len(self.rooms), size=len(power))
        rows = [_tailed(row[None], self.rooms[room][None], bands, rng) for row, room in zip(power, chosen, strict=True)]
        return to_decibels(np.concatenate(rows))


def gains_of(response: Audio, bands: Bands) -> NDArray[np.float32]:
    """Gains of mel power for an impulse response.

    Args:
        response: Mono, shape (n,), at the front end's rate. Time counts from its peak.
        bands: Mel bands of the front end.

    Returns:
        Gains, shape (taps, mels): share of a frame's power that arrives `tap` frames
        later. Their mean over the bands is 1 at the first tap.
    """
    hop, size = bands.front_end.hop, bands.front_end.n_fft
    response = np.asarray(response[int(np.abs(response).argmax()) :], np.float64)
    taps = 1 + -(-response.size // hop)
    padded = np.concatenate([response, np.zeros(taps * hop + hop - response.size)])
    gains = []
    for tap in range(taps):
        start = max((tap - 1) * hop, 0)
        piece = padded[start : (tap + 1) * hop]
        nearness = 1.0 - np.abs(np.arange(start, start + piece.size) / hop - tap)
        spectrum = np.fft.rfft(piece * np.sqrt(np.maximum(nearness, 0.0)), max(size, 2 * hop))
        places = np.arange(spectrum.size) * (bands.front_end.sample_rate / max(size, 2 * hop))
        gains.append(np.interp(bands.hertz, places, np.square(np.abs(spectrum))) @ bands.weights)
    found = np.array(gains)
    return (found / found[0].mean()).astype(np.float32)


def _tailed(power: Power, gains: NDArray[np.float32], bands: Bands, rng: np.random.Generator) -> Power:
    """Each frame plus the tails of earlier frames, with the random variation of many reflections."""
    tails = np.zeros_like(power)
    for tap in range(1, min(gains.shape[1], power.shape[1])):
        tails[:, tap:] += power[:, :-tap] * gains[:, tap, None]
    return power * gains[:, :1] + tails * bands.grain(len(power), power.shape[1], rng)


Kind = Literal["white", "pink", "fan", "babble"]

_SPEECH_HERTZ = (63, 125, 200, 315, 500, 800, 1250, 2000, 3150, 5000, 8000, 11000)
_SPEECH_LEVEL = (38.6, 57.7, 60.4, 60.3, 62.1, 56.8, 53.0, 48.7, 48.9, 46.3, 43.0, 39.0)
"""Long-term average spectrum of speech: level in third octaves (Byrne and others, 1994)."""
_TALKERS = 5


@dataclass(frozen=True)
class Noise:
    """One kind of noise at some signal-to-noise ratio."""

    kind: Kind
    """`white`; `pink` falls by 3 dB an octave; `fan` by 6, with the tones of its
    blades; `babble` is several people talking at once."""

    snr: tuple[float, float] = (20.0, 20.0)
    """Signal-to-noise ratio in decibels, uniform."""

    def apply(self, log_mel: LogMel, bands: Bands, rng: np.random.Generator) -> LogMel:
        """Each row with its own noise; see `Transform.apply`."""
        return _joined(log_mel, _KINDS[self.kind](len(log_mel), log_mel.shape[1], bands, rng), self.snr, bands, rng)


@dataclass(frozen=True)
class Hum:
    """Mains hum and its overtones."""

    snr: tuple[float, float] = (10.0, 20.0)
    """Signal-to-hum ratio in decibels, uniform."""

    overtones: int = 24
    """Number of tones; each octave is 3 to 9 dB weaker."""

    def apply(self, log_mel: LogMel, bands: Bands, rng: np.random.Generator) -> LogMel:
        """Each row with its own hum; see `Transform.apply`."""
        rows, number = len(log_mel), np.arange(1, self.overtones + 1)
        mains = rng.integers(2, size=rows)
        falling = rng.uniform(3.0, 9.0, (rows, 1)) * np.log2(number)
        heights = 10.0 ** ((rng.normal(0.0, 6.0, (rows, self.overtones)) - falling) / 10.0)
        tones = heights.astype(np.float32)[:, None] @ _mains(bands, self.overtones)[mains]
        return _joined(log_mel, np.broadcast_to(tones, log_mel.shape), self.snr, bands, rng)


@lru_cache(maxsize=4)
def _mains(bands: Bands, overtones: int) -> NDArray[np.float32]:
    """Mel power of each overtone at 50 and at 60 Hz, shape (2, overtones, mels)."""
    return bands.tones(np.array([[50.0], [60.0]]) * np.arange(1, overtones + 1))


def _joined(log_mel: LogMel, sound: Power, snr: tuple[float, float], bands: Bands, rng: np.random.Generator) -> LogMel:
    power = to_power(log_mel)
    ratio = bands.loudness(power).mean(axis=1) / np.maximum(bands.loudness(sound).mean(axis=1), np.float32(1e-30))
    level = ratio[:, None, None] * 10.0 ** (-drawn(snr, len(power), rng) / 10.0)
    return to_decibels(power + sound * level)


def _coloured(falling: float, rows: int, frames: int, bands: Bands, rng: np.random.Generator) -> Power:
    """Gaussian noise that falls by `falling` decibels per octave above 100 Hz."""
    octaves = np.log2(np.maximum(bands.centres, 100.0) / 100.0)
    return bands.grain(rows, frames, rng) * (10.0 ** (-falling * octaves / 10.0)).astype(np.float32)


def _fan(rows: int, frames: int, bands: Bands, rng: np.random.Generator) -> Power:
    air = _coloured(6.0, rows, frames, bands, rng)
    number = np.arange(1, 6)
    blades = rng.uniform(60.0, 240.0, (rows, 1)) * number
    heights = rng.gamma(2.0, 0.5, (rows, number.size)) / number**2
    tones = (heights.astype(np.float32)[:, None] @ bands.tones(blades))[:, 0]
    share = bands.loudness(air).mean(axis=1) / np.maximum(bands.loudness(tones[:, None])[:, 0], np.float32(1e-30))
    return air + tones[:, None] * (share * rng.uniform(0.1, 0.6, rows).astype(np.float32))[:, None, None]


def _babble(rows: int, frames: int, bands: Bands, rng: np.random.Generator) -> Power:
    """Voices that vary by syllables and vowels."""
    third = np.interp(np.log(np.maximum(bands.centres, 1.0)), np.log(_SPEECH_HERTZ), _SPEECH_LEVEL)
    density = third - 10.0 * np.log10(np.maximum(bands.centres, 60.0))
    waves = np.arange(2, 10)
    vowels = np.cos(np.pi * waves[:, None] * (np.arange(len(third)) + 0.5) / len(third))
    voices = np.zeros((rows, frames, len(third)), np.float32)
    for _ in range(_TALKERS):
        loud = 7.0 * _wandering((rows, frames, 1), 0.12 / bands.seconds, rng)
        shape = 3.0 * _wandering((rows, frames, len(waves)), 0.2 / bands.seconds, rng) @ vowels
        voices += 10.0 ** ((density + np.minimum(loud, 7.0) + shape + rng.normal(0.0, 3.0, (rows, 1, 1))) / 10.0)
    return voices * bands.grain(rows, frames, rng)


def _wandering(shape: tuple[int, int, int], memory: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """First-order autoregressive noise of variance 1 along the second axis; `memory` is its time constant in frames."""
    keep = np.exp(-1.0 / memory)
    moved = rng.standard_normal(shape)
    for frame in range(1, shape[1]):
        moved[:, frame] = keep * moved[:, frame - 1] + np.sqrt(1.0 - keep**2) * moved[:, frame]
    return moved


_KINDS: dict[Kind, Callable[[int, int, Bands, np.random.Generator], Power]] = {
    "white": partial(_coloured, 0.0),
    "pink": partial(_coloured, 3.0),
    "fan": _fan,
    "babble": _babble,
}
