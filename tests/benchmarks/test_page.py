"""The page is made of the figures alone: what they do not say, it does not say."""

from benchmarks import document
from benchmarks.document import page
from support.benchmark_rows import rows


def said(figures):
    return " ".join(page(figures, set()).split())


def lines_of(text, start):
    return [line for line in text.splitlines() if line.startswith(start)]


def test_both_models_have_a_line_where_a_row_is_of_models():
    text = page(rows(), set())
    for name in ("P1", "P2", "P6"):
        table = lines_of(text.partition("## Targets")[0], f"| {name} |")
        assert ["`genre`" in table[0], "`genre-small`" in table[1]] == [True, True]


def test_each_miss_is_named_with_its_profile():
    figures = rows()
    figures["P8"]["ours"] = 22.4
    missed = page(figures, set()).partition("## What is missed")[2].partition("## What the profile")[0]
    assert lines_of(missed, "- **P8") == [line for line in missed.splitlines() if line.startswith("- ")]
    assert "22.4 a second where 5 a second is asked" in missed
    assert "threaded-ml of capture 2.5" in " ".join(missed.split())


def test_where_nothing_is_missed_it_says_so():
    assert "Nothing that was measured." in said(rows())


def test_a_row_that_is_missing_is_nowhere_on_the_page():
    text = page({"P4": rows()["P4"]}, set())
    assert "P4" in text
    assert "P8" not in text


def test_a_row_that_could_not_be_measured_says_why():
    figures = rows()
    figures["P4"].update(
        ours=None, ratio=None, more={"unmeasured": "no mosquitto", "machine": figures["P4"]["more"]["machine"]}
    )
    assert "not measured: no mosquitto" in said(figures)


def test_scores_on_other_processors_are_reported_only_where_they_were_compared():
    figures = rows()
    assert "to the bit" not in said(figures)
    figures["P2"]["more"]["arm"] = {
        "bookworm": {"python": "3.11", "same_scores": {"genre": {"windows": 240, "same": 239}}, "tests": "99 passed"}
    }
    assert "to the bit: 239 of 240 windows with `genre`" in said(figures)


def test_the_load_is_reported_as_it_was():
    figures = rows()
    assert "nothing else to speak of ran" in said(figures)
    figures["P1"]["more"]["machine"] = {**figures["P1"]["more"]["machine"], "load": 9.2}
    assert "0.2 to 9.2 when that began: other work shared the machine" in said(figures)


def test_rows_of_another_run_are_distinguished():
    figures = rows()
    figures["P2"]["more"]["machine"] = {**figures["P2"]["more"]["machine"], "day": "2026-10-01"}
    assert lines_of(page(figures, set()), "P2 was measured on day 2026-10-01")


def test_numbers_on_the_page_follow_the_figures():
    figures = rows()
    figures["P1"]["more"]["front_ends"]["numpy FFT alone, float32 (the floor)"]["median"] = 0.1
    figures["P1"]["more"]["front_ends"]["headnod"]["median"] = 0.4
    assert "it is 25% of ours" in said(figures)


def test_what_a_run_did_not_measure_stays_from_the_run_before(tmp_path):
    file = tmp_path / "performance.md"
    figures = rows()
    document.write(figures, file)
    document.write({"P8": {**figures["P8"], "ours": 1.25}}, file)
    text = file.read_text()
    assert "**1.25 a second**" in text
    assert lines_of(text, "| P4 |")
    assert sorted(path.name for path in (tmp_path / "performance").iterdir()) == [
        *("daemon.svg", "figures.json", "growth.svg", "instructions.svg", "window.svg"),
    ]


def test_both_models_appear_in_the_pictures(tmp_path):
    file = tmp_path / "performance.md"
    document.write(rows(), file)
    for name in ("window.svg", "instructions.svg"):
        drawn = (tmp_path / "performance" / name).read_text()
        assert "<!-- genre -->" in drawn
        assert "<!-- genre-small -->" in drawn
