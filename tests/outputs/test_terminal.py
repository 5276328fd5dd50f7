"""The histogram in the terminal, in any room and in any alphabet."""

import io
import threading
from datetime import timedelta

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from headnod.outputs import colours
from headnod.outputs.terminal import Terminal
from headnod.pipeline.estimate import HeldBy, State
from headnod.testing import ManualClock
from support.estimates import GTZAN, condition, estimate, other_labels, silence, tagged

JAZZ = estimate("jazz", jazz=0.8, blues=0.15, rock=0.05)


class Screen:
    """A terminal of a certain size, and what it shows."""

    def __init__(self, width=80, height=24, *, encoding="utf-8", hearing=""):
        self.out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
        self.console = Console(
            file=self.out,
            width=width,
            height=height,
            force_terminal=True,
            color_system="truecolor",
            legacy_windows=False,
        )
        self.clock = ManualClock()
        self.terminal = Terminal(self.console, source=hearing, monotonic=self.clock.monotonic, animated=False)

    def lines(self):
        """The picture as it would be drawn now, after the bars had time to move."""
        self.clock.seconds += 60.0
        drawn = self.console.render_lines(self.terminal, pad=False)
        return ["".join(segment.text for segment in line).rstrip() for line in drawn]


@pytest.fixture
def screen():
    screen = Screen()
    yield screen
    screen.terminal.close()


def test_every_genre_has_a_bar_in_its_own_place(screen):
    for heard in (JAZZ, estimate("rock", rock=0.9)):
        screen.terminal.show(heard)
        assert [line.split()[0] for line in screen.lines()[1:11]] == list(GTZAN)


def test_tags_and_energy_stand_in_one_dim_line_below(screen):
    screen.terminal.show(tagged("jazz", jazz=0.8))
    assert screen.lines()[-1] == ("instrumental 0.91, mellow 0.75, jazz 0.60, guitar 0.33, 80s 0.20, energy 0.36")
    assert screen.lines()[-2].startswith("jazz since ")
    drawn = screen.console.render_lines(screen.terminal, pad=False)
    assert {segment.style.dim for segment in drawn[-1] if segment.text.strip()} == {True}


@pytest.mark.parametrize(("width", "height"), [(59, 24), (80, 14), (20, 5)])
def test_where_there_is_little_room_tags_have_none(width, height):
    narrow = Screen(width, height)
    narrow.terminal.show(tagged("jazz", jazz=0.8))
    assert narrow.lines()
    assert not any("mellow" in line for line in narrow.lines())
    narrow.terminal.close()


def test_a_hostile_tag_reaches_no_terminal(screen):
    screen.terminal.show(msgspec.structs.replace(JAZZ, tags={"\x1b[2Jmellow": 0.5}))
    assert "\x1b" not in screen.lines()[-1]
    assert "mellow 0.50" in screen.lines()[-1]


def test_without_tags_there_is_no_line_for_them(screen):
    screen.terminal.show(JAZZ)
    assert screen.lines()[-1].startswith("jazz since ")


def test_bars_are_as_long_as_scores_are_high(screen):
    screen.terminal.show(JAZZ)
    bars = {line.split()[0]: line.count("█") for line in screen.lines()[1:11]}
    room = 79 - len("classical") - 1 - 6
    assert bars["jazz"] == pytest.approx(0.8 * room, abs=1)
    assert bars["blues"] == pytest.approx(0.15 * room, abs=1)
    assert bars["metal"] == 0


def test_bars_rise_fast_and_fall_slowly(screen):
    def jazz(after):
        screen.clock.seconds += after - 60.0
        return screen.lines()[6].count("█")

    screen.lines()
    screen.terminal.show(JAZZ)
    risen = jazz(0.3)
    assert risen > 40
    screen.terminal.show(estimate("rock", rock=1.0))
    assert jazz(0.3) > 0.5 * risen
    assert jazz(10.0) == 0


def test_scores_model_level_and_what_plays_are_reported(screen):
    screen.terminal.show(JAZZ)
    lines = screen.lines()
    assert lines[0].startswith("headnod  genre-0.1.0")
    assert "-20 dBFS" in lines[0]
    assert lines[6].endswith("0.80")
    assert lines[7].split()[-1] == "-"
    assert lines[12].startswith("jazz since ")


def test_since_when_stays_while_the_genre_does(screen):
    set_by = timedelta(0)

    def heard(genre, minute):
        when = {"time": JAZZ.time.replace(minute=minute) + set_by, "monotonic": 60.0 * minute}
        screen.terminal.show(msgspec.structs.replace(estimate(genre, **{genre: 0.8}), **when))
        return screen.lines()[12].split("since ")[1]

    first = heard("jazz", 1)
    assert heard("jazz", 2) == first
    assert heard("rock", 3) != first
    assert heard("jazz", 4) != first
    set_by = timedelta(minutes=-3)
    assert heard("jazz", 5) == first, "by the clock as it is set now"


def test_a_condition_drops_the_bars_and_says_why(screen):
    screen.terminal.show(JAZZ)
    screen.terminal.show_status(condition(State.WAITING))
    lines = screen.lines()
    assert not any("█" in line for line in lines)
    assert lines[-1] == "waiting for microphone: the state is waiting_for_microphone"
    screen.terminal.show(JAZZ)
    assert screen.lines()[-1].startswith("jazz since ")


def test_a_microphone_that_is_unwell_is_reported_beside_the_genre(screen):
    screen.terminal.show(msgspec.structs.replace(JAZZ, state=State.CLIPPING))
    assert "microphone is clipping" in screen.lines()[-1]


WAITING = "no microphone 'USB Audio' is present ('headnod devices' lists microphones); the search goes on every 3 s"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("width", [30, 35, 40, 50, 60])
def test_a_narrow_terminal_shows_the_whole_reason_of_a_condition(width, begun, encoding):
    screen = Screen(width, 24, encoding=encoding)
    if begun:
        screen.terminal.show(JAZZ)
    screen.terminal.show_status(msgspec.structs.replace(condition(State.WAITING), message=WAITING))
    lines = screen.lines()
    assert all(cell_len(line) < width for line in lines)
    assert " ".join(lines).endswith(f"waiting for microphone: {WAITING}")
    screen.terminal.close()


def test_a_reason_without_spaces_or_with_wide_letters_is_wrapped_too():
    screen = Screen(30)
    reason = "/home/someone/" + "録音" * 20
    screen.terminal.show_status(msgspec.structs.replace(condition(State.WAITING), message=reason))
    lines = screen.lines()
    assert all(cell_len(line) < 30 for line in lines)
    assert "".join(lines).endswith(reason)
    screen.terminal.close()


def test_where_lines_are_few_the_reason_goes_before_the_bars():
    screen = Screen(30, 7)
    screen.terminal.show(JAZZ)
    screen.terminal.show_status(msgspec.structs.replace(condition(State.WAITING), message=WAITING))
    assert " ".join(screen.lines()).endswith(WAITING)
    screen.terminal.close()


@pytest.mark.parametrize("width", [30, 40, 60, 100])
def test_what_holds_a_genre_back_is_shown_whole(width):
    screen = Screen(width)
    held = msgspec.structs.replace(estimate("unknown", jazz=0.3), held_by=HeldBy.THRESHOLD, state=State.CLIPPING)
    screen.terminal.show(held)
    shown = " ".join(" ".join(screen.lines()).split())
    assert shown.endswith("no genre is probable enough microphone is clipping")
    screen.terminal.close()


def test_before_the_first_estimate_it_says_what_it_waits_for(screen):
    assert screen.lines()[0] == "headnod"
    assert "first three seconds" in screen.lines()[-1]


def test_what_is_heard_stands_in_the_title():
    screen = Screen(hearing="demo clip war.ogg: no microphone")
    screen.terminal.show(JAZZ)
    assert "demo clip war.ogg: no microphone" in screen.lines()[0]
    screen.terminal.close()


def test_names_that_the_terminal_would_interpret_are_spelled_out():
    screen = Screen(hearing="a\x1b[2Jb.ogg")
    screen.terminal.show(msgspec.structs.replace(JAZZ, model="genre\x1b]0;title\x07-1.0.0"))
    title = screen.lines()[0]
    assert title.startswith(r"headnod  genre\x1b]0;title\x07-1.0.0  a\x1b[2Jb.ogg")
    assert "  -20 dBFS |||" in title
    screen.terminal.show_status(msgspec.structs.replace(condition(State.WAITING), message="no 'mic\x1b[5m'"))
    assert r"no 'mic\x1b[5m'" in screen.lines()[-1]
    screen.terminal.close()


def test_of_a_long_path_the_file_stays_in_the_title_and_so_does_the_level():
    screen = Screen(hearing="/home/someone/music/" + "a very long folder/" * 6 + "war.ogg")
    screen.terminal.show(JAZZ)
    title = screen.lines()[0]
    assert title.startswith("headnod  genre-0.1.0  ...")
    assert "folder/war.ogg  -20 dBFS" in title
    screen.terminal.close()


@pytest.mark.parametrize("width", [1, 2, 5, 10, 17, 40, 80, 300])
@pytest.mark.parametrize("height", [1, 2, 3, 5, 11, 13, 24])
def test_the_picture_fits_into_any_room(width, height):
    screen = Screen(width, height)

    def fits():
        lines = screen.lines()
        assert len(lines) <= height
        assert all(len(line) <= width for line in lines)

    fits()
    screen.terminal.show_status(condition(State.WAITING))
    fits()
    for heard in (JAZZ, silence()):
        screen.terminal.show(heard)
        fits()
    screen.terminal.show_status(condition(State.BEHIND))
    fits()
    screen.terminal.close()


def test_where_there_is_little_room_the_best_stay():
    screen = Screen(40, 5)
    screen.terminal.show(JAZZ)
    assert [line.split()[0] for line in screen.lines()] == ["blues", "jazz", "rock", "jazz"]
    screen.terminal.close()


def test_an_alphabet_without_blocks_draws_hashes():
    screen = Screen(encoding="ascii")
    screen.terminal.show(JAZZ)
    lines = screen.lines()
    assert lines[6].count("#") > 40
    assert all(line.isascii() for line in lines)
    screen.terminal.close()


def test_labels_of_another_model_are_drawn_too(screen):
    other = msgspec.structs.replace(JAZZ, genre="fado", scores={"fado": 0.7, "hard bop": 0.3})
    screen.terminal.show(JAZZ)
    screen.terminal.show(other)
    assert [line.split()[0] for line in screen.lines()[1:3]] == ["fado", "hard"]


@pytest.mark.parametrize("label", ["Música", "日本", "R&B", "b" * 64, "日" * 64, "Mu\u0308ll"])
def test_bars_begin_in_one_column_whatever_letters_a_label_has(label):
    screen = Screen(width=60)
    screen.terminal.show(other_labels(label, {label: 0.7, "jazz": 0.3}))
    lines = screen.lines()[1:3]
    assert len({cell_len(line.partition("█")[0]) for line in lines}) == 1
    assert [line.split()[-1] for line in lines] == ["0.70", "0.30"]
    assert all(cell_len(line) < 60 for line in lines)
    screen.terminal.close()


@pytest.mark.parametrize(("encoding", "cut"), [("utf-8", "bbbbbbbbbbbbbbbbb…"), ("ascii", "bbbbbbbbbbbbbbb...")])
def test_a_long_label_is_cut_at_a_third_of_the_terminal(encoding, cut):
    screen = Screen(width=60, encoding=encoding)
    screen.terminal.show(other_labels("b" * 64, {"b" * 64: 0.7, "b" * 18: 0.3}))
    assert [line.split()[0] for line in screen.lines()[1:3]] == [cut, "b" * 18]
    screen.terminal.close()


def test_closing_gives_the_terminal_back_with_the_last_picture_and_may_be_done_twice():
    screen = Screen()
    screen.terminal.show(JAZZ)
    screen.lines()
    screen.terminal.close()
    screen.terminal.close()
    screen.out.seek(0)
    written = screen.out.read()
    assert written.count("\x1b[?1049h") == written.count("\x1b[?1049l") == 1
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
    after = written.partition("\x1b[?1049l")[2]
    assert Text.from_ansi(after).plain.count("jazz since ") == 1


def test_letters_have_the_terminals_own_colour_and_strength():
    screen = Screen()
    overdriven = msgspec.structs.replace(JAZZ, state=State.CLIPPING)
    for show in (
        lambda: screen.terminal.show(JAZZ),
        lambda: screen.terminal.show(overdriven),
        lambda: screen.terminal.show_status(condition(State.WAITING)),
    ):
        show()
        screen.clock.seconds += 60.0
        coloured = set()
        for line in screen.console.render_lines(screen.terminal, pad=False):
            for text, style, _ in line:
                if style and (style.color or style.bgcolor):
                    coloured |= set(text)
                assert not (style and style.dim), text
        assert coloured <= set(" ▏▎▍▌▋▊▉█")
    screen.terminal.close()


def test_own_labels_have_the_colours_that_lights_give_them():
    screen = Screen()
    labels = ["techno", "punk", "Música"]
    screen.terminal.show(msgspec.structs.replace(JAZZ, genre="punk", scores=dict.fromkeys(labels, 0.3)))
    drawn = screen.console.render_lines(screen.terminal, pad=False)[1:4]
    bars = [style.color.get_truecolor() for line in drawn for text, style, _ in line if style and style.color]
    assert list(map(tuple, bars)) == [colours(labels)[label] for label in labels]
    screen.terminal.close()


def picture_left_behind(screen):
    screen.out.seek(0)
    return Text.from_ansi(screen.out.read().partition("\x1b[?1049l")[2]).plain.splitlines()


def test_the_picture_that_is_left_has_bars_as_long_as_their_numbers():
    screen = Screen()
    screen.terminal.show(estimate("rock", rock=1.0))
    screen.clock.seconds += 60.0
    screen.terminal.show(JAZZ)
    screen.clock.seconds += 0.05
    screen.terminal.close()
    bars = {line.split()[0]: line.count("█") for line in picture_left_behind(screen)[1:11]}
    room = 79 - len("classical") - 1 - 6
    assert bars["jazz"] == pytest.approx(0.8 * room, abs=1)
    assert bars["rock"] == pytest.approx(0.05 * room, abs=1)


def test_the_picture_that_is_left_while_nothing_is_heard_has_no_bars():
    screen = Screen()
    screen.terminal.show(JAZZ)
    screen.lines()
    screen.terminal.show_status(condition(State.STOPPING))
    screen.terminal.close()
    assert not any("█" in line for line in picture_left_behind(screen))


@pytest.mark.parametrize("width", [20, 40, 80])
@pytest.mark.parametrize(
    "label",
    ["a style with a name of sixty-four letters, as long as names may", "音楽" * 16, "é" * 64],
    ids=["many words", "wide", "one word"],
)
def test_long_and_wide_labels_leave_room_for_bars_and_numbers(width, label):
    screen = Screen(width)
    screen.terminal.show(msgspec.structs.replace(JAZZ, genre=label, scores={label: 0.7, "punk": 0.3}))
    title, one, other, _, playing = screen.lines()
    assert (one[-4:], other[-4:]) == ("0.70", "0.30")
    assert one.count("█") > other.count("█") >= width // 20
    assert cell_len(one) == cell_len(other) == width - 2
    assert " since " in playing
    assert title.startswith("headnod")
    screen.terminal.close()


def test_another_thread_may_draw_while_a_model_of_other_labels_takes_over():
    faults, done = [], threading.Event()
    screen = Screen()
    three = msgspec.structs.replace(JAZZ, genre="fado", scores={"fado": 0.7, "punk": 0.2, "acid": 0.1})

    def draw():
        try:
            while not done.is_set():
                screen.console.render_lines(screen.terminal, pad=False)
        except Exception as fault:
            faults.append(fault)

    drawing = threading.Thread(target=draw)
    drawing.start()
    for _ in range(150):
        screen.terminal.show(JAZZ)
        screen.terminal.show_status(condition(State.WAITING))
        screen.terminal.show(three)
    done.set()
    drawing.join()
    screen.terminal.close()
    assert faults == []


@pytest.mark.parametrize(("room", "together"), [(0, True), (-1, False)])
def test_a_note_stands_beside_the_genre_where_both_fit(room, together):
    both = "jazz since 00:00:00  microphone is clipping"
    # The last column stays free.
    screen = Screen(len(both) + 1 + room)
    screen.terminal.show(msgspec.structs.replace(JAZZ, state=State.CLIPPING))
    *_, before, last = screen.lines()
    assert last.endswith("microphone is clipping")
    assert last.startswith("jazz since ") == together
    assert before.startswith("jazz since ") != together
    screen.terminal.close()


@pytest.mark.parametrize(
    ("width", "height", "tags"), [(61, 24, True), (60, 24, False), (80, 15, True), (80, 14, False)]
)
def test_tags_are_shown_where_they_fit(width, height, tags):
    screen = Screen(width, height)
    screen.terminal.show(tagged("jazz", jazz=0.8))
    assert any("mellow" in line for line in screen.lines()) == tags
    assert "" in screen.lines(), "the line between the bars and the genre"
    screen.terminal.close()


@pytest.mark.parametrize(
    ("level", "meter"),
    [(-90.0, "........"), (-60.0, "........"), (-57.0, "........"), (-56.0, "|......."), (-34.0, "|||....."),
     (-33.0, "||||...."), (-3.0, "||||||||"), (0.0, "||||||||"), (5.0, "||||||||")],
)  # fmt: skip
def test_the_meter_has_eight_steps_from_minus_60_decibels_to_full_scale(screen, level, meter):
    screen.terminal.show(msgspec.structs.replace(JAZZ, level=level))
    assert screen.lines()[0].endswith(f" {level:.0f} dBFS {meter}")


@pytest.mark.parametrize(
    ("encoding", "score", "bar"),
    [("utf-8", 0.5, "█" * 34), ("utf-8", 0.51, "█" * 34 + "▋"), ("utf-8", 1.0, "█" * 68), ("ascii", 0.51, "#" * 35)],
)
def test_a_bar_has_eighths_of_a_column_where_the_alphabet_has_them(encoding, score, bar):
    screen = Screen(encoding=encoding)
    screen.terminal.show(other_labels("jazz", {"jazz": score, "pop": 0.0}))
    assert screen.lines()[1] == f"jazz {bar:68} {score:.2f}"
    screen.terminal.close()


@pytest.mark.parametrize(("width", "column"), [(60, 19), (40, 13), (38, 12), (30, 12), (26, 12), (24, 11), (20, 9)])
def test_labels_have_a_third_of_the_width_or_twelve_columns_but_never_more_than_half(width, column):
    screen = Screen(width)
    screen.terminal.show(other_labels("b" * 64, {"b" * 64: 0.7, "jazz": 0.3}))
    assert screen.lines()[1].startswith("b" * (column - 2) + "… █")
    screen.terminal.close()


@pytest.mark.parametrize(("height", "title"), [(13, True), (12, False)])
def test_the_title_is_shown_where_all_bars_are(height, title):
    screen = Screen(80, height)
    screen.terminal.show(JAZZ)
    lines = screen.lines()
    assert lines[0].startswith("headnod") is title
    assert [line.split()[0] for line in lines[title:-1]] == list(GTZAN)
    screen.terminal.close()


@pytest.mark.parametrize(("length", "shown"), [(38, "a" * 38), (39, "..." + "a" * 35)])
def test_a_source_is_cut_where_the_title_is_longer_than_the_line(length, shown):
    screen = Screen(hearing="a" * length)
    screen.terminal.show(JAZZ)
    assert screen.lines()[0] == f"headnod  genre-0.1.0  {shown}  -20 dBFS |||||..."
    screen.terminal.close()
