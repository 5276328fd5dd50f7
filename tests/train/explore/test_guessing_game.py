"""`headnod-train play`: three seconds are played, a person answers, the model's bars follow."""

import io
import sys

import numpy as np
import pytest
import soundfile
from rich.console import Console

from headnod.inference.model import GenreModel
from headnod.resources import find_model
from headnod_train.__main__ import main
from headnod_train.dataset.tracks import Track
from headnod_train.explore.guessing_game import GameError, play
from support.signals import RATE


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    folder = tmp_path_factory.mktemp("music")
    rng = np.random.default_rng(0)
    for label in ("jazz", "metal"):
        for number in range(2):
            path = folder / label / f"{number}.flac"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, 0.3 * rng.uniform(-1, 1, 5 * RATE), RATE)
    (folder / "jazz" / "damaged.mp3").write_bytes(b"no music")
    return folder


def game(music, answers, **more):
    tracks = [Track(path.name, path.parent.name, path) for path in sorted(music.rglob("*.*"))]
    console, coming = Console(file=io.StringIO(), width=100), iter(answers)

    def answer(_prompt):
        try:
            return next(coming)
        except StopIteration:
            raise EOFError from None

    options = {"rounds": 4, "player": ["true"], "rng": np.random.default_rng(1), **more}
    score = play(tracks, GenreModel.load(find_model("genre")), answer=answer, console=console, **options)
    return score, console.file.getvalue()


def test_every_round_is_counted_and_shows_the_track_and_both_answers(music):
    score, shown = game(music, ["1", "jaz", "", "nothing", "JAZZ", "1"])
    truths = [line.partition(" (")[0] for line in shown.splitlines() if ".flac" in line]
    assert len(truths) == score.rounds == 4
    assert score.person == truths.count("jazz")
    assert shown.count("<- your guess") == 4
    assert f"you {score.person} of 4, headnod {score.model} of 4" in shown


@pytest.mark.parametrize("answers", [["2", "q", "1"], ["2"]])
def test_a_person_stops_when_they_like(music, answers):
    assert game(music, answers)[0].rounds == 1


def test_three_seconds_are_played_and_again_on_request(music, tmp_path):
    log = tmp_path / "log"
    script = (
        f"import sys, shutil; open({str(log)!r}, 'a').write(sys.argv[1] + chr(10)); "
        f"shutil.copy(sys.argv[1], {str(tmp_path / 'played.wav')!r})"
    )
    player = [sys.executable, "-c", script]
    game(music, ["", "1"], rounds=1, player=player)
    assert len(log.read_text().splitlines()) == 2
    front_end = GenreModel.load(find_model("genre")).front_end
    assert soundfile.info(tmp_path / "played.wav").frames == front_end.window_samples


def test_a_player_that_fails_is_named(music):
    with pytest.raises(GameError, match="false: cannot play"):
        game(music, ["1"], player=["false"])


def test_silent_music_ends_the_game_with_a_reason(tmp_path):
    (tmp_path / "jazz").mkdir()
    soundfile.write(tmp_path / "jazz" / "silent.wav", np.zeros(5 * RATE), RATE)
    with pytest.raises(GameError, match="or silent"):
        game(tmp_path, ["1"])


def test_a_folder_without_a_label_of_the_model_is_refused_with_the_labels(tmp_path, capsys):
    (tmp_path / "dub").mkdir()
    soundfile.write(tmp_path / "dub" / "a.wav", np.zeros(5 * RATE), RATE)
    assert main(["play", str(tmp_path)]) == 1
    assert "blues, classical" in capsys.readouterr().err
