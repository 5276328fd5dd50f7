"""What the listener makes of sounds that are no music, and of music in noise.

Silence, noise, hum and fans are made by a formula, so they are always
measured; voices and other noises come from a folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np

from headnod.errors import AudioError
from headnod.features.frontend import Audio
from headnod.inference.model import GenreModel
from headnod.pipeline.estimate import SILENCE, UNKNOWN
from headnod_train.evaluation.result_parts import NotMusic, Refusal, SoundResult
from headnod_train.evaluation.sound_sets import as_16_bit, audio_files, estimates, read

SECONDS = 60
"""Of each sound that is made by a formula."""

Formula = Callable[[int, int], Audio]
"""So many samples at such a rate."""

_LEVEL = -35.0
"""Their level, in dBFS."""
_SNRS = (None, 20.0, 10.0)
_SEED = 20_261_122


def not_music(model: GenreModel, folder: Path | None, clips: Sequence[Audio], *, seconds: int = SECONDS) -> NotMusic:
    """Share of windows that get a genre, and of music that gets none.

    Args:
        model: What names genres.
        folder: Audio that is no music, a folder in it for each kind; or None.
        clips: Music; each is heard clean and with noise 20 and 10 dB under it.
        seconds: Of each sound that is made by a formula.

    Raises:
        AudioError: The folder holds no audio, or a file cannot be read.
    """
    found = _kinds(model, folder) if folder else {}
    rate = model.front_end.sample_rate
    made = {name: as_16_bit(make(rate, seconds * rate)) for name, make in _FORMULAS.items()}
    sounds = tuple(_sound(model, name, audio) for name, audio in {**made, **found}.items())
    heard = sum(sound.windows for sound in sounds)
    noises = [made["pink noise"], made["fan"], *found.values()]
    return NotMusic(
        named=round(sum(sound.named for sound in sounds) / heard, 4),
        sounds=sounds,
        music=tuple(_refused(model, clips, noises, snr) for snr in _SNRS) if clips else (),
    )


def _kinds(model: GenreModel, folder: Path) -> dict[str, Audio]:
    """The files of each kind one after another: single ones may be shorter than a window."""
    kinds: dict[str, list[Audio]] = {}
    for path in audio_files(folder):
        parts = path.relative_to(folder).parts
        kinds.setdefault(parts[0] if len(parts) > 1 else folder.name, []).append(read(path, model))
    joined = {f"{name} (recorded)": np.concatenate(audio) for name, audio in kinds.items()}
    for name, audio in joined.items():
        if audio.size < model.front_end.window_samples or not audio.std():
            message = f"{folder}: {name} is silent, or shorter than a window"
            raise AudioError(message)
    return joined


def _sound(model: GenreModel, name: str, audio: Audio) -> SoundResult:
    said = estimates(model, [audio])
    return SoundResult(name=name, windows=len(said), named=sum(each.genre not in {SILENCE, UNKNOWN} for each in said))


def _refused(model: GenreModel, clips: Sequence[Audio], noises: Sequence[Audio], snr: float | None) -> Refusal:
    said = estimates(model, (_noisy(clip, noise, snr) for clip, noise in zip(clips, cycle(noises), strict=False)))
    silent, unknown = (sum(each.genre == genre for each in said) for genre in (SILENCE, UNKNOWN))
    return Refusal(snr=snr, windows=len(said), refused=silent + unknown, silent=silent)


def _noisy(clip: Audio, noise: Audio, snr: float | None) -> Audio:
    if snr is None or not clip.std():
        return as_16_bit(clip)
    laid = np.resize(noise, clip.size)
    mixed = clip + laid * np.float32(clip.std() / max(float(laid.std()), 1e-9) * 10.0 ** (-snr / 20.0))
    return as_16_bit(np.asarray(mixed / max(float(np.abs(mixed).max()), 1.0), np.float32))


def _coloured(falling: float) -> Formula:
    """Noise that falls by so many decibels an octave above 20 Hz."""

    def make(rate: int, size: int) -> Audio:
        spectrum = np.fft.rfft(np.random.default_rng(_SEED).standard_normal(size))
        octaves = np.log2(np.maximum(np.fft.rfftfreq(size, 1.0 / rate), 20.0) / 20.0)
        return _scaled(np.fft.irfft(spectrum * 10.0 ** (-falling * octaves / 20.0), size))

    return make


def _hum(rate: int, size: int) -> Audio:
    seconds = np.arange(size) / rate
    tones = [np.sin(2.0 * np.pi * 50.0 * number * seconds + number) / number for number in range(1, 12)]
    return _scaled(np.sum(tones, axis=0) + 0.01 * np.random.default_rng(_SEED).standard_normal(seconds.size))


def _fan(rate: int, size: int) -> Audio:
    """Air, and blades that pass 112 times a second, a little unevenly."""
    seconds = np.arange(size) / rate
    blades = sum(
        np.sin(2.0 * np.pi * 112.0 * number * seconds + 0.3 * np.sin(4.4 * seconds)) / number for number in (1, 2, 3)
    )
    return _scaled(_coloured(6.0)(rate, size) / 10.0 ** (_LEVEL / 20.0) + 0.5 * blades)


def _still(_: int, size: int) -> Audio:
    """A quiet room: the noise of the microphone alone."""
    return (np.random.default_rng(_SEED).standard_normal(size) * 10.0 ** (-70.0 / 20.0)).astype(np.float32)


def _scaled(audio: np.ndarray) -> Audio:
    return np.asarray(audio / audio.std() * 10.0 ** (_LEVEL / 20.0), np.float32)


_FORMULAS: dict[str, Formula] = {
    "silence": _still,
    "white noise": _coloured(0.0),
    "pink noise": _coloured(3.0),
    "brown noise": _coloured(6.0),
    "mains hum": _hum,
    "fan": _fan,
}
