"""A game with a folder of music: listen to three seconds, guess the label, and compare with a model."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console
from rich.text import Text

from headnod.errors import AudioError, HeadnodError
from headnod.escaping import columns, padded, printable
from headnod.features.frontend import Audio
from headnod.inference.model import GenreModel
from headnod.outputs import colours
from headnod.pipeline.level import dbfs
from headnod_train.dataset.extraction import excerpt
from headnod_train.dataset.tracks import Track

PLAYBACK_PROGRAMS = ("pw-play", "paplay", "aplay -q", "afplay")
"""Programs that play a WAV file; the first one that is installed is used."""

_SECONDS = 60.0
"""Length of the part of a file from which a window is drawn."""
_BAR = 30
"""Characters of the longest bar."""
_QUIET = -45.0
"""Level in dBFS below which another part of the file is taken."""
_TRIES = 20
"""Unusable windows in a row after which the game ends."""


class GameError(HeadnodError, OSError):
    """The game cannot be played."""


@dataclass
class Score:
    """Rounds that were played, and right answers."""

    rounds: int = 0
    person: int = 0
    model: int = 0

    def __str__(self) -> str:
        """Such as `you 3 of 5, headnod 4 of 5`."""
        return f"you {self.person} of {self.rounds}, headnod {self.model} of {self.rounds}"


def play(
    tracks: Sequence[Track],
    model: GenreModel,
    *,
    rounds: int,
    player: Sequence[str],
    answer: Callable[[str], str],
    rng: np.random.Generator,
    console: Console,
) -> Score:
    """Play some rounds.

    Every label of a track must be one of the model. `player` is a program that plays the WAV file which is its last
    argument. `answer` shows a prompt and returns what a person enters; EOFError ends the game.
    `rng` chooses tracks and their parts.

    Raises:
        GameError: No program can play, or no window can be used.
    """
    labels, score = sorted({track.genre for track in tracks}), Score()
    for number, label in enumerate(labels, 1):
        console.print(f"{number:3} {printable(label)}", markup=False, highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.wav"
        for track, audio in _clips(tracks, model, rng):
            soundfile.write(clip, audio, model.front_end.sample_rate)
            guess = _ask(labels, [*player, str(clip)], answer)
            if guess is None:
                break
            scores = model.scores(model.front_end.mfcc(audio))
            answers = dict(zip(model.answers, map(float, scores), strict=True))
            best = max(answers, key=lambda name: answers[name])
            score = Score(score.rounds + 1, score.person + (guess == track.genre), score.model + (best == track.genre))
            console.print(f"{printable(track.genre)} ({printable(str(track.path))})", markup=False, soft_wrap=True)
            for line in _bars(answers, guess, track.genre):
                console.print(line)
            console.print(str(score), markup=False, highlight=False)
            if score.rounds == rounds:
                break
    return score


def find_player() -> list[str]:
    """The first program of `PLAYBACK_PROGRAMS` that is installed."""
    for words in map(str.split, PLAYBACK_PROGRAMS):
        if shutil.which(words[0]):
            return words
    message = (
        f"none of {', '.join(PLAYBACK_PROGRAMS)} is installed (apt install alsa-utils, or name a program with --player)"
    )
    raise GameError(message)


def _clips(tracks: Sequence[Track], model: GenreModel, rng: np.random.Generator) -> Iterator[tuple[Track, Audio]]:
    """Windows of random tracks; all labels are equally likely, whatever their number of tracks."""
    size, missed = model.front_end.window_samples, 0
    labels = sorted({track.genre for track in tracks})
    while missed < _TRIES:
        label = labels[rng.integers(len(labels))]
        with_label = [track for track in tracks if track.genre == label]
        track = with_label[rng.integers(len(with_label))]
        try:
            audio = excerpt(track.path, model.front_end.sample_rate, _SECONDS)
        except AudioError:
            missed += 1
            continue
        first = int(rng.integers(max(audio.size - size, 0) + 1))
        part = audio[first : first + size]
        if part.size < size or dbfs(part) < _QUIET:
            missed += 1
            continue
        missed = 0
        yield track, part
    raise GameError(
        f"{_TRIES} windows in a row cannot be used: files are unreadable, shorter than three seconds, or silent"
    )


def _ask(labels: Sequence[str], command: Sequence[str], answer: Callable[[str], str]) -> str | None:
    """Play a clip until the person enters a number or the beginning of a label; None to stop."""
    while True:
        try:
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)  # noqa: S603 - a player
        except (OSError, subprocess.CalledProcessError) as error:
            raise GameError(f"{command[0]}: cannot play: {error} (name another program with --player)") from error
        try:
            text = answer("number or name, Enter to listen again, q to stop: ").strip().casefold()
        except EOFError:
            return None
        if text == "q":
            return None
        if text.isdecimal() and 1 <= int(text) <= len(labels):
            return labels[int(text) - 1]
        found = [label for label in labels if text and label.casefold().startswith(text)]
        if len(found) == 1:
            return found[0]


def _bars(answers: dict[str, float], guess: str, truth: str) -> Iterator[Text]:
    chosen, width = colours(answers), max(columns(printable(label)) for label in answers)
    for label, value in sorted(answers.items(), key=lambda item: -item[1]):
        red, green, blue = chosen[label]
        bar = Text("█" * round(_BAR * value), f"rgb({red},{green},{blue})")
        marks = [mark for mark, name in (("your guess", guess), ("right", truth)) if label == name]
        line = Text(padded(printable(label), width) + " ")
        yield line + bar + Text(f" {value:.2f}" + "".join(f"  <- {mark}" for mark in marks))
