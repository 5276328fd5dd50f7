"""Genres are checked and renamed before anything is decoded, so that no later step refuses them."""

import os

import pytest

from headnod_train.dataset.tracks import Collection, CollectionError, Track, labelled
from support.dataset_import import imported, refused


def collection(*genres):
    return Collection(tuple(Track(f"{genre}/1.wav", genre, f"music/{genre}/1.wav") for genre in genres))


def genres(found):
    return [track.genre for track in found.tracks]


@pytest.mark.parametrize("genre", ["Rock", "R&B", "Hip-Hop", "Música", "日本", "Old-Time / Historic", "b" * 64, "a=b"])
def test_a_genre_is_called_what_the_collection_calls_it(genre):
    assert genres(labelled(collection(genre, "jazz"))) == [genre, "jazz"]


def test_letters_that_macos_decomposed_are_composed():
    assert genres(labelled(collection("Mu\u0301sica", "jazz"))) == ["Música", "jazz"]


@pytest.mark.parametrize(
    ("genre", "complaint"),
    [
        ("Unknown", r"genre 'Unknown' is reserved: .* \(rename it: --rename Unknown=other\)"),
        ("hip\u00a0hop", r"holds U\+00A0 NO-BREAK SPACE, .*=hip hop'\)"),
        ("silence", r"--rename silence=other"),
        (" Rock", r"genre ' Rock' begins or ends with a space \(rename it: --rename ' Rock=Rock'\)"),
        ("b" * 65, rf"has 65 characters, a label may have 64 .*--rename {'b' * 65}={'b' * 64}\)"),
        ("it's\x1b", r"holds U\+001B, which cannot be printed .*--rename \$'it\\'s\\x1b=it\\'s'\)"),
        ("caf\udce9", r"genre 'caf\\udce9' holds U\+DCE9.*--rename \$'caf\\xe9=caf'\)"),
    ],
)
def test_a_genre_that_cannot_be_a_label_is_refused_with_its_file_and_a_new_name(genre, complaint):
    with pytest.raises(CollectionError, match=complaint) as refusal:
        labelled(collection("jazz", genre))
    assert str(refusal.value).startswith("music/")
    assert str(refusal.value).isprintable()


def test_every_genre_that_cannot_be_a_label_is_named_at_once():
    with pytest.raises(CollectionError, match=r"'Unknown' is reserved.*'Silence' is reserved"):
        labelled(collection("Unknown", "Silence"))
    with pytest.raises(CollectionError, match=r"'g4 ' begins or ends.*; and 2 more$"):
        labelled(collection(*(f"g{number} " for number in range(7))))


@pytest.mark.parametrize(
    ("rename", "expected"),
    [
        ("Unknown=other", ["other", "Rock", "a=b"]),
        ("Rock=rock", ["Unknown", "rock", "a=b"]),
        ("a=b=c=d", ["Unknown", "Rock", "c=d"]),
        ("Rock=Mu\u0301sica", ["Unknown", "Música", "a=b"]),
    ],
)
def test_a_genre_is_renamed(rename, expected):
    renames = [rename] if "Unknown" in rename else [rename, "Unknown=Unknown genre"]
    found = genres(labelled(collection("Unknown", "Rock", "a=b"), renames))
    assert found == [genre.replace("Unknown", "Unknown genre") for genre in expected]


def test_two_genres_are_joined_by_one_name():
    assert genres(labelled(collection("Rock", "rock", "jazz"), ["Rock=rock"])) == ["rock", "rock", "jazz"]


@pytest.mark.parametrize("rename", ["rok=Rock", "=x"])
def test_a_rename_of_no_genre_names_those_that_there_are(rename):
    with pytest.raises(CollectionError, match=r"there is no genre '.*' \(there is .*Rock"):
        labelled(collection("Rock", "jazz"), [rename])


def test_a_rename_without_a_new_name_shows_how_to_write_it():
    with pytest.raises(CollectionError, match=r"--rename Rock: has no new name \(write --rename Rock=NEW\)"):
        labelled(collection("Rock", "jazz"), ["Rock"])


def test_a_genre_that_is_renamed_twice_is_named():
    assert genres(labelled(collection("Rock", "jazz"), ["Rock=a", "Rock=a"])) == ["a", "jazz"]
    with pytest.raises(CollectionError, match="--rename Rock=b: 'Rock' is renamed to 'a' already"):
        labelled(collection("Rock", "jazz"), ["Rock=a", "Rock=b"])


def test_a_new_name_must_be_a_label_too():
    with pytest.raises(CollectionError, match="genre 'UNKNOWN' is reserved"):
        labelled(collection("Rock", "jazz"), ["Rock=UNKNOWN"])


@pytest.mark.parametrize(("one", "other"), [("Rock", "rock"), ("Hip Hop", "HipHop"), ("hip  hop", "hip hop")])
def test_genres_that_differ_in_case_or_spaces_only_are_reported(one, other):
    (note,) = labelled(collection(one, other, "jazz")).notes
    assert f"genres '{min(one, other)}' and '{max(one, other)}' differ only in case or spaces" in note


def test_genres_that_differ_in_more_are_not_told():
    assert labelled(collection("Rock", "Rocks", "Hip-Hop", "Hip Hop")).notes == ()


def test_import_refuses_before_anything_is_decoded_and_takes_the_new_name(music, out, capsys):
    folder = music({"Unknown/1.wav": 1, "R&B/1.wav": 2})
    lines = refused(capsys, out, folder)
    assert lines[-1].startswith(f"headnod-train: {folder / 'Unknown/1.wav'}: genre 'Unknown' is reserved")
    assert not out.with_name("out.npz.work").exists()
    assert imported(out, folder, "--rename", "Unknown=日本 [b]").labels == ("R&B", "日本 [b]")
    assert "日本 [b]" in capsys.readouterr().out


def test_a_folder_whose_name_is_not_utf8_is_renamed(music, out):
    folder = music({"jazz/1.wav": 1, "chanson/1.wav": 2})
    os.rename(folder / "chanson", os.fsencode(folder) + b"/caf\xe9")  # noqa: PTH104 - bytes
    archive = imported(out, folder, "--rename", "caf\udce9=café")
    assert archive.labels == ("café", "jazz")
    assert list(archive.tracks) == [r"caf\xe9/1.wav", "jazz/1.wav"]


def test_genres_of_archives_are_renamed_when_they_are_joined(music, tmp_path, out):
    imported(tmp_path / "one.npz", music({"Rock/1.wav": 1, "jazz/1.wav": 2}))
    assert imported(out, tmp_path / "one.npz", "--rename", "Rock=rock").labels == ("jazz", "rock")
