"""`scripts/bench` as a person meets it: refusals before the work, nothing lost, nothing left behind."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import main, unwritable
from benchmarks.processes import ROOT, environment
from benchmarks.rows import Row, unmeasured
from support.listener_process import waits_until

FOUND = Row("memory", "MiB", 60.0, 470.0, "the script")


def given(*measurements):
    return lambda _options: list(measurements)


def never():
    message = "measured what nobody asked for"
    raise AssertionError(message)


def test_json_has_the_rows_and_nothing_else(tmp_path):
    file = tmp_path / "figures.json"
    assert main(["--json", str(file)], given(("P4 P8", lambda: (FOUND, FOUND)))) == 0
    told = json.loads(file.read_text())
    assert list(told) == ["P4", "P8"]
    assert told["P4"].keys() >= {"ours", "baseline", "ratio", "unit"}
    assert told["P4"]["ratio"] == pytest.approx(470 / 60)
    assert "load" in told["P4"]["more"]["machine"]


def test_only_rows_that_are_asked_for_are_measured(capsys):
    assert main(["--rows", "P4"], given(("P1", never), ("P4 P8", lambda: (FOUND, FOUND)))) == 0
    assert capsys.readouterr().out.startswith("P4   memory\n     ours 60 MiB, the script 470: 7.833 times\n")


@pytest.mark.parametrize("rows", ["P11", "P1,Q2", "P1,", "speed"])
def test_a_row_that_is_not_there_is_refused_with_those_that_are(capsys, rows):
    assert main(["--rows", rows], given(("P1", never))) == 2
    assert "(choose from P1,P2,P3,P4,P5,P6,P7,P8,P9,P10)" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["no/such/folder.json", "."])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(capsys, tmp_path, place):
    assert main(["--json", str(tmp_path / place)], given(("P1", never))) == 2
    said = capsys.readouterr().err
    assert said.startswith("bench: --json: ")
    assert said.count("\n") == 1


def test_looking_whether_a_file_can_be_written_leaves_it_as_it_was(tmp_path):
    kept = tmp_path / "kept.json"
    kept.write_text("former figures")
    assert unwritable(kept) == unwritable(tmp_path / "new.json") == ""
    assert [path.read_text() for path in tmp_path.iterdir()] == ["former figures"]


def test_what_fails_does_not_lose_the_other_rows(capsys, tmp_path):
    def fail():
        message = "pip has no network"
        raise RuntimeError(message)

    file = tmp_path / "figures.json"
    assert main(["--json", str(file)], given(("P4", lambda: (FOUND,)), ("P9", fail))) == 1
    told = json.loads(file.read_text())
    assert (told["P4"]["ours"], told["P9"]["ours"]) == (60.0, None)
    assert "bench: P9 failed: pip has no network" in capsys.readouterr().err


def test_what_cannot_be_measured_here_is_reported_and_is_no_failure(capsys):
    row = unmeasured("instructions", "million", "only root can")
    assert main([], given(("P2", lambda: (row,)))) == 0
    assert "bench: P2 is not measured: only root can" in capsys.readouterr().err


def test_settings_of_who_calls_it_are_no_part_of_it(monkeypatch):
    monkeypatch.setenv("HEADNOD_LISTEN__EVERY", "1")
    seen = []

    def look():
        seen.append([name for name in environment() if name.startswith("HEADNOD_")])
        return (FOUND,)

    main([], given(("P4", look)))
    assert seen == [[]]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopping_it_ends_what_it_started_and_says_so_in_a_line(tmp_path, how):
    note = tmp_path / "pid"
    program = f"""
import sys
from benchmarks.__main__ import main
from benchmarks.processes import run
sleep = "import os, time; print(os.getpid(), file=open({str(note)!r}, 'w'), flush=True); time.sleep(60)"
measure = lambda: run([sys.executable, "-c", sleep])
sys.exit(main(["--json", {str(tmp_path / "figures.json")!r}], lambda _: [("P4", measure)]))
"""
    words = ["env", "--default-signal=INT", sys.executable, "-c", program]
    bench = subprocess.Popen(words, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)
    with bench:
        assert waits_until(lambda: note.exists() and note.read_text().endswith("\n"))
        bench.send_signal(how)
        _, said = bench.communicate(timeout=20)
    assert bench.returncode == 130
    assert said.splitlines()[-1] == "bench: stopped; what it had started is ended, and nothing was written"
    assert "Traceback" not in said
    assert waits_until(lambda: not Path(f"/proc/{note.read_text().strip()}").exists())
    assert not (tmp_path / "figures.json").exists()
