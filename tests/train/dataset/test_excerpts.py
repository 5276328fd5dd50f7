"""Files that are pieces of one track stay on one side; tracks that are merely numbered are not taken for pieces."""

from pathlib import Path

import pytest

from headnod_train.dataset.tracks import Track, excerpts_note, mark_excerpts
from support.dataset_import import imported

PATTERNS = [
    "{genre}.{track:05d}.{piece}",
    "{genre}_{track}_{piece:02d}",
    "song{track}-chunk{piece}",
    "song {track} ({piece})",
    "{track:06d}-{piece}",
    "{track}_part_{piece}",
    "Song No. {track} [{piece}]",
    "{track}.Segment-{piece:03d}",
]


def tracks(names, genre="rock", **known):
    return [Track(f"{genre}/{name}.wav", genre, Path(name), **known) for name in names]


def wholes(found):
    return [track.excerpt_of for track in mark_excerpts(found)]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_pieces_have_the_name_of_their_track(pattern):
    names = [pattern.format(genre="rock", track=track, piece=piece) for track in range(3) for piece in range(4)]
    found = wholes(tracks(names))
    assert [len(set(found[4 * track : 4 * track + 4])) for track in range(3)] == [1, 1, 1]
    assert len(set(found)) == 3
    assert "" not in found


@pytest.mark.parametrize(
    "names",
    [
        [f"rock.{number:05d}" for number in range(10)],
        [f"track_{number}" for number in range(10)],
        [f"{number:06d}" for number in range(10)],
        [f"song{number}" for number in range(10)],
        [f"{number:02d} - Title {chr(65 + number)}" for number in range(10)],
        ["Live 1999", "Live 2003", "Other", "Another"],
        ["chunk_1", "chunk_2"],
        ["alone-chunk1", "other-chunk1"],
    ],
)
def test_numbered_tracks_are_not_pieces(names):
    assert not any(wholes(tracks(names)))


@pytest.mark.parametrize(("others", "pieces"), [(4, True), (3, False)])
def test_a_name_that_more_than_half_of_a_genre_share_is_no_track_s(others, pieces):
    found = wholes(tracks([*(f"song_{n}" for n in range(4)), *(f"other {'abcd'[n]}" for n in range(others))]))
    assert any(found) == pieces


def test_one_track_in_chunks_may_be_a_whole_genre():
    assert len(set(wholes(tracks([f"set-chunk{n}" for n in range(5)])))) == 1


@pytest.mark.parametrize(("numbers", "pieces"), [((1, 2, 4), True), ((1, 2, 6), True), ((1, 2, 7), False)])
def test_pieces_are_numbered_with_few_gaps(numbers, pieces):
    found = wholes(tracks([*(f"song_{n}" for n in numbers), "a", "b", "c"]))
    assert any(found) == pieces


def test_a_collection_that_names_artists_or_albums_is_believed():
    names = [f"song_{n}_{piece}" for n in range(3) for piece in range(3)]
    assert not any(wholes(tracks(names, artist="Ann")))
    assert not any(wholes(tracks(names, album="First")))


def test_the_same_name_in_two_genres_is_two_tracks():
    found = mark_excerpts([*tracks(["a_1", "a_2", "b", "c"]), *tracks(["a_1", "a_2", "b", "c"], "jazz")])
    assert {track.excerpt_of for track in found} == {"", "rock/a", "jazz/a"}


def test_nothing_is_reported_where_there_are_no_pieces():
    assert excerpts_note(mark_excerpts(tracks(["a", "b"]))) is None


@pytest.mark.parametrize("seed", range(3))
def test_import_keeps_pieces_on_one_side_and_says_so(music, out, capsys, seed):
    names = [f"{genre}.{track}.{piece}" for genre in ("folk", "blues") for track in range(4) for piece in range(3)]
    folder = music({f"{name[:4]}/{name}.wav": seed for seed, name in enumerate(names)}, seconds=3.2)
    archive = imported(out, folder, "--valid", "0.25", "--test", "0.25", "--seed", seed)
    sides = {}
    for track, side in zip(archive.tracks, archive.splits, strict=True):
        sides.setdefault(track.removesuffix(".wav").rpartition(".")[0], set()).add(side)
    assert [len(found) for found in sides.values()] == [1] * 8
    assert set().union(*sides.values()) == {"train", "valid", "test"}
    told = capsys.readouterr().err
    assert "24 files look like excerpts of 8 recordings, such as blue/blues.0.0.wav and blue/blues.0.1.wav" in told
