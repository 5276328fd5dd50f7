"""Audio through the whole listener: level changes, sounds other than music, and music in noise.

Unlike archives, audio also passes the listener's gates for silence and steady noise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import numpy as np

from headnod.audio.blocks import Block, Gap
from headnod.errors import AudioError
from headnod.features.frontend import Audio
from headnod.inference.model import GenreModel
from headnod.pipeline.estimate import SILENCE, UNKNOWN, Estimate, State
from headnod.pipeline.listener import ListenerSettings, listen
from headnod_train.dataset.tracks import AUDIO, find_files
from headnod_train.degradation import read_all
from headnod_train.evaluation.results import Gain, Level, NotMusic, Refusal, SoundResult

CLIPS = 150
"""Largest number of clips that are played."""

SECONDS = 60
"""Length of each synthetic sound."""

GAINS = (-40.0, -30.0, -20.0, -12.0, -6.0, 6.0)
"""Levels in decibels relative to the recording."""

NEVER = datetime(2026, 1, 1, tzinfo=UTC)
"""Wall-clock time of every estimate."""

_LEVEL = -35.0
"""Level of synthetic sounds in dBFS."""
_SNRS = (None, 20.0, 10.0)
_SEED = 20_261_122

Synthesiser = Callable[[int, int], Audio]
"""Makes sound from a sample rate and a number of samples."""


def audio_files(folder: Path) -> list[Path]:
    """Every audio file below a folder, sorted."""
    if found := find_files(folder).music:
        return found
    raise AudioError(f"{folder}: contains no audio file ({', '.join(sorted(AUDIO))})")


def matching_clips(folder: Path, tracks: Collection[str], model: GenreModel) -> list[Audio]:
    """Audio files with the names of tracks, at most `CLIPS` of them, spread evenly."""
    found = [path for path in audio_files(folder) if path.stem in tracks]
    if not found:
        raise AudioError(f"{folder}: no file has the name of one of the {len(tracks)} tracks")
    return [read_all(path, model.front_end.sample_rate) for path in found[:: -(-len(found) // CLIPS)]]


def estimates(model: GenreModel, pieces: Iterable[Audio]) -> list[Estimate]:
    """The listener's estimates for pieces of audio; it is reset between them."""
    stream = listen(_separated(pieces), model, ListenerSettings(), now=lambda: NEVER, monotonic=lambda: 0.0)
    return [each for each in stream if isinstance(each, Estimate)]


def as_16_bit(audio: Audio) -> Audio:
    """Audio rounded to 16 bits and clipped at full scale, as from a microphone."""
    return (np.clip(np.rint(audio * np.float32(32_768.0)), -32_768, 32_767) / np.float32(32_768.0)).astype(np.float32)


def level_flips(model: GenreModel, clips: Sequence[Audio]) -> Level:
    """Windows whose unsmoothed genre changes with the level.

    A window counts if it is neither clipped nor silent at either level.
    """
    exact, rounded = estimates(model, clips), estimates(model, map(as_16_bit, clips))
    return Level(clips=len(clips), gains=tuple(_gain(model, clips, exact, rounded, decibels) for decibels in GAINS))


def _gain(
    model: GenreModel, clips: Sequence[Audio], exact: list[Estimate], rounded: list[Estimate], decibels: float
) -> Gain:
    factor = np.float32(10.0 ** (decibels / 20.0))
    pairs = list(zip(exact, estimates(model, (clip * factor for clip in clips)), strict=True))
    counted = [pair for pair in pairs if _comparable(*pair)]
    rough = zip(rounded, estimates(model, (as_16_bit(clip * factor) for clip in clips)), strict=True)
    return Gain(
        decibels=decibels,
        windows=len(counted),
        flips=sum(one.raw_genre != other.raw_genre for one, other in counted),
        flips_16_bit=sum(one.raw_genre != other.raw_genre for one, other in rough if _comparable(one, other)),
        silent=sum(one.raw_genre != SILENCE and other.raw_genre == SILENCE for one, other in pairs),
    )


def _comparable(one: Estimate, other: Estimate) -> bool:
    return SILENCE not in {one.raw_genre, other.raw_genre} and max(one.peak, other.peak) < 0.0


def not_music(model: GenreModel, folder: Path | None, clips: Sequence[Audio], *, seconds: int = SECONDS) -> NotMusic:
    """Share of windows of other sounds that get a genre, and of music that gets none.

    Raises:
        AudioError: The folder has no audio, or a file cannot be read.
    """
    recorded = _kinds(model, folder) if folder else {}
    rate = model.front_end.sample_rate
    made = {name: as_16_bit(make(rate, seconds * rate)) for name, make in _SYNTHESISERS.items()}
    sounds = []
    for name, audio in {**made, **recorded}.items():
        found = estimates(model, [audio])
        named = sum(each.genre not in {SILENCE, UNKNOWN} for each in found)
        sounds.append(SoundResult(name=name, windows=len(found), named=named))
    noises = [made["pink noise"], made["fan"], *recorded.values()]
    return NotMusic(
        named=round(sum(sound.named for sound in sounds) / sum(sound.windows for sound in sounds), 4),
        sounds=tuple(sounds),
        music=tuple(_refused(model, clips, noises, snr) for snr in _SNRS) if clips else (),
    )


def _kinds(model: GenreModel, folder: Path) -> dict[str, Audio]:
    """The files of each kind joined, because single files may be shorter than a window."""
    kinds: dict[str, list[Audio]] = {}
    for path in audio_files(folder):
        parts = path.relative_to(folder).parts
        kinds.setdefault(parts[0] if len(parts) > 1 else folder.name, []).append(
            read_all(path, model.front_end.sample_rate)
        )
    joined = {f"{name} (recorded)": np.concatenate(audio) for name, audio in kinds.items()}
    for name, audio in joined.items():
        if audio.size < model.front_end.window_samples or not audio.std():
            raise AudioError(f"{folder}: {name} is silent, or shorter than a window")
    return joined


def _refused(model: GenreModel, clips: Sequence[Audio], noises: Sequence[Audio], snr: float | None) -> Refusal:
    found = estimates(model, (_noisy(clip, noise, snr) for clip, noise in zip(clips, cycle(noises), strict=False)))
    silent, unknown = (sum(each.genre == genre for each in found) for genre in (SILENCE, UNKNOWN))
    return Refusal(snr=snr, windows=len(found), refused=silent + unknown, silent=silent)


def _noisy(clip: Audio, noise: Audio, snr: float | None) -> Audio:
    if snr is None or not clip.std():
        return as_16_bit(clip)
    fitted = np.resize(noise, clip.size)
    mixed = clip + fitted * np.float32(clip.std() / max(float(fitted.std()), 1e-9) * 10.0 ** (-snr / 20.0))
    return as_16_bit(np.asarray(mixed / max(float(np.abs(mixed).max()), 1.0), np.float32))


def _separated(pieces: Iterable[Audio]) -> Iterator[Block]:
    for piece in pieces:
        yield piece
        yield Gap(State.LISTENING, "the next piece")


def _coloured(slope: float) -> Synthesiser:
    """Noise that falls by `slope` decibels per octave above 20 Hz."""

    def make(rate: int, size: int) -> Audio:
        spectrum = np.fft.rfft(np.random.default_rng(_SEED).standard_normal(size))
        octaves = np.log2(np.maximum(np.fft.rfftfreq(size, 1.0 / rate), 20.0) / 20.0)
        return _scaled(np.fft.irfft(spectrum * 10.0 ** (-slope * octaves / 20.0), size))

    return make


def _hum(rate: int, size: int) -> Audio:
    seconds = np.arange(size) / rate
    tones = [np.sin(2.0 * np.pi * 50.0 * number * seconds + number) / number for number in range(1, 12)]
    return _scaled(np.sum(tones, axis=0) + 0.01 * np.random.default_rng(_SEED).standard_normal(seconds.size))


def _fan(rate: int, size: int) -> Audio:
    """Air noise, and blades that pass about 112 times a second."""
    seconds = np.arange(size) / rate
    blades = sum(
        np.sin(2.0 * np.pi * 112.0 * number * seconds + 0.3 * np.sin(4.4 * seconds)) / number for number in (1, 2, 3)
    )
    return _scaled(_coloured(6.0)(rate, size) / 10.0 ** (_LEVEL / 20.0) + 0.5 * blades)


def _quiet_room(_: int, size: int) -> Audio:
    """The noise of the microphone alone."""
    return (np.random.default_rng(_SEED).standard_normal(size) * 10.0 ** (-70.0 / 20.0)).astype(np.float32)


def _scaled(audio: np.ndarray) -> Audio:
    return np.asarray(audio / audio.std() * 10.0 ** (_LEVEL / 20.0), np.float32)


_SYNTHESISERS: dict[str, Synthesiser] = {
    "silence": _quiet_room,
    "white noise": _coloured(0.0),
    "pink noise": _coloured(3.0),
    "brown noise": _coloured(6.0),
    "mains hum": _hum,
    "fan": _fan,
}
