"""Strips of addressable LEDs on the SPI pins.

SPI works on every Raspberry Pi, the 5 included, without root and without the
PWM and DMA channels that older libraries take from sound. The two encodings
are pure functions. This is the one file that imports spidev.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from headnod.errors import LedError
from headnod.extras import how_to_install
from headnod.outputs.leds.layouts import LAYOUTS, Layout, LedFrame, Mode
from headnod.system import permission_denied

Bytes = NDArray[np.uint8]
Chip = Literal["ws2812", "apa102"]

WS2812_HERTZ = 3_300_000
"""SPI bits a second for WS2812. Whatever even divider a Pi 3, 4 or 5 makes of it,
every pulse stays within the WS2812B data sheet's limits: see `ws2812_frame`."""

APA102_HERTZ = 4_000_000
"""SPI bits a second for APA102, which have a clock wire and take nearly any speed."""

SPIDEV_BUFFER = Path("/sys/module/spidev/parameters/bufsiz")
"""Where the SPI driver says how many bytes it takes at once."""

_RESET = bytes(124)


@dataclass(frozen=True)
class StripSettings:
    """Which strip hangs on which SPI bus, and how bright it is."""

    chip: Chip = "ws2812"
    """The LEDs: `ws2812` (NeoPixel, SK6812: one data wire) or `apa102` (DotStar, SK9822: data and clock)."""

    count: int = 60
    """How many LEDs the strip has."""

    mode: Mode = "bars"
    """`bars`: an equal stretch for every genre; `mood`: the whole strip in the colour of what is heard."""

    spi: str = "0.0"
    """SPI bus and device."""

    order: Literal["RGB", "GRB", "BRG", "BGR", "GBR", "RBG"] | None = None
    """Order of colours on the wire, if it is not the chip's own (GRB for WS2812, BGR for APA102)."""

    rgbw: bool = False
    """Each LED of a `ws2812` strip has a white one too (SK6812 RGBW), which takes over what is white in a colour."""

    brightness: float = 0.3
    """Greatest brightness (0-1)."""

    gamma: float = 2.2
    """What makes half a bar look half as bright."""

    milliamps: float = 1500.0
    """Most current the strip may draw, at 20 mA for every full colour; a frame that would draw more is dimmed."""


class SpiDevice(Protocol):
    """What a strip needs of an SPI device; spidev's has it."""

    def writebytes2(self, values: Bytes) -> None:
        """Send bytes, the highest bit first."""

    def close(self) -> None:
        """Let go of the bus."""


class SpiStrip:
    """A strip of addressable LEDs."""

    def __init__(self, settings: StripSettings, spi: SpiDevice) -> None:
        """Show on a strip that hangs on this SPI device, which is closed with it."""
        self._settings, self._spi = settings, spi

    @property
    def size(self) -> int:
        """How many LEDs the strip has."""
        return self._settings.count

    @property
    def layout(self) -> Layout:
        """Bars or mood."""
        return LAYOUTS[self._settings.mode]

    def paint(self, light: LedFrame, seconds: float) -> None:  # noqa: ARG002 - every lamp is told
        """Send a frame.

        Raises:
            LedError: The SPI device does not take it.
        """
        settings = self._settings
        duties = light.pixels().clip(0.0, 1.0) ** settings.gamma
        if settings.rgbw:
            duties = with_white(duties)
        duties = limited(duties, settings.milliamps / settings.brightness if settings.brightness else 0.0)
        if settings.chip == "apa102":
            frame = apa102_frame(_eight_bits(duties), settings.brightness, order=settings.order or "BGR")
        else:
            frame = ws2812_frame(_eight_bits(duties * settings.brightness), order=settings.order or "GRB")
        try:
            self._spi.writebytes2(frame)
        except OSError as error:
            message = f"strip on SPI {settings.spi}: {error.strerror or error} (is the SPI overlay still on?)"
            raise LedError(message) from error

    def close(self) -> None:
        """Let go of the bus; the strip keeps what was painted last."""
        self._spi.close()


def ws2812_frame(colours: Bytes, *, order: str = "GRB") -> Bytes:
    """SPI bytes that show colours on WS2812 LEDs.

    Every bit becomes four SPI bits, 1000 for 0 and 1110 for 1. At 3.1 to 3.3 MHz
    these are high for 303-323 and 909-968 ns, which both the WS2812B data sheet
    (0.4 and 0.8 us, 150 ns either way) and its successors (220-380 and
    580-1000 ns) take, while the two bits of a byte end low: a gap between bytes
    only makes a low longer. Before and after, 300 us low: the reset.

    Args:
        colours: Red, green, blue of every LED, shape (leds, 3); and white, shape (leds, 4), which is sent last.
        order: The order in which the chip wants the first three.

    Returns:
        Bytes for the wire, shape (4 * colours.size + 248,).
    """
    places = [*_places(order), *range(3, colours.shape[1])]
    bits = np.unpackbits(colours[:, places].reshape(-1)).reshape(-1, 2)
    symbols = np.where(bits, 0b1110, 0b1000).astype(np.uint8)
    reset = np.frombuffer(_RESET, np.uint8)
    return np.concatenate([reset, symbols[:, 0] << 4 | symbols[:, 1], reset])


def apa102_frame(colours: Bytes, brightness: float, *, order: str = "BGR") -> Bytes:
    """SPI bytes that show colours on APA102 LEDs.

    By the APA102 data sheet: 32 zero bits, then for every LED 111, five bits of
    brightness and three bytes of colour. In place of its end frame of 32 ones,
    which serves 64 LEDs, zeros: each LED delays the data by half a clock, so the
    last needs half as many clocks as there are LEDs, and SK9822 clones show a
    frame only once 32 zeros follow it (T. "cpldcpu", "Understanding the APA102
    Superled", 2014, and "SK9822", 2016).

    Args:
        colours: Red, green, blue of every LED, shape (leds, 3).
        brightness: Brightness of all, 0-1, in steps of 1/31.
        order: The order in which the chip wants them.

    Returns:
        Bytes for the wire.
    """
    leds = np.empty((len(colours), 4), np.uint8)
    leds[:, 0] = 0b11100000 | round(31 * min(max(brightness, 0.0), 1.0))
    leds[:, 1:] = colours[:, _places(order)]
    end = 4 + (len(colours) + 15) // 16
    return np.concatenate([np.zeros(4, np.uint8), leds.reshape(-1), np.zeros(end, np.uint8)])


def with_white(duties: NDArray[np.float64]) -> NDArray[np.float64]:
    """Duty cycles of red, green, blue and white, from those of the three, shape (leds, 4).

    >>> with_white(np.array([[1.0, 0.5, 0.25]])).tolist()
    [[0.75, 0.25, 0.0, 0.25]]
    """
    white = duties.min(axis=1, keepdims=True)
    return np.hstack([duties - white, white])


def limited(duties: NDArray[np.float64], milliamps: float) -> NDArray[np.float64]:
    """Duty cycles, all dimmed alike until together they draw no more than this.

    Args:
        duties: Duty cycle of every colour, shape (leds, colours), 0-1; a full one draws 20 mA.
        milliamps: Most current for all of them.
    """
    drawn = 20.0 * float(duties.sum())
    return duties * (milliamps / drawn) if drawn > milliamps else duties


def open_spi(settings: StripSettings, *, buffer: Path = SPIDEV_BUFFER, devices: Path = Path("/dev")) -> SpiDevice:
    """The SPI device of a strip, at the speed that its chip needs.

    Args:
        settings: Which device, and how many LEDs hang on it.
        buffer: Where the driver says how many bytes it takes at once.
        devices: Where the SPI devices are.

    Raises:
        LedError: spidev is missing, or the device cannot be had or is too small.
    """
    try:
        import spidev  # noqa: PLC0415 - only who has a strip needs it
    except ModuleNotFoundError as error:
        message = f"strip: spidev is not installed: {how_to_install('device')} (on a board with SPI pins)"
        raise LedError(message) from error
    _check_buffer(settings, buffer)
    spi: Any = spidev.SpiDev()
    device = devices / f"spidev{settings.spi}"
    try:
        spi.open_path(str(device))
        spi.max_speed_hz = WS2812_HERTZ if settings.chip == "ws2812" else APA102_HERTZ
        spi.mode = 0
    except OSError as error:
        spi.close()
        message = f"strip on SPI {settings.spi}: {reason(error, device)}"
        raise LedError(message) from error
    return spi


def reason(error: OSError, device: Path) -> str:
    """Why an SPI device cannot be opened (absent, busy or denied), and the way out."""
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"{device}: {permission_denied('spi', 'gpio')}"
    if error.errno == errno.EBUSY:
        return f"{device}: in use by another program (stop it; 'sudo fuser -v {device}' lists it)"
    if error.errno in {errno.ENOENT, errno.ENODEV, errno.ENXIO}:
        return f"{device} is absent (set dtparam=spi=on in config.txt and restart; leds.spi names bus and device)"
    return f"{device}: {error.strerror or error} (is it an SPI device? leds.spi names bus and device)"


def _check_buffer(settings: StripSettings, buffer: Path) -> None:
    # A frame that the driver sends in two pieces has a pause in it, which WS2812 take for its end.
    needed = (16 if settings.rgbw else 12) * settings.count + 2 * len(_RESET)
    room = int(buffer.read_text()) if buffer.exists() else needed
    if settings.chip == "ws2812" and needed > room:
        message = (
            f"strip: {settings.count} LEDs need {needed} bytes at once, the SPI driver takes {room}: "
            f"add spidev.bufsiz={needed} to cmdline.txt"
        )
        raise LedError(message)


def _eight_bits(duties: NDArray[np.float64]) -> Bytes:
    return (duties * 255).round().astype(np.uint8)


def _places(order: str) -> list[int]:
    return ["RGB".index(letter) for letter in order]
