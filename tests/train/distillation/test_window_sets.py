"""Windows of recordings, clean and degraded, come in pairs of the same moment."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from headnod_train.distillation.recordings import Recording, RecordingError
from headnod_train.distillation.window_sets import (
    CLASSES,
    GENRE,
    SAMPLING,
    SMALL,
    YamnetError,
    genre_scores,
    make_windows,
    read_classes,
    read_windows,
)

TEACHERS = Path(__file__).parents[4] / "shared" / "data" / "teachers"
needs_yamnet = pytest.mark.skipif(not TEACHERS.is_dir(), reason="YAMNet is not beside the project")
QUIET = Console(quiet=True)


def write_tone(path, hertz, seconds):
    sound = 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * 22_050)) / 22_050)
    soundfile.write(path, sound.astype(np.float32), 22_050)
    return path


@pytest.fixture
def prepared(tmp_path):
    recordings = [
        Recording(write_tone(tmp_path / "long.wav", 440, 20), "long", "music"),
        Recording(write_tone(tmp_path / "jazz.00001.wav", 880, 4), "jazz.00001", "gtzan", 5),
        Recording(write_tone(tmp_path / "beep.wav", 1000, 0.5), "beep", "noise"),
        Recording(tmp_path / "absent.wav", "absent", "noise"),
    ]
    folder = tmp_path / "windows"
    yamnet = TEACHERS / "yamnet.tflite"
    count = make_windows(recordings, folder, rooms=[], yamnet=yamnet, seed=1, processes=1, console=QUIET)
    return folder, count


@needs_yamnet
def test_each_recording_gives_windows_of_both_front_ends(prepared):
    folder, count = prepared
    windows = read_windows(folder)
    assert len(windows) == count
    assert windows.clean16.shape[1:] == windows.degraded16.shape[1:] == (GENRE.frames, GENRE.n_mels)
    assert windows.clean22.shape[1:] == windows.degraded22.shape[1:] == (SMALL.frames, SMALL.n_mels)
    assert windows.yamnet.shape == (count, CLASSES)
    # 20 s every 8 s and 4 s once, in each version; a short sound repeated, in each of its versions.
    assert (windows.kind == "music").sum() == 3 * SAMPLING["music"].versions
    assert (windows.kind == "gtzan").sum() == SAMPLING["gtzan"].versions
    assert (windows.kind == "noise").sum() == SAMPLING["noise"].versions
    assert set(windows.genre[windows.kind == "gtzan"]) == {5}
    assert set(windows.genre[windows.kind != "gtzan"]) == {-1}


@needs_yamnet
def test_both_front_ends_see_the_same_tone(prepared):
    windows = read_windows(prepared[0])
    row = int(np.flatnonzero(windows.kind == "music")[0])
    for front_end, log_mel in ((GENRE, windows.clean16[row]), (SMALL, windows.clean22[row])):
        corners = np.array(front_end_corners(front_end))
        loudest = int(log_mel.astype(np.float32).mean(axis=0).argmax())
        assert corners[loudest] <= 440 <= corners[loudest + 2]


def front_end_corners(front_end):
    from headnod.features.frontend import mel_corners

    return mel_corners(front_end.n_mels, front_end.f_min, front_end.f_max)


@needs_yamnet
def test_arrays_of_different_lengths_are_refused(prepared):
    folder, _ = prepared
    np.save(folder / "clean22.npy", np.load(folder / "clean22.npy")[:-1])
    with pytest.raises(RecordingError, match="differ in length"):
        read_windows(folder)


def test_an_index_that_was_cut_off_is_named(tmp_path):
    for name in ("clean16", "degraded16", "clean22", "degraded22"):
        np.save(tmp_path / f"{name}.npy", np.zeros((1, 2, 3), np.float16))
    np.savez(tmp_path / "index.npz", kind=np.array(["music"]))
    with pytest.raises(RecordingError, match=r"index.npz: .*headnod-train prepare"):
        read_windows(tmp_path)
    whole = (tmp_path / "index.npz").read_bytes()
    (tmp_path / "index.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecordingError, match=r"index.npz: .*headnod-train prepare"):
        read_windows(tmp_path)


def test_an_empty_folder_names_the_command_that_fills_it(tmp_path):
    with pytest.raises(RecordingError, match="headnod-train prepare"):
        read_windows(tmp_path)


@needs_yamnet
def test_a_genre_has_the_score_of_its_likeliest_class():
    classes = read_classes(TEACHERS / "yamnet.csv")
    scores = np.zeros((1, CLASSES), np.float32)
    scores[0, classes.index("Ska")], scores[0, classes.index("Reggae")] = 0.7, 0.2
    assert genre_scores(scores, classes, ("jazz", "reggae")).tolist() == [[0.0, pytest.approx(0.7)]]


def test_a_file_that_is_no_list_of_classes_is_refused(tmp_path):
    (tmp_path / "classes.csv").write_text("index,mid,display_name\n0,/m/1,Speech\n")
    with pytest.raises(YamnetError, match="1 classes"):
        read_classes(tmp_path / "classes.csv")
