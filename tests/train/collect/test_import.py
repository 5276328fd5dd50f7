"""An import makes an archive whatever lies in the collection, and does nothing twice."""

import contextlib
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from headnod.frontend import FrontEnd
from headnod_train.__main__ import main
from headnod_train.archive import read_archive
from headnod_train.collect.crew import hear_one

from .conftest import RATE, tune

ARTISTS = {"folk": ("ann", "bob", "cy", "di"), "jazz": ("ann", "eve", "flo", "guy")}
FILES = [f"{genre}/{artist}/{n}.wav" for genre, artists in ARTISTS.items() for artist in artists for n in (1, 2)]
TUNES = {name: seed for seed, name in enumerate(FILES)}
COMMAND = [sys.executable, "-m", "headnod_train", "import"]


def imported(out, *arguments):
    assert main(["import", *map(str, arguments), "--out", str(out), "--jobs", "1"]) == 0
    return read_archive(out, FrontEnd())


def refused(capsys, out, *arguments):
    assert main(["import", *map(str, arguments), "--out", str(out), "--jobs", "1"]) == 1
    assert not out.exists()
    return capsys.readouterr().err.splitlines()


def work(out):
    return {path: path.stat().st_mtime_ns for path in out.with_name(f"{out.name}.work").glob("*.npz")}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.npz"


def test_a_collection_becomes_an_archive_that_does_not_leak(music, out, capsys):
    archive = imported(out, music(TUNES), "--valid", "0.25", "--test", "0.25")
    assert list(archive.tracks) == sorted(TUNES)
    assert archive.labels == ("folk", "jazz")
    assert {side: (archive.splits == side).sum() for side in ("train", "valid", "test")} == {
        "train": 8,
        "valid": 4,
        "test": 4,
    }
    for artist in range(7):
        assert len(set(archive.splits[archive.artists == artist])) == 1
    said = capsys.readouterr().out
    assert "folk" in said
    assert str(out) in said


def test_tracks_of_unlike_length_are_padded_and_read_without_the_padding(music, out):
    folder = music({"jazz/long.wav": 1}, seconds=6.0)
    music({"jazz/short.wav": 2}, seconds=3.5)
    archive = imported(out, folder)
    assert archive.frames.tolist() == [77, 44]
    assert not archive.levels[1, 44:].any()
    audio, _ = soundfile.read(folder / "jazz/short.wav", dtype="float32")
    exact = FrontEnd().log_mel(audio)
    assert archive.log_mel(1).shape == exact.shape
    assert np.abs(archive.log_mel(1) - exact)[exact > exact.max() - 80].max() < 0.16


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(music, out, capsys):
    folder = music({"jazz/1.wav": 1, "jazz/2.wav": 2, "folk/1.wav": 3})
    (folder / "jazz/jazz.00054.wav").write_bytes(b"RIFF, or what was left of it")
    (folder / "folk/empty.wav").touch()
    (folder / "polka").mkdir()
    archive = imported(out, folder)
    assert list(archive.tracks) == ["folk/1.wav", "jazz/1.wav", "jazz/2.wav"]
    told = capsys.readouterr()
    assert f"skipped {folder / 'jazz/jazz.00054.wav'}: is not audio that can be read" in told.err
    assert f"skipped {folder / 'folk/empty.wav'}: is empty" in told.err
    assert "there is no genre 'polka'" in told.err
    assert "Traceback" not in told.err


def test_a_collection_of_which_nothing_can_be_used_is_refused(tmp_path, out, capsys):
    (tmp_path / "jazz").mkdir()
    (tmp_path / "jazz/1.wav").write_bytes(b"no music")
    lines = refused(capsys, out, tmp_path)
    assert lines[-1] == f"headnod-train: {tmp_path}: none of its 1 tracks can be used (each is named above)"


def test_one_track_is_imported_and_its_loneliness_told(music, out, capsys):
    archive = imported(out, music({"jazz/1.wav": 1}))
    assert list(archive.splits) == ["train"]
    told = capsys.readouterr().err
    assert "there is one genre, 'jazz'" in told
    assert "side valid has no track of jazz" in told


def test_a_second_import_hears_only_what_is_new_or_changed(music, out, capsys):
    folder = music({"jazz/1.wav": 1, "jazz/2.wav": 2})
    imported(out, folder)
    first, before = work(out), out.read_bytes()
    imported(out, folder)
    assert work(out) == first
    assert out.read_bytes() == before
    assert "2 of 2 tracks were heard before" in capsys.readouterr().err
    former = read_archive(out, FrontEnd())
    music({"jazz/2.wav": 22})
    music({"jazz/3.wav": 3}, seconds=4.0)
    archive = imported(out, folder)
    assert first.items() <= work(out).items()
    assert len(work(out)) == len(first) + 2
    assert archive.frames.tolist() == [64, 64, 51]
    assert np.array_equal(archive.levels[0], former.levels[0])
    assert not np.array_equal(archive.levels[1], former.levels[1])


def test_nothing_in_an_archive_depends_on_when_it_was_made(music, out):
    imported(out, music({"jazz/1.wav": 1}))
    with zipfile.ZipFile(out) as file:
        assert {entry.date_time for entry in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}


class Interrupting(io.FileIO):
    """A file whose reader is pressed Ctrl-C at while it reads."""

    def readinto(self, buffer):
        os.kill(os.getpid(), signal.SIGINT)
        return super().readinto(buffer)


class InterruptingPath(type(Path())):
    def open(self, *_, **__):
        return Interrupting(self)


def test_ctrl_c_is_not_lost_while_a_file_is_decoded(music):
    path = InterruptingPath(music({"jazz/1.wav": 1}) / "jazz" / "1.wav")
    with pytest.raises(KeyboardInterrupt):
        hear_one(0, path, FrontEnd(), 4.0)


def test_a_damaged_row_of_the_work_folder_is_named_and_then_heard_again(music, out, capsys):
    folder = music({"jazz/1.wav": 1, "jazz/2.wav": 2})
    imported(out, folder)
    whole = out.read_bytes()
    damaged = next(iter(work(out)))
    damaged.write_bytes(b"not a row")
    assert main(["import", str(folder), "--out", str(out), "--jobs", "1"]) == 1
    assert f"{damaged}: is gone or damaged (start again" in capsys.readouterr().err
    assert out.read_bytes() == whole
    imported(out, folder)
    assert out.read_bytes() == whole


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.long)])
def test_an_import_that_is_interrupted_keeps_what_it_heard_and_goes_on(music, out, jobs, capsys):
    folder = music({f"jazz/{n}.wav": n for n in range(3)}, seconds=10.0)
    for n in range(3, 80):
        shutil.copy(folder / f"jazz/{n % 3}.wav", folder / f"jazz/{n}.wav")
    command = [*COMMAND, folder, "--out", out, "--jobs", str(jobs)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as importing:
        deadline = time.monotonic() + 60
        while len(work(out)) < 3 and time.monotonic() < deadline:
            with contextlib.suppress(subprocess.TimeoutExpired):
                importing.wait(timeout=0.01)
        os.killpg(importing.pid, signal.SIGINT)
        said, told = importing.communicate(timeout=60)
    assert (importing.returncode, said) == (130, "")
    assert told == "headnod-train: stopped; what was heard is kept; the same command goes on from there\n"
    assert not out.exists()
    kept = work(out)
    assert 3 <= len(kept) < 80
    assert len(imported(out, folder)) == 80
    assert kept.items() <= work(out).items()
    assert f"{len(kept)} of 80 tracks were heard before" in capsys.readouterr().err


def test_a_full_disk_is_named_and_what_was_heard_is_kept(music, out):
    folder = music({f"jazz/{n}.wav": n for n in range(20)}, seconds=3.5)

    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    # A row has 6 kB, the archive more than this disk of 50 kB takes.
    ended = subprocess.run(
        [*COMMAND, folder, "--out", out, "--jobs", "1"],
        preexec_fn=small, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "out.npz.part: File too large (the archive that was there" in ended.stderr.splitlines()[-1]
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
    distributed = pytest.importorskip("distributed", reason="--dask needs Dask: pip install 'headnod[dask]'")
    folder = music(TUNES, seconds=3.5)
    (folder / "jazz/broken.wav").write_bytes(b"no music")
    imported(tmp_path / "one.npz", folder)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        assert main(["import", str(folder), "--out", str(tmp_path / "dask.npz"), "--dask", address]) == 0
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "dask.npz").read_bytes()


def test_a_copy_stays_on_the_side_of_its_original_and_wrong_labels_are_told(music, out, capsys):
    folder = music(TUNES, seconds=8.0)
    audio = tune(TUNES["folk/ann/1.wav"], 8.0)
    soundfile.write(folder / "jazz" / "copy.ogg", 0.2 * audio[RATE // 3 :], RATE)
    for seed in range(5):
        archive = imported(out, folder, "--seed", seed, "--valid", "0.3")
        alike = archive.groups >= 0
        assert sorted(archive.tracks[alike]) == ["folk/ann/1.wav", "jazz/copy.ogg"]
        assert len(set(archive.splits[alike])) == 1
    told = capsys.readouterr().err
    assert "the same recording: folk/ann/1.wav, jazz/copy.ogg, labelled folk and jazz" in told


def test_the_leaky_split_is_made_of_segments_and_says_so(music, out, capsys):
    archive = imported(out, music(TUNES, seconds=9.5), "--leaky", "--valid", "0.25")
    assert archive.leaky
    assert archive.levels.shape == (16 * 3, 38, 128)
    assert len(set(archive.tracks)) == 16
    assert (archive.splits == "valid").sum() == 12
    assert any(len(set(archive.splits[archive.tracks == track])) > 1 for track in archive.tracks)
    assert archive.first_samples[:3, 0].tolist() == [0, 39 * 1708, 77 * 1708]
    assert "LEAKY" in capsys.readouterr().out


def test_given_lists_are_kept_and_tracks_on_none_belong_to_no_side(music, out, tmp_path, capsys):
    folder = music({f"blues.0000{n}.wav": n for n in range(4)})
    (tmp_path / "train.txt").write_text("blues.00000\nblues.00001\n")
    (tmp_path / "valid.txt").write_text("blues.00002\nblues.00009\n")
    archive = imported(out, folder, "--lists", tmp_path)
    assert list(archive.splits) == ["train", "train", "valid", "unused"]
    assert "1 listed tracks are not in the collection, such as blues.00009" in capsys.readouterr().err


def test_given_sides_that_leak_are_refused_before_anything_is_heard(music, out, tmp_path, capsys):
    folder = music({"1.wav": 1, "2.wav": 2})
    table = tmp_path / "list.csv"
    rows = "".join(f"{folder}/{n}.wav,jazz,Miles,{side}\n" for n, side in ((1, "train"), (2, "valid")))
    table.write_text("path,genre,artist,split\n" + rows)
    lines = refused(capsys, out, table)
    assert "artist 0 stands on two sides: train, valid, such as" in lines[0]
    assert not out.with_name("out.npz.work").exists()


def test_given_sides_with_a_copy_on_both_are_refused(music, out, tmp_path, capsys):
    folder = music({"1.wav": 1, "2.wav": 1, "3.wav": 3})
    table = tmp_path / "list.csv"
    rows = "".join(f"{folder}/{n}.wav,jazz,{side}\n" for n, side in ((1, "train"), (2, "valid"), (3, "valid")))
    table.write_text("path,genre,split\n" + rows)
    assert "duplicate group 0 stands on two sides: train, valid" in refused(capsys, out, table)[-1]
    table.write_text("path,genre,split\n" + rows.replace("2.wav,jazz,valid", "2.wav,jazz,unused"))
    assert list(imported(out, table).splits) == ["train", "unused", "valid"]


def test_archives_are_joined_as_they_are(music, tmp_path, out):
    one = imported(tmp_path / "one.npz", music({"jazz/ann/1.wav": 1, "jazz/ann/2.wav": 2}))
    two = imported(tmp_path / "two.npz", music({"folk/ann/3.wav": 3}, seconds=4.0) / "..", "--layout", "folders")
    both = imported(out, tmp_path / "one.npz", tmp_path / "two.npz")
    assert len(both) == len(set(one.tracks) | set(two.tracks))
    row = list(both.tracks).index("jazz/ann/2.wav")
    former = list(one.tracks).index("jazz/ann/2.wav")
    assert np.array_equal(both.log_mel(row), one.log_mel(former))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--lists", "x", "--valid", "0.2"], "--lists says which side"),
        (["--valid", "0.6", "--test", "0.4"], "leave nothing to learn from"),
        (["--valid", "1"], "'1' is no number of share from 0 to 0.9"),
        (["--seconds", "1"], "'1' is no number of seconds from 3 to 3600"),
        (["--jobs", "2", "--dask", "tcp://x"], "not allowed with argument"),
        (["--layout", "itunes"], "invalid choice"),
    ],
)
def test_wrong_usage_exits_with_2(capsys, arguments, complaint):
    with pytest.raises(SystemExit) as end:
        main(["import", "music", "--out", "out.npz", *arguments])
    assert end.value.code == 2
    assert complaint in capsys.readouterr().err


def test_an_out_that_is_no_npz_or_the_source_itself_is_refused(capsys, music, out):
    with pytest.raises(SystemExit):
        main(["import", "music", "--out", "archive"])
    assert "does not end with .npz" in capsys.readouterr().err
    imported(out, music({"jazz/1.wav": 1}))
    before = out.read_bytes()
    assert main(["import", str(out), "--out", str(out)]) == 1
    assert "is what is to be imported" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_a_cluster_that_is_not_there_is_named(capsys, music, out):
    pytest.importorskip("distributed", reason="--dask needs Dask: pip install 'headnod[dask]'")
    assert main(["import", str(music({"jazz/1.wav": 1})), "--out", str(out), "--dask", "udp-ish"]) == 1
    assert "udp-ish: no Dask scheduler answers there" in capsys.readouterr().err
