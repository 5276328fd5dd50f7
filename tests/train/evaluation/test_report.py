"""The page says what was measured, needs no network, and hides nothing."""

import dataclasses
import re
from html.parser import HTMLParser

import msgspec
import pytest
from rich.console import Console

from headnod_train.dataset.archive import read_archive
from headnod_train.evaluation.conditions import CONDITIONS
from headnod_train.evaluation.evaluate import SoundFolders, evaluate
from headnod_train.evaluation.evaluation_report import page, write_report
from headnod_train.evaluation.results import load
from headnod_train.evaluation.tables import tables
from headnod_train.report import THEMES, genre_marks
from support.browser import chromium, missing
from support.tones import FRONT_END, Nearest, write_tones

QUIET = Console(quiet=True)
VOID = {"meta"}


class Balance(HTMLParser):
    """Which elements were opened and not closed."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong = [], []

    def handle_starttag(self, tag, attrs):  # noqa: ARG002 - the parser's own signature
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Open and closed at once."""

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return read_archive(write_tones(tmp_path_factory.mktemp("tones") / "tones.npz", FRONT_END), FRONT_END)


@pytest.fixture(scope="module")
def found(archive):
    return evaluate(
        Nearest(archive), archive, data="tones.npz", split="valid", console=QUIET, conditions=CONDITIONS[:3],
        other=Nearest(archive), sounds=SoundFolders(seconds=7),
    )  # fmt: skip


def printed(evaluation):
    console = Console(width=120)
    with console.capture() as captured:
        for table in tables(evaluation):
            console.print(table)
    return captured.get()


def test_the_page_stands_alone(found, tmp_path):
    written = write_report(found, tmp_path / "new" / "report")
    text = written.read_text(encoding="utf-8")
    assert not re.search(r"https?:|//cdn|<script|<link|@import|url\((?!#)", text)
    assert load(written.with_name("evaluation.json")) == found


@pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_every_picture_and_nothing_beside_the_page(found, tmp_path, width):
    written = write_report(found, tmp_path)
    with chromium() as browser:
        tab, troubles = browser.new_page(viewport={"width": width, "height": 900}), []
        tab.on("console", lambda message: troubles.append(message.text))
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("requestfailed", lambda request: troubles.append(request.url))
        tab.goto(written.as_uri())
        pictures = tab.evaluate(
            "[...document.querySelectorAll('img, svg')].map(each => each.getBoundingClientRect().width)"
        )
        room = tab.evaluate("document.documentElement.scrollWidth")
    assert troubles == []
    assert len(pictures) >= 3
    assert min(pictures) > 100
    assert room <= width


def test_every_element_is_closed(found):
    balance = Balance()
    balance.feed(page(found))
    assert (balance.open, balance.wrong) == ([], [])


def test_page_and_tables_show_the_figures(found):
    for text in (page(found), printed(found)):
        assert f"{found.tracks.accuracy:.1%}" in text
        assert f"{found.degraded.conditions[2].windows.accuracy:.1%}" in text
        assert "small loudspeaker" in text
        assert f"{found.calibration.ece:.3f}" in text
        assert "ith a genre" in text
        assert "McNemar" in text


def test_a_leaky_archive_is_labelled_everywhere(found, tmp_path):
    leaky = msgspec.structs.replace(found, leaky=True)
    written = write_report(leaky, tmp_path)
    assert "LEAKY" in written.read_text(encoding="utf-8")
    assert b'"leaky": true' in written.with_name("evaluation.json").read_bytes()
    titles = [str(table.title) for table in tables(leaky) if table.title]
    assert len(titles) == 4
    assert all("LEAKY" in title for title in titles)
    assert "LEAKY" not in page(found) + printed(found)


def test_names_are_words_and_never_markup(found):
    odd = msgspec.structs.replace(found, data='<img src="x">.npz', split="a&b")
    assert "<img" not in page(odd)
    assert "a&amp;b" in page(odd)


def test_what_was_not_measured_is_left_out(archive):
    short = dataclasses.replace(archive, levels=archive.levels[:, :100], frames=archive.frames * 0 + 100)
    plain = evaluate(Nearest(archive), short.chosen(archive.genres != "low"), data="t", split="valid", console=QUIET)
    text = page(plain)
    assert "Under acoustic conditions" not in text
    assert "after 12 s" not in text.replace(plain.how, "")
    balance = Balance()
    balance.feed(text)
    assert balance.open == []


def test_both_schemes_have_their_colours(found):
    text = page(found)
    assert "prefers-color-scheme: dark" in text
    for place, label in enumerate(found.confusion.labels):
        for theme in THEMES:
            assert f"--genre-{place}: {genre_marks(found.confusion.labels, theme)[label].colour};" in text
        assert f"var(--genre-{place})" in text
    assert 'name="viewport"' in page(found)
