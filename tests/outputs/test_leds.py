import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gpiozero.pins.mock import MockFactory, MockPWMPin

from headnod.config import LedsSection
from headnod.errors import HeadnodError, LedError
from headnod.outputs.leds import LedFrame, LedSink
from headnod.outputs.leds.gpio import PINS, GpioLeds
from headnod.pipeline.estimate import State
from headnod.system import how_to_install
from support.estimates import GTZAN, condition, estimate, other_labels
from support.unprivileged import as_nobody


def section(**changes):
    return LedsSection(kind="pins", **{"brightness": 1.0, **changes})


class CountingPin(MockPWMPin):
    writes = 0

    def _set_state(self, value):
        self.writes += 1
        super()._set_state(value)


@pytest.fixture
def board():
    factory = MockFactory(pin_class=MockPWMPin)
    yield factory
    factory.close()


def duty(board, number):
    return round(board.pin(number).state, 2)


def test_every_genre_has_a_pin_that_no_bus_needs():
    assert set(PINS) == set(GTZAN)
    assert len(set(PINS.values())) == 10
    i2c, spi, uart, i2s = {2, 3}, {7, 8, 9, 10, 11}, {14, 15}, {18, 19, 20, 21}
    assert not set(PINS.values()) & (i2c | spi | uart | i2s)


def test_the_led_of_the_genre_that_is_heard_shines(board):
    lights = LedSink(GpioLeds(section(), pin_factory=board))
    lights.show(estimate("jazz", jazz=0.81, rock=0.09))
    lights.frame(60.0)
    assert duty(board, PINS["jazz"]) == pytest.approx(0.9**2.2, abs=0.01)
    assert duty(board, PINS["rock"]) == pytest.approx(0.3**2.2, abs=0.01)
    assert sum(duty(board, number) > 0 for number in PINS.values()) == 2
    lights.close()


def test_few_leds_are_a_bar_of_the_likeliest_genres_the_best_first(board):
    lights = LedSink(GpioLeds(section(pins={"2": 27, "10": 22, "1": 17}, gamma=1.0), pin_factory=board))
    lights.show(estimate("jazz", jazz=0.64, rock=0.25, pop=0.09, metal=0.01))
    lights.frame(60.0)
    assert [duty(board, number) for number in (17, 27, 22)] == [0.8, 0.5, 0.3]
    lights.close()


@pytest.mark.parametrize("genres", [("Música", "R&B"), ("日本", "80s"), ("1980", "1990"), ("1990", "rock"), ("1", "2")])
def test_pins_may_be_named_by_any_label(board, genres):
    first, second = genres
    lights = LedSink(GpioLeds(section(pins={second: 27, first: 17}, gamma=1.0), pin_factory=board))
    lights.show(other_labels(first, {second: 0.36, first: 0.64}))
    lights.frame(60.0)
    assert [duty(board, number) for number in (17, 27)] == [0.8, 0.6]
    lights.close()


def test_a_label_of_a_configuration_in_decomposed_unicode_is_the_model_s_label(board):
    lights = LedSink(GpioLeds(section(pins={"Mu\u0301sica": 17}, gamma=1.0), pin_factory=board))
    lights.show(other_labels("Música", {"Música": 0.64, "rock": 0.36}))
    lights.frame(60.0)
    assert duty(board, 17) == 0.8
    lights.close()


def test_brightness_bounds_every_led(board):
    lights = LedSink(GpioLeds(section(brightness=0.25), pin_factory=board))
    lights.show(estimate("jazz", jazz=1.0))
    lights.frame(60.0)
    assert duty(board, PINS["jazz"]) == 0.25
    lights.close()


def test_leds_wired_to_the_supply_shine_when_their_pin_is_low(board):
    lights = LedSink(GpioLeds(section(pins={"jazz": 25, "rock": 26}, active_low=True), pin_factory=board))
    lights.show(estimate("jazz", jazz=1.0))
    lights.frame(60.0)
    assert (duty(board, 25), duty(board, 26)) == (0.0, 1.0)
    lights.close()


def test_leds_are_dark_and_their_pins_free_in_the_end(board):
    lights = LedSink(GpioLeds(section(), pin_factory=board))
    lights.show(estimate("jazz", jazz=1.0))
    lights.frame(60.0)
    lights.close()
    pins = [board.pin(number) for number in PINS.values()]
    assert [(pin.function, pin.state) for pin in pins] == [("input", False)] * 10
    GpioLeds(section(), pin_factory=board).close()


def test_waiting_and_deaf_are_distinguished_on_ten_leds(board):
    lights = LedSink(GpioLeds(section(gamma=1.0), pin_factory=board))
    shown = {}
    for state in (State.WAITING, State.DEAF):
        lights.show_status(condition(state))
        lights.frame(0.0)
        lights.frame(0.5)
        shown[state] = [duty(board, number) > 0.1 for number in PINS.values()]
    assert shown[State.WAITING] == [False, True, True] + [False] * 7
    assert shown[State.DEAF] == [True, False] * 5
    lights.close()


def test_a_pin_that_stays_as_it_is_is_left_alone(board):
    board.pin_class = CountingPin
    lights = LedSink(GpioLeds(section(), pin_factory=board))
    lights.show(estimate("jazz", jazz=1.0))
    lights.frame(60.0)
    before = board.pin(PINS["jazz"]).writes
    for _ in range(100):
        lights.frame(0.03)
    assert board.pin(PINS["jazz"]).writes == before > 0
    lights.close()


def test_a_busy_pin_is_named_and_no_other_pin_is_kept(board):
    other = GpioLeds(section(pins={"jazz": PINS["jazz"]}), pin_factory=board)
    with pytest.raises(
        LedError, match=r"LED 'jazz' on GPIO 25: pin GPIO25 is already in use.*the pin is in use \("
    ) as refusal:
        GpioLeds(section(), pin_factory=board)
    assert refusal.traceback
    other.close()
    GpioLeds(section(), pin_factory=board).close()


def test_a_pin_that_the_board_has_not_is_named(board):
    with pytest.raises(LedError, match=r"LED 'jazz' on GPIO 99: 99 is not a valid pin name \(choose a GPIO"):
        GpioLeds(section(pins={"jazz": 99}), pin_factory=board)


def test_pins_are_named_by_genres_or_by_places_but_not_both(board):
    with pytest.raises(LedError, match="named by genres or by places"):
        GpioLeds(section(pins={"1": 17, "jazz": 27}), pin_factory=board)


def run(script, **env):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | env,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


TRY = """
from headnod.errors import LedError
from headnod.config import LedsSection
from headnod.outputs.leds.gpio import GpioLeds
try:
    GpioLeds(LedsSection(kind="pins"))
except LedError as error:
    print(error)
"""


@pytest.mark.skipif(Path("/dev/gpiochip0").exists(), reason="this machine has GPIO")
def test_a_machine_without_gpio_is_one_error_that_says_what_was_tried():
    said = run(TRY)
    assert said.count("\n") == 1
    assert (
        said == "LED 'blues' on GPIO 17: there are no GPIO pins: /dev/gpiochip* is absent (is this a Raspberry Pi?)\n"
    )


def refused(chips):
    with pytest.raises(LedError) as refusal:
        GpioLeds(section(pins={"1": 17}), devices=chips)
    return str(refusal.value)


@pytest.mark.skipif(Path("/dev/gpiochip0").exists(), reason="this machine has GPIO")
def test_a_chip_that_is_there_and_cannot_be_used_is_one_error_that_says_what_was_tried(tmp_path):
    (tmp_path / "gpiochip0").touch()
    said = refused(tmp_path)
    assert "LED '1' on GPIO 17: Unable to load any default pin factory!" in said
    assert "Falling back from lgpio" in said
    assert "Falling back from native" in said


@pytest.mark.skipif(Path("/dev/gpiochip0").exists(), reason="this machine has GPIO")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_pins_that_this_user_may_not_open_are_distinguished_from_absent_ones(open_folder):
    chip = open_folder / "gpiochip0"
    chip.touch(mode=0o660)
    with as_nobody():
        said = refused(open_folder)
    assert said.startswith(f"LED '1' on GPIO 17: {chip}: permission denied (")
    assert "gpio" in said.partition("permission denied (")[2]


class BusyChip(MockFactory):
    def pin(self, name):  # noqa: ARG002 - gpiozero's interface
        raise RuntimeError("'GPIO busy'")  # as lgpio.error, which is an Exception of its own


def test_a_pin_that_another_program_has_is_in_use():
    with pytest.raises(LedError, match=r"LED '1' on GPIO 17: 'GPIO busy': the pin is in use \('sudo gpioinfo'"):
        GpioLeds(section(pins={"1": 17}), pin_factory=BusyChip(pin_class=MockPWMPin))


def test_without_gpiozero_the_error_says_what_to_install():
    said = run("import sys; sys.modules['gpiozero'] = None\n" + TRY)
    assert said == f"LEDs: gpiozero is not installed: {how_to_install('device')}\n"


def test_the_environment_may_choose_the_pins_as_gpiozero_documents():
    said = run(TRY + "else:\n    print('all pins')", GPIOZERO_PIN_FACTORY="mock", GPIOZERO_MOCK_PIN_CLASS="mockpwmpin")
    assert said == "all pins\n"


def test_leds_are_not_imported_by_those_who_have_none():
    assert run(
        "import sys, headnod.outputs.leds.gpio, headnod.outputs.leds.gpio\n"
        "print({'gpiozero', 'spidev'} & set(sys.modules))"
    ) == ("set()\n")


def test_a_led_error_is_one_of_ours_and_an_os_error():
    assert issubclass(LedError, HeadnodError)
    assert issubclass(LedError, OSError)


@pytest.mark.parametrize(("place", "valid"), [("2", False), ("3", True)])
def test_a_number_up_to_that_of_the_pins_is_a_place_and_no_genre(board, place, valid):
    names = {place: 17, "jazz": 27}
    if valid:
        GpioLeds(section(pins=names), pin_factory=board).close()
    else:
        with pytest.raises(LedError, match="named by genres or by places 1, 2, 3, one of the two: 2, jazz"):
            GpioLeds(section(pins=names), pin_factory=board)


def test_pins_are_switched_a_hundred_times_a_second(board):
    leds = GpioLeds(section(pins={"jazz": 25}), pin_factory=board)
    assert board.pin(25).frequency == 100
    leds.close()


@pytest.mark.parametrize(("level", "duty_cycle"), [(0.4 / 255, 0.0), (0.6 / 255, 1 / 255), (1.5, 1.0)])
def test_duty_cycles_have_255_steps(board, level, duty_cycle):
    leds = GpioLeds(section(pins={"jazz": 25}, gamma=1.0), pin_factory=board)
    leds.paint(LedFrame(np.array([level]), np.ones((1, 3))), 0.0)
    assert leds.duties == [pytest.approx(duty_cycle, abs=1e-6)]
    leds.close()
