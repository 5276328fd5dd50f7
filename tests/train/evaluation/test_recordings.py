"""Audio files through the device's own code: right answers, honest intervals, and no flattery."""

import html
import io
import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile
from rich.console import Console

from headnod.inference.model import GenreModel
from headnod.resources import find_model
from headnod_train.__main__ import main
from headnod_train.degradation import has_ffmpeg
from headnod_train.evaluation.conditions import simulation_agreement
from headnod_train.evaluation.evaluate import may_be_training_data
from headnod_train.evaluation.recordings_evaluation import (
    PLAYBACKS,
    RecordingsEvaluation,
    evaluate_clips,
    find_clips,
    through,
)
from headnod_train.evaluation.recordings_report import write_recordings_report
from headnod_train.evaluation.results import EvaluationError
from headnod_train.evaluation.tables import recordings_parts, recordings_tables
from headnod_train.training.provenance import track_hashes, training_names

REPOSITORY = Path(__file__).parents[3]
QUIET = Console(quiet=True)
RATE = 22_050


def write(path, sound):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound.astype(np.float32), RATE)
    return path


@pytest.fixture(scope="module")
def model():
    return GenreModel.load(REPOSITORY / "models" / "genre-small-1.0.0")


@pytest.fixture(scope="module")
def music():
    """Ten seconds of the demo clip, which is real music."""
    sound, rate = soundfile.read(next((REPOSITORY / "demo").glob("*.ogg")), dtype="float32", always_2d=True)
    return sound.mean(axis=1)[: 10 * rate][:: max(rate // RATE, 1)]


@pytest.fixture
def said(model, music):
    """What the model calls that music."""
    from headnod.pipeline.listener import classify

    return classify("clip", [music], model).genre


def test_files_are_right_or_wrong_by_their_folder(model, music, said, tmp_path):
    wrong = next(label for label in model.labels if label != said)
    write(tmp_path / said / "one.wav", music)
    write(tmp_path / wrong / "two.wav", 0.5 * music)
    found = evaluate_clips(model, find_clips(tmp_path, model.labels), data="music", console=QUIET)
    clean, noisy, coded, *by_ffmpeg = found.played
    assert [clean.name, noisy.name, coded.name] == ["clean", "noise at 10 dB", "lossy codecs"]
    assert [each.name for each in by_ffmpeg] == (["AAC at 64 kbit/s"] if has_ffmpeg() else [])
    assert clean.clips.accuracy == 0.5
    assert clean.clips.count == 2
    assert clean.clips_by_artist is None
    assert {genre: share.accuracy for genre, share in clean.genres.items()} == {said: 1.0, wrong: 0.0}
    # One file says little about its genre.
    assert clean.genres[said].ci95 == pytest.approx((0.21, 1.0), abs=0.01)
    assert clean.genres[wrong].ci95 == pytest.approx((0.0, 0.79), abs=0.01)


def test_rooms_are_played_only_where_there_are_any(model, music, said, tmp_path):
    write(tmp_path / "music" / said / "one.wav", music)
    write(tmp_path / "music" / said / "two.wav", music[RATE:])
    echo = np.zeros(RATE // 2)
    echo[[0, 4000, 9000]] = 1.0, 0.5, 0.3
    write(tmp_path / "rooms" / "echo.wav", echo)
    clips = find_clips(tmp_path / "music", (*model.labels, "music"))
    assert {clip.genre for clip in clips} == {said}
    found = evaluate_clips(model, clips, data="music", rooms=tmp_path / "rooms", console=QUIET)
    assert [each.name for each in found.played] == [
        each.name for each in PLAYBACKS if not each.recorded and (has_ffmpeg() or not each.aac)
    ]


def test_sounds_that_are_no_music_are_judged_file_by_file(model, music, said, tmp_path):
    write(tmp_path / "music" / said / "one.wav", music)
    rng = np.random.default_rng(0)
    write(tmp_path / "sounds" / "hiss" / "a.wav", 1e-5 * rng.standard_normal(RATE))
    write(tmp_path / "sounds" / "songs" / "b.wav", music)
    found = evaluate_clips(
        model, find_clips(tmp_path / "music", model.labels), data="m", not_music=tmp_path / "sounds", console=QUIET
    )
    hiss, songs = found.not_music
    assert (hiss.kind, hiss.files, hiss.files_named) == ("hiss", 1, 0)
    assert (songs.kind, songs.files_named) == ("songs", 1)
    assert songs.windows_named > 0


def test_music_is_also_played_over_recorded_sounds(model, music, said, tmp_path, rng):
    write(tmp_path / "music" / said / "one.wav", music)
    clips = find_clips(tmp_path / "music", model.labels)
    # Silent files are not drawn; silence before a sound is cut off, and short sounds are repeated.
    write(tmp_path / "sounds" / "fan" / "silent.wav", np.zeros(RATE))
    found = evaluate_clips(model, clips, data="m", not_music=tmp_path / "sounds", console=QUIET)
    assert "recorded sounds at 10 dB" not in [each.name for each in found.played]
    (tmp_path / "sounds" / "fan" / "silent.wav").unlink()
    loud = np.concatenate([np.zeros(40 * RATE), rng.normal(0.0, 0.3, RATE).clip(-1.0, 1.0)])
    write(tmp_path / "sounds" / "fan" / "loud.wav", loud)
    found = evaluate_clips(model, clips, data="m", not_music=tmp_path / "sounds", console=QUIET)
    clean, noisy, recorded, *_ = found.played
    assert [noisy.name, recorded.name] == ["noise at 10 dB", "recorded sounds at 10 dB"]
    assert recorded.calibration_error != clean.calibration_error


def test_a_file_without_sound_is_left_out_and_named(model, music, said, tmp_path):
    write(tmp_path / said / "one.wav", music)
    write(tmp_path / said / "silent.wav", np.zeros(RATE))
    write(tmp_path / said / "empty.wav", np.zeros(0))
    console = Console(record=True, file=io.StringIO(), width=300)
    found = evaluate_clips(model, find_clips(tmp_path, model.labels), data="m", console=console)
    assert found.played[0].clips.count == 1
    text = console.export_text()
    assert "silent.wav: holds no sound" in text
    assert "empty.wav" in text


def test_the_recorded_sound_is_10_db_below_the_music(model, music, rng):
    hum, level = np.sin(np.arange(RATE) * 0.05).astype(np.float32), np.float32(0.1)
    playback = next(each for each in PLAYBACKS if each.recorded)
    mixed = through(level * music, playback, 3, [], [hum, hum], model, rng)
    added = mixed - level * music
    assert np.corrcoef(added[:RATE], hum)[0, 1] > 0.999
    assert 10.0 * np.log10(np.mean(np.square(level * music)) / np.mean(np.square(added))) == pytest.approx(
        10.0, abs=0.01
    )


def test_another_model_is_compared_file_by_file(model, music, said, tmp_path):
    write(tmp_path / said / "one.wav", music)
    write(tmp_path / said / "two.wav", music[RATE:])
    other = GenreModel.load(REPOSITORY / "models" / "genre-0.1.0")
    found = evaluate_clips(model, find_clips(tmp_path, model.labels), data="m", other=other, console=QUIET)
    assert found.against.model == "genre-0.1.0"
    right = round(2 * found.against.clips.accuracy)
    assert found.against.this_only - found.against.other_only == round(2 * found.played[0].clips.accuracy) - right
    titles = [table.title for table in recordings_tables(found)]
    assert any("genre-0.1.0" in title for title in titles)
    assert msgspec.json.decode(msgspec.json.encode(found), type=RecordingsEvaluation) == found


def test_artists_of_a_list_give_an_interval_of_their_own(model, music, said, tmp_path):
    for name in ("one", "two", "three"):
        write(tmp_path / f"{name}.wav", music)
    (tmp_path / "list.csv").write_text(
        "path,genre,artist\n" + "".join(f"{name}.wav,{said},same band\n" for name in ("one", "two", "three"))
    )
    found = evaluate_clips(model, find_clips(tmp_path / "list.csv", model.labels), data="m", console=QUIET)
    assert found.played[0].clips_by_artist.accuracy == found.played[0].clips.accuracy


def test_only_the_listed_tracks_are_measured(model, music, said, tmp_path):
    write(tmp_path / "music" / said / "one.wav", music)
    write(tmp_path / "music" / said / "two.wav", music)
    (tmp_path / "tracks.txt").write_text("two\n")
    assert [clip.path.stem for clip in find_clips(tmp_path / "music", model.labels, only=tmp_path / "tracks.txt")] == [
        "two"
    ]
    (tmp_path / "none.txt").write_text("three\n")
    with pytest.raises(EvaluationError, match="no file of a genre"):
        find_clips(tmp_path / "music", model.labels, only=tmp_path / "none.txt")


def test_tracks_that_may_have_been_learned_from_are_noticed(model, music, tmp_path):
    write(tmp_path / "jazz" / "jazz.00012.wav", music)
    write(tmp_path / "rock" / "mine.wav", music)
    clips = find_clips(tmp_path, model.labels)
    assert may_be_training_data(model.manifest, [clip.path for clip in clips])
    assert not may_be_training_data(model.manifest, [clip.path for clip in clips if clip.path.stem == "mine"])


def test_a_gtzan_track_is_recognised_in_any_folder():
    recipe = {"track_hashes": track_hashes(["jazz.00012", "ann/one"])}
    assert training_names(recipe, ["genres/jazz/jazz.00012", "jazz.00013", "ann/one", "bob/one"]) == [
        "genres/jazz/jazz.00012", "ann/one",
    ]  # fmt: skip
    assert training_names({}, ["jazz.00012"]) is None


def test_files_that_a_model_was_trained_on_need_leaky(music, tmp_path, capsys):
    write(tmp_path / "jazz" / "jazz.00001.wav", music)
    command = ["evaluate", str(find_model("genre-small-2.1.0")), "--audio", str(tmp_path)]
    assert main([*command, "--unseen"]) == 1
    said = capsys.readouterr().err.replace("\n", " ")
    assert "genre-small-2.1.0 was trained on 1 of these files, such as jazz.00001" in said
    assert main([*command, "--leaky", "--json", str(tmp_path / "found.json")]) == 0
    assert json.loads((tmp_path / "found.json").read_text())["leaky"]
    assert "LEAKY" in capsys.readouterr().out


def test_a_page_shows_every_table_with_charts_and_marks_all_of_a_leaky_one(model, music, said, tmp_path):
    for name in ("one", "two"):
        write(tmp_path / "music" / f"{name} & co.wav", music)
    (tmp_path / "music" / "list.csv").write_text(
        "path,genre,artist\n" + "".join(f"{name} & co.wav,{said},{name}\n" for name in ("one", "two"))
    )
    write(tmp_path / "sounds" / "hiss" / "a.wav", 1e-5 * np.random.default_rng(0).standard_normal(RATE))
    clips = find_clips(tmp_path / "music" / "list.csv", model.labels)
    found = evaluate_clips(
        model, clips, data="a&b", not_music=tmp_path / "sounds", other=model, float_model=model, console=QUIET
    )
    for leaky in (False, True):
        marked = msgspec.structs.replace(found, leaky=leaky)
        written = write_recordings_report(marked, tmp_path / "page", model.labels)
        page, parts = written.read_text("utf-8"), list(recordings_parts(marked))
        assert "genre-small-1.0.0 on a&amp;b" in page
        assert page.count("<svg") == 2
        # Bars have the colours of genres, which the page defines for a light and a dark background.
        (colour,) = set(re.findall(r"var\((--genre[\w-]*)\)", page))
        assert page.count(f"{colour}:") == 2
        assert "by artist" in page
        assert len(parts) == 6
        for part in parts:
            assert part.title.startswith("LEAKY: ") == leaky
            assert all(cell in html.unescape(page) for row in part.rows for cell in row)
        assert ("the model was trained on these tracks" in page) == leaky
        assert json.loads(written.with_name("evaluation.json").read_bytes())["leaky"] == leaky


def test_the_command_writes_the_page_and_refuses_what_only_an_archive_can(music, said, tmp_path, capsys):
    write(tmp_path / "music" / said / "mine.wav", music)
    command = ["evaluate", str(find_model("genre-small-2.1.0")), "--audio", str(tmp_path / "music")]
    assert main([*command, "--report", str(tmp_path / "page")]) == 0
    assert (tmp_path / "page" / "index.html").stat().st_size > 5_000
    (tmp_path / "file").touch()
    assert main([*command, "--report", str(tmp_path / "file")]) == 1
    assert "file: cannot be a folder: File exists" in capsys.readouterr().err
    assert main([*command, "--degrade"]) == 1
    assert "--degrade needs --data" in capsys.readouterr().err


def test_files_that_a_model_was_not_trained_on_need_no_statement(music, tmp_path):
    # A track of the test split.
    write(tmp_path / "jazz" / "jazz.00099.wav", music)
    assert main(["evaluate", str(find_model("genre-small-2.1.0")), "--audio", str(tmp_path)]) == 0


def test_an_anechoic_room_is_simulated_as_it_is(model, music):
    direct = np.zeros(2000, np.float32)
    direct[0] = 1.0
    sounds = [(0, music), (1, music[: 5 * RATE]), (2, music[:RATE])]
    rooms, noise = simulation_agreement(model, sounds, [direct], seed=1)
    # 10 s and 5 s of music have three windows and one; 1 s is too short.
    assert (rooms.name, rooms.windows, rooms.agreement, rooms.agreement_of_clean) == ("rooms", 4, 1.0, 1.0)
    assert rooms.simulated == rooms.real
    assert (noise.name, noise.windows) == ("noise at 10 dB", 4)
    assert 0.0 <= noise.agreement <= 1.0
    assert simulation_agreement(model, sounds[2:], [direct], seed=1) == ()


def test_a_hard_room_changes_genres_and_the_simulation_is_compared_with_it(model, music, rng):
    tail = rng.normal(size=4 * RATE).astype(np.float32) * np.exp(-np.arange(4 * RATE, dtype=np.float32) / RATE)
    tail[0] = 4.0
    rooms, _ = simulation_agreement(model, [(0, music * np.float32(gain)) for gain in (0.3, 0.5)], [tail], seed=1)
    assert rooms.agreement_of_clean < 1.0


def test_the_float_network_is_compared_on_audio(model, music, said, tmp_path):
    write(tmp_path / said / "one.wav", music)
    clips = find_clips(tmp_path, model.labels)
    found = evaluate_clips(model, clips, data="music", float_model=model, console=QUIET)
    assert found.float_agreement == 1.0
    assert evaluate_clips(model, clips, data="music", console=QUIET).float_agreement is None
