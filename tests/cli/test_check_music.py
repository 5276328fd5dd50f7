"""`headnod check --music`: the test record, played in a room, is found in the recording and answered like the file."""

import json

import numpy as np
import pytest
import soundfile

from headnod.diagnostics import check_music, read_record, record_path
from headnod.errors import AudioError
from headnod.inference.model import GenreModel
from headnod.resources import find_model
from support.command_line import run, surroundings


@pytest.fixture(scope="module")
def model():
    return GenreModel.load(find_model("genre-small"))


@pytest.fixture(scope="module")
def record(model):
    return read_record(record_path(), model.front_end.sample_rate)


def in_a_room(sound, rate, *, noise, late=4.2, seed=0):
    """The record as a microphone has it: later, softer, with reverberation and noise."""
    rng = np.random.default_rng(seed)
    response = rng.standard_normal(round(0.3 * rate)) * np.exp(-np.arange(round(0.3 * rate)) / (0.06 * rate))
    response[0] = 8.0
    size = sound.size + response.size
    played = np.fft.irfft(np.fft.rfft(sound, 2 * size) * np.fft.rfft(response, 2 * size))[:size]
    heard = np.concatenate([np.zeros(round(late * rate)), 0.1 * played / np.abs(played).max(), np.zeros(rate)])
    return (heard + noise * rng.standard_normal(heard.size)).astype(np.float32)


def test_the_record_is_small_and_each_part_names_artist_and_licence(record):
    assert record_path().stat().st_size < 2e6
    source = record_path().with_name("SOURCE.md").read_text("utf-8")
    for clip in record[0].clips:
        assert f"| {clip.artist} | {clip.licence} | {clip.package} |" in source
        assert clip.licence.startswith("CC-BY")
    assert len({clip.genre for clip in record[0].clips}) >= 4


def test_the_file_itself_has_every_answer(model, record):
    result = check_music(np.concatenate([np.zeros(40_000, np.float32), record[1]]), model, *record)
    assert result.same == result.windows
    assert result.windows >= 40
    assert sum(each.windows for each in result.genres) == result.windows


def test_a_room_leaves_some_answers_and_noise_fewer(model, record):
    rate = model.front_end.sample_rate
    quiet, loud = (check_music(in_a_room(record[1], rate, noise=noise), model, *record) for noise in (1e-4, 2e-2))
    assert quiet.same > loud.same
    assert quiet.same > 0.5 * quiet.windows
    assert -60 < quiet.level < -15


def test_other_sound_is_not_taken_for_the_record(model, record):
    rng = np.random.default_rng(1)
    noise = 0.1 * rng.standard_normal(record[1].size) * (1.0 + np.sin(np.arange(record[1].size) / 30_000.0))
    with pytest.raises(AudioError, match="test record was not found"):
        check_music(noise.astype(np.float32), model, *record)


def test_the_command_prints_a_line_for_each_genre_and_the_share(model, record, tmp_path):
    rate = model.front_end.sample_rate
    soundfile.write(tmp_path / "room.wav", in_a_room(record[1], rate, noise=1e-4), rate)
    words = ("check", "--music", "--audio", tmp_path / "room.wav", "--model", "genre-small")
    ended = run(*words, environment=surroundings(tmp_path))
    assert ended.returncode == 0, ended.stderr
    *genres, whole = ended.stdout.splitlines()
    assert all("windows as in the file" in line for line in genres)
    assert whole.startswith("genre-small-2.1.0: ")
    found = json.loads(run(*words, "--json", environment=surroundings(tmp_path)).stdout)
    assert found["model"] == "genre-small-2.1.0"
    assert sum(each["same"] for each in found["genres"]) == found["same"]
