"""Every second of every file is tagged, whatever its neighbours are like, and once only."""

import io

import numpy as np
import pytest
import soundfile
from rich.console import Console

from headnod_train.distillation.tagging import SAVED_EVERY, TAGS, TagFile, TaggerError, TaggerOutput, tag
from headnod_train.storage import StorageError

QUIET = Console(quiet=True)
RATE = 22_050


def write_sound(path, seconds):
    hiss = np.random.default_rng(int(10 * seconds)).uniform(-0.1, 0.1, round(seconds * RATE))
    soundfile.write(path, hiss.astype(np.float32), RATE)
    return path


class Echo:
    """A tagger that says how loud each window was, and remembers how many it heard at once."""

    def __init__(self):
        self.batches = []

    def predict(self, log_mel):
        self.batches.append(len(log_mel))
        loudness = log_mel.mean(axis=(1, 2))[:, None]
        return TaggerOutput(*(np.repeat(loudness, size, axis=1) / 1000 for size in (50, 200, 753)))


def tagged(out, tracks, teacher=None, *, every=1.0, layer="none", console=QUIET, clock=lambda: 0.0):
    file = TagFile(out, every=every, layer=layer)
    return tag(tracks, teacher or Echo(), file, every=every, layer=layer, console=console, clock=clock)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "tags.npz"


@pytest.fixture
def songs(tmp_path):
    lengths = {"one": 5.5, "two": 3.0, "three": 12.0}
    return {name: write_sound(tmp_path / f"{name}.wav", seconds) for name, seconds in lengths.items()}


def test_every_second_that_three_more_follow_is_a_row(out, songs):
    tagged(out, songs)
    with np.load(out) as said:
        assert said["tags"].dtype == np.float16
        assert said["tags"].shape == (3 + 1 + 10, 50)
        assert said["names"].tolist() == list(TAGS)
        times = {name: said["time"][said["track"] == name].tolist() for name in songs}
    assert times == {"one": [0, 1, 2], "two": [0], "three": list(range(10))}


def test_how_often_is_reported(out, songs):
    tagged(out, {"three": songs["three"]}, every=2.5)
    with np.load(out) as said:
        assert said["time"].tolist() == [0.0, 2.5, 5.0, 7.5]


def test_of_a_stretch_times_count_from_its_start(out, tmp_path):
    loud = np.concatenate([np.zeros(10 * RATE), np.full(6 * RATE, 0.5), np.zeros(10 * RATE)])
    loud[::2] *= -1
    soundfile.write(tmp_path / "long.wav", loud, RATE)
    file = TagFile(out, every=1.0, layer="none")
    tag({"long": tmp_path / "long.wav"}, Echo(), file, every=1.0, layer="none",
        stretches={"long": (10.0, 16.0)}, console=QUIET)  # fmt: skip
    with np.load(out) as said:
        assert said["time"].tolist() == [0, 1, 2, 3]
        # Every window is as loud as the others, for it holds none of the silence around.
        assert np.ptp(said["tags"][:, 0]) < 0.02


@pytest.mark.parametrize(("layer", "size"), [("dense", 200), ("mean", 753)])
def test_an_inner_layer_is_kept_if_asked_for(out, songs, layer, size):
    tagged(out, songs, layer=layer)
    with np.load(out) as said:
        assert (said["inner"].shape, said["inner"].dtype) == ((14, size), np.float16)


def test_long_files_are_heard_in_small_batches(out, tmp_path):
    teacher = Echo()
    tagged(out, {"long": write_sound(tmp_path / "long.wav", 40)}, teacher)
    assert sum(teacher.batches) == 38
    assert max(teacher.batches) <= 8


def test_what_cannot_be_heard_is_named_and_the_rest_is_tagged(out, songs, tmp_path):
    (tmp_path / "broken.mp3").write_bytes(b"\x00" * 400)
    songs |= {
        "broken": tmp_path / "broken.mp3",
        "gone": tmp_path / "gone.wav",
        "brief": write_sound(tmp_path / "brief.wav", 2.5),
    }
    console = Console(file=io.StringIO(), width=200)
    told = tagged(out, dict(sorted(songs.items())), console=console)
    said = console.file.getvalue()
    assert (told.tagged, set(told.refused)) == (3, {"broken", "gone", "brief"})
    assert f"{tmp_path / 'broken.mp3'}: is not audio that can be read" in said
    assert "gone.wav: no such file" in said
    assert "brief.wav: is shorter than the 3 s" in said
    with np.load(out) as answers:
        assert set(answers["track"]) == {"one", "two", "three"}


def test_a_second_start_hears_only_what_is_new(out, songs):
    tagged(out, {"one": songs["one"]})
    teacher = Echo()
    told = tagged(out, {"one": songs["one"], "two": songs["two"]}, teacher)
    assert (told.kept, told.tagged, teacher.batches) == (1, 1, [1])
    with np.load(out) as said:
        assert said["track"].tolist() == ["one"] * 3 + ["two"]


class Interrupted(Echo):
    """Is stopped by Ctrl-C in its second file."""

    def predict(self, log_mel):
        if self.batches:
            raise KeyboardInterrupt
        return super().predict(log_mel)


def test_an_interrupted_run_keeps_what_was_done(out, songs):
    with pytest.raises(KeyboardInterrupt):
        tagged(out, songs, Interrupted())
    with np.load(out) as said:
        assert set(said["track"]) == {"one"}


def test_a_long_run_is_saved_once_a_minute(out, songs):
    seconds = iter(range(0, 10_000, int(SAVED_EVERY)))
    present = []

    class Looking(Echo):
        def predict(self, log_mel):
            present.append(out.exists())
            return super().predict(log_mel)

    tagged(out, {"one": songs["one"], "two": songs["two"]}, Looking(), clock=lambda: float(next(seconds)))
    assert present == [False, True]


def test_nothing_to_keep_is_an_error_and_leaves_no_file(out, tmp_path):
    with pytest.raises(TaggerError, match="none of 1 files could be tagged"):
        tagged(out, {"brief": write_sound(tmp_path / "brief.wav", 1.0)})
    assert not out.exists()


def test_other_settings_do_not_mix_with_former_answers(out, songs):
    tagged(out, songs)
    with pytest.raises(TaggerError, match=r"tags\.npz: was made with --every 1 and inner layer none, not 2 and none"):
        TagFile(out, every=2.0, layer="none")
    with pytest.raises(TaggerError, match="not 1 and dense"):
        TagFile(out, every=1.0, layer="dense")


@pytest.mark.parametrize("content", [b"", b"tags", b"PK\x03\x04 and no more"])
def test_a_file_of_something_else_is_refused_and_left_alone(out, content):
    out.write_bytes(content)
    with pytest.raises(TaggerError, match=r"tags\.npz: is not a file of tags"):
        TagFile(out, every=1.0, layer="none")
    assert out.read_bytes() == content


def test_a_folder_that_cannot_be_written_to_is_named(songs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/tags\.npz: "):
        tagged(tmp_path / "file" / "tags.npz", songs)
