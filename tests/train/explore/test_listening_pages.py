"""Pages play the source files at doubtful places, and curves say what more tracks and other settings bring."""

import dataclasses
import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import soundfile
from rich.console import Console

from headnod_train.__main__ import main
from headnod_train.evaluation.evaluate import evaluate
from headnod_train.evaluation.evaluation_report import write_report
from headnod_train.explore.classical import FRONT_END, track_summaries
from headnod_train.explore.collection_statistics import LabelCheck, doubtful_places
from headnod_train.explore.exploration import exploration_page, method_curves
from headnod_train.report import SourceFiles
from support.tones import FRONT_END as EVALUATED
from support.tones import Nearest, tone

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def music(archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("our & music #1")
    for name in archive.tracks:
        genre, _, number = str(name).partition(".")
        (folder / genre).mkdir(exist_ok=True)
        soundfile.write(folder / genre / f"{name}.flac", tone(genre, int(number), FRONT_END), FRONT_END.sample_rate)
    return folder


def addresses(page):
    """File and seconds of every audio element of a page."""
    for address in re.findall(r'<audio controls preload="none" src="([^"]*)">', page.read_text("utf-8")):
        parts = urlsplit(unescape(address))
        assert not parts.scheme
        assert not parts.path.startswith("/")
        file = page.parent / unquote(parts.path)
        assert file.is_file()
        yield file.resolve(), parts.fragment


def test_a_player_starts_a_second_before_the_window_in_the_middle_of_the_file(tmp_path):
    (tmp_path / "music" / "a b").mkdir(parents=True)
    soundfile.write(tmp_path / "music" / "a b" / "c#.wav", np.zeros(30 * 8000), 8000)
    files = SourceFiles(tmp_path / "music", tmp_path / "page")
    # `import` took 10 s from the middle: from second 10 on.
    assert files.player("a b/c#.wav", 4.0, 10.0) == (
        '<audio controls preload="none" src="../music/a%20b/c%23.wav#t=13.0,18.0"></audio>'
    )
    assert files.find("c#") == tmp_path / "music" / "a b" / "c#.wav"
    assert files.player("absent", 0.0, 10.0) == ""
    assert files.find("../../etc/passwd") is None


def test_explore_plays_examples_before_and_after_and_shows_the_new_pictures(path, music, tmp_path):
    out = tmp_path / "out"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "history.json").write_text(
        '[{"epoch": 1, "loss": 2.0, "windows": 0.5, "tracks": 0.6},'
        ' {"epoch": 2, "loss": 1.0, "windows": 0.7, "tracks": 0.8}]'
    )
    words = ("--audio", str(music), "--run", str(tmp_path / "run"))
    assert main(["explore", "--data", str(path), "--out", str(out), *words]) == 0
    files = [file.name for file, _ in addresses(out / "index.html")]
    assert files == [f"example-{number}-{when}.flac" for number in (1, 2, 3) for when in ("before", "after")]
    before, after = (soundfile.read(out / f"example-1-{when}.flac")[0] for when in ("before", "after"))
    assert before.shape == after.shape
    assert np.corrcoef(before, after)[0, 1] < 0.999
    assert {"tracks.png", "augmentation.png", "curves.png", "history.png"} < {file.name for file in out.glob("*.png")}


def test_a_suspicious_track_is_played_where_it_sounds_like_the_other_genre(archive, music, tmp_path):
    low, high = (int(np.flatnonzero(archive.genres == genre)[0]) for genre in ("low", "high"))
    levels = archive.levels.copy()
    half = levels.shape[1] // 2
    levels[low, half:] = levels[high, half:]
    mixed = dataclasses.replace(archive, levels=levels)
    check = LabelCheck(str(archive.tracks[low]), "low", "high", 0.2, 0.8, 1, 9)
    ((second, length),) = doubtful_places(mixed, [check])
    assert length == pytest.approx(13.0, abs=0.2)
    assert second >= length / 2 - 1.5
    files = SourceFiles(music, tmp_path)
    (tmp_path / "index.html").write_text(
        exploration_page(
            "x", warning="", facts=[], pictures=[], suspicious=[check],
            players={check.track: files.player(check.track, second, length)},
        )
    )  # fmt: skip
    ((file, seconds),) = addresses(tmp_path / "index.html")
    assert file == (music / "low" / f"{check.track}.flac").resolve()
    assert float(seconds.removeprefix("t=").split(",")[0]) == pytest.approx(second - 1.0, abs=0.2)


def test_the_evaluation_lists_the_worst_tracks_and_plays_them(archive, music, tmp_path):
    evaluated = dataclasses.replace(archive)
    found = evaluate(Nearest(evaluated, front_end=EVALUATED), evaluated, data="tones", split="valid", console=QUIET)
    probabilities = [each.probability for each in found.doubtful]
    assert len(probabilities) == 6
    assert probabilities == sorted(probabilities)
    assert {each.track for each in found.doubtful} == set(archive.subset("valid").tracks)
    page = write_report(found, tmp_path / "page", music)
    played = [file.stem for file, _ in addresses(page)]
    assert played == [each.track for each in found.doubtful]
    assert "<audio" not in write_report(found, tmp_path / "silent").read_text("utf-8")


def test_curves_are_of_other_artists_and_rise_where_tracks_help(archive):
    more = archive.chosen(np.tile(np.arange(len(archive)), 4))
    more = dataclasses.replace(more, artists=np.arange(len(more), dtype=np.int32))
    rng = np.random.default_rng(2)
    centres = rng.normal(0.0, 1.0, (3, 30))
    summaries = (centres[more.targets(more.labels)] + rng.normal(0.0, 2.5, (len(more), 30))).astype(np.float32)
    curves = {curve.across: curve for curve in method_curves(more, summaries, seed=1)}
    assert set(curves) == {"training tracks", "k", "C", "dimensions"}
    learning = curves["training tracks"].accuracy.mean(axis=1)
    assert learning[-1] > learning[0] + 0.05
    for curve in curves.values():
        assert curve.accuracy.shape == (len(curve.values), 5)
        assert ((curve.accuracy >= 0.0) & (curve.accuracy <= 1.0)).all()


def test_one_genre_has_no_curves(archive):
    alone = archive.chosen(archive.genres == "low")
    assert method_curves(alone, track_summaries(alone), seed=1) == []


def test_a_run_without_a_history_is_named(path, tmp_path, capsys):
    assert main(["explore", "--data", str(path), "--out", str(tmp_path / "out"), "--run", str(Path(tmp_path))]) == 1
    assert "headnod-train fit" in capsys.readouterr().err
