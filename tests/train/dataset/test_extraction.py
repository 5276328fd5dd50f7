"""What an archive keeps of a file is what the device would have heard of it."""

import subprocess

import numpy as np
import pytest
import soundfile

from headnod.features.frontend import FrontEnd
from headnod_train.dataset.extraction import Rejected, TrackFeatures, as_levels, extract, middle
from support.command_line import PATIENCE
from support.dataset_import import COMMAND

from .conftest import RATE, tune

FRONT_END = FrontEnd()


def decibels(heard):
    return heard.floor_db + (heard.levels + 0.5) / 256 * heard.range_db


def test_levels_are_the_front_ends_decibels_to_a_sixth(music):
    folder = music({"a.wav": 1})
    heard = extract(folder / "a.wav", FRONT_END, 30.0)
    audio, _ = soundfile.read(folder / "a.wav", dtype="float32")
    exact = FRONT_END.log_mel(audio)
    shown = exact > exact.max() - 80
    assert np.abs(decibels(heard) - exact)[shown].max() <= 80 / 512 + 1e-3
    assert heard.first_samples.tolist() == (np.arange(len(exact)) * FRONT_END.hop).tolist()


def test_long_music_is_heard_in_its_middle(music):
    folder = music({"a.wav": 1}, seconds=12.0)
    whole, _ = soundfile.read(folder / "a.wav", dtype="float32")
    start, audio = middle(folder / "a.wav", RATE, 4.0)
    assert start == 4 * RATE
    assert np.array_equal(audio, whole[4 * RATE : 8 * RATE])


def test_another_rate_and_another_codec_give_nearly_the_same_levels(music, tmp_path):
    folder = music({"a.wav": 1}, rate=44_100)
    audio, _ = soundfile.read(folder / "a.wav", dtype="float32")
    soundfile.write(tmp_path / "a.mp3", np.stack([audio, audio], axis=1), 44_100)
    plain, packed = (extract(path, FRONT_END, 4.0) for path in (folder / "a.wav", tmp_path / "a.mp3"))
    # The quietest cells are what an MP3 leaves out.
    heard = plain.levels > 128
    assert np.median(np.abs(plain.levels.astype(int) - packed.levels)[heard]) <= 2


def test_levels_cover_80_db_below_the_loudest_cell():
    levels, floor_db = as_levels(np.array([[0.0, -79.9, -80.1, -200.0]], np.float32))
    assert floor_db == -80.0
    assert levels.tolist() == [[255, 0, 0, 0]]


def spoilt(folder, kind):
    path = folder / "spoilt.wav"
    if kind == "whole":
        soundfile.write(path, tune(3), RATE)
    elif kind == "short":
        soundfile.write(path, tune(3, 2.0), RATE)
    elif kind == "silent":
        soundfile.write(path, np.zeros(5 * RATE, np.float32), RATE)
    elif kind == "cut off":
        soundfile.write(path, tune(3, 12.0), RATE, format="FLAC")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    elif kind != "absent":
        path.write_bytes({"empty": b"", "text": b"<html>404 Not Found</html>\n" * 99}[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("absent", "no such file"),
        ("empty", "is empty"),
        ("text", "is not audio that can be read"),
        ("cut off", "is damaged after 3.7 s"),
        ("short", "lasts 2.0 s, a window needs 3.0 s"),
        ("silent", "contains only silence"),
    ],
)
def test_a_file_that_gives_no_row_says_why(tmp_path, kind, reason):
    answer = extract(spoilt(tmp_path, kind), FRONT_END, 30.0)
    assert isinstance(answer, Rejected)
    assert reason in answer.reason
    assert str(tmp_path) not in answer.reason


def test_log_mel_that_was_computed_before_is_kept_as_it_is(tmp_path):
    log_mel = FRONT_END.log_mel(tune(1))
    np.savez(tmp_path / "a.npz", log_mel=log_mel)
    assert (
        np.abs(decibels(extract(tmp_path / "a.npz", FRONT_END, 4.0)) - log_mel)[log_mel > log_mel.max() - 80].max()
        < 0.16
    )


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"mel": np.zeros((50, 128), np.float32)}, "not an npz file with an array log_mel"),
        ({"log_mel": np.zeros((50, 64), np.float32)}, r"log_mel has shape (50, 64), it must be (38 or more, 128)"),
        ({"log_mel": np.zeros((20, 128), np.float32)}, "log_mel has shape (20, 128)"),
        ({"log_mel": np.full((50, 128), np.nan, np.float32)}, "not decibels"),
        ({"log_mel": np.array([{}], dtype=object)}, "not an npz file"),
    ],
)
def test_log_mel_that_does_not_fit_says_why(tmp_path, arrays, reason):
    np.savez(tmp_path / "a.npz", **arrays)
    answer = extract(tmp_path / "a.npz", FRONT_END, 30.0)
    assert isinstance(answer, Rejected)
    assert reason in answer.reason


def test_a_file_that_is_whole_is_heard(tmp_path):
    assert isinstance(extract(spoilt(tmp_path, "whole"), FRONT_END, 30.0), TrackFeatures)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_decoder_that_complains_of_each_frame_does_not_fill_the_terminal(music, out, jobs):
    folder = music({"jazz/1.wav": 1, "folk/1.wav": 2})
    soundfile.write(folder / "jazz/2.mp3", tune(3, 8.0), RATE)
    damaged = bytearray((folder / "jazz/2.mp3").read_bytes())
    for place in range(2000, len(damaged) - 2000, 400):
        damaged[place] ^= 0xFF
    (folder / "jazz/2.mp3").write_bytes(damaged)
    command = [*COMMAND, folder, "--out", out, "--jobs", str(jobs)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert not [line for line in ended.stderr.splitlines() if line.startswith(("[src/", "Note:"))]
    assert ended.returncode == 0
