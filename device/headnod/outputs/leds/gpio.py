"""Lights at the pins of a Raspberry Pi: LEDs dimmed by gpiozero, and strips of WS2812 and APA102 on SPI.

Only this module imports gpiozero and spidev. SPI works on every Raspberry Pi, including the 5, without root and without
the PWM and DMA channels that other libraries take away from audio.
"""

from __future__ import annotations

import contextlib
import errno
import os
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headnod.errors import LedError
from headnod.outputs.leds import Heights, Layout, LedFrame, Strip, best, eight_bits, one_each
from headnod.system import how_to_install, permission_denied

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

        `pins`, `brightness`, `gamma` and `active_low` of the section are used. Without a pin factory gpiozero chooses
        the one for this board, or the one in GPIOZERO_PIN_FACTORY. `devices` is the folder of the device files of GPIO
        chips.

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
            raise LedError(f"LEDs: {error.name} is not installed: {how_to_install('device')}") from error
        except Exception as error:
            chosen = pin_factory is not None or "GPIOZERO_PIN_FACTORY" in os.environ
            raise LedError(
                f"LED {place!r} on GPIO {number}: {_pin_reason(error, None if chosen else devices)}"
            ) from error


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
        raise LedError(
            f"LEDs: the pins must be named by genres or by places 1, 2, 3, one of the two: {', '.join(pins) or 'none'}"
        )
    return sorted(pins, key=int) if len(numbers) == len(pins) else list(pins)


def _is_number(place: str) -> bool:
    return place.isascii() and place.isdecimal()


def _pin_reason(error: Exception, devices: Path | None) -> str:
    """Why a pin cannot be opened (in use, not on this board, absent or denied), and the way out.

    `devices` is the folder of the device files of GPIO chips; None if the pin factory may not need any.
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
            raise LedError(f"{error} ({reasons})") from error


Bytes = NDArray[np.uint8]

WS2812_HERTZ = 3_300_000
"""SPI clock for WS2812. Pulses stay within the WS2812B data sheet's limits for every even divider
that a Pi 3, 4 or 5 may choose: see `ws2812_frame`."""

APA102_HERTZ = 4_000_000
"""SPI clock for APA102, which have a clock wire and accept nearly any rate."""

SPIDEV_BUFFER = Path("/sys/module/spidev/parameters/bufsiz")
"""Largest number of bytes that the SPI driver sends in one transfer."""

_MILLIAMPS_OF_COLOUR = 20.0
_RESET = bytes(124)


class SpiDevice(Protocol):
    """The part of spidev's interface that a strip uses."""

    def writebytes2(self, values: Bytes) -> None:
        """Send bytes, the highest bit first."""

    def close(self) -> None:
        """Release the device."""


class SpiStrip(Strip):
    """A strip of addressable LEDs."""

    def __init__(self, section: LedsSection, spi: SpiDevice) -> None:
        """Use the strip on this SPI device of `open_spi`, which `close` closes.

        `kind` of the section is the chip; `count`, `mode`, `order`, `rgbw`, `brightness`, `gamma` and `milliamps` are
        used.
        """
        self._section, self._spi = section, spi

    def paint(self, frame: LedFrame, seconds: float) -> None:  # noqa: ARG002 - part of the Lamp protocol
        """Send a frame.

        Raises:
            LedError: The SPI device fails.
        """
        section = self._section
        duties = frame.pixels().clip(0.0, 1.0) ** section.gamma
        if section.rgbw:
            duties = with_white(duties)
        duties = limited(duties, section.milliamps / section.brightness if section.brightness else 0.0)
        if section.kind == "apa102":
            data = apa102_frame(eight_bits(duties), section.brightness, order=section.order or "BGR")
        else:
            data = ws2812_frame(eight_bits(duties * section.brightness), order=section.order or "GRB")
        try:
            self._spi.writebytes2(data)
        except OSError as error:
            raise LedError(
                f"strip on SPI {section.spi}: {error.strerror or error} (is the SPI overlay still on?)"
            ) from error

    def close(self) -> None:
        """Release the SPI device; the strip keeps its last frame."""
        self._spi.close()


def ws2812_frame(colours: Bytes, *, order: str = "GRB") -> Bytes:
    """SPI bytes that show colours on WS2812 LEDs.

    Every bit becomes four SPI bits, 1000 for 0 and 1110 for 1. At 3.1 to 3.3 MHz
    these are high for 303-323 and 909-968 ns, which is within the limits of the WS2812B
    data sheet (0.4 and 0.8 us, 150 ns either way) and of its successors (220-380 and
    580-1000 ns). Each byte ends low, so a gap between bytes only lengthens a low phase.
    300 us low before and after are the reset.

    Args:
        colours: Red, green, blue of every LED, shape (leds, 3); and white, shape (leds, 4), which is sent last.
        order: Order of the first three on the wire.

    Returns:
        Bytes, shape (4 * colours.size + 248,).
    """
    places = [*_light_places(order), *range(3, colours.shape[1])]
    bits = np.unpackbits(colours[:, places].reshape(-1)).reshape(-1, 2)
    symbols = np.where(bits, 0b1110, 0b1000).astype(np.uint8)
    reset = np.frombuffer(_RESET, np.uint8)
    return np.concatenate([reset, symbols[:, 0] << 4 | symbols[:, 1], reset])


def apa102_frame(colours: Bytes, brightness: float, *, order: str = "BGR") -> Bytes:
    """SPI bytes that show colours on APA102 LEDs.

    By the APA102 data sheet: 32 zero bits, then for every LED 111, five bits of
    brightness and three bytes of colour. The data sheet's end frame of 32 ones serves 64
    LEDs. Zeros are sent instead: each LED delays the data by half a clock, so the last
    needs half as many clocks as there are LEDs, and SK9822 clones show a frame only
    after 32 zeros (T. "cpldcpu", "Understanding the APA102 Superled", 2014, and
    "SK9822", 2016).

    Args:
        colours: Red, green, blue of every LED, shape (leds, 3).
        brightness: Brightness of all LEDs, 0-1, in steps of 1/31.
        order: Order of the colours on the wire.

    Returns:
        Bytes for the wire.
    """
    leds = np.empty((len(colours), 4), np.uint8)
    leds[:, 0] = 0b11100000 | round(31 * min(max(brightness, 0.0), 1.0))
    leds[:, 1:] = colours[:, _light_places(order)]
    end = 4 + (len(colours) + 15) // 16
    return np.concatenate([np.zeros(4, np.uint8), leds.reshape(-1), np.zeros(end, np.uint8)])


def with_white(duties: NDArray[np.float64]) -> NDArray[np.float64]:
    """Duty cycles of red, green, blue and white, shape (leds, 4), from those of red, green and blue.

    >>> with_white(np.array([[1.0, 0.5, 0.25]])).tolist()
    [[0.75, 0.25, 0.0, 0.25]]
    """
    white = duties.min(axis=1, keepdims=True)
    return np.hstack([duties - white, white])


def limited(duties: NDArray[np.float64], milliamps: float) -> NDArray[np.float64]:
    """Duty cycles, dimmed by one factor where their total current would exceed a limit.

    Args:
        duties: Duty cycle of every colour, shape (leds, colours), 0-1; 1 draws 20 mA.
        milliamps: Limit of the total current.
    """
    drawn = _MILLIAMPS_OF_COLOUR * float(duties.sum())
    return duties * (milliamps / drawn) if drawn > milliamps else duties


def open_spi(section: LedsSection, *, buffer: Path = SPIDEV_BUFFER, devices: Path = Path("/dev")) -> SpiDevice:
    """The SPI device of a strip, at the clock rate of its chip.

    `buffer` is a file with the largest transfer of the driver in bytes, `devices` the folder of the SPI device files.

    Raises:
        LedError: spidev is not installed, or the device cannot be opened or sends too few bytes at once.
    """
    try:
        import spidev  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        raise LedError(
            f"strip: spidev is not installed: {how_to_install('device')} (on a board with SPI pins)"
        ) from error
    _check_buffer(section, buffer)
    spi: Any = spidev.SpiDev()
    device = devices / f"spidev{section.spi}"
    try:
        spi.open_path(str(device))
        spi.max_speed_hz = WS2812_HERTZ if section.kind == "ws2812" else APA102_HERTZ
        spi.mode = 0
    except OSError as error:
        spi.close()
        raise LedError(f"strip on SPI {section.spi}: {spi_reason(error, device)}") from error
    return spi


def spi_reason(error: OSError, device: Path) -> str:
    """Why an SPI device cannot be opened (absent, in use or denied), and the way out."""
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"{device}: {permission_denied('spi', 'gpio')}"
    if error.errno == errno.EBUSY:
        return f"{device}: in use by another program (stop it; 'sudo fuser -v {device}' lists it)"
    if error.errno in {errno.ENOENT, errno.ENODEV, errno.ENXIO}:
        return f"{device} is absent (set dtparam=spi=on in config.txt and restart; leds.spi names bus and device)"
    return f"{device}: {error.strerror or error} (is it an SPI device? leds.spi names bus and device)"


def _check_buffer(section: LedsSection, buffer: Path) -> None:
    # Between two transfers there is a pause, and a pause ends the frame of WS2812.
    needed = (16 if section.rgbw else 12) * section.count + 2 * len(_RESET)
    room = int(buffer.read_text()) if buffer.exists() else needed
    if section.kind == "ws2812" and needed > room:
        raise LedError(
            f"strip: {section.count} LEDs need {needed} bytes in one transfer, the SPI driver sends {room}: "
            f"add spidev.bufsiz={needed} to cmdline.txt"
        )


def _light_places(order: str) -> list[int]:
    return ["RGB".index(letter) for letter in order]
