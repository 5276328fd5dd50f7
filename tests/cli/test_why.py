"""`headnod why` says in a sentence what held a genre back, of a file or of the listener that runs."""

import json
import stat

import numpy as np
import pytest
import soundfile
from msgspec.structs import replace

from headnod.__main__ import main
from headnod.cli.listen_commands import explanation
from headnod.config import Config
from headnod.errors import AudioError
from headnod.outputs.text import FILE, LatestFile, read_latest
from headnod.pipeline.estimate import HeldBy, State
from headnod.pipeline.listener import ListenerSettings
from headnod.resources import demo_clip
from headnod.runtime import Runtime
from support.estimates import condition, estimate, silence
from support.signals import noise

JAZZ = estimate("jazz", jazz=0.42, metal=0.45)
SETTINGS = ListenerSettings()


@pytest.mark.parametrize(
    ("held_by", "genre", "words"),
    [
        (HeldBy.NONE, "metal", ("metal is named", "0.45")),
        (HeldBy.SILENCE, "silence", ("quiet", "-20 dBFS", "-60 dBFS (listen.silence)", "listen.above_noise")),
        (HeldBy.STEADY_NOISE, "silence", ("steady noise", "-20 dBFS")),
        (HeldBy.STARTING, "silence", ("has just begun",)),
        (HeldBy.NOT_MUSIC, "unknown", ("genre-0.1.0 takes the sound for speech", "metal, at 0.45")),
        (HeldBy.THRESHOLD, "unknown", ("none is probable enough", "metal", "0.45", "the model's own threshold")),
        (HeldBy.LEAD, "jazz", ("jazz stays named", "although metal is likelier", "0.35 (listen.lead)")),
        (HeldBy.LEAD, "metal", ("metal stays named", "although no music is likelier")),
        (HeldBy.LEAD, "unknown", ("taken for no music before", "metal is likelier by now")),
    ],
)
def test_a_sentence_names_what_held_a_genre_back(held_by, genre, words):
    said = explanation(replace(JAZZ, held_by=held_by, genre=genre), SETTINGS)
    assert all(word in said for word in words), said
    assert said.endswith(".")
    assert said.count(". ") <= 1, "two sentences at most"


def test_every_reason_has_a_sentence_of_its_own():
    said = {explanation(replace(JAZZ, held_by=held_by), SETTINGS) for held_by in HeldBy}
    assert len(said) == len(HeldBy)


def test_a_configured_threshold_is_named():
    said = explanation(replace(JAZZ, genre="unknown", held_by=HeldBy.THRESHOLD), ListenerSettings(threshold=0.7))
    assert "under 0.7 (listen.certainty)" in said


def test_of_a_file_the_last_estimate_is_explained(tmp_path, capsys):
    path = tmp_path / "fan.wav"
    soundfile.write(path, noise(7.0, dbfs=-20), 22_050)
    assert main(["why", "--audio", str(path)]) == 0
    assert "is steady noise" in capsys.readouterr().out


def test_as_json_the_estimate_stands_beside_the_sentence(capsys):
    assert main(["why", "--json", "--audio", str(demo_clip())]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["held_by"] == said["estimate"]["held_by"]
    assert said["estimate"]["genre"] in said["why"]


def test_a_file_that_fills_no_window_is_named(tmp_path, caplog):
    path = tmp_path / "short.wav"
    soundfile.write(path, np.zeros(22_050, np.float32), 22_050)
    assert main(["why", "--audio", str(path)]) == 1
    assert "short.wav: is shorter than 3.0 s" in caplog.text


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    # A configuration that is no service's.
    (tmp_path / "own.toml").write_text("")
    monkeypatch.setenv("HEADNOD_CONFIG", str(tmp_path / "own.toml"))
    return tmp_path


def test_of_the_listener_that_runs_the_latest_estimate_is_explained(runtime, capsys):
    with Runtime(Config(), str(demo_clip()), None) as runtime_of_demo:
        runtime_of_demo.show_on_terminal("json", "")
        seen = iter((False, False, True))
        runtime_of_demo.listen(until=lambda: next(seen))
        capsys.readouterr()
        assert main(["why"]) == 0
        assert "metal" in capsys.readouterr().out
        assert (runtime / FILE).exists()
    assert not (runtime / FILE).exists()
    assert main(["why"]) == 1


def test_a_condition_is_reported_and_an_old_estimate_is_called_old(runtime, capsys):
    latest = LatestFile(runtime / FILE)
    latest.show(replace(silence(), monotonic=-3_600.0))
    assert main(["why"]) == 0
    assert " s ago: No genre is named because it is quiet" in capsys.readouterr().out
    latest.show_status(condition(State.WAITING))
    assert main(["why"]) == 0
    assert "waiting for microphone: the state is waiting" in capsys.readouterr().out
    assert read_latest(runtime / FILE).estimate is not None
    latest.close()
    latest.close()
    assert not list(runtime.glob("*.json*"))


def test_of_two_listeners_of_one_user_the_first_is_explained_and_the_second_after_it(runtime):
    first, second = LatestFile(runtime / FILE), LatestFile(runtime / FILE)
    loud = replace(JAZZ, level=-3.0)
    first.show(JAZZ)
    second.show(loud)
    assert read_latest(runtime / FILE).estimate == JAZZ
    second.close()
    assert read_latest(runtime / FILE).estimate == JAZZ, "the other's file is left alone"
    first.close()
    second.show(loud)
    assert read_latest(runtime / FILE).estimate == loud
    second.close()


def test_without_a_listener_the_way_out_is_named(runtime, caplog):
    assert main(["why"]) == 1
    assert "no listener runs here (start 'headnod listen', or name a file with --audio)" in caplog.text
    assert str(runtime) in caplog.text


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 9_000, b'{"estimate":{"genre":3}}', b"\xff" * 100_000])
def test_a_damaged_file_is_one_line(runtime, content):
    (runtime / FILE).write_bytes(content)
    with pytest.raises(AudioError, match="cannot be read") as caught:
        read_latest(runtime / FILE)
    assert len(str(caught.value).splitlines()) == 1


def test_a_folder_that_went_costs_one_warning_and_no_estimate(tmp_path, caplog):
    latest = LatestFile(tmp_path / "gone" / FILE)
    latest.show(JAZZ)
    latest.show(JAZZ)
    assert caplog.text.count("'headnod why' reads nothing") == 1
    (tmp_path / "gone").mkdir()
    latest.show(JAZZ)
    assert read_latest(tmp_path / "gone" / FILE).estimate == JAZZ
    assert stat.S_ISREG((tmp_path / "gone" / FILE).stat().st_mode)
    latest.close()


def test_a_file_that_cannot_be_written_is_one_warning_until_it_can(runtime, caplog):
    folder = runtime / "later"
    latest = LatestFile(folder / FILE)
    latest.show(JAZZ)
    latest.show(JAZZ)
    assert caplog.text.count("no such file or directory; 'headnod why' reads nothing") == 1
    folder.mkdir()
    latest.show(JAZZ)
    assert read_latest(folder / FILE).estimate == JAZZ
    latest.close()
    for each in folder.iterdir():
        each.unlink()
    folder.rmdir()
    latest.show(JAZZ)
    assert caplog.text.count("reads nothing") == 2


@pytest.mark.parametrize(
    ("metal", "words"), [(0.41, "although metal is likelier by now, at 0.41"), (0.29, "although no music is likelier")]
)
def test_the_answer_that_leads_may_be_no_music(metal, words):
    # Together with jazz at 0.3 that leaves 0.29 and 0.41 for "not music".
    held = replace(JAZZ, held_by=HeldBy.LEAD, genre="jazz", confidence=0.3, scores={"jazz": 0.3, "metal": metal})
    assert words in explanation(held, SETTINGS)
