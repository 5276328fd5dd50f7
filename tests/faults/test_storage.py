"""Faults of the disk, seen from outside: whatever happens to the history, what is heard is told as it is heard."""

import random
import signal
import sqlite3
import subprocess
from contextlib import ExitStack, closing

import pytest

from headnod.outputs.history import PAGE
from support.command_line import PROMPT
from support.listener_process import is_estimate


@pytest.fixture
def mount(tmp_path):
    """Mounts a small disk."""
    with ExitStack() as stack:

        def mount(options):
            folder = tmp_path / "disk"
            folder.mkdir()
            command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
            ended = subprocess.run(command, check=False, capture_output=True, text=True)
            if ended.returncode:
                pytest.skip(f"no disk can be mounted here: {ended.stderr.strip()}")
            stack.callback(subprocess.run, ["umount", "-l", str(folder)], check=True)
            return folder

        yield mount


@pytest.fixture
def remembering(configured, listening):
    """Starts a listener that keeps history in a file."""

    def remembering(path):
        return listening("--audio", "mic", "--config", configured(every=0.1, more=f'[history]\npath = "{path}"\n'))

    return remembering


def ends_well(daemon):
    daemon.send(signal.SIGTERM)
    status, took = daemon.ended()
    assert status == 0
    assert took < PROMPT
    assert "Traceback" not in daemon.log()


def tells_ten(daemon):
    said = daemon.everything_until(lambda said: is_estimate(said) and said["sequence"] >= 10)
    assert [each["sequence"] for each in said] == list(range(11))


def remembered(path):
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT count(*) FROM estimates").fetchone()[0]


def test_s1_a_full_disk(mount, remembering):
    disk = mount("size=64k")
    filler = disk / "filler"
    filler.write_bytes(bytes(64 << 10))
    daemon = remembering(disk / "history.sqlite")
    tells_ten(daemon)
    assert "history waits in memory" in daemon.log()
    assert len(daemon.log().splitlines()) == 1
    ends_well(daemon)


def test_s2_a_full_disk_that_is_emptied_before_the_end(mount, remembering):
    disk = mount("size=1m")
    filler = disk / "filler"
    filler.write_bytes(bytes(1 << 20))
    daemon = remembering(disk / "history.sqlite")
    tells_ten(daemon)
    filler.unlink()
    ends_well(daemon)
    assert remembered(disk / "history.sqlite") >= 10


def test_s3_a_disk_that_cannot_be_written(mount, remembering):
    daemon = remembering(mount("ro,size=1m") / "history.sqlite")
    tells_ten(daemon)
    assert "history waits in memory" in daemon.log()
    ends_well(daemon)


def test_s4_a_history_that_is_damaged(remembering, tmp_path):
    path = tmp_path / "history.sqlite"
    path.write_bytes(random.Random(0).randbytes(5 * PAGE))
    daemon = remembering(path)
    tells_ten(daemon)
    assert "a new one is started" in daemon.log()
    ends_well(daemon)
    assert remembered(path) >= 10
    assert path.with_name("history.sqlite.bad").exists()
