"""An exploration shows any collection on one page, and doubts the labels that deserve it."""

import csv
import dataclasses
import os
import re
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from headnod_train.__main__ import main
from headnod_train.console import plain_console
from headnod_train.explore.classical import FRONT_END, track_summaries
from support.tones import GENRES

pytest.importorskip("sklearn", reason="exploring needs scikit-learn: scripts/setup train")
pytest.importorskip("matplotlib", reason="exploring needs matplotlib: scripts/setup train")
from headnod.outputs import GENRES as KNOWN
from headnod.outputs import colours, hexadecimal
from headnod_train.explore.collection_statistics import (
    AFTER,
    BEFORE,
    check_labels,
    collection_statistics,
    onsets,
    principal,
)
from headnod_train.explore.exploration import exploration_page, explore
from headnod_train.explore.pictures import scatter
from headnod_train.report import CONTRAST, THEMES, contrast, genre_marks, letters_without_glyphs, rgb

QUIET = Console(quiet=True)


class Page(HTMLParser):
    """What a page links to and says."""

    def __init__(self, text):
        super().__init__()
        self.pictures, self.said = set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.pictures |= {named[key] for key in ("src", "srcset") if key in named}
        assert tag != "script"

    def handle_data(self, data):
        self.said += data


def test_the_page_shows_every_picture_and_the_list_every_track(archive, path, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["explore", "--data", str(path), "--out", str(out)]) == 0
    assert capsys.readouterr().out.replace("\n", "") == str(out / "index.html")
    page = Page((out / "index.html").read_text())
    drawn = {file.name for file in out.glob("*.png")}
    assert page.pictures == drawn
    assert {"balance.png", "loudness.png", "bands.png", "spectrograms.png", "mfccs.png", "covariances.png"} < drawn
    assert {"pca.png", "pca-dark.png"} < drawn
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in drawn)
    assert "18tracks" in page.said
    assert "3genres" in page.said
    assert "Leaky" not in page.said
    with (out / "suspicious.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["track"] for row in rows} == set(archive.tracks)


def test_names_cannot_break_the_page():
    text = exploration_page("<em>&", warning="<i>", facts=[("<u>", "&", "")], pictures=[], suspicious=[])
    assert not re.search("<em>|<i>|<u>", text)
    assert "<em>&" in Page(text).said


def test_leaks_and_several_lengths_are_shown(archive, tmp_path):
    frames = archive.frames.copy()
    frames[::2] = 60
    leaky = dataclasses.replace(archive, frames=frames, leaky=True)
    explore(leaky, tmp_path, data="tones", with_umap=False, seed=1, console=QUIET)
    page = (tmp_path / "index.html").read_text()
    assert "Leaky: rows are segments" in page
    assert "From 5 s to 13 s" in page
    assert (tmp_path / "durations.png").is_file()


def sounding(archive, rng):
    """Eighteen tracks of each genre, each of an artist of its own, and summaries that say so."""
    more = archive.chosen(np.tile(np.arange(len(archive)), 3))
    names = np.array([f"{name}/{place}" for place, name in enumerate(more.tracks)])
    more = dataclasses.replace(more, tracks=names, artists=np.arange(len(names), dtype=np.int32))
    summaries = rng.normal(0, 4, (3, 20))[more.targets(GENRES)] + rng.normal(size=(len(names), 20))
    return more, summaries.astype(np.float32)


def test_a_wrong_label_is_suspicious_and_named_with_what_it_sounds_like(archive, rng):
    more, summaries = sounding(archive, rng)
    wrong = int(np.flatnonzero(more.genres == "noisy")[4])
    genres = more.genres.copy()
    genres[wrong] = "low"
    found = check_labels(dataclasses.replace(more, genres=genres), summaries, seed=1)
    suspicious = [(each.track, each.genre, each.other) for each in found if each.suspicious]
    assert suspicious == [(more.tracks[wrong], "low", "noisy")]
    assert found[0].suspicious
    assert found[0].own_neighbours < found[0].other_neighbours


def test_only_other_artists_are_asked(archive, rng):
    # An artist whose tracks are all wrong would vouch for itself.
    more, summaries = sounding(archive, rng)
    artist = np.flatnonzero(more.genres == "noisy")[:6]
    genres, artists = more.genres.copy(), more.artists.copy()
    genres[artist], artists[artist] = "low", 999
    renamed = dataclasses.replace(more, genres=genres, artists=artists)
    found = {each.track: each for each in check_labels(renamed, summaries, seed=1)}
    assert {found[track].own_neighbours for track in more.tracks[artist]} == {0}
    assert {found[track].other for track in more.tracks[artist]} == {"noisy"}


def test_one_genre_or_one_artist_is_no_ground_for_doubt(archive):
    alone = archive.chosen(archive.genres == "low")
    assert check_labels(alone, track_summaries(alone), seed=1) == []
    together = dataclasses.replace(archive, artists=np.zeros(len(archive), np.int32))
    assert check_labels(together, track_summaries(together), seed=1) == []


def test_a_single_track_can_be_looked_at(archive, tmp_path):
    explore(archive.chosen(np.array([0])), tmp_path, data="one", with_umap=False, seed=1, console=QUIET)
    assert "1tracks" in Page((tmp_path / "index.html").read_text()).said


def test_onsets_keep_their_distance(rng):
    found = np.sort(onsets(rng.normal(0, 10, (300, 128)).astype(np.float32)))
    assert len(found) == 12
    assert np.diff(found).min() >= BEFORE


def test_onsets_are_where_the_sound_begins():
    log_mel = np.full((200, 128), -60, np.float32)
    for start in (50, 90, 140):
        log_mel[start : start + 5] = -10
    assert sorted(onsets(log_mel)[:3]) == [50, 90, 140]
    assert onsets(log_mel).min() >= BEFORE
    assert onsets(log_mel).max() < 200 - AFTER


def test_a_louder_copy_differs_in_loudness_alone(archive):
    louder = dataclasses.replace(archive, floor_db=archive.floor_db + 12)
    one, other = (collection_statistics(each, FRONT_END, console=QUIET) for each in (archive, louder))
    assert np.allclose(other.loudness - one.loudness, 12, atol=1e-3)
    assert np.allclose(other.spectrograms, one.spectrograms, atol=1e-3)
    assert np.allclose(other.summaries, one.summaries, atol=1e-2, rtol=1e-3)


def test_the_plane_shows_the_directions_that_vary_most(rng):
    along = np.linspace(-1, 1, 60)
    summaries = rng.normal(0, 0.01, (60, 12)).astype(np.float32)
    summaries[:, :8] += along[:, None]
    points, shares = principal(summaries)
    assert abs(np.corrcoef(points[:, 0], along)[0, 1]) > 0.99
    assert shares[0] == pytest.approx(8 / 12, abs=0.05)
    assert 0 < shares[1] < 0.15


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.suffix or "light")
def test_twenty_genres_have_visible_and_different_marks(theme):
    labels = [*KNOWN, *(f"style {number}" for number in range(10))]
    drawn = genre_marks(labels, theme)
    assert all(contrast(rgb(mark.colour), rgb(theme.ground)) >= CONTRAST - 0.05 for mark in drawn.values())
    assert len({(mark.colour, mark.shape) for mark in drawn.values()}) == 20
    assert len({mark.colour for mark in drawn.values()}) >= 19
    for one, other in combinations(drawn.values(), 2):
        assert one.shape != other.shape or np.abs(rgb(one.colour) - rgb(other.colour)).sum() > 0.2


@pytest.mark.parametrize("theme", THEMES)
def test_labels_have_the_colours_of_lights_wherever_those_can_be_seen(theme):
    labels = ["jazz", "punk", "techno", "Música", *KNOWN[:6]]
    for label, mark in genre_marks(labels, theme).items():
        light = np.array(colours(labels)[label]) / 255
        if contrast(light, rgb(theme.ground)) >= CONTRAST:
            assert mark.colour == hexadecimal(colours(labels)[label])
        else:
            assert mark.colour != hexadecimal(colours(labels)[label])


def test_labels_of_any_kind_are_drawn_and_written_as_text(archive, tmp_path, capsys):
    labels = {"high": "日本 <b>&", "low": "_a$b$ [/]", "noisy": ":guitar: {{ 1 }}"}
    other = dataclasses.replace(archive, genres=np.array([labels[genre] for genre in archive.genres]))
    explore(other, tmp_path, data="tones", with_umap=False, seed=1, console=plain_console())
    page = (tmp_path / "index.html").read_text("utf-8")
    assert "<b>&" not in page
    assert (tmp_path / "pca.png").stat().st_size > 1000
    told = capsys.readouterr().out
    assert ("no installed font has 日本: pictures show boxes" in told) == (letters_without_glyphs(["日本"]) == "日本")


def test_letters_that_no_font_has_are_found():
    assert letters_without_glyphs(["Música", "Rock"]) == ""
    assert letters_without_glyphs(["a\U0010fffd", "\U0010fffdb"]) == "\U0010fffd"


def test_a_label_that_begins_with_an_underscore_is_in_the_legend(archive):
    other = dataclasses.replace(archive, genres=np.char.add("_", archive.genres))
    seen = collection_statistics(other, FRONT_END, console=QUIET)
    figure = scatter(THEMES[0], seen, seen.summaries[:, :2], ("", ""), np.zeros(len(other), bool))
    assert [text.get_text().strip() for text in figure.legends[0].get_texts()] == ["_high", "_low", "_noisy"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_named(path, tmp_path, capsys):
    (out := tmp_path / "out").mkdir()
    (out / f".{os.getpid()}.suspicious.csv").symlink_to("/dev/full")
    assert main(["explore", "--data", str(path), "--out", str(out)]) == 1
    assert "No space left on device" in capsys.readouterr().err


def test_a_missing_archive_is_one_line(tmp_path, capsys):
    assert main(["explore", "--data", str(tmp_path / "no.npz"), "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
