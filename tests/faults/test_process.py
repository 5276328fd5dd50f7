"""Faults of the process: asked to end while it hangs, killed, half dead, too slow, or one too many."""

import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from headnod.resources import DEFAULT_MODEL
from support.command_line import PATIENCE, PROMPT
from support.listener_process import children, is_estimate, is_waiting, waits_until
from support.pulseaudio import NAME, VirtualMicrophone, missing

PROCESSOR = Path("/sys/fs/cgroup/cpu")

needs_sound = pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")


@pytest.fixture
def microphone(tmp_path):
    microphone = VirtualMicrophone(tmp_path / "sound")
    with ExitStack() as stack:
        stack.callback(microphone.close)
        yield microphone.start()


@needs_sound
@pytest.mark.parametrize(
    "moment", ["in a read", pytest.param("while it looks for the microphone", marks=pytest.mark.long)]
)
def test_p1_ends_soon_while_the_microphone_hangs(microphone, listening, brief, moment):
    words = ("--audio", "mic", "--device", NAME, "--model", brief)
    daemon = listening(*words, **microphone.environment)
    daemon.until(is_estimate)
    microphone.freeze_server()
    if moment != "in a read":
        daemon.until(is_waiting)
        assert waits_until(lambda: any(b"list" in command(child) for child in children(daemon.pid)))
    daemon.send(signal.SIGTERM)
    status, took = daemon.ended()
    logging.getLogger(__name__).info("ended after %.2f s", took)
    assert status == 0
    assert took < PROMPT
    assert not children(daemon.pid)


def command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


@needs_sound
def test_p2_killed_it_leaves_no_process_behind(microphone, listening, brief):
    daemon = listening("--audio", "mic", "--device", NAME, "--model", brief, **microphone.environment)
    daemon.until(is_estimate)
    capture = daemon.capture
    # The hardest case: the capture process sits in a call that does not return.
    microphone.freeze_server()
    daemon.send(signal.SIGKILL)
    assert daemon.ended()[0] == -signal.SIGKILL
    assert waits_until(lambda: not Path(f"/proc/{capture}").exists())


def test_p3_a_thread_that_dies_ends_the_process(configured, environment):
    program = (
        "import sys, threading\n"
        "from headnod.__main__ import main\n"
        "def part():\n"
        "    sys.stdin.readline()\n"
        "    raise ZeroDivisionError('the part broke')\n"
        "threading.Thread(target=part, daemon=True).start()\n"
        "sys.exit(main(['listen', '--audio', 'mic', '--json', '--config', sys.argv[1]]))\n"
    )
    started = [sys.executable, "-c", program, str(configured())]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(started, env=environment, text=True, **pipes) as daemon:
        assert daemon.stdout.readline()
        began = time.monotonic()
        _, log = daemon.communicate("now\n", timeout=PATIENCE)
        assert time.monotonic() - began < PROMPT
    assert daemon.returncode == 1
    assert "a part of headnod died" in log
    assert "the part broke" in log


def test_p4_a_second_listener_refuses_within_a_second(configured, listening):
    words = ("--audio", "mic", "--config", configured())
    first = listening(*words)
    first.until(is_estimate)
    second = listening(*words)
    status, took = second.ended()
    logging.getLogger(__name__).info("refused after %.2f s", took)
    assert status == 1
    assert f"another headnod (process {first.pid}) listens to microphone" in second.log()
    first.until(is_estimate)


def test_p5_the_lock_stands_in_the_runtime_directory(configured, listening, tmp_path):
    words = ("--audio", "mic", "--config", configured())
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        listening(*words, RUNTIME_DIRECTORY=str(tmp_path / name)).until(is_estimate)
        assert list((tmp_path / name).glob("headnod-*.lock"))


def test_the_session_folder_of_a_former_user_is_left_alone(configured, listening, tmp_path):
    # As `su` and `sudo -E` leave it in the environment.
    theirs = {"RUNTIME_DIRECTORY": "", "XDG_RUNTIME_DIR": str(tmp_path / "theirs"), "TMPDIR": str(tmp_path)}
    daemon = listening("--audio", "mic", "--config", configured(), **theirs)
    daemon.until(is_estimate)
    assert list(tmp_path.glob("headnod-*.lock"))
    assert not (tmp_path / "theirs").exists()


def test_p6_a_runtime_directory_that_is_not_there_is_named(configured, listening, tmp_path):
    daemon = listening("--audio", "mic", "--config", configured(), RUNTIME_DIRECTORY=str(tmp_path / "nowhere"))
    assert daemon.ended()[0] == 1
    assert "nowhere" in daemon.log()
    assert "Traceback" not in daemon.log()


@pytest.fixture
def limited():
    """Gives a process so many milliseconds of processor time a second; None is no limit."""
    group = PROCESSOR / f"headnod-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text("1000000")
    except OSError as error:
        pytest.skip(f"the processor cannot be limited here (cgroup v1, as root): {error}")

    def limited(pid, milliseconds):
        (group / "cpu.cfs_quota_us").write_text(str(1000 * milliseconds) if milliseconds else "-1")
        (group / "cgroup.procs").write_text(str(pid))

    yield limited
    for pid in (group / "cgroup.procs").read_text().split():
        (PROCESSOR / "cgroup.procs").write_text(pid)
    group.rmdir()


def lag(said):
    """How old the sound of an estimate was when it was made, but for a constant."""
    return said["monotonic"] - said["seconds"] - said["dropped"]


@pytest.mark.long
def test_p7_with_a_tenth_of_the_processor_nothing_is_dropped(configured, listening, limited):
    daemon = listening("--audio", "mic", "--config", configured(model=DEFAULT_MODEL, every=1.0))
    first = daemon.until(is_estimate)
    limited(daemon.pid, 100)
    last = daemon.until(lambda said: is_estimate(said) and said["sequence"] >= first["sequence"] + 30)
    assert last["dropped"] == 0.0
    assert abs(lag(last) - lag(first)) < 1.0


@pytest.mark.long
def test_p8_too_slow_it_drops_sound_and_hears_the_newest(configured, listening, limited):
    # Five windows a second need several times the three milliseconds that it gets.
    every, slowest = 0.2, 3
    daemon = listening("--audio", "mic", "--config", configured(model=DEFAULT_MODEL, every=every))
    first = daemon.until(is_estimate)
    limited(daemon.pid, slowest)
    slow = daemon.everything_until(lambda said: is_estimate(said) and said["dropped"] > 5.0)
    limited(daemon.pid, None)
    freed = time.monotonic()
    well = daemon.everything_until(lambda said: is_estimate(said) and said["monotonic"] > freed + 8.0)
    lags = [lag(each) - lag(first) for each in [*slow, *well] if is_estimate(each)]
    recovered = next(each for each in well if is_estimate(each) and each["monotonic"] > freed)
    logging.getLogger(__name__).info("an estimate %.2f s after", recovered["monotonic"] - freed)
    logging.getLogger(__name__).info("lag of up to %.2f s, %.2f s at the end", max(lags), lags[-1])
    assert max(lags) < 3.0
    # What the microphone itself still held may be counted as lost each time, and turn up after all.
    assert -0.5 * sum(each["state"] == "behind" for each in slow) < lags[-1] < 1.0
    assert well[-1]["dropped"] == well[-10]["dropped"]
