"""What every output has in common: its interface, and the colours of labels on terminal, LEDs, lamps and pages.

Each output shows estimates in its own way, and depends on no other output and on no model.
"""

from __future__ import annotations

import colorsys
import contextlib
import logging
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple, Protocol

from headnod.errors import HeadnodError
from headnod.escaping import SILENCE, UNKNOWN
from headnod.pipeline.estimate import Estimate, StatusEvent

_log = logging.getLogger(__name__)


class Sink(Protocol):
    """A destination of estimates."""

    def show(self, estimate: Estimate) -> None:
        """Show an estimate."""

    def show_status(self, status: StatusEvent) -> None:
        """Show why there are no estimates; the last estimate is out of date."""

    def close(self) -> None:
        """Turn everything off and send what is left; may be called twice."""


class EventReports(NamedTuple):
    """The payloads that one event makes, for MQTT and for the page."""

    song: bytes | None
    """Payload of the song that it ended."""

    song_start: bytes | None
    """Payload of the song that plays, once, when it is long enough to be one."""

    estimate: bytes | None
    """Payload of the estimate; None for a status event."""

    changed: bool
    """The state of the listener is another than before, so its health is due."""


def show_all(sinks: Iterable[Sink], event: Estimate | StatusEvent) -> list[Sink]:
    """Show an event on every sink; one that raises does not affect the others.

    Returns:
        The sinks that still work: one that raised is closed and left out.
    """
    working = []
    for sink in sinks:
        try:
            if isinstance(event, Estimate):
                sink.show(event)
            else:
                sink.show_status(event)
        except BrokenPipeError:
            # The reader of a pipe ended, as `| head -1` does: no fault.
            close_all([sink])
        except (HeadnodError, OSError) as error:
            _log.warning("%s; %s is left out from now on", error, type(sink).__name__)
            close_all([sink])
        except Exception:
            _log.exception("%s failed and is left out from now on", type(sink).__name__)
            close_all([sink])
        else:
            working.append(sink)
    return working


def close_all(sinks: Iterable[Sink]) -> None:
    """Close every sink, also after one that cannot be closed."""
    for sink in sinks:
        try:
            sink.close()
        except BrokenPipeError:
            pass
        except Exception:
            _log.exception("%s could not be closed", type(sink).__name__)


@contextlib.contextmanager
def closing_all(sinks: list[Sink]) -> Iterator[list[Sink]]:
    """Outputs that are closed at the end, one after another, also where one cannot be closed."""
    try:
        yield sinks
    finally:
        close_all(sinks)


Colour = tuple[int, int, int]
"""Red, green and blue in sRGB, 0-255 each."""

# Found by search in the 16-step sRGB cube, with OKLab lightness 0.49-0.90 and
# chroma above 0.12 (an LED shows no brown and no grey): the ten with the largest
# minimum distance for normal and colour-deficient vision at once. The minimum
# distance is 17.6 (100 times OKLab) for normal vision and 12.0 for protanopia,
# deuteranopia and tritanopia as simulated by Machado, Oliveira and Fernandes (2009).
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

# For labels outside GENRES, most vivid first. Found by search over the same cube with lightness 0.40-0.97
# and chroma above 0.06: any two of the sixteen are at least 25.0 apart by CIEDE2000, and any two of the sixteen
# and the ten above at least 25.8 by CIE76 (Euclidean distance in CIELAB, D65).
_OWN: tuple[Colour, ...] = (
    (0xFF, 0x11, 0x55),
    (0x33, 0xFF, 0x99),
    (0x77, 0xBB, 0xFF),
    (0x44, 0x88, 0x11),
    (0xDD, 0x00, 0xFF),
    (0xDD, 0x66, 0x00),
    (0xFF, 0xAA, 0xEE),
    (0x00, 0xAA, 0x99),
    (0xFF, 0xFF, 0x11),
    (0x44, 0x33, 0x99),
    (0x11, 0x77, 0x99),
    (0x88, 0x00, 0x44),
    (0xFF, 0xCC, 0xAA),
    (0x77, 0x33, 0x00),
    (0x00, 0x55, 0x44),
    (0xBB, 0xFF, 0xFF),
)

_GREYS: dict[str, Colour] = {SILENCE: (0x60, 0x60, 0x60), UNKNOWN: (0xA0, 0xA0, 0xA0)}

GENRES: tuple[str, ...] = tuple(_GENRES)
"""The genres with a fixed colour, in alphabetical order."""


def colours(labels: Iterable[str], later: Iterable[str] = ()) -> dict[str, Colour]:
    """The colours of labels that are shown together, whatever their order.

    The genres of `GENRES` keep their colours, also in another spelling
    (`Hip-Hop`). All other labels, in alphabetical order, get the remaining
    colours. The colours of up to 26 labels are at least 25 apart by CIE76;
    further labels get the hue of their name.

    Args:
        labels: The labels of a model, with or without `silence` and `unknown`.
        later: Further labels, such as those of a former model, whose colours are chosen after those of `labels`.

    Returns:
        A colour for each label.

    >>> colours(["punk", "jazz", "techno"])
    {'jazz': (0, 255, 238), 'punk': (255, 17, 85), 'techno': (51, 255, 153)}
    """
    return dict(_chosen(tuple(sorted(set(labels))), tuple(sorted(set(later)))))


def colour(label: str) -> Colour:
    """The colour of a genre, `silence` or `unknown`; for any other label a hue computed from its name.

    Use `colours` for labels that are shown together.

    >>> colour("jazz")
    (0, 255, 238)
    """
    return _GENRES.get(label) or _GREYS.get(label) or _from_name(label)


def hexadecimal(colour: Colour) -> str:
    """A colour in CSS notation.

    >>> hexadecimal((0, 255, 238))
    '#00ffee'
    """
    return "#{:02x}{:02x}{:02x}".format(*colour)


@lru_cache(maxsize=64)
def _chosen(labels: tuple[str, ...], later: tuple[str, ...]) -> dict[str, Colour]:
    chosen: dict[str, Colour] = {}
    for group in (labels, later):
        new = [label for label in group if label not in chosen]
        chosen |= {label: colour(label) for label in new if label in _GENRES or label in _GREYS}
        for label in new:
            known = _GENRES.get(_plain(label))
            if label not in chosen and known is not None and known not in chosen.values():
                chosen[label] = known
        left = (each for each in (*_OWN, *_GENRES.values()) if each not in chosen.values())
        chosen |= {label: next(left, None) or _from_name(label) for label in new if label not in chosen}
    return chosen


def _plain(label: str) -> str:
    return "".join(letter for letter in label.casefold() if letter.isalnum())


def _from_name(label: str) -> Colour:
    # Not hash(), which differs between processes.
    hue = zlib.crc32(label.encode("utf-8", "surrogatepass")) / 2**32
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.6, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)
