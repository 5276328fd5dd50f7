"""Folders and playlists of `headnod classify`."""

import os

import pytest

from headnod.audio.http_stream import expanded
from support.command_line import json_lines, run, surroundings, write
from support.signals import music


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.m3u", "#EXTM3U\n#EXTINF:3,Song\nsong.wav\n\nhttp://radio.example/live\n../other/two.wav\n"),
        ("a.M3U8", "\ufeffsong.wav\r\nhttps://radio.example/live\r\n../other/two.wav\r\n"),
        ("a.pls", "[playlist]\nFile1=song.wav\nTitle1=Song\nFile2=http://radio.example\nFile3=../other/two.wav\n"),
    ],
)
def test_a_playlist_names_files_beside_it_and_addresses_are_not_fetched(tmp_path, name, text):
    (tmp_path / name).write_text(text, newline="")
    files, notes = expanded([str(tmp_path / name)], recursive=False)
    assert files == [str(tmp_path / "song.wav"), str(tmp_path / "../other/two.wav")]
    (note,) = notes
    assert "radio.example" in note


def test_a_file_address_and_a_latin_1_name_are_read(tmp_path):
    (tmp_path / "a.m3u").write_bytes(f"file://{tmp_path}/a%20b.wav\ncaf\xe9.wav\n".encode("latin-1"))
    assert expanded([str(tmp_path / "a.m3u")], recursive=False)[0] == [f"{tmp_path}/a b.wav", f"{tmp_path}/café.wav"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_a_playlist_of_windows_is_read(tmp_path, encoding):
    (tmp_path / "Música").mkdir()
    (tmp_path / "Música" / "a.wav").touch()
    (tmp_path / r"b\c.wav").touch()
    (tmp_path / "a.m3u8").write_text("#EXTM3U\nMúsica\\a.wav\nb\\c.wav\nd\\e.wav\n", encoding=encoding)
    files, notes = expanded([str(tmp_path / "a.m3u8")], recursive=False)
    assert files == [f"{tmp_path}/{name}" for name in ("Música/a.wav", r"b\c.wav", r"d\e.wav")]
    assert notes == []


def test_a_name_that_is_not_utf8_is_found_on_a_disk_where_it_is_not_either(tmp_path):
    name = os.fsdecode(b"caf\xe9.wav")
    (tmp_path / name).touch()
    (tmp_path / "a.m3u").write_bytes(b"caf\xe9.wav\n")
    assert expanded([str(tmp_path / "a.m3u")], recursive=False)[0] == [f"{tmp_path}/{name}"]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("", "names no file"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:9\nseg.ts\n", "is an HLS playlist"),
        ("b.m3u\n", "playlists in"),
        ("x\n" * 600_000, "1 MiB"),
        ("RIFF\0\0 WAVE\nx.wav\n", "is not a playlist"),
    ],
)
def test_a_playlist_that_cannot_be_is_reported(tmp_path, text, note):
    (tmp_path / "a.m3u").write_text(text)
    files, notes = expanded([str(tmp_path / "a.m3u")], recursive=False)
    assert not files
    assert note in notes[0]


def test_a_folder_gives_its_audio_and_counts_the_rest(tmp_path):
    for name in ("b/two.m4a", "one.wav", "cover.jpg", ".hidden.wav", "b/notes"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "again").symlink_to(tmp_path)
    files, notes = expanded([str(tmp_path)], recursive=True)
    assert files == [str(tmp_path / "one.wav"), str(tmp_path / "b/two.m4a")]
    assert "2 files are not audio" in notes[0]
    assert "1 link to a folder was not followed" in notes[1]
    assert "(-r classifies" in expanded([str(tmp_path)], recursive=False)[1][0]


def test_classify_goes_through_a_folder_and_says_what_it_passed_over(tmp_path):
    (tmp_path / "songs").mkdir()
    write(tmp_path / "songs" / "one.wav", music(4.0))
    (tmp_path / "songs" / "cover.jpg").touch()
    ended = run("classify", "--json", "-r", tmp_path / "songs", environment=surroundings(tmp_path))
    assert [each["file"] for each in json_lines(ended)] == [str(tmp_path / "songs" / "one.wav")]
    assert "1 file is not audio and was passed over (1 .jpg)" in ended.stderr
    assert ended.returncode == 0


@pytest.mark.parametrize(("named", "notes"), [(10_000, 0), (10_001, 1)])
def test_a_playlist_has_ten_thousand_files_at_most(tmp_path, named, notes):
    path = tmp_path / "long.m3u"
    path.write_text("a.ogg\n" * named)
    files, said = expanded([str(path)], recursive=False)
    assert (len(files), len(said)) == (10_000, notes)


@pytest.mark.parametrize(("size", "accepted"), [(1 << 20, True), ((1 << 20) + 1, False)])
def test_a_playlist_of_this_machine_has_a_mebibyte_at_most(tmp_path, size, accepted):
    (tmp_path / "a.m3u").write_bytes(b"#".ljust(size - 6, b".") + b"\na.ogg")
    files, notes = expanded([str(tmp_path / "a.m3u")], recursive=False)
    assert files == ([str(tmp_path / "a.ogg")] if accepted else [])
    assert notes == ([] if accepted else [f"{tmp_path / 'a.m3u'}: is longer than a playlist (1 MiB)"])


def test_five_kinds_of_other_files_are_named_and_links_are_counted(tmp_path):
    for ending, count in (("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5), ("f", 6)):
        for number in range(count):
            (tmp_path / f"{number}.{ending}").touch()
    for name in ("again", "once more"):
        (tmp_path / name).symlink_to(tmp_path)
    files, notes = expanded([str(tmp_path)], recursive=True)
    assert files == []
    assert notes == [
        f"{tmp_path}: holds no audio files",
        f"{tmp_path}: 21 files are not audio and were passed over (6 .f, 5 .e, 4 .d, 3 .c, 2 .b)",
        f"{tmp_path}: 2 links to folders were not followed (name them themselves)",
    ]
