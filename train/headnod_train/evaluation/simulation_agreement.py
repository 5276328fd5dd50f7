"""Agreement of degradation that is simulated in mel power with real degradation of the waveform.

Archives have no waveforms, so training and `evaluate --data` simulate rooms and noise. Here the same window is degraded
in both ways, and the model's genres are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import Audio, LogMel
from headnod.inference.model import GenreModel
from headnod_train.acoustics.bands import Bands
from headnod_train.acoustics.noises import Noise
from headnod_train.acoustics.reverberation import MeasuredRooms, gains_of
from headnod_train.distillation.degradation import coloured_noise, in_room, with_sound

_EVERY = 3.0
"""Seconds from one window to the next."""
_SNR = 10.0


class _Simulated(Protocol):
    def apply(self, log_mel: LogMel, bands: Bands, rng: np.random.Generator) -> LogMel: ...


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
        noisy = with_sound(audio, coloured_noise(audio.size, 3.0, rng), _SNR)
        in_noise.append(_both(model, Noise("pink", (_SNR, _SNR)), log_mel, noisy, bands, rng))
    targets = np.repeat([genre for genre, _ in sounds], [len(each) for each in clean])
    before = np.concatenate(clean)
    return tuple(
        _compared(name, before, pairs, targets)
        for name, pairs in (("rooms", in_rooms), ("noise at 10 dB", in_noise))
        if pairs
    )


def _both(
    model: GenreModel, simulated: _Simulated, log_mel: LogMel, real: Audio, bands: Bands, rng: np.random.Generator
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
