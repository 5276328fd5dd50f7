"""Single LEDs on GPIO pins, dimmed by gpiozero.

An LED a genre, or fewer of them as a bar of the likeliest. This is the one
file that imports gpiozero, which drives every Raspberry Pi through lgpio.
"""

from __future__ import annotations

import contextlib
import os
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headnod.errors import LedError
from headnod.extras import how_to_install
from headnod.outputs.leds.layouts import Heights, Layout, LedFrame, best, one_each
from headnod.system import permission_denied

PINS: Mapping[str, int] = {
    "blues": 17,
    "classical": 27,
    "country": 22,
    "disco": 23,
    "hiphop": 24,
    "jazz": 25,
    "metal": 5,
    "pop": 6,
    "reggae": 13,
    "rock": 26,
}
"""GPIO numbers that leave I2C, SPI, I2S and the serial port free."""


@dataclass(frozen=True)
class LedSettings:
    """Which pins carry LEDs, and how bright they are."""

    pins: Mapping[str, int] = field(default_factory=lambda: PINS)
    """GPIO number of every genre's LED; or of every place of a bar of the likeliest genres, "1" the best."""

    brightness: float = 1.0
    """Greatest duty cycle (0-1)."""

    gamma: float = 2.2
    """What makes half a bar look half as bright; 1 for drivers that correct it themselves."""

    frequency: int = 100
    """Pulses a second."""

    active_high: bool = True
    """A pin that is high lights its LED; false for LEDs between 3.3 V and the pin."""


class GpioLeds:
    """A row of LEDs, each on a pin of its own.

    >>> from gpiozero.pins.mock import MockFactory, MockPWMPin
    >>> import numpy as np
    >>> leds = GpioLeds(LedSettings(pins={"1": 17, "2": 27}), pin_factory=MockFactory(pin_class=MockPWMPin))
    >>> leds.paint(LedFrame(np.array([1.0, 0.5]), np.ones((2, 3))), 0.04)
    >>> [round(duty, 2) for duty in leds.duties]
    [1.0, 0.22]
    >>> leds.close()
    """

    def __init__(
        self,
        settings: LedSettings,
        *,
        pin_factory: Any = None,  # noqa: ANN401 - gpiozero has no types
        devices: Path = Path("/dev"),
    ) -> None:
        """Take the pins, all of them or none.

        Args:
            settings: Which pins, and how bright.
            pin_factory: A gpiozero pin factory; None takes the one that gpiozero
                finds on this board, or the one that GPIOZERO_PIN_FACTORY names.
            devices: Where the GPIO chips are.

        Raises:
            LedError: gpiozero is missing, there is no GPIO here, or a pin cannot be had.
        """
        self._settings = settings
        self._leds: list[Any] = []
        try:
            for place in _places(settings.pins):
                self._leds.append(_led(place, settings, pin_factory, devices))
        except LedError:
            self.close()
            raise

    @property
    def size(self) -> int:
        """How many LEDs there are."""
        return len(self._leds)

    @property
    def layout(self) -> Layout:
        """An LED a genre, or a bar of the best."""
        return layout_of(self._settings)

    @property
    def duties(self) -> list[float]:
        """The duty cycle of every LED just now, 0-1."""
        return [float(led.value) for led in self._leds]

    def paint(self, light: LedFrame, seconds: float) -> None:  # noqa: ARG002 - every lamp is told
        """Dim every LED to its level; its colour is its own."""
        duties = self._settings.brightness * light.levels.clip(0.0, 1.0) ** self._settings.gamma
        # 8 bits are finer than an eye, and a pulse that stays as it is costs nothing.
        for led, duty in zip(self._leds, (duties * 255).round() / 255, strict=True):
            if led.value != duty:
                led.value = float(duty)

    def close(self) -> None:
        """Let go of the pins, which turns the LEDs off."""
        for led in self._leds:
            led.close()


def layout_of(settings: LedSettings) -> Layout:
    """How LEDs on such pins show genres, without opening them."""
    places = _places(settings.pins)
    genres = one_each([unicodedata.normalize("NFC", place) for place in places])
    if not all(map(_is_number, places)):
        return genres

    def layout(heights: Heights, size: int) -> LedFrame:
        # Genres may be called 1980 and 1990, too: the model's labels decide.
        return (genres if heights.keys() >= set(places) else best)(heights, size)

    return layout


def _places(pins: Mapping[str, int]) -> list[str]:
    numbers = [int(place) for place in pins if _is_number(place)]
    if not pins or (len(numbers) < len(pins) and any(number <= len(pins) for number in numbers)):
        message = (
            f"LEDs: the pins must be named by genres or by places 1, 2, 3, one of the two: {', '.join(pins) or 'none'}"
        )
        raise LedError(message)
    return sorted(pins, key=int) if len(numbers) == len(pins) else list(pins)


def _is_number(place: str) -> bool:
    return place.isascii() and place.isdecimal()


def _led(place: str, settings: LedSettings, pin_factory: Any, devices: Path) -> Any:  # noqa: ANN401
    number = settings.pins[place]
    try:
        # None of a board's libraries may be there, and gpiozero warns of each before it gives up.
        with _warnings_in_the_error():
            from gpiozero import PWMLED  # noqa: PLC0415 - only who has LEDs needs it

            return PWMLED(
                number, active_high=settings.active_high, frequency=settings.frequency, pin_factory=pin_factory
            )
    except ModuleNotFoundError as error:
        message = f"LEDs: {error.name} is not installed: {how_to_install('device')}"
        raise LedError(message) from error
    except Exception as error:
        chosen = pin_factory is not None or "GPIOZERO_PIN_FACTORY" in os.environ
        message = f"LED {place!r} on GPIO {number}: {_reason(error, None if chosen else devices)}"
        raise LedError(message) from error


def _reason(error: Exception, devices: Path | None) -> str:
    """Why a pin cannot be used (busy, not on this board, absent or denied), and the way out.

    Args:
        error: The error of gpiozero or lgpio.
        devices: Where the GPIO chips are; None if the pin factory may not need any.
    """
    from gpiozero import BadPinFactory, GPIOPinInUse, PinInvalidPin  # noqa: PLC0415

    cause = error.__cause__ if isinstance(error, LedError) else error
    if isinstance(cause, GPIOPinInUse) or "busy" in str(error).lower():
        return f"{error}: the pin is in use ('sudo gpioinfo' lists the users of pins; stop it, or choose another pin)"
    if isinstance(cause, PinInvalidPin):
        return f"{error} (choose a GPIO number of this board)"
    if devices is None or not isinstance(cause, BadPinFactory):
        return str(error)
    chips = sorted(devices.glob("gpiochip*"))
    if not chips:
        return f"there are no GPIO pins: {devices}/gpiochip* is absent (is this a Raspberry Pi?)"
    if not any(os.access(chip, os.R_OK | os.W_OK) for chip in chips):
        return f"{chips[0]}: {permission_denied('gpio', 'spi')}"
    return str(error)


@contextlib.contextmanager
def _warnings_in_the_error() -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except Exception as error:
            if not caught:
                raise
            reasons = "; ".join(str(warning.message) for warning in caught)
            message = f"{error} ({reasons})"
            raise LedError(message) from error
