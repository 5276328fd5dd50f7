"""What is read of processes is true of a real one."""

import contextlib
import signal
import sys
from pathlib import Path

import pytest

from benchmarks.processes import end, ending, family, proportional_memory, run, start, voluntary_switches
from support.listener_process import waits_until

SLEEPER = """
import threading, time
def nap(): [time.sleep(0.001) for _ in range(200)]
other = threading.Thread(target=nap); other.start(); other.join()
print("slept", flush=True)
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("ready", flush=True)
time.sleep(60)
"""
HOLDER = "held = bytearray(b'x') * 40_000_000; print('ready', flush=True); import time; time.sleep(60)"
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def child(program, lines=1):
    with ending(start([sys.executable, "-c", program], heard=True)) as started:
        yield started, [started.stdout.readline().strip() for _ in range(lines)]


def gone(pid):
    """The kernel takes a moment to bury what was killed."""
    return waits_until(lambda: not running(pid))


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def test_switches_are_reported_by_thread():
    with child(SLEEPER, lines=2) as (program, _):
        found = voluntary_switches(program.pid)
    assert len(found) == 2
    main = next(name for name in found if name.endswith("(main)"))
    assert all(0 <= count < 100 for count in found.values()), f"{main} slept once or so: {found}"


def test_a_thread_that_naps_is_seen():
    napping = (
        "import time; print(flush=True); [time.sleep(0.001) for _ in range(300)]; print(flush=True); time.sleep(60)"
    )
    with child(napping) as (program, _):
        before = sum(voluntary_switches(program.pid).values())
        program.stdout.readline()
        assert 250 <= sum(voluntary_switches(program.pid).values()) - before <= 320


def test_memory_that_is_held_is_counted():
    with child(HOLDER) as (held, _), child("print(flush=True); import time; time.sleep(60)") as (bare, _):
        more = proportional_memory(held.pid) - proportional_memory(bare.pid)
    assert 35 < more < 42


def test_a_family_has_the_children_by_name():
    with child(PARENT) as (program, (number,)):
        found = family(program.pid)
    assert list(found.values()) == [program.pid, int(number)]
    assert len(found) == 2


def test_what_a_program_started_ends_with_it():
    with child(PARENT) as (program, (number,)):
        end(program)
        assert gone(int(number))
    assert gone(program.pid)


def test_a_program_that_will_not_end_is_killed():
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    with child(stubborn) as (program, _):
        end(program, patience=0.2)
        assert program.returncode == -signal.SIGKILL


def test_a_program_that_fails_is_reported_with_its_last_words():
    with pytest.raises(RuntimeError, match=r"failed \(3\): no luck"):
        run([sys.executable, "-c", "import sys; sys.stderr.write('no luck'); sys.exit(3)"])


def test_a_program_that_takes_too_long_is_given_up_and_ended(tmp_path):
    note = tmp_path / "pid"
    program = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(RuntimeError, match="was not done after 1 s"):
        run([sys.executable, "-c", program], patience=1.0)
    assert gone(int(note.read_text()))


def test_what_a_program_took_is_its_own_processor_time():
    ended = run([sys.executable, "-c", "import time; n = 0\nwhile time.process_time() < 0.3: n += 1"])
    assert 0.3 <= ended.cpu < 0.6
    assert ended.wall >= 0.3
