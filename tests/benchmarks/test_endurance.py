"""What hours of listening are held to is true of a real listener."""

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from benchmarks.endurance import Counted, expected
from benchmarks.memory import garbage, passing
from benchmarks.rows_of_daemon import shares
from benchmarks.rows_of_endurance import rows
from headnod import ListenerSettings, listen
from headnod.pipeline.estimate import utc_now


@pytest.mark.parametrize("seconds", [2.9, 3.0, 6.1, 59.9, 61.3])
def test_the_listener_gives_as_many_windows_as_arithmetic_says(model, demo, seconds):
    blocks = Counted(demo, seconds, model.front_end.sample_rate)
    heard = list(listen(blocks, model, ListenerSettings(), now=utc_now))
    assert len(heard) == expected(blocks.samples, model)


def test_blocks_are_counted_as_they_are_given(demo):
    blocks = Counted(demo, 10.0, 22_050)
    assert sum(block.size for block in blocks) == blocks.samples >= 10 * 22_050


@pytest.mark.parametrize("module", ["endurance", "ratios"])
def test_an_import_leaves_the_process_all_its_processors(module):
    code = f"import os, benchmarks.{module}; print(len(os.sched_getaffinity(0)))"
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert int(found.stdout) == len(os.sched_getaffinity(0))


def test_a_cycle_is_garbage_and_a_list_that_is_let_go_is_not():
    def cycle():
        held = [0] * 1000
        held.append(held)

    objects, size = garbage(cycle)
    assert objects == 1
    assert size >= 8000
    assert garbage(lambda: [0] * 1000) == (0, 0)


def test_a_listener_leaves_no_garbage(model, demo):
    said = listen(Counted(demo, 600.0, 22_050), model, ListenerSettings(), now=utc_now)
    list(islice(said, 5))
    assert garbage(lambda: list(islice(said, 100))) == (0, 0)


def test_memory_of_a_moment_is_seen():
    assert 80_000 <= passing(lambda: float(np.zeros(10_000).sum())) < 90_000


def test_a_window_too_few_is_a_lost_sample():
    told = dict.fromkeys(
        ("hours", "times_real_time", "blocks_per_window", "page_faults_per_window", "resident_bytes_per_window",
         "disk_bytes_per_window", "voluntary_switches_per_window", "involuntary_switches_per_window",
         "garbage_windows", "garbage_objects_per_window", "garbage_bytes_per_window", "passing_bytes",
         "passing_bytes_by_step", "cpu_ms_median", "cpu_ms_p999"), 1.0,
    ) | {"sequence_without_gap": True, "dropped_s": 0.0}  # fmt: skip
    whole = rows({**told, "windows": 100, "windows_expected": 100})[1]
    lost = rows({**told, "windows": 99, "windows_expected": 100})[1]
    assert (whole.more["no_sample_lost"], lost.more["no_sample_lost"]) == (True, False)


def test_switches_a_second_are_shared_out_and_a_new_thread_began_at_none():
    before = {"headnod": {"python (main)": 100}}
    after = {"headnod": {"python (main)": 130, "python": 20}}
    assert shares(before, after, 10.0) == {"headnod": {"python (main)": 3.0, "python": 2.0}}
