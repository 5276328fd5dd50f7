"""Evaluation of a bundle on audio files, through the device's own code from samples to scores.

Works for every front end, because no features are stored. The files are played clean, in measured rooms, in noise
and through lossy codecs, as waveforms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.errors import AudioError
from headnod.escaping import SILENCE, UNKNOWN
from headnod.features.frontend import Audio, FrontEnd
from headnod.inference.model import GenreModel
from headnod.pipeline.listener import score_file
from headnod_train.console import print_line, tracked
from headnod_train.dataset.extraction import excerpt
from headnod_train.dataset.folder_layouts import find_tracks
from headnod_train.dataset.tracks import Track
from headnod_train.degradation import (
    coloured_noise,
    from_direct_sound,
    has_ffmpeg,
    in_room,
    read_all,
    through_aac,
    through_codec,
    with_sound,
)
from headnod_train.evaluation.conditions import SimulationAgreement, simulation_agreement
from headnod_train.evaluation.evaluate import paired_test
from headnod_train.evaluation.listener_sounds import SongNaming, audio_files, estimates, song_naming
from headnod_train.evaluation.metrics import Share, calibration_error, noise_floor, share_right, wilson_interval
from headnod_train.evaluation.results import EvaluationError

_SEED = 20_261_127
_AROUND = (3.0, 6.0)
"""Seconds of a quiet room before and after each sound other than music."""
_QUIET = 1.5e-4
"""Peak of the noise of that room: -76 dBFS."""
_SOUND = 60.0
"""Most seconds of a recorded sound that are played below music."""


@dataclass(frozen=True)
class Playback:
    """How files are degraded before the model."""

    name: str
    room: bool = False
    """In one of the measured rooms."""

    snr: float | None = None
    """Level of the music over noise, in decibels; None adds none."""

    recorded: bool = False
    """The noise is one of the recorded sounds other than music, instead of pink noise."""

    codec: bool = False
    """Through Opus, Vorbis or MP3."""

    aac: bool = False
    """Through AAC at 64 kbit/s, if ffmpeg is installed."""


CLEAN = Playback("clean")
PLAYBACKS = (
    CLEAN,
    Playback("rooms", room=True),
    Playback("rooms, noise at 20 dB", room=True, snr=20.0),
    Playback("rooms, noise at 10 dB", room=True, snr=10.0),
    Playback("noise at 10 dB", snr=10.0),
    Playback("recorded sounds at 10 dB", snr=10.0, recorded=True),
    Playback("lossy codecs", codec=True),
    Playback("AAC at 64 kbit/s", aac=True),
)


class Played(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Figures for the files, played in one way."""

    name: str
    windows: Share
    """Accuracy of windows of 3 s; interval by file."""

    clips: Share
    """Accuracy of files by their mean scores; interval by file."""

    clips_by_artist: Share | None
    """The same with an interval by artist; null if artists are unknown."""

    genres: dict[str, Share]
    """Accuracy of files by genre; Wilson's interval."""

    refused: float
    """Share of windows classified as "not music"."""

    calibration_error: float
    """Expected calibration error of files (0-1)."""

    calibration_noise: float
    """Error that perfectly calibrated probabilities would show on so few files."""


class Refused(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sounds other than music, each played alone in a quiet room."""

    kind: str
    """Name of their folder."""

    files: int
    files_named: int
    """Files that get a genre at some time."""

    windows: int
    """Estimates, one every 3 s."""

    windows_named: int
    """Estimates with a genre."""


class PairedClips(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another model on the same files."""

    model: str
    clips: Share
    this_only: int
    """Files that only the measured model has right."""

    other_only: int
    """Files that only the other model has right."""

    p: float
    """p-value of the exact McNemar test."""


class RecordingsEvaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bundle measured on audio files."""

    model: str
    """Name and version."""

    data: str
    """Name of the folder or list."""

    leaky: bool
    """The model was trained on some of the files, so every figure is too good."""

    played: tuple[Played, ...]
    """One entry for each way of playing, clean first."""

    not_music: tuple[Refused, ...] = ()
    """Sounds other than music, by kind."""

    against: PairedClips | None = None
    """Another model on the same files, clean."""

    songs: SongNaming | None = None
    """Files played whole, alone and one after another."""

    simulation: tuple[SimulationAgreement, ...] = ()
    """Degradation simulated in mel power, compared with that of the waveform."""

    float_agreement: float | None = None
    """Share of clean windows on which the float network predicts the same genre."""


def find_clips(place: Path, labels: Sequence[str], *, only: Path | None = None) -> list[Track]:
    """Audio files of known genre in a folder or a CSV list.

    The place has any layout that `import` reads. Files of other genres than `labels` are left out. `only` is a file
    with the names of the tracks to use, one per line.

    Raises:
        CollectionError: The place cannot be read.
        EvaluationError: No file of these genres is left.
    """
    wanted = set(only.read_text("utf-8").split()) if only else None
    found = [
        track
        for track in find_tracks([place], None, FrontEnd()).tracks
        if track.genre in labels and (wanted is None or track.path.stem in wanted)
    ]
    if not found:
        raise EvaluationError(f"{place}: contains no file of a genre of the model ({', '.join(labels)})")
    return found


def evaluate_clips(
    model: GenreModel,
    clips: Sequence[Track],
    *,
    data: str,
    rooms: Path | None = None,
    not_music: Path | None = None,
    songs: Path | None = None,
    other: GenreModel | None = None,
    float_model: GenreModel | None = None,
    leaky: bool = False,
    console: Console,
) -> RecordingsEvaluation:
    """Measure a model on audio files.

    Raises:
        AudioError: No file can be read, or a folder holds no audio.
    """
    rate = model.front_end.sample_rate
    responses = [from_direct_sound(read_all(path, rate)) for path in audio_files(rooms)] if rooms else []
    sounds = _read(clips, rate, console)
    others = list(_drawn(not_music, rate, len(sounds))) if not_music else []
    playbacks = [
        each
        for each in PLAYBACKS
        if (responses or not each.room) and (others or not each.recorded) and (has_ffmpeg() or not each.aac)
    ]
    played = tuple(
        _played(model, sounds, playback, responses, others)
        for playback in tracked(playbacks, "playing the files in each way", console)
    )
    return RecordingsEvaluation(
        model=model.manifest.id,
        data=data,
        leaky=leaky,
        played=played,
        not_music=_refused(model, not_music, console) if not_music else (),
        against=_against(model, other, sounds, console) if other else None,
        simulation=simulation_agreement(
            model, [(model.labels.index(clip.genre), audio) for clip, audio in sounds.items()], responses, seed=_SEED
        ),
        float_agreement=_float_agreement(model, float_model, sounds) if float_model else None,
        songs=song_naming(
            model,
            audio_files(songs) if songs else [clip.path for clip in sounds],
            data=songs.name if songs else data,
            console=console,
        ),
    )


def _read(clips: Iterable[Track], rate: int, console: Console) -> dict[Track, Audio]:
    sounds = {}
    for clip in clips:
        try:
            audio = read_all(clip.path, rate)
        except AudioError as error:
            print_line(console, f"left out: {error}")
            continue
        if audio.any():
            sounds[clip] = audio
        else:
            print_line(console, f"left out: {clip.path}: holds no sound")
    if not sounds:
        raise AudioError("none of the files could be read")
    return sounds


def _drawn(folder: Path, rate: int, count: int) -> Iterator[Audio]:
    """The first part of recorded sounds, at most this many, drawn at random; without silence before and after."""
    paths = audio_files(folder)
    for place in np.random.default_rng(_SEED).permutation(len(paths))[:count]:
        sound = excerpt(paths[place], rate, _SOUND, intro=0.0)
        loud = np.flatnonzero(np.abs(sound) > _QUIET)
        if loud.size:
            yield sound[loud[0] : loud[-1] + 1]


def _played(
    model: GenreModel,
    sounds: Mapping[Track, Audio],
    playback: Playback,
    responses: Sequence[Audio],
    others: Sequence[Audio],
) -> Played:
    rng, labels = np.random.default_rng(_SEED), model.labels
    right, files, whole, refused = [], [], [], []
    for place, (clip, audio) in enumerate(sounds.items()):
        scores, mean, _ = score_file(
            clip.path.name, [through(audio, playback, place, responses, others, model, rng)], model
        )
        target = labels.index(clip.genre)
        guesses = [int(each.argmax()) for each in scores]
        right += [guess == target for guess in guesses]
        refused += [guess >= len(labels) for guess in guesses]
        files += [place] * len(guesses)
        whole.append(mean)
    targets = np.array([labels.index(clip.genre) for clip in sounds], np.intp)
    probable = np.stack(whole)
    named = probable[:, : len(labels)].argmax(axis=1) == targets
    audible = probable.max(axis=1) > 0
    named &= audible
    places = np.arange(len(sounds))
    artists = [clip.artist for clip in sounds]
    by_artist = np.unique(artists, return_inverse=True)[1] if any(artists) else None
    return Played(
        name=playback.name,
        windows=share_right(np.array(right, np.bool_), np.array(files, np.intp)),
        clips=share_right(named, places),
        clips_by_artist=None if by_artist is None else share_right(named, by_artist.astype(np.intp)),
        genres={label: _of_genre(named[targets == row]) for row, label in enumerate(labels) if (targets == row).any()},
        refused=round(float(np.mean(refused)), 4) if refused else 0.0,
        calibration_error=round(calibration_error(probable, targets), 4),
        calibration_noise=round(noise_floor(probable[audible], places[audible]), 4) if audible.any() else 0.0,
    )


def _of_genre(named: NDArray[np.bool_]) -> Share:
    """With Wilson's interval: by bootstrap, that of one file would have no width."""
    accuracy = float(named.mean())
    return Share(accuracy=round(accuracy, 4), ci95=wilson_interval(accuracy, len(named)), count=len(named))


def through(
    audio: Audio,
    playback: Playback,
    place: int,
    responses: Sequence[Audio],
    others: Sequence[Audio],
    model: GenreModel,
    rng: np.random.Generator,
) -> Audio:
    """Audio as it is played.

    Args:
        audio: Music, shape (n,).
        playback: How it is played.
        place: Number of the file, which chooses the room and the recorded sound.
        responses: Impulse responses of rooms.
        others: Recorded sounds other than music, which are repeated to the length of the music.
        model: Determines the sample rate.
        rng: Source of noise, and of the choice of a codec.

    Returns:
        Shape (n,), scaled down if it would clip.
    """
    rate = model.front_end.sample_rate
    if playback.codec:
        audio = through_codec(audio, rate, rng)
    if playback.aac:
        audio = through_aac(audio, rate)
    if playback.room:
        audio = in_room(audio, responses[place % len(responses)])
    if playback.snr is not None:
        recorded = playback.recorded
        noise = np.resize(others[place % len(others)], audio.size) if recorded else coloured_noise(audio.size, 3.0, rng)
        audio = with_sound(audio, noise, playback.snr)
    loudest = float(np.abs(audio).max(initial=0.0))
    return audio if loudest <= 1.0 else (audio / np.float32(loudest)).astype(np.float32)


def _refused(model: GenreModel, folder: Path, console: Console) -> tuple[Refused, ...]:
    """Each file alone in a quiet room, through the listener."""
    rng, rate = np.random.default_rng(_SEED), model.front_end.sample_rate
    kinds: dict[str, list[list[bool]]] = {}
    for path in tracked(audio_files(folder), "playing other sounds", console):
        before, after = (
            (rng.uniform(-_QUIET, _QUIET, round(seconds * rate))).astype(np.float32) for seconds in _AROUND
        )
        found = estimates(model, [np.concatenate([before, read_all(path, rate), after])])
        parts = path.relative_to(folder).parts
        kind = parts[0] if len(parts) > 1 else folder.name
        kinds.setdefault(kind, []).append([each.genre not in {SILENCE, UNKNOWN} for each in found])
    return tuple(
        Refused(kind, len(files), sum(map(any, files)), sum(map(len, files)), sum(map(sum, files)))
        for kind, files in kinds.items()
    )


def _against(model: GenreModel, other: GenreModel, sounds: Mapping[Track, Audio], console: Console) -> PairedClips:
    theirs = _read(sounds, other.front_end.sample_rate, console)
    first, second = _clips_right(model, sounds), _clips_right(other, theirs)
    paired = paired_test(first, second)
    return PairedClips(
        model=other.manifest.id,
        clips=share_right(second, np.arange(len(second))),
        this_only=paired.this_only,
        other_only=paired.other_only,
        p=paired.p,
    )


def _float_agreement(model: GenreModel, exact: GenreModel, sounds: Mapping[Track, Audio]) -> float:
    same = [
        one.argmax() == other.argmax()
        for clip, audio in sounds.items()
        for one, other in zip(
            *(score_file(clip.path.name, [audio], each).scores for each in (model, exact)), strict=True
        )
    ]
    return round(float(np.mean(same)), 4) if same else 0.0


def _clips_right(model: GenreModel, sounds: Mapping[Track, Audio]) -> NDArray[np.bool_]:
    wholes = [score_file(clip.path.name, [audio], model).whole[: len(model.labels)] for clip, audio in sounds.items()]
    return np.array(
        [
            each.any() and model.labels[int(each.argmax())] == clip.genre
            for each, clip in zip(wholes, sounds, strict=True)
        ]
    )
