"""What shall be tagged is found by name, or the reason why not is."""

import pytest

from headnod_train.dataset.tracks import CollectionError
from headnod_train.distillation.tagging import TaggerError, sources


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_tracks_of_a_folder_are_called_as_their_files(tmp_path):
    touch(tmp_path, "jazz/jazz.00001.wav", "pop/song.MP3", "notes.txt")
    found = sources(tmp_path)
    assert found == {"jazz.00001": tmp_path / "jazz/jazz.00001.wav", "song": tmp_path / "pop/song.MP3"}


def test_files_that_share_a_name_are_distinguished_by_their_folders(tmp_path):
    touch(tmp_path, "jazz/01.ogg", "pop/01.ogg", "pop/02.ogg")
    assert list(sources(tmp_path)) == ["jazz/01", "pop/01", "02"]


def test_of_an_archive_only_its_tracks_are_kept_under_its_names(tmp_path):
    touch(tmp_path, "jazz/01.ogg", "pop/01.ogg", "pop/02.ogg", "pop/03.ogg")
    assert sorted(sources(tmp_path, only={"pop/01", "pop/02.ogg", "03"})) == ["03", "pop/01", "pop/02.ogg"]


def test_a_list_can_be_cut_down_to_an_archive_too(tmp_path):
    (tmp_path / "list.csv").write_text("path\na/one.wav\nb/two.wav\nb/three.wav\n")
    assert list(sources(tmp_path / "list.csv", only={"one", "b/two.wav"})) == ["one", "b/two.wav"]


def test_a_list_names_files_beside_it(tmp_path):
    (tmp_path / "list.csv").write_text("path,track\na/one.wav,first\n/elsewhere/two.wav,\n")
    found = sources(tmp_path / "list.csv")
    assert {name: str(path) for name, path in found.items()} == {
        "first": f"{tmp_path}/a/one.wav",
        "two": "/elsewhere/two.wav",
    }


def test_a_list_of_a_spreadsheet_on_windows_is_read(tmp_path):
    touch(tmp_path, "a/é.wav", "a/two.wav")
    (tmp_path / "list.csv").write_bytes("Path;Track\r\na\\é.wav;first\r\n.\\a\\two.wav;\r\n".encode("cp1252"))
    assert sources(tmp_path / "list.csv") == {"first": tmp_path / "a/é.wav", "two": tmp_path / "a/two.wav"}


def test_linked_folders_are_tagged_too(tmp_path):
    (tmp_path / "all").mkdir()
    (tmp_path / "all/jazz").symlink_to(touch(tmp_path / "music", "one.wav"))
    assert list(sources(tmp_path / "all")) == ["one"]


def test_a_single_file_is_a_track(tmp_path):
    assert sources(tmp_path / "song.flac") == {"song": tmp_path / "song.flac"}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"file,genre\na.wav,jazz\n", r"list\.csv: has no column 'path' \(its first line has file, genre\)"),
        (b"", "has no column 'path'"),
        (b"path\na.wav\nb/a.wav\n", "line 3: track 'a' is there twice"),
        (b"path,track\n,one\n", "line 2: path is empty"),
        (b"path\n\x81\n", "line 2: byte 0x81 is not UTF-8"),
        (b"path\n", r"contains no audio \("),
    ],
)
def test_a_list_that_cannot_be_read_is_refused_by_line(tmp_path, content, complaint):
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises((TaggerError, CollectionError), match=complaint):
        sources(tmp_path / "list.csv")


def test_an_absent_list_is_named(tmp_path):
    with pytest.raises(TaggerError, match=r"list\.csv: no such file"):
        sources(tmp_path / "list.csv")


def test_a_folder_without_the_archives_tracks_is_refused(tmp_path):
    touch(tmp_path, "one.wav")
    with pytest.raises(TaggerError, match="contains no track of the archive"):
        sources(tmp_path, only={"two"})
