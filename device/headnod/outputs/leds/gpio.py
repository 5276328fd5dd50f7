"""Single LEDs on GPIO pins, dimmed by gpiozero (the only module that imports it)."""

from __future__ import annotations

import contextlib
import os
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headnod.errors import LedError
from headnod.extras import how_to_install
from headnod.outputs.leds.layouts import Heights, Layout, LedFrame, best, one_each
from headnod.system import permission_denied

if TYPE_CHECKING:
    from headnod.config.sections import LedsSection

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
"""GPIO numbers that are used where `leds.pins` is empty: they leave I2C, SPI, I2S and the serial port free."""

_PWM_HERTZ = 100


class GpioLeds:
    """A row of LEDs, each on a pin of its own.

    >>> from gpiozero.pins.mock import MockFactory, MockPWMPin
    >>> import numpy as np
    >>> from headnod.config import LedsSection
    >>> section = LedsSection(kind="pins", pins={"1": 17, "2": 27}, brightness=1.0)
    >>> leds = GpioLeds(section, pin_factory=MockFactory(pin_class=MockPWMPin))
    >>> leds.paint(LedFrame(np.array([1.0, 0.5]), np.ones((2, 3))), 0.04)
    >>> [round(duty, 2) for duty in leds.duties]
    [1.0, 0.22]
    >>> leds.close()
    """

    def __init__(
        self,
        section: LedsSection,
        *,
        pin_factory: Any = None,  # noqa: ANN401 - gpiozero has no types
        devices: Path = Path("/dev"),
    ) -> None:
        """Open all pins or none.

        Args:
            section: `pins`, `brightness`, `gamma` and `active_low` are used.
            pin_factory: A gpiozero pin factory; None uses the one that gpiozero
                chooses for this board, or the one in GPIOZERO_PIN_FACTORY.
            devices: Folder of the GPIO chips' device files.

        Raises:
            LedError: gpiozero is not installed, or a pin cannot be opened.
        """
        self._section, self._pins = section, section.pins or PINS
        self._leds: list[Any] = []
        try:
            for place in _places(self._pins):
                self._leds.append(self._open(place, pin_factory, devices))
        except LedError:
            self.close()
            raise

    @property
    def size(self) -> int:
        """Number of LEDs."""
        return len(self._leds)

    @property
    def layout(self) -> Layout:
        """One LED for each genre, or one for each of the highest bars."""
        return layout_of(self._pins)

    @property
    def duties(self) -> list[float]:
        """Current duty cycle of every LED, 0-1."""
        return [float(led.value) for led in self._leds]

    def paint(self, frame: LedFrame, seconds: float) -> None:  # noqa: ARG002 - part of the Lamp protocol
        """Dim every LED to its level; colours are ignored."""
        duties = self._section.brightness * frame.levels.clip(0.0, 1.0) ** self._section.gamma
        # Rounded to 8 bits, because each change of a duty cycle costs processor time.
        for led, duty in zip(self._leds, (duties * 255).round() / 255, strict=True):
            if led.value != duty:
                led.value = float(duty)

    def close(self) -> None:
        """Release the pins, which turns the LEDs off."""
        for led in self._leds:
            led.close()

    def _open(self, place: str, pin_factory: Any, devices: Path) -> Any:  # noqa: ANN401
        number = self._pins[place]
        try:
            # gpiozero warns of each pin library that is absent before it fails.
            with _warnings_in_the_error():
                from gpiozero import PWMLED  # noqa: PLC0415 - optional

                return PWMLED(
                    number,
                    active_high=not self._section.active_low,
                    frequency=_PWM_HERTZ,
                    pin_factory=pin_factory,
                )
        except ModuleNotFoundError as error:
            message = f"LEDs: {error.name} is not installed: {how_to_install('device')}"
            raise LedError(message) from error
        except Exception as error:
            chosen = pin_factory is not None or "GPIOZERO_PIN_FACTORY" in os.environ
            message = f"LED {place!r} on GPIO {number}: {_reason(error, None if chosen else devices)}"
            raise LedError(message) from error


def layout_of(pins: Mapping[str, int]) -> Layout:
    """The layout of LEDs on these pins; the pins are not opened.

    Raises:
        LedError: Some pins are named by genres and some by places.
    """
    places = _places(pins)
    genres = one_each([unicodedata.normalize("NFC", place) for place in places])
    if not all(map(_is_number, places)):
        return genres

    def layout(heights: Heights, size: int) -> LedFrame:
        # Genres may be called 1980 and 1990: the labels of the model decide.
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


def _reason(error: Exception, devices: Path | None) -> str:
    """Why a pin cannot be opened (in use, not on this board, absent or denied), and the way out.

    Args:
        error: The error of gpiozero or lgpio.
        devices: Folder of the GPIO chips' device files; None if the pin factory may not need any.
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
