"""`headnod suggest`: what the running listener wrote, for people and for programs."""

import json

import msgspec

from headnod.teaching.correction_commands import FILE, Suggestion
from support.command_line import json_lines, run, surroundings

FOUND = [Suggestion(1e9, 1e9 + 60.0, "jazz", 0.12, 0.8), Suggestion(1e9 + 120.0, 1e9 + 180.0, "not music", 0.3, 0.4)]


def suggest(folder, *words):
    return run("suggest", *words, environment=surroundings(folder, RUNTIME_DIRECTORY=str(folder)))


def test_each_moment_is_a_line_with_its_answer(tmp_path):
    (tmp_path / FILE).write_bytes(msgspec.json.encode(FOUND))
    lines = suggest(tmp_path).stdout.splitlines()
    assert len(lines) == 2
    assert "jazz" in lines[0]
    assert lines[0].endswith("margin 0.12, novelty 0.80")
    assert [row["answer"] for row in json_lines(suggest(tmp_path, "--json"))] == ["jazz", "not music"]


def test_without_a_listener_or_with_a_damaged_file_one_line_says_so(tmp_path):
    ended = suggest(tmp_path)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "a listener suggests nothing here yet" in ended.stderr
    (tmp_path / FILE).write_text(json.dumps({"start": 1}))
    assert "cannot be read" in suggest(tmp_path).stderr
