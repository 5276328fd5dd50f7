"""Acoustic conditions of an evaluation, simulated in mel power, and their agreement with real degradation.

Training uses the same transforms (headnod_train.acoustics) with other ranges and seeds, and must not import these.
Archives have no waveforms, so rooms and noise are simulated there. With waveforms, the same window is degraded in both
ways, and the model's genres are compared.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from headnod.errors import AudioError
from headnod.features.frontend import Audio, LogMel
from headnod.inference.model import GenreModel
from headnod_train.acoustics import (
    Bands,
    Clipping,
    Hum,
    MeasuredRooms,
    Noise,
    Reverberation,
    Transducer,
    Transform,
    apply_all,
    gains_of,
)
from headnod_train.dataset.tracks import AUDIO, find_files
from headnod_train.degradation import coloured_noise, in_room, read_all, with_sound

SEED = 20_261_122
"""Seed of every draw of an evaluation; seeds of training count from 0."""


@dataclass(frozen=True)
class AcousticCondition:
    """A chain of acoustic transforms."""

    name: str

    steps: tuple[Transform, ...]
    """Applied in this order."""

    seed: int = SEED

    def apply(self, log_mel: LogMel, track: str, bands: Bands) -> LogMel:
        """Apply the condition to one track; the draws depend on its name only.

        Args:
            log_mel: Decibels, shape (frames, mels).
            track: Name of the track.
            bands: Mel bands of the front end.
        """
        rng = np.random.default_rng((self.seed, zlib.crc32(self.name.encode()), zlib.crc32(track.encode())))
        return apply_all(self.steps, log_mel[None], bands, rng)[0]

    @property
    def how(self) -> str:
        """The transforms with their ranges, in one line."""
        return ", then ".join(map(str, self.steps))


SMALL_SPEAKER = Transducer(low=(160.0, 350.0), high=(7000.0, 12_000.0), order=(2, 4), resonances=5, height=4.0)
MICROPHONE = Transducer(low=(70.0, 140.0), high=(6000.0, 10_000.0), order=(1, 2), resonances=6, height=4.0)
_LIVING_ROOM, _HALL = (
    Reverberation(decay=(0.3, 0.6), direct=(0.0, 6.0)),
    Reverberation(decay=(0.8, 1.4), direct=(-6.0, 0.0)),
)

CONDITIONS = (
    AcousticCondition("living room", (_LIVING_ROOM,)),
    AcousticCondition("hall", (_HALL,)),
    AcousticCondition("small loudspeaker", (SMALL_SPEAKER,)),
    AcousticCondition("poor microphone", (MICROPHONE,)),
    AcousticCondition(
        "telephone", (Transducer(low=(280.0, 340.0), high=(3000.0, 3600.0), order=(6, 8), resonances=2),)
    ),
    AcousticCondition(
        "4 kHz band limit", (Transducer(low=(10.0, 20.0), high=(3800.0, 4200.0), order=(8, 8), resonances=0),)
    ),
    AcousticCondition("pink noise, 20 dB", (Noise("pink", (20.0, 20.0)),)),
    AcousticCondition("pink noise, 10 dB", (Noise("pink", (10.0, 10.0)),)),
    AcousticCondition("voices, 20 dB", (Noise("babble", (20.0, 20.0)),)),
    AcousticCondition("voices, 10 dB", (Noise("babble", (10.0, 10.0)),)),
    AcousticCondition("fan, 20 dB", (Noise("fan", (20.0, 20.0)),)),
    AcousticCondition("fan, 10 dB", (Noise("fan", (10.0, 10.0)),)),
    AcousticCondition("mains hum", (Hum((10.0, 20.0)),)),
    AcousticCondition("clipping", (Clipping((3.0, 6.0)),)),
    AcousticCondition("across a room", (SMALL_SPEAKER, _LIVING_ROOM, Noise("babble", (20.0, 20.0)), MICROPHONE)),
    AcousticCondition("across a noisy room", (SMALL_SPEAKER, _LIVING_ROOM, Noise("babble", (10.0, 10.0)), MICROPHONE)),
)
"""Single conditions, and two chains of them."""


def recorded_rooms(folder: Path, bands: Bands) -> AcousticCondition:
    """Measured rooms by the impulse responses in a folder."""
    rooms = []
    for path in find_files(folder).music:
        response = read_all(path, bands.front_end.sample_rate)
        if not np.abs(response).max(initial=0.0):
            raise AudioError(f"{path}: is silent and cannot be an impulse response")
        rooms.append(gains_of(response, bands))
    if not rooms:
        raise AudioError(f"{folder}: contains no impulse response ({', '.join(sorted(AUDIO))})")
    return AcousticCondition(f"{len(rooms)} recorded rooms", (MeasuredRooms(tuple(rooms)),))


_EVERY = 3.0
"""Seconds from one window to the next."""
_SNR, _PINK = 10.0, 3.0
"""Signal-to-noise ratio in dB, and by how much the power of pink noise falls in dB per octave."""


class SimulationAgreement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Genres of windows under simulated and under real degradation."""

    name: str
    windows: int
    agreement: float
    """Share of windows with the same genre under both."""

    agreement_of_clean: float
    """Share of windows with the same genre when clean and under the real degradation, for comparison."""

    simulated: float
    """Accuracy under the simulated degradation."""

    real: float
    """Accuracy under the real degradation."""


def simulation_agreement(
    model: GenreModel, sounds: Sequence[tuple[int, Audio]], responses: Sequence[Audio], *, seed: int
) -> tuple[SimulationAgreement, ...]:
    """Compare simulated with real degradation.

    Args:
        model: The model.
        sounds: Index of the true genre, and audio at the model's rate; audio shorter than a window is left out.
        responses: Impulse responses at the model's rate; without them rooms are left out.
        seed: Seed of noise and of scattering.
    """
    front_end = model.front_end
    sounds = [(genre, audio) for genre, audio in sounds if audio.size >= front_end.window_samples]
    if not sounds:
        return ()
    bands, rng = Bands(front_end), np.random.default_rng(seed)
    rooms = [(MeasuredRooms((gains_of(response, bands),)), response) for response in responses]
    clean, in_rooms, in_noise = [], [], []
    for place, (_, audio) in enumerate(sounds):
        log_mel = front_end.log_mel(audio)
        clean.append(_genres(model, log_mel))
        if rooms:
            room, response = rooms[place % len(rooms)]
            in_rooms.append(_both(model, room, log_mel, in_room(audio, response), bands, rng))
        noisy = with_sound(audio, coloured_noise(audio.size, _PINK, rng), _SNR)
        in_noise.append(_both(model, Noise("pink", (_SNR, _SNR)), log_mel, noisy, bands, rng))
    targets = np.repeat([genre for genre, _ in sounds], [len(each) for each in clean])
    before = np.concatenate(clean)
    return tuple(
        _compared(name, before, pairs, targets)
        for name, pairs in (("rooms", in_rooms), ("noise at 10 dB", in_noise))
        if pairs
    )


def _both(
    model: GenreModel, simulated: Transform, log_mel: LogMel, real: Audio, bands: Bands, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Genres of the windows of a clip under simulated and under real degradation."""
    return (
        _genres(model, simulated.apply(log_mel[None], bands, rng)[0]),
        _genres(model, model.front_end.log_mel(real)),
    )


def _genres(model: GenreModel, log_mel: LogMel) -> NDArray[np.intp]:
    return np.array([int(model.scores(features).argmax()) for features in _windows(model, log_mel)], np.intp)


def _windows(model: GenreModel, log_mel: LogMel) -> Iterator[NDArray[np.float32]]:
    front_end = model.front_end
    step = round(_EVERY * front_end.sample_rate / front_end.hop)
    for start in range(0, len(log_mel) - front_end.frames + 1, step):
        yield front_end.cepstra(log_mel[start : start + front_end.frames])


def _compared(
    name: str,
    clean: NDArray[np.intp],
    pairs: Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]],
    targets: NDArray[np.intp],
) -> SimulationAgreement:
    simulated, real = (np.concatenate(genres) for genres in zip(*pairs, strict=True))
    return SimulationAgreement(
        name=name,
        windows=len(targets),
        agreement=_share(simulated == real),
        agreement_of_clean=_share(clean == real),
        simulated=_share(simulated == targets),
        real=_share(real == targets),
    )


def _share(true: NDArray[np.bool_]) -> float:
    return round(float(true.mean()), 4)
