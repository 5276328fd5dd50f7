"""Whatever lies in a collection is used, or named with its reason and counted."""

import os
from pathlib import Path

import pytest

from headnod_train.dataset.tracks import AUDIO, OTHER_AUDIO, find_files, path_text
from support.dataset_import import imported, refused


def lay(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"sound")
    return folder


def told(found):
    return {skipped.name.rpartition("/")[2]: skipped.reason for skipped in found.skipped}


@pytest.mark.parametrize("ending", sorted(OTHER_AUDIO))
def test_music_that_is_not_decoded_is_named_with_the_way_out(tmp_path, ending):
    found = find_files(lay(tmp_path, f"1{ending.upper()}", "2.wav"))
    assert [path.name for path in found.music] == ["2.wav"]
    assert (
        told(found)[f"1{ending.upper()}"]
        == f"{ending} cannot be decoded (convert it: ffmpeg -i FILE{ending} FILE.flac)"
    )


def test_endings_are_either_decoded_or_not():
    assert not AUDIO & OTHER_AUDIO


def test_other_files_are_counted_and_hidden_ones_are_not(tmp_path):
    found = find_files(lay(tmp_path, "1.wav", "cover.jpg", "a/cover.JPG", "README", "._1.wav", ".hidden/2.wav"))
    assert [path.name for path in found.music] == ["1.wav"]
    assert found.others == {".jpg": 2, "no suffix": 1}
    assert not found.skipped


def test_links_to_files_and_folders_are_followed_and_each_folder_is_read_once(tmp_path):
    music = lay(tmp_path / "music", "1.wav")
    folder = lay(tmp_path / "rock", "2.wav")
    (folder / "linked").symlink_to(music)
    (folder / "again").symlink_to(folder)
    (folder / "3.wav").symlink_to(music / "1.wav")
    (folder / "gone.wav").symlink_to(tmp_path / "absent.wav")
    found = find_files(folder)
    assert [str(path.relative_to(folder)) for path in found.music] == ["2.wav", "3.wav", "linked/1.wav"]
    assert told(found) == {
        "again": "is a link to a folder that is read already",
        "gone.wav": "is a link to a file that does not exist",
    }


def test_a_pipe_is_not_music(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    assert told(find_files(tmp_path)) == {"pipe.wav": "is not a regular file"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
def test_a_folder_that_cannot_be_entered_is_named(tmp_path):
    lay(tmp_path, "locked/1.wav")
    (tmp_path / "locked").chmod(0)
    found = find_files(tmp_path)
    (tmp_path / "locked").chmod(0o700)
    assert told(found) == {"locked": "permission denied"}


def test_a_name_that_is_not_utf8_is_spelled_out():
    assert path_text(Path(os.fsdecode(b"caf\xe9.wav"))) == r"caf\xe9.wav"
    assert path_text(Path("日本/é.wav")) == "日本/é.wav"


def test_import_uses_a_file_whose_name_is_not_utf8(music, out, capsys):
    folder = music({"rock/1.wav": 1, "jazz/1.wav": 2, "jazz/2.wav": 3})
    os.rename(folder / "jazz/2.wav", os.fsencode(folder) + b"/jazz/caf\xe9.wav")  # noqa: PTH104 - bytes
    assert list(imported(out, folder).tracks) == ["jazz/1.wav", r"jazz/caf\xe9.wav", "rock/1.wav"]
    (folder / os.fsdecode(b"jazz/caf\xe9.wav")).write_bytes(b"no sound")
    assert list(imported(out, folder).tracks) == ["jazz/1.wav", "rock/1.wav"]
    assert r"jazz/caf\udce9.wav: is not audio that can be read" in capsys.readouterr().err


def test_import_counts_what_is_not_decoded_in_its_genre(music, out, capsys):
    folder = music({"rock/1.wav": 1, "jazz/1.wav": 2})
    lay(folder, "rock/2.ape", "rock/3.m4a", "rock/cover.jpg", "ambient/1.wv")
    imported(out, folder)
    told = capsys.readouterr()
    assert f"skipped {folder / 'rock/2.ape'}: .ape cannot be decoded" in told.err
    assert f"skipped {folder / 'rock/3.m4a'}: is not audio that can be read" in told.err
    assert f"{folder / 'ambient'}: none of its 1 files can be read, so there is no genre 'ambient'" in told.err
    assert "1 files that are not audio were ignored (1 .jpg)" in told.err
    skipped = {line.split("│")[1].strip(): line.split("│")[-3].strip() for line in told.out.splitlines() if "│" in line}
    assert skipped == {"ambient": "1", "jazz": "0", "rock": "2", "all": "3"}


def test_a_collection_of_nothing_that_is_decoded_says_so(tmp_path, out, capsys):
    folder = lay(tmp_path / "music", "rock/2.ape", "jazz/1.wv")
    (line,) = refused(capsys, out, folder)
    assert line.startswith(
        f"headnod-train: {folder}: none of its 2 files can be read, such as {folder / 'jazz/1.wv'}: "
    )
    assert line.endswith(".wv cannot be decoded (convert it: ffmpeg -i FILE.wv FILE.flac)")
