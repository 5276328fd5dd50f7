"""Acoustic conditions of an evaluation: rooms, loudspeakers, microphones and noise.

Training uses the same transforms (headnod_train.acoustics) with other ranges and seeds, and must not import these.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headnod.errors import AudioError
from headnod.features.frontend import LogMel
from headnod_train.acoustics.bands import Bands, Transform, apply_all
from headnod_train.acoustics.loudspeakers import Clipping, Transducer
from headnod_train.acoustics.noises import Hum, Noise
from headnod_train.acoustics.reverberation import MeasuredRooms, Reverberation, gains_of
from headnod_train.distillation.degradation import read_all

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
    """Measured rooms by the impulse responses in a folder.

    Raises:
        AudioError: There is no impulse response, or one cannot be read.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".wav", ".flac", ".ogg"})
    if not files:
        message = f"{folder}: contains no impulse response (wav, flac or ogg)"
        raise AudioError(message)
    rooms = []
    for path in files:
        response = read_all(path, bands.front_end.sample_rate)
        if not np.abs(response).max(initial=0.0):
            message = f"{path}: is silent and cannot be an impulse response"
            raise AudioError(message)
        rooms.append(gains_of(response, bands))
    return AcousticCondition(f"{len(rooms)} recorded rooms", (MeasuredRooms(tuple(rooms)),))
