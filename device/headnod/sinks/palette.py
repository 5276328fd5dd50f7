"""One palette: a colour for every genre, wherever a genre is shown.

Terminal, LEDs, lamps and pages take their colours from here and nowhere else,
so jazz is the same cyan in the terminal and on the shelf. It is no sink.
"""

from __future__ import annotations

import colorsys
import zlib

from headnod.estimate import SILENCE, UNKNOWN

Colour = tuple[int, int, int]
"""Red, green and blue in sRGB, 0-255 each."""

# Found by search, not by taste: of the 16-step sRGB cube, with OKLab lightness
# 0.49-0.90 and chroma above 0.12 (an LED knows no brown and no grey), the ten
# that are farthest apart for every eye at once. The least distance of any two
# is 17.6 (100 times OKLab) for normal eyes and 12.0 for protanopes, deuteranopes
# and tritanopes as Machado, Oliveira and Fernandes (2009) simulate them.
# Matplotlib's ten have 11.3 and 0.7.
_GENRES: dict[str, Colour] = {
    "blues": (0x44, 0x88, 0xFF),
    "classical": (0xBB, 0xAA, 0xFF),
    "country": (0xAA, 0x88, 0x00),
    "disco": (0xEE, 0x33, 0xAA),
    "hiphop": (0x99, 0x22, 0x99),
    "jazz": (0x00, 0xFF, 0xEE),
    "metal": (0xBB, 0x00, 0x00),
    "pop": (0xEE, 0x88, 0x88),
    "reggae": (0xEE, 0xCC, 0x11),
    "rock": (0x66, 0x11, 0xEE),
}

_GREYS: dict[str, Colour] = {SILENCE: (0x60, 0x60, 0x60), UNKNOWN: (0xA0, 0xA0, 0xA0)}

GENRES: tuple[str, ...] = tuple(_GENRES)
"""The genres that have a colour of their own, in alphabetical order."""


def colour(label: str) -> Colour:
    """The colour of a genre, `silence`, `unknown` or any other label.

    A label that the palette does not know gets a hue from its name, the same
    one on every machine and in every run.

    >>> colour("jazz")
    (0, 255, 238)
    """
    known = _GENRES.get(label) or _GREYS.get(label)
    return known or _from_name(label)


def hexadecimal(label: str) -> str:
    """The colour of a label as pages and terminals write it.

    >>> hexadecimal("jazz")
    '#00ffee'
    """
    return "#{:02x}{:02x}{:02x}".format(*colour(label))


def _from_name(label: str) -> Colour:
    # Not hash(): Python salts it anew in every process.
    hue = zlib.crc32(label.encode("utf-8", "surrogatepass")) / 2**32
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.6, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)
