"""Collections are found as they lie on disk, and what is wrong with their metadata is named by its place."""

from pathlib import Path

import pytest

from headnod.features.frontend import FrontEnd
from headnod_train.dataset.folder_layouts import find_tracks, guess
from headnod_train.dataset.split import listed_splits, read_lists
from headnod_train.dataset.tracks import CollectionError

FMA = """\
,album,album,artist,set,track
,id,title,id,split,genre_top
track_id,,,,,
2,1,"AWOL, a way of life",7,training,Hip-Hop
5,1,AWOL,7,training,
10,6,Constant Hitmaker,8,validation,Pop
20,4,Niris,9,test,Rock
"""


def found(source, layout=None):
    return find_tracks([source], layout, FrontEnd())


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"sound")
    return folder


@pytest.mark.parametrize(
    "form",
    ["genres_original/{0}/{0}.{1}.wav", "genres/{0}/{0}.{1}.au", "Data/genres_original/{0}/{0}.{1}.wav", "{0}.{1}.wav"],
)
def test_gtzan_is_known_in_each_of_its_forms(tmp_path, form):
    touch(tmp_path, form.format("jazz", "00054"), form.format("blues", "00000"), form.format("blues", "00001"))
    assert guess(tmp_path) == "gtzan"
    tracks = found(tmp_path).tracks
    assert [(track.name, track.genre) for track in tracks] == [
        ("blues.00000", "blues"),
        ("blues.00001", "blues"),
        ("jazz.00054", "jazz"),
    ]


def test_a_stray_file_of_gtzan_does_not_hide_the_rest_of_a_collection(tmp_path):
    touch(tmp_path, "jazz/jazz.00054.wav", "jazz/so what.wav", "folk/3.wav")
    assert guess(tmp_path) == "folders"


def test_a_second_file_of_a_track_is_left_out_by_name(tmp_path):
    touch(tmp_path, "a/jazz.00001.wav", "b/jazz.00001.au")
    collection = found(tmp_path, "gtzan")
    assert [track.path.name for track in collection.tracks] == ["jazz.00001.wav"]
    assert "another file of jazz.00001 is used" in collection.skipped[0].reason


def test_folders_below_a_genre_are_artists_and_albums(tmp_path):
    touch(tmp_path, "jazz/Miles/Blue/1.flac", "jazz/Miles/2.mp3", "folk/3.ogg", "folk/._3.ogg")
    tracks = {track.name: track for track in found(tmp_path).tracks}
    assert tracks.keys() == {"jazz/Miles/Blue/1.flac", "jazz/Miles/2.mp3", "folk/3.ogg"}
    assert [(track.genre, track.artist, track.album) for track in tracks.values()] == [
        ("folk", "", ""),
        ("jazz", "Miles", ""),
        ("jazz", "Miles", "Miles/Blue"),
    ]


def test_an_empty_genre_and_loose_files_are_noted(tmp_path):
    touch(tmp_path, "jazz/1.wav", "polka/readme.txt", "loose.wav")
    notes = " ".join(found(tmp_path).notes)
    assert "there is no genre 'polka'" in notes
    assert "1 files beside the folders" in notes


def test_fma_is_read_with_its_three_header_rows(tmp_path):
    (tmp_path / "fma_metadata").mkdir()
    (tmp_path / "fma_metadata/tracks.csv").write_text(FMA)
    small = touch(tmp_path / "fma_small", *(f"000/{number:06}.mp3" for number in (2, 5, 10, 20, 99)))
    for source in (tmp_path, small):
        assert guess(source) == "fma"
        collection = found(source)
        assert [(t.name, t.genre, t.artist, t.album, t.split) for t in collection.tracks] == [
            ("000002", "Hip-Hop", "7", "1", "train"),
            ("000010", "Pop", "8", "6", "valid"),
            ("000020", "Rock", "9", "4", "test"),
        ]
        reasons = [each.reason for each in collection.skipped]
        assert "has no genre_top" in reasons[0]
        assert "track 99 is not in" in reasons[1]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "no column track/genre_top"),
        (FMA.replace("genre_top", "genre"), "no column track/genre_top"),
        (FMA + "x,1,2\n", "not FMA's tracks.csv, or is damaged"),
        (FMA + "7,1\n", "not FMA's tracks.csv, or is damaged"),
    ],
)
def test_metadata_that_is_not_fmas_is_refused(tmp_path, content, complaint):
    touch(tmp_path, "000/000002.mp3")
    (tmp_path / "tracks.csv").write_text(content)
    with pytest.raises(CollectionError, match=complaint):
        found(tmp_path, "fma")


def test_a_csv_names_tracks_with_what_is_known_of_them(tmp_path):
    table = tmp_path / "list.csv"
    table.write_text(
        "Path;Genre;artist;mood;split\na.wav;jazz;Miles;blue;train\nsub/b.wav;folk;;;validation\n", "utf-8-sig"
    )
    collection = found(table)
    assert [(t.name, t.path, t.genre, t.artist, t.split) for t in collection.tracks] == [
        ("a.wav", tmp_path / "a.wav", "jazz", "Miles", "train"),
        ("sub/b.wav", tmp_path / "sub/b.wav", "folk", "", "valid"),
    ]
    assert "columns that are not used: 'mood'" in collection.notes[0]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "line 1: there is no column 'path'"),
        (b"path,mood\na.wav,blue\n", "line 1: there is no column 'genre' .it has 'path', 'mood'."),
        (b"path,genre,genre\n", "line 1: column 'genre' is there twice"),
        (b"path,genre\na.wav,jazz\n,folk\n", "line 3, column 'path': is empty"),
        (b"path,genre\na.wav,\n", "line 2, column 'genre': is empty"),
        (b"path,genre\na.wav,jazz,oops\n", "line 2: has 3 fields, the header has 2"),
        (b"path,genre,split\na.wav,jazz,dev\n", "line 2, column 'split': 'dev' is not one of"),
        (b"path,genre,split\na.wav,jazz,train\nb.wav,jazz,\n", "line 3, column 'split': is empty"),
        (b"path,genre\na.wav,jazz\n\x81.wav,jazz\n", "line 3: byte 0x81 is not UTF-8 .save it as UTF-8."),
        (b'path,genre\n"a.wav,jazz\n', "line 2: "),
    ],
)
def test_a_mistake_in_a_csv_is_named_by_line_and_column(tmp_path, content, complaint):
    table = tmp_path / "list.csv"
    table.write_bytes(content)
    with pytest.raises(CollectionError, match=complaint) as refusal:
        found(table)
    assert str(table) in str(refusal.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("before", ["", "sep=;\n"])
def test_a_csv_of_a_spreadsheet_on_windows_is_read(tmp_path, encoding, ends, before):
    touch(tmp_path, "Rock/1.wav", "Música/é.wav")
    table = tmp_path / "list.csv"
    text = before + "path;genre\n.\\Rock\\1.wav;Rock\nMúsica\\é.wav;Música\n;\n"
    table.write_bytes(text.replace("\n", ends).encode(encoding))
    collection = found(table)
    assert [(t.name, t.path, t.genre) for t in collection.tracks] == [
        ("Música/é.wav", tmp_path / "Música/é.wav", "Música"),
        ("Rock/1.wav", tmp_path / "Rock/1.wav", "Rock"),
    ]
    assert len(collection.notes) == (encoding == "cp1252")
    assert all("byte 0xfa is not UTF-8, so the file is read as Windows-1252" in note for note in collection.notes)


def test_a_file_that_macos_decomposed_is_found(tmp_path):
    touch(tmp_path, "e\u0301.wav", "1.wav")
    (tmp_path / "list.csv").write_text("path,genre\né.wav,jazz\n1.wav,folk\n", "utf-8")
    assert [track.path.exists() for track in found(tmp_path / "list.csv").tracks] == [True, True]


def test_a_backslash_in_the_name_of_a_file_stays(tmp_path):
    touch(tmp_path, "a\\b.wav", "1.wav")
    (tmp_path / "list.csv").write_text("path,genre\na\\b.wav,jazz\n1.wav,folk\n", "utf-8")
    assert [track.name for track in found(tmp_path / "list.csv").tracks] == ["1.wav", "a\\b.wav"]


@pytest.mark.parametrize("again", ["0.wav", "./0.wav", "sub/../0.wav"])
def test_a_file_with_two_genres_is_refused_by_line(tmp_path, again):
    table = tmp_path / "list.csv"
    table.write_text(f"path,genre\n0.wav,rock\n1.wav,jazz\n{again},jazz\n")
    with pytest.raises(CollectionError, match=r"line 4: .*0\.wav is 'jazz' here and 'rock' in line 2"):
        found(table)


def test_a_file_that_is_listed_twice_with_one_genre_is_taken_once_and_told(tmp_path):
    table = tmp_path / "list.csv"
    table.write_text("path,genre\n0.wav,rock\n1.wav,jazz\n./0.wav,rock\n")
    collection = found(table)
    assert [track.name for track in collection.tracks] == ["0.wav", "1.wav"]
    assert collection.notes == (f"{table}: 1 lines repeat a file that is listed before, such as line 4",)


def test_a_path_on_a_drive_of_windows_is_refused_by_line(tmp_path):
    table = tmp_path / "list.csv"
    table.write_text("path,genre\nC:\\Music\\1.wav,rock\n")
    with pytest.raises(CollectionError, match=r"line 2, column 'path': 'C:.*' is a Windows path"):
        found(table)


def test_a_path_in_the_home_folder_is_found(tmp_path):
    table = tmp_path / "list.csv"
    home = Path.home()
    table.write_text("path,genre\n~/1.wav,rock\n~/2.wav,jazz\n")
    assert [track.path for track in found(table).tracks] == [home / "1.wav", home / "2.wav"]


@pytest.mark.parametrize("form", ["{0}/{0}.{1}.{2}.wav", "{0}.{1}.{2}.wav", "{0}.{1}_chunk{2}.wav"])
def test_gtzan_that_was_cut_into_pieces_is_known(tmp_path, form):
    touch(
        tmp_path, *(form.format(*each) for each in (("jazz", "00054", 0), ("blues", "00000", 1), ("blues", "00000", 2)))
    )
    assert guess(tmp_path) == "gtzan"
    assert [track.genre for track in found(tmp_path).tracks] == ["blues", "blues", "jazz"]


def test_fma_that_was_decoded_to_another_format_is_found(tmp_path):
    (tmp_path / "fma_metadata").mkdir()
    (tmp_path / "fma_metadata/tracks.csv").write_text(FMA)
    collection = found(touch(tmp_path / "fma_small", "000/000002.flac", "000/000010.MP3", "000/cover.mp3"))
    assert [track.genre for track in collection.tracks] == ["Hip-Hop", "Pop"]
    assert "is not named like a file of FMA" in collection.skipped[0].reason


def test_a_layout_that_is_not_plain_is_asked_for(tmp_path):
    touch(tmp_path, "jazz/1.wav", "folk/2.npz")
    with pytest.raises(CollectionError, match=r"may be folders or logmel \(name one with --layout folders\|logmel\)"):
        found(tmp_path)
    assert [track.name for track in found(tmp_path, "folders").tracks] == ["jazz/1.wav"]


@pytest.mark.parametrize(
    ("names", "layout", "complaint"),
    [
        ([], None, "has no known layout"),
        (["jazz/readme.txt"], "folders", "contains no music"),
        (["jazz/1.wav"], "csv", "layout csv is a file"),
        (["jazz/1.wav"], "fma", "has no fma_metadata/tracks.csv"),
    ],
)
def test_a_folder_without_music_is_refused(tmp_path, names, layout, complaint):
    touch(tmp_path, *names)
    with pytest.raises(CollectionError, match=complaint):
        found(tmp_path, layout)


def test_an_absent_collection_is_named(tmp_path):
    with pytest.raises(CollectionError, match="absent: no such file or folder"):
        found(tmp_path / "absent")


def lists(folder, **sides):
    for side, names in sides.items():
        (folder / f"{side}_filtered.txt").write_text("\n".join(names) + "\n")
    return folder


def test_lists_put_tracks_on_sides_with_or_without_folder_and_ending(tmp_path):
    sides = read_lists(lists(tmp_path, train=["blues/blues.00000.wav", "gone"], valid=["jazz.00001", "folk/3.ogg"]))
    placed, absent = listed_splits(["blues.00000", "jazz.00001", "folk/3.mp3", "rock.00001"], sides)
    assert placed == ["train", "valid", "valid", "unused"]
    assert absent == ["gone"]


def test_a_track_on_two_lists_is_refused_by_line(tmp_path):
    with pytest.raises(CollectionError, match=r"valid_filtered\.txt: line 2: b is listed already, for train"):
        read_lists(lists(tmp_path, train=["a", "b"], valid=["c", "b"]))


def test_a_folder_without_lists_is_refused(tmp_path):
    with pytest.raises(CollectionError, match="lists no tracks"):
        read_lists(tmp_path)
