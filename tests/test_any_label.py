"""From a folder of music to the history of a listener, a label stays what the collection calls it."""

import csv
import io
import json

import pytest
import soundfile

from headnod_train.__main__ import main
from support.command_line import json_lines, run, surroundings
from support.signals import RATE, music
from support.tones import write_run

LABELS = ("Old Time, 80s", "R&B", "[b]$a$ {{ 1 }}", "日本")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    for place, label in enumerate(LABELS):
        for number in range(4):
            path = folder / "music" / label / f"artist {number}" / "1.wav"
            path.parent.mkdir(parents=True)
            soundfile.write(path, music(7.0, seed=10 * place + number), RATE)
    archive, made = folder / "a.npz", folder / "run"
    arguments = ("--out", str(archive), "--jobs", "1", "--valid", "0.25")
    assert main(["import", str(folder / "music"), *arguments]) == 0
    write_run(made, archive)
    words = ("--name", "mine", "--version", "1.0.0", "--collection", "mine", "--licence", "own")
    assert main(["pack", "--data", str(archive), "--run", str(made), "--models", str(folder), *words]) == 0
    return folder / "mine-1.0.0"


def test_a_label_is_the_same_from_the_collection_to_the_history(bundle, tmp_path):
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, music(12.0, seed=1), RATE)
    environment = surroundings(tmp_path, HEADNOD_HISTORY__PATH=str(tmp_path / "history.db"), PYTHONUTF8="1")
    estimates = json_lines(run("listen", "--json", "--model", bundle, "--audio", clip, environment=environment))
    assert [tuple(each["scores"]) for each in estimates] == [LABELS] * len(estimates)
    (verdict,) = json_lines(run("classify", "--json", "--model", bundle, clip, environment=environment))
    assert tuple(verdict["scores"]) == LABELS
    table = run("history", "--estimates", "--csv", environment=environment).stdout
    rows = list(csv.DictReader(io.StringIO(table)))
    assert {f"scores_{label}" for label in LABELS} <= rows[0].keys()
    assert [row["genre"] for row in rows] == [each["genre"] for each in estimates]
    assert json.loads((bundle / "manifest.json").read_text("utf-8"))["labels"] == list(LABELS)


def test_lines_of_a_person_and_the_card_name_it_too(bundle, tmp_path):
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, music(12.0, seed=1), RATE)
    environment = surroundings(tmp_path, PYTHONUTF8="1")
    ended = run("classify", "--model", bundle, clip, environment=environment)
    assert any(label in ended.stdout for label in (*LABELS, "unknown", "silence"))
    assert "日本" in (bundle / "CARD.md").read_text("utf-8")
