"""Who hears a collection, one process or many, and what is kept when they are stopped."""

import contextlib
import io
import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from headnod.features.frontend import FrontEnd
from headnod_train.__main__ import main
from headnod_train.dataset.extraction import extract_one
from support.command_line import PATIENCE
from support.dataset_import import COMMAND, TUNES, imported, work


class Interrupting(io.FileIO):
    """A file whose reader is pressed Ctrl-C at while it reads."""

    def readinto(self, buffer):
        os.kill(os.getpid(), signal.SIGINT)
        return super().readinto(buffer)


class InterruptingPath(type(Path())):
    def open(self, *_, **__):
        return Interrupting(self)


def test_ctrl_c_is_not_lost_while_a_file_is_decoded(music):
    path = InterruptingPath(music({"jazz/1.flac": 1}) / "jazz" / "1.flac")
    with pytest.raises(KeyboardInterrupt):
        extract_one(0, path, FrontEnd(), 4.0)


def test_a_damaged_row_of_the_work_folder_is_named_and_then_heard_again(music, out, capsys):
    folder = music({"jazz/1.wav": 1, "jazz/2.wav": 2})
    imported(out, folder)
    whole = out.read_bytes()
    damaged = next(iter(work(out)))
    damaged.write_bytes(b"not a row")
    assert main(["import", str(folder), "--out", str(out), "--jobs", "1"]) == 1
    assert f"{damaged}: is missing or damaged (start again" in capsys.readouterr().err
    assert out.read_bytes() == whole
    imported(out, folder)
    assert out.read_bytes() == whole


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.long)])
def test_an_import_that_is_interrupted_keeps_what_it_heard_and_goes_on(music, out, jobs, capsys):
    folder = music({f"jazz/{n}.wav": n for n in range(3)} | {"folk/1.wav": 4}, seconds=10.0)
    for n in range(3, 79):
        shutil.copy(folder / f"jazz/{n % 3}.wav", folder / f"jazz/{n}.wav")
    command = [*COMMAND, folder, "--out", out, "--jobs", str(jobs)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as importing:
        deadline = time.monotonic() + PATIENCE
        while len(work(out)) < 3 and time.monotonic() < deadline:
            with contextlib.suppress(subprocess.TimeoutExpired):
                importing.wait(timeout=0.01)
        os.killpg(importing.pid, signal.SIGINT)
        said, told = importing.communicate(timeout=PATIENCE)
    assert (importing.returncode, said) == (130, "")
    assert told == "headnod-train: stopped; extracted tracks are kept; the same command continues\n"
    assert not out.exists()
    kept = work(out)
    assert 3 <= len(kept) < 80
    assert len(imported(out, folder)) == 80
    assert kept.items() <= work(out).items()
    assert f"{len(kept)} of 80 tracks were extracted before" in capsys.readouterr().err


def test_a_full_disk_is_named_and_what_was_heard_is_kept(music, out):
    folder = music({f"jazz/{n}.wav": n for n in range(20)}, seconds=3.5)

    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    # A row has 6 kB, the archive more than this disk of 50 kB takes.
    ended = subprocess.run(
        [*COMMAND, folder, "--out", out, "--jobs", "1"],
        preexec_fn=small, capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "out.npz: File too large (an archive that existed before" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert len(work(out)) == 20
    assert sorted(path.name for path in out.parent.iterdir() if path.name.startswith(".")) == []


def test_the_archive_is_the_same_however_many_processes_made_it(music, tmp_path):
    folder = music(TUNES, seconds=3.5)
    imported(tmp_path / "one.npz", folder)
    assert main(["import", str(folder), "--out", str(tmp_path / "two.npz"), "--jobs", "2"]) == 0
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


@pytest.mark.filterwarnings("default")
def test_dask_makes_the_same_archive_to_the_byte(music, tmp_path):
    distributed = pytest.importorskip("distributed", reason="--dask needs Dask: scripts/setup dask")
    folder = music(TUNES, seconds=3.5)
    (folder / "jazz/broken.wav").write_bytes(b"no music")
    imported(tmp_path / "one.npz", folder)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        assert main(["import", str(folder), "--out", str(tmp_path / "dask.npz"), "--dask", address]) == 0
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "dask.npz").read_bytes()


def test_a_cluster_that_is_not_there_is_named(capsys, music, out):
    pytest.importorskip("distributed", reason="--dask needs Dask: scripts/setup dask")
    assert main(["import", str(music({"jazz/1.wav": 1})), "--out", str(out), "--dask", "udp-ish"]) == 1
    assert "udp-ish: no Dask scheduler answers there" in capsys.readouterr().err
