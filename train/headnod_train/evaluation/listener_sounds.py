"""Audio through the whole listener: level changes, other sounds, music in noise, and changes of the shown genre.

Unlike archives, audio also passes the listener's gates for silence and steady noise. Songs need no labels: the genre of
a file is the one that the listener shows longest while the file plays alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle, pairwise
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.audio.blocks import Block, Gap
from headnod.errors import AudioError
from headnod.escaping import SILENCE, UNKNOWN
from headnod.features.frontend import Audio
from headnod.inference.model import GenreModel
from headnod.pipeline.estimate import Estimate, State
from headnod.pipeline.listener import ListenerSettings, listen
from headnod_train.console import print_line, tracked
from headnod_train.dataset.archive import Archive, window_starts
from headnod_train.dataset.extraction import excerpt
from headnod_train.dataset.tracks import AUDIO, find_files
from headnod_train.degradation import read_all
from headnod_train.evaluation.predictions import genre_tracker
from headnod_train.evaluation.results import Gain, GenreChanges, Level, NotMusic, Refusal, SoundResult

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
    if not folder.is_dir():
        raise AudioError(f"{folder}: there is no such folder")
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


SONGS = 300
"""Largest number of tracks that are played, so that they fit into memory."""

_ORDER_SEED = 20_261_122


def song_changes(model: GenreModel, played: Archive, *, named: NDArray[np.intp]) -> GenreChanges | None:
    """Play tracks of alternating genres as one stream, through the listener's smoothing and threshold.

    Args:
        model: The model.
        played: The tracks; up to one window is cut off the start of each, so that changes fall anywhere in a window.
        named: Genre that the model predicts for each whole track, shape (tracks,).

    Returns:
        None if there is only one genre.
    """
    targets, rng = played.targets(model.labels), np.random.default_rng(_ORDER_SEED)
    order = _order(targets, rng)
    if len(order) < 2:  # noqa: PLR2004 - a change needs two songs
        return None
    songs = [played.log_mel(track)[int(rng.integers(model.front_end.frames)) :] for track in order]
    begun = np.cumsum([0] + [len(song) for song in songs]) * (model.front_end.hop / model.front_end.sample_rate)
    times, shown = _shown(model, np.concatenate(songs))
    known = named == targets
    delays, all_delays, wavering = [], [], 0
    for place in range(1, len(order)):
        during = np.flatnonzero((times > begun[place]) & (times <= begun[place + 1]))
        before = shown[during[0] - 1] if during.size and during[0] else None
        right = [float(times[each] - begun[place]) for each in during if shown[each] == targets[order[place]]]
        delay = right[0] if right else np.inf
        all_delays.append(delay)
        if known[order[place]] and known[order[place - 1]]:
            delays.append(delay)
        wavering += _wavering(before, [shown[each] for each in during])
    found = sorted(delay for delay in delays if np.isfinite(delay))
    return GenreChanges(
        changes=len(delays),
        median_seconds=_median(delays),
        median_seconds_of_all=_median(all_delays),
        never=round(1.0 - len(found) / len(delays), 4) if delays else 0.0,
        seconds=tuple(round(delay, 2) for delay in found),
        spurious_per_10_min=round(600.0 * wavering / float(begun[-1] - begun[1]), 3),
    )


def _order(targets: NDArray[np.intp], rng: np.random.Generator) -> list[int]:
    """Tracks at random, none after one of its own genre, until that is impossible."""
    left = {genre: list(rng.permutation(np.flatnonzero(targets == genre))) for genre in np.unique(targets)}
    order: list[int] = []
    while len(order) < SONGS:
        others = [genre for genre, tracks in left.items() if tracks and not (order and targets[order[-1]] == genre)]
        if not others:
            break
        # Weighted by remaining tracks, or the last tracks would all be of one genre.
        weights = np.array([len(left[genre]) for genre in others], float)
        genre = others[int(rng.choice(len(others), p=weights / weights.sum()))]
        order.append(int(left[genre].pop()))
    return order


def _shown(model: GenreModel, log_mel: NDArray[np.float32]) -> tuple[NDArray[np.float64], list[int | None]]:
    """Seconds of each estimate and the genre that it shows; None below the threshold."""
    front_end = model.front_end
    naming = genre_tracker(model.manifest.rejection.threshold)
    starts = window_starts(len(log_mel), front_end)

    def names() -> Iterator[int | None]:
        for start in starts:
            window = front_end.cepstra(log_mel[start : start + front_end.frames])
            decision = naming.update(model.scores(window))
            yield decision.answer if decision.above_threshold and decision.answer < len(model.labels) else None

    ends = (np.array(starts) + front_end.frames) * (front_end.hop / front_end.sample_rate)
    return ends, list(names())


def _wavering(before: int | None, shown: list[int | None]) -> int:
    """Changes of the shown genre during a track beyond the one to its genre; "unknown" is not a change."""
    genres = [genre for genre in (before, *shown) if genre is not None]
    changes = sum(one != other for one, other in pairwise(genres))
    return changes - (1 if changes and genres[0] != genres[-1] else 0)


def _median(delays: list[float]) -> float | None:
    middle = float(np.median(delays)) if delays else np.inf
    return round(middle, 2) if np.isfinite(middle) else None


LONGEST = 180.0
"""Seconds of each file that are played."""

SHORTEST = 10.0
"""Seconds; shorter files are left out."""

_ORDERS, _PLAYED = 10, 600
"""Most orders in which the files follow one another, and files after which no further order begins.
Which file follows which decides much: in one order of fifty clips, nine of ten new genres are 41 of 45."""

_FILES_SEED = 20_261_127


class SongNaming(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files through the whole listener with its default settings."""

    data: str

    songs: int
    """Files played."""

    minutes: float
    """Total length."""

    genre_changes_per_10_min: float
    """Changes between two genres within a file that plays alone; `unknown` and silence in between are ignored."""

    changes_per_10_min: float
    """All changes of the shown state, including those to and from `unknown` and silence."""

    new_genres: int
    """Files after a file of another genre, played without a pause, in all orders."""

    median_seconds: float | None
    """From the start of such a file to the first estimate with its genre; None if most are never named."""

    ninth_decile_seconds: float | None
    """The time within which nine of ten are named."""

    seconds: tuple[float, ...]
    """These delays, sorted, without genres that are never named."""

    orders: int = 1
    """Random orders in which the files were played."""


@dataclass
class _Song:
    path: Path

    alone: list[str]
    """Shown state of each estimate while the file plays alone."""

    @property
    def genre(self) -> str | None:
        """The genre shown longest while the file plays alone, the earlier of two; None if no genre is shown."""
        shown = Counter(_genres(self.alone))
        return shown.most_common(1)[0][0] if shown else None


def song_naming(model: GenreModel, paths: Sequence[Path], *, data: str, console: Console) -> SongNaming | None:
    """Play files alone, and one after another in random orders.

    Returns:
        None if fewer than two files are long enough.
    """
    songs = list(_played_alone(model, tracked(paths, "playing each file alone", console), console))
    if len(songs) < 2:  # noqa: PLR2004 - one file follows another
        return None
    rng, orders = np.random.default_rng(_FILES_SEED), min(_ORDERS, -(-_PLAYED // len(songs)))
    delays: list[float] = []
    for _ in tracked(range(orders), "playing the files one after another", console):
        delays += _delays(model, [songs[place] for place in rng.permutation(len(songs))])
    minutes = sum(len(song.alone) for song in songs) * ListenerSettings().every / 60.0
    return SongNaming(
        data=data,
        songs=len(songs),
        minutes=round(minutes, 1),
        genre_changes_per_10_min=_per_10_min((_changes(_genres(song.alone)) for song in songs), minutes),
        changes_per_10_min=_per_10_min((_changes(song.alone) for song in songs), minutes),
        new_genres=len(delays),
        median_seconds=_quantile(delays, 0.5),
        ninth_decile_seconds=_quantile(delays, 0.9),
        seconds=tuple(round(float(delay), 2) for delay in sorted(delays) if np.isfinite(delay)),
        orders=orders,
    )


def _played_alone(model: GenreModel, paths: Iterable[Path], console: Console) -> Iterator[_Song]:
    rate = model.front_end.sample_rate
    for path in paths:
        try:
            audio = excerpt(path, rate, LONGEST, intro=0.0)
        except AudioError as error:
            print_line(console, f"left out: {error}")
            continue
        if audio.size >= SHORTEST * rate:
            yield _Song(path, [each.genre for each in estimates(model, [audio])])


def _delays(model: GenreModel, songs: Sequence[_Song]) -> Iterator[float]:
    """Seconds from the start of each song that follows one of another genre until its genre is shown, or infinity."""
    rate, begins = model.front_end.sample_rate, [0.0]

    def audio() -> Iterator[Audio]:
        for song in songs:
            try:
                part = excerpt(song.path, rate, LONGEST, intro=0.0)
            except AudioError:  # it has vanished since it was played alone, and counts as never named
                part = np.empty(0, np.float32)
            begins.append(begins[-1] + part.size / rate)
            yield part

    stream = listen(audio(), model, ListenerSettings(), now=lambda: NEVER, monotonic=lambda: 0.0)
    shown = [(each.seconds, each.genre) for each in stream if isinstance(each, Estimate)]
    for place, (before, song) in enumerate(pairwise(songs), 1):
        if song.genre is not None and before.genre not in {None, song.genre}:
            start, end = begins[place : place + 2]
            named = (seconds for seconds, genre in shown if start < seconds <= end and genre == song.genre)
            yield next(named, np.inf) - start


def _genres(shown: Iterable[str]) -> list[str]:
    return [genre for genre in shown if genre not in {SILENCE, UNKNOWN}]


def _changes(shown: Sequence[str]) -> int:
    return sum(one != other for one, other in pairwise(shown))


def _per_10_min(changes: Iterable[int], minutes: float) -> float:
    return round(10.0 * sum(changes) / max(minutes, 1e-9), 2)


def _quantile(delays: Sequence[float], share: float) -> float | None:
    """The shortest delay within which this share of the files is named; None if it never is."""
    if not delays:
        return None
    found = sorted(delays)[int(np.ceil(share * len(delays))) - 1]
    return round(float(found), 2) if np.isfinite(found) else None
