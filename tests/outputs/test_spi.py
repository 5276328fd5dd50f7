import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headnod.config import LedsSection
from headnod.errors import LedError
from headnod.outputs import colour
from headnod.outputs.leds import LedFrame, LedSink
from headnod.outputs.leds.gpio import WS2812_HERTZ, SpiStrip, apa102_frame, limited, open_spi, spi_reason, ws2812_frame
from headnod.system import how_to_install
from support.estimates import estimate, silence
from support.unprivileged import as_nobody


def section(**changes):
    return LedsSection(**{"kind": "ws2812", **changes})


class Wire:
    """An SPI device that remembers what was sent."""

    def __init__(self):
        self.frames, self.closed = [], 0

    def writebytes2(self, values):
        self.frames.append(bytes(values))

    def close(self):
        self.closed += 1


class CutWire(Wire):
    def writebytes2(self, _values):
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))


def colours(*triples):
    return np.array(triples, np.uint8)


def levels(frame):
    """The wire's level over time, one for each SPI bit."""
    return np.unpackbits(np.frombuffer(frame, np.uint8))


def read_ws2812(frame):
    """What LEDs make of it: a pulse longer than 580 ns is 1; green, red, blue; 280 us of low end it."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], levels(frame), [0]])))
    bits = np.diff(edges)[::2] / WS2812_HERTZ > 450e-9
    return np.packbits(bits).reshape(-1, 3)[:, [1, 0, 2]].tolist()


def read_apa102(frame):
    """What LEDs make of it: wait for 32 zeros, then take frames that begin with 111."""
    assert frame[:4] == bytes(4)
    leds = []
    for at in range(4, len(frame) - 3, 4):
        head, blue, green, red = frame[at : at + 4]
        if head >> 5 != 0b111:
            break
        leds.append((head & 31, [red, green, blue]))
    return leds, frame[4 + 4 * len(leds) :]


def even_dividers(clock):
    divider = -(-clock // WS2812_HERTZ)
    return clock / (divider + divider % 2)


PI_CLOCKS = {"Pi 3, core 250": 250e6, "Pi 3, core 400": 400e6, "Pi 4, core 500": 500e6, "Pi 5, RP1": 200e6}


def test_one_is_a_long_pulse_and_zero_a_short_one_green_first():
    frame = ws2812_frame(colours([0b10000000, 0b11110000, 0b00000001])).tobytes().strip(b"\0")
    assert frame.hex() == "eeee8888" + "e8888888" + "8888888e"


@pytest.mark.parametrize("clock", PI_CLOCKS.values(), ids=PI_CLOCKS)
def test_pulses_keep_the_ws2812b_data_sheet_on_every_pi(clock):
    bit = 1e9 / even_dividers(clock)
    zero_high, zero_low, one_high, one_low = bit, 3 * bit, 3 * bit, bit
    assert abs(zero_high - 400) <= 150
    assert abs(zero_low - 850) <= 150
    assert abs(one_high - 800) <= 150
    assert abs(one_low - 450) <= 150
    assert 220 <= zero_high <= 380
    assert 580 <= one_high <= 1000


@pytest.mark.parametrize("clock", PI_CLOCKS.values(), ids=PI_CLOCKS)
def test_a_frame_begins_and_ends_with_a_reset_even_for_new_chips(clock):
    wire = levels(ws2812_frame(colours([255, 255, 255])).tobytes())
    high = np.flatnonzero(wire)
    for low in (high[0], len(wire) - 1 - high[-1]):
        assert low / even_dividers(clock) > 280e-6


def test_no_byte_ends_high_so_a_gap_between_bytes_does_no_harm():
    assert not (ws2812_frame(np.arange(256, dtype=np.uint8).repeat(3).reshape(-1, 3)) & 1).any()


def test_ws2812_leds_read_back_what_was_meant():
    meant = np.random.default_rng(7).integers(0, 256, (50, 3), np.uint8)
    assert read_ws2812(ws2812_frame(meant).tobytes()) == meant.tolist()


def test_apa102_bytes_are_those_of_the_data_sheet():
    frame = apa102_frame(colours([1, 2, 3], [255, 0, 128]), 1.0).tobytes()
    assert frame.hex() == "00000000" + "ff030201" + "ff8000ff" + "00000000" + "00"


@pytest.mark.parametrize(("brightness", "head"), [(0.0, 0xE0), (0.5, 0xF0), (1.0, 0xFF), (2.0, 0xFF)])
def test_apa102_brightness_is_in_five_bits(brightness, head):
    assert apa102_frame(colours([0, 0, 0]), brightness)[4] == head


@pytest.mark.parametrize("count", [1, 2, 16, 17, 64, 65, 144, 1000])
def test_the_last_apa102_gets_its_clocks_and_its_clones_their_reset(count):
    leds, end = read_apa102(apa102_frame(np.full((count, 3), 9, np.uint8), 1.0).tobytes())
    assert leds == [(31, [9, 9, 9])] * count
    assert set(end) == {0}
    assert 8 * (len(end) - 4) >= count / 2


@pytest.mark.parametrize(("chip", "order", "sent"), [("ws2812", "RGB", [2, 1, 3]), ("apa102", "RGB", [3, 2, 1])])
def test_a_strip_with_another_order_of_colours_gets_it(chip, order, sent):
    spi = Wire()
    strip = SpiStrip(section(kind=chip, count=1, order=order, brightness=1.0, gamma=1.0), spi)
    strip.paint(LedFrame(np.ones(1), np.array([[1, 2, 3]]) / 255), 0.0)
    read = read_ws2812(spi.frames[0])[0] if chip == "ws2812" else read_apa102(spi.frames[0])[0][0][1]
    assert read == sent


def read_rgbw(frame):
    """What SK6812 RGBW make of it: four bytes an LED, green, red, blue and white."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], levels(frame), [0]])))
    bits = np.diff(edges)[::2] / WS2812_HERTZ > 450e-9
    return np.packbits(bits).reshape(-1, 4)[:, [1, 0, 2, 3]].tolist()


@pytest.mark.parametrize(
    ("colour_shown", "sent"),
    [([255, 255, 255], [0, 0, 0, 255]), ([255, 100, 50], [205, 50, 0, 50]), ([0, 0, 9], [0, 0, 9, 0])],
)
def test_leds_with_a_white_one_show_with_it_what_is_white_in_a_colour(colour_shown, sent):
    strip = SpiStrip(section(count=2, rgbw=True, brightness=1.0, gamma=1.0), spi := Wire())
    strip.paint(LedFrame(np.ones(2), np.array([colour_shown] * 2) / 255), 0.0)
    assert read_rgbw(spi.frames[0]) == [sent] * 2


def test_the_white_led_counts_in_the_current():
    strip = SpiStrip(section(count=300, rgbw=True, brightness=1.0, milliamps=1500), spi := Wire())
    strip.paint(LedFrame(np.ones(300), np.ones((300, 3))), 0.0)
    assert 1300 < 20 * np.sum(read_rgbw(spi.frames[0])) / 255 < 1600


def test_a_strip_shows_bars_in_the_colours_of_genres():
    lights = LedSink(SpiStrip(section(count=20, brightness=1.0, gamma=1.0), spi := Wire()))
    lights.show(estimate("jazz", jazz=1.0))
    lights.frame(60.0)
    shown = read_ws2812(spi.frames[-1])
    assert shown[10:12] == [list(colour("jazz"))] * 2
    assert shown[:10] + shown[12:] == [[0, 0, 0]] * 18


@pytest.mark.parametrize("chip", ["ws2812", "apa102"])
def test_half_a_bar_is_gamma_corrected(chip):
    spi = Wire()
    SpiStrip(section(kind=chip, count=1, brightness=1.0, gamma=2.2), spi).paint(
        LedFrame(np.array([0.5]), np.ones((1, 3))), 0
    )
    shown = read_ws2812(spi.frames[0])[0] if chip == "ws2812" else read_apa102(spi.frames[0])[0][0][1]
    assert shown == [round(255 * 0.5**2.2)] * 3


def test_brightness_dims_ws2812_by_colour_and_apa102_by_its_own_five_bits():
    white = LedFrame(np.ones(1), np.ones((1, 3)))
    for chip in ("ws2812", "apa102"):
        spi = Wire()
        SpiStrip(section(kind=chip, count=1, brightness=0.2), spi).paint(white, 0.0)
        if chip == "ws2812":
            assert read_ws2812(spi.frames[0]) == [[51, 51, 51]]
        else:
            assert read_apa102(spi.frames[0])[0] == [(6, [255, 255, 255])]


@pytest.mark.parametrize("brightness", [1.0, 0.5])
@pytest.mark.parametrize("chip", ["ws2812", "apa102"])
def test_a_strip_never_draws_more_than_its_supply_gives(chip, brightness):
    spi = Wire()
    settings = section(kind=chip, count=300, brightness=brightness, milliamps=1500)
    SpiStrip(settings, spi).paint(LedFrame(np.ones(300), np.ones((300, 3))), 0.0)
    if chip == "ws2812":
        full = np.sum(read_ws2812(spi.frames[0])) / 255
    else:
        full = sum(head / 31 * sum(led) for head, led in read_apa102(spi.frames[0])[0]) / 255
    assert 1300 < 20 * full < 1600


def test_little_light_is_not_dimmed():
    dim = np.full((10, 3), 0.1)
    assert limited(dim, 1500) is dim


def test_a_strip_is_dark_and_its_bus_free_in_the_end():
    lights = LedSink(SpiStrip(section(count=10), spi := Wire()))
    lights.show(estimate("jazz", jazz=1.0))
    lights.frame(60.0)
    assert any(any(led) for led in read_ws2812(spi.frames[-1]))
    lights.close()
    assert read_ws2812(spi.frames[-1]) == [[0, 0, 0]] * 10
    assert spi.closed == 1


def test_mood_lights_the_whole_strip():
    lights = LedSink(SpiStrip(section(count=7, mode="mood", brightness=1.0, gamma=1.0), spi := Wire()))
    lights.show(estimate("disco", disco=1.0))
    lights.frame(60.0)
    assert read_ws2812(spi.frames[-1]) == [list(colour("disco"))] * 7
    lights.show(silence())
    lights.frame(60.0)
    assert read_ws2812(spi.frames[-1]) == [[0, 0, 0]] * 7


def test_a_bus_that_went_away_is_named():
    strip = SpiStrip(section(count=1, spi="1.2"), CutWire())
    with pytest.raises(LedError, match=r"strip on SPI 1\.2: No such device"):
        strip.paint(LedFrame(np.ones(1), np.ones((1, 3))), 0.0)


@pytest.mark.skipif(Path("/dev/spidev0.0").exists(), reason="this machine has SPI")
def test_without_spi_the_error_says_how_to_turn_it_on():
    pytest.importorskip("spidev")
    with pytest.raises(LedError, match=r"strip on SPI 0\.0: /dev/spidev0\.0 is absent \(set dtparam=spi=on"):
        open_spi(section())


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EACCES, r"/dev/spidev0\.1: permission denied \(.*spi"),
        (errno.EPERM, r"/dev/spidev0\.1: permission denied \(.*spi"),
        (errno.EBUSY, r"/dev/spidev0\.1: in use by another program \(.*sudo fuser -v /dev/spidev0\.1"),
        (errno.ENOENT, r"/dev/spidev0\.1 is absent \(set dtparam=spi=on"),
        (errno.ENXIO, r"/dev/spidev0\.1 is absent \(set dtparam=spi=on"),
        (errno.EINVAL, r"/dev/spidev0\.1: Invalid argument \(is it an SPI device"),
    ],
)
def test_a_device_that_is_absent_busy_or_denied_is_distinguished(number, said):
    error = OSError(number, os.strerror(number))
    assert re.match(said, spi_reason(error, Path("/dev/spidev0.1")))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_device_that_this_user_may_not_open_names_the_group(open_folder):
    pytest.importorskip("spidev")
    (open_folder / "spidev0.0").touch(mode=0o660)
    with as_nobody(), pytest.raises(LedError, match=r"strip on SPI 0\.0: .*spidev0\.0: permission denied \(.*spi"):
        open_spi(section(kind="apa102"), devices=open_folder)


@pytest.mark.parametrize(
    ("chip", "count", "rgbw", "complaint"),
    [
        ("ws2812", 321, False, r"add spidev\.bufsiz=4100 to cmdline\.txt"),
        ("ws2812", 320, False, "SPI 9"),
        ("ws2812", 241, True, r"add spidev\.bufsiz=4104 to cmdline\.txt"),
        ("ws2812", 240, True, "SPI 9"),
        ("apa102", 5000, False, "SPI 9"),
    ],
)
def test_a_ws2812_frame_must_fit_the_driver_in_one_piece(tmp_path, chip, count, rgbw, complaint):
    pytest.importorskip("spidev")
    buffer = tmp_path / "bufsiz"
    buffer.write_text("4096\n")
    with pytest.raises(LedError, match=complaint):
        open_spi(section(kind=chip, count=count, rgbw=rgbw, spi="9.9"), buffer=buffer)


def test_without_spidev_the_error_says_what_to_install():
    script = """
import sys; sys.modules['spidev'] = None
from headnod.errors import LedError
from headnod.outputs.leds.gpio import open_spi
from headnod.config import LedsSection
try:
    open_spi(LedsSection(kind="ws2812"))
except LedError as error:
    print(error)
"""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True).stdout
    assert said == f"strip: spidev is not installed: {how_to_install('device')} (on a board with SPI pins)\n"


@pytest.mark.parametrize(("milliamps", "duty_cycle"), [(600.0, 1.0), (300.0, 0.5), (1200.0, 1.0)])
def test_a_colour_draws_20_milliamperes(milliamps, duty_cycle):
    assert limited(np.ones((10, 3)), milliamps) == pytest.approx(np.full((10, 3), duty_cycle))


@pytest.mark.parametrize(("count", "size"), [(1, 13), (16, 73), (17, 78), (32, 138), (33, 143)])
def test_an_apa102_frame_has_a_byte_at_its_end_for_every_16_leds(count, size):
    """4 bytes at the start, 4 for each LED, and 4 for clones."""
    assert apa102_frame(np.zeros((count, 3), np.uint8), 1.0).size == size


def test_a_ws2812_frame_has_124_bytes_of_reset_at_each_end():
    frame = ws2812_frame(np.full((2, 3), 255, np.uint8))
    assert np.flatnonzero(frame)[[0, -1]].tolist() == [124, 124 + 4 * 6 - 1]
    assert frame.size == 4 * 6 + 248
