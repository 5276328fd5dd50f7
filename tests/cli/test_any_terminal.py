"""The program in any terminal: narrow, dumb, without colour, in another alphabet, or gone."""

import contextlib
import fcntl
import os
import re
import select
import shlex
import signal
import socket
import sqlite3
import struct
import subprocess
import termios
import time

import pytest

from headnod.resources import demo_clip
from support.command_line import HEADNOD, PATIENCE, write
from support.signals import music


@pytest.mark.parametrize(
    "words", ["classify --json {0} {0} {0} {0}", "listen --audio {0} --json", "listen --audio {0}"]
)
def test_a_reader_that_leaves_early_is_no_fault(environment, words):
    program = f"{shlex.join(HEADNOD)} {words.format(shlex.quote(str(demo_clip())))}"
    script = f"{program} | head -n 1; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, timeout=PATIENCE, check=False)
    assert len(ended.stdout.splitlines()) == 1
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("words", ["--help", "listen --help", "--version"])
def test_a_reader_of_the_help_that_reads_nothing_is_no_fault(environment, words):
    # The reader has ended before anything is written.
    script = f"exec 3> >(exec true); wait $!; {shlex.join(HEADNOD)} {words} >&3"
    ended = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, timeout=PATIENCE, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize(
    "words", ["config show", "classify {0}", "listen --audio {0} --plain", "--help", "listen --help", "--version"]
)
def test_a_full_disk_behind_stdout_is_reported_without_a_traceback(environment, words):
    command = f"{shlex.join(HEADNOD)} {words.format(shlex.quote(str(demo_clip())))} > /dev/full"
    ended = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, timeout=PATIENCE, check=False)
    lines = ended.stderr.decode().splitlines()
    assert lines
    assert all("no space left on device" in line.lower() for line in lines), lines
    assert ended.returncode == 1


def test_streams_that_are_closed_are_no_fault_and_no_file_takes_their_place(environment, tmp_path):
    environment["HEADNOD_HISTORY__PATH"] = str(tmp_path / "history.sqlite")
    words = ["listen", "--audio", str(demo_clip()), "--plain"]
    command = f"{shlex.join([*HEADNOD, *words])} <&- >&- 2>&-"
    ended = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, timeout=PATIENCE, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    with contextlib.closing(sqlite3.connect(tmp_path / "history.sqlite")) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT count(*) FROM estimates").fetchone()[0] > 0


def test_a_stdin_that_is_closed_gives_no_audio(environment):
    command = f"{shlex.join(HEADNOD)} classify - <&-"
    ended = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, timeout=PATIENCE, check=False)
    assert (ended.returncode, ended.stderr) == (1, b"headnod: /dev/stdin: ended without any audio\n")


@pytest.mark.parametrize(
    "more",
    [
        {"LC_ALL": "C"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0"},
        {"TERM": "dumb"},
        {"NO_COLOR": "1"},
    ],
)
def test_any_locale_and_terminal_can_be_written_to(headnod, environment, more, tmp_path):
    path = write(tmp_path / "Größe.wav", music(4.0))
    for words, complaints in ((("listen", "--audio", path), 0), (("classify", path, tmp_path / "fällt aus.wav"), 1)):
        ended = headnod(*words, environment={**environment, **more})
        assert "Traceback" not in ended.stderr
        assert (len(ended.stdout.splitlines()), len(ended.stderr.splitlines())) == (1, complaints)


class Terminal:
    """A pseudo-terminal with the program in it."""

    def __init__(self, environment, *words, size=(80, 24), log=False):
        self._ours, theirs = os.openpty()
        self.resize(*size)
        stderr = theirs if log else subprocess.PIPE
        self.process = subprocess.Popen(
            [*HEADNOD, *map(str, words)], env=environment, stdin=theirs, stdout=theirs, stderr=stderr
        )
        os.close(theirs)
        self.seen = b""

    def resize(self, width, height):
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        if hasattr(self, "process"):
            self.process.send_signal(signal.SIGWINCH)

    def read(self, seconds):
        """What it draws next, within so many seconds; nothing if it draws nothing or has ended."""
        if not select.select([self._ours], [], [], seconds)[0]:
            return b""
        try:
            drawn = os.read(self._ours, 1 << 16)
        except OSError:  # Linux says EIO when the program has closed its end
            return b""
        self.seen += drawn
        return drawn

    def until(self, sight):
        """Read until this was seen, colours and movements of the cursor left away."""
        deadline = time.monotonic() + PATIENCE
        while sight.encode() not in strip(self.seen):
            left = deadline - time.monotonic()
            assert left > 0, f"'{sight}' was not seen: {self.seen[-2000:]}"
            assert self.read(left) or self.process.poll() is None, self.seen[-2000:]

    def to_its_end(self):
        """Read all that it still draws; gives its exit status."""
        while self.read(PATIENCE):
            pass
        return self.process.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        os.close(self._ours)


@pytest.fixture
def colourful(environment):
    return {**environment, "TERM": "xterm-256color", "LANG": "C.UTF-8", "COLORTERM": "truecolor"}


def test_a_person_sees_bars_that_move(colourful):
    with Terminal(colourful, "listen", "--audio", demo_clip(), "--pace", "real") as terminal:
        for sight in ("metal since", "█", "dBFS"):
            terminal.until(sight)
        drawn = time.monotonic()
        for _ in range(5):
            assert terminal.read(PATIENCE), "it redraws between estimates"
        assert time.monotonic() - drawn < 5 * 3.0, "five times in less than five estimates"
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.to_its_end() == 130
        assert terminal.process.stderr.read() == b""
        assert terminal.seen.count(b"\x1b[?1049h") == terminal.seen.count(b"\x1b[?1049l") == 1


def test_the_log_comes_after_the_picture_also_that_of_the_process_of_the_page(colourful):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        page = f"127.0.0.1:{taken.getsockname()[1]}"
        environment = {**colourful, "HEADNOD_MQTT__HOST": "127.0.0.1", "HEADNOD_MQTT__PORT": "1"}
        words = ("listen", "--audio", demo_clip(), "--pace", "real", "--web", page)
        with Terminal(environment, *words, log=True) as terminal:
            terminal.until("metal since")
            terminal.process.send_signal(signal.SIGINT)
            assert terminal.to_its_end() == 130
            before, _, rest = terminal.seen.partition(b"\x1b[?1049h")
            picture, _, after = rest.partition(b"\x1b[?1049l")
    assert b"headnod: " not in before + picture
    assert b"headnod: MQTT: " in after
    assert b"already in use (web.address and web.port choose)" in after


def test_a_storm_of_resizes_down_to_ten_by_three_ends_nothing(colourful, brief):
    words = ("listen", "--audio", demo_clip(), "--model", brief, "--every", "0.2", "--pace", "real")
    with Terminal(colourful, *words) as terminal:
        terminal.until("dBFS")
        for size in [(10, 3), (1, 1), (300, 80), (10, 3), (40, 11), (5, 2), (80, 24)] * 4:
            terminal.resize(*size)
            terminal.read(0.05)
        assert terminal.process.poll() is None
        terminal.seen = b""
        terminal.until("dBFS")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.to_its_end() == 0
        assert terminal.process.stderr.read() == b""


def test_a_dumb_terminal_gets_plain_lines(environment):
    with Terminal({**environment, "TERM": "dumb"}, "listen", "--audio", demo_clip()) as terminal:
        assert terminal.to_its_end() == 0
        assert b"\x1b" not in terminal.seen
        assert len(terminal.seen.splitlines()) == 8


def test_without_colour_the_bars_are_drawn_all_the_same(colourful):
    with Terminal({**colourful, "NO_COLOR": "1"}, "listen", "--audio", demo_clip()) as terminal:
        assert terminal.to_its_end() == 0
        assert "█".encode() in terminal.seen
        assert b"\x1b[38;" not in terminal.seen


def strip(drawn):
    return re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", drawn)
