import struct
import zlib

import numpy as np
import pytest

from headnod.outputs import GENRES, colour, colours
from headnod.outputs.leds import LedFrame, bars, best, mood, one_each
from headnod.outputs.leds.preview import demonstration, png, write_preview


def read_png(data):
    """Pixels of a PNG of 8-bit colours without filters, with every checksum looked at."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed = 8, b""
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(kind + body)
        if kind == b"IHDR":
            width, height, *form = struct.unpack(">IIBBBBB", body)
            assert form == [8, 2, 0, 0, 0]
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    assert kind == b"IEND"
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + 3 * width)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 3)


def test_a_png_reads_back_as_it_was_written():
    pixels = np.random.default_rng(3).integers(0, 256, (7, 5, 3), np.uint8)
    assert np.array_equal(read_png(png(pixels)), pixels)


def test_a_png_opens_in_a_program_that_knows_png(tmp_path):
    images = pytest.importorskip("matplotlib.image")
    write_preview(tmp_path / "lights.png", demonstration(bars, 30))
    assert np.array_equal(
        (images.imread(tmp_path / "lights.png")[..., :3] * 255).round(),
        read_png((tmp_path / "lights.png").read_bytes()),
    )


def test_a_lit_light_glows_in_its_colour_and_a_dark_one_does_not(tmp_path):
    light = LedFrame(np.array([1.0, 0.0, 0.0]), np.array([colour("metal")] * 3) / 255)
    write_preview(tmp_path / "lights.png", {"": light})
    picture = read_png((tmp_path / "lights.png").read_bytes()).astype(int)
    lit, dark = picture[40:54, 25:50], picture[40:54, 95:118]
    assert lit[..., 0].max() > 180
    assert (lit[..., 0] - lit[..., 2]).max() > 150
    assert np.ptp(dark, axis=2).max() < 20
    assert dark.max() < 60


@pytest.mark.parametrize("size", [1, 10, 60, 300])
@pytest.mark.parametrize("layout", [bars, mood, best])
def test_lights_of_any_number_can_be_looked_at(tmp_path, layout, size):
    moments = demonstration(layout, size)
    write_preview(tmp_path / "lights.png", moments)
    height, width, _ = read_png((tmp_path / "lights.png").read_bytes()).shape
    assert height == 76 * len(moments)
    assert width >= 9 * size


def test_the_moments_tell_waiting_deaf_silence_and_music_apart():
    moments = demonstration(one_each(GENRES), 10)
    assert len({tuple(light.pixels().ravel().round(2)) for light in moments.values()}) == len(moments)
    assert moments["silence"].levels.max() == 0
    assert moments["jazz 0.80"].levels.argmax() == GENRES.index("jazz")


def test_own_labels_are_demonstrated_in_their_own_colours():
    labels = ["punk", "jazz", "Música"]
    moments = demonstration(bars, 30, labels)
    assert [name for name in moments if name.startswith("jazz 0.80")]
    lit = {tuple((each * 255).round()) for each in moments["jazz 0.80"].colours[:30]}
    assert lit == {tuple(map(float, each)) for each in colours(labels).values()}


def test_the_pins_of_own_labels_shine_in_the_demonstration():
    moments = demonstration(one_each(["punk", "techno"]), 2, ["punk", "techno"])
    assert sum(light.levels.max() > 0.3 for name, light in moments.items() if " 0." in name) == 2


def test_a_picture_that_cannot_be_written_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_preview(tmp_path / "nowhere" / "lights.png", demonstration(bars, 10))


def test_a_genre_that_the_model_lacks_is_demonstrated_by_one_that_it_has():
    moments = demonstration(bars, 30, ["blues", "rock"])
    shown = [name.partition(" ")[0] for name in moments if " 0." in name]
    assert shown
    assert set(shown) <= {"blues", "rock"}


def sampled(tmp_path, frame, caption=""):
    write_preview(tmp_path / "lights.png", {caption: frame})
    return read_png((tmp_path / "lights.png").read_bytes()).astype(int)


def test_a_light_has_a_bright_core_a_rim_and_a_glow_that_fades(tmp_path):
    """Samples of two lights, the first of them red, on a board of [25, 28, 33]."""
    frame = LedFrame(np.array([1.0, 0.0]), np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    picture = sampled(tmp_path, frame)
    assert picture.shape == (76, 108, 3)
    reds = {
        37: 255,
        41: 255,
        45: 255,
        47: 255,
        48: 234,
        49: 174,
        50: 161,
        54: 118,
        60: 40,
        71: 40,
        82: 35,
        84: 27,
        105: 25,
    }
    assert [picture[47, place, 0] for place in reds] == pytest.approx(list(reds.values()), abs=1)
    greens = {37: 140, 41: 118, 45: 78, 47: 62, 48: 46, 49: 28, 71: 42, 82: 37, 84: 28}
    assert [picture[47, place, 1] for place in greens] == pytest.approx(list(greens.values()), abs=1)
    assert picture[18, [0, 36, 60, 107], 0] == pytest.approx([27, 54, 34, 25], abs=1)
    assert (picture[0, 107].tolist(), picture[47, 71].tolist()) == ([25, 28, 33], [40, 42, 47])


@pytest.mark.parametrize(
    ("size", "width"), [(1, 74), (26, 924), (27, 931), (90, 940), (100, 940), (101, 949), (300, 2740)]
)
def test_lights_are_closer_together_where_they_are_many(tmp_path, size, width):
    assert sampled(tmp_path, LedFrame(np.zeros(size), np.ones((size, 3)))).shape == (76, width, 3)


def test_a_caption_is_written_in_dots_of_two_pixels(tmp_path):
    picture = sampled(tmp_path, LedFrame(np.zeros(1), np.ones((1, 3))), "héL1")
    assert picture.shape == (76, 88, 3)
    ink = (picture[:18] == picture[:18].max(axis=(0, 1))).all(axis=2)
    rows = ["".join(".#"[int(dot)] for dot in line) for line in ink[8:18:2, 20:51:2]]
    assert rows == [
        "#.#.###.#....#..",
        "#.#.#...#...##..",
        "###.##..#....#..",
        "#.#.#...#....#..",
        "#.#.###.###.###.",
    ]
    assert picture[8, 20].tolist() == [152, 156, 164]
