"""A preview of lights without the lights: a PNG of what they would show at several moments.

Written with numpy and zlib alone: a Pi needs no drawing library for a dozen round lights.
"""

from __future__ import annotations

import itertools
import struct
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod.escaping import SILENCE, UNKNOWN
from headnod.outputs import GENRES
from headnod.outputs.leds import Animation, Layout, LedFrame, eight_bits
from headnod.pipeline.estimate import Estimate, State, StatusEvent

Picture = NDArray[np.float64]
"""Linear light, shape (height, width, 3), 0 and up."""

_GAMMA = 2.2
_ROW, _LEGEND, _MARGIN = 58, 18, 20
_BOARD, _OFF, _INK = (0.006, 0.008, 0.011), (0.017, 0.019, 0.024), (0.32, 0.34, 0.38)


def write_preview(path: Path, moments: Mapping[str, LedFrame]) -> None:
    """Write a picture of lights at several moments, one row for each.

    `moments` has the frame of every row by its caption; rows may differ in size.

    Raises:
        OSError: The file cannot be written.
    """
    width = 2 * _MARGIN + max(len(frame.levels) * _pitch(len(frame.levels)) for frame in moments.values())
    rows = [_row(name, frame, max(width, 2 * _MARGIN + 12 * len(name))) for name, frame in moments.items()]
    widest = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0)), mode="edge") for row in rows]
    path.write_bytes(png(eight_bits(np.concatenate(padded).clip(0, 1) ** (1 / _GAMMA))))


def demonstration(layout: Layout, size: int, labels: Sequence[str] = GENRES) -> dict[str, LedFrame]:
    """One moment for each kind of frame, for `write_preview`, with the labels of the model."""
    named = _substitutes(labels)

    def estimate(genre: str, **scores: float) -> Estimate:
        return _estimate(named.get(genre, genre), {named[label]: score for label, score in scores.items()}, labels)

    def settled(latest: Estimate | StatusEvent, seconds: float = 5.0) -> LedFrame:
        animation = Animation(layout, size)
        animation.show(latest)
        animation.frame(0.0)
        return animation.frame(seconds)

    moments = {
        "waiting for a microphone": settled(_status(State.WAITING), 1.2),
        "deaf": settled(_status(State.DEAF), 0.5),
        "silence": settled(estimate(SILENCE)),
        f"unsure, perhaps {named['rock']}": settled(estimate(UNKNOWN, blues=0.2, country=0.3, rock=0.38)),
        f"{named['jazz']} 0.80": settled(estimate("jazz", classical=0.05, blues=0.12, jazz=0.8)),
        f"{named['disco']} 0.55, {named['pop']} close": settled(estimate("disco", pop=0.35, disco=0.55)),
    }
    change = Animation(layout, size)
    change.show(estimate("metal", rock=0.1, metal=0.9))
    change.frame(5.0)
    change.show(estimate("reggae", hiphop=0.3, reggae=0.7))
    return moments | {f"0.3 s after {named['metal']} gave way to {named['reggae']}": change.frame(0.3)}


def png(pixels: NDArray[np.uint8]) -> bytes:
    """An image as a PNG file.

    By the PNG specification (W3C, third edition): signature, header, zlib stream
    of rows that each begin with filter 0, end.

    The pixels are red, green and blue, shape (height, width, 3).
    """
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _row(name: str, frame: LedFrame, width: int) -> Picture:
    picture: Picture = np.broadcast_to(_BOARD, (_LEGEND + _ROW, width, 3)).copy()
    _write(picture, name)
    pitch = _pitch(len(frame.levels))
    # The gamma of the LEDs, which makes levels linear.
    for index, shine in enumerate(frame.pixels().clip(0, 1) ** _GAMMA):
        centre = _MARGIN + pitch * (index + 0.5)
        near = slice(max(0, int(centre - 2 * pitch)), int(centre + 2 * pitch))
        across = np.arange(near.start, min(near.stop, width)) + 0.5 - centre
        down = np.arange(_LEGEND + _ROW) + 0.5 - (_LEGEND + _ROW / 2)
        _light(picture[:, near], np.hypot(across, down[:, np.newaxis])[..., np.newaxis], shine, 0.34 * pitch)
    return picture


def _light(picture: Picture, distance: Picture, shine: NDArray[np.float64], radius: float) -> None:
    inside = np.clip(radius - distance + 0.5, 0, 1)
    core = np.exp(-((distance / (0.6 * radius)) ** 2)) * (shine + 0.25 * shine.max())
    glow = 0.5 * shine * np.exp(-(distance - radius).clip(0) / (0.5 * radius))
    picture *= 1 - inside
    picture += inside * (_OFF + shine + core) + (1 - inside) * glow


def _write(picture: Picture, text: str) -> None:
    letters = [each for each in unicodedata.normalize("NFKD", text.upper()) if not unicodedata.combining(each)]
    for place, letter in enumerate(letters):
        for line, octal in enumerate(_FONT.get(letter, "00000")):
            for column in range(3):
                if int(octal) >> (2 - column) & 1:
                    top, left = 8 + 2 * line, _MARGIN + 8 * place + 2 * column
                    picture[top : top + 2, left : left + 2] = _INK


def _pitch(size: int) -> int:
    return int(np.clip(900 // max(size, 1), 9, 34))


def _substitutes(labels: Sequence[str]) -> dict[str, str]:
    """The label of the model that stands for each genre of the demonstration."""
    spare = itertools.cycle([label for label in labels if label not in GENRES] or labels)
    return {genre: genre if genre in labels else next(spare) for genre in GENRES}


def _estimate(genre: str, given: Mapping[str, float], labels: Sequence[str]) -> Estimate:
    rest = 0.0 if genre == SILENCE else max(0.0, 1.0 - sum(given.values()))
    others: Sequence[str] = [label for label in labels if label not in given]
    scores = {label: given.get(label, rest / max(len(others), 1)) for label in labels}
    return Estimate(
        sequence=0,
        time=datetime.fromtimestamp(0, UTC),
        seconds=0.0,
        genre=genre,
        confidence=max(scores.values()),
        scores=scores,
        level=-20.0,
        peak=-6.0,
        dropped=0.0,
        state=State.LISTENING,
        model="preview",
    )


def _status(state: State) -> StatusEvent:
    return StatusEvent(time=datetime.fromtimestamp(0, UTC), state=state, message="")


# Five rows of three dots, each row an octal digit.
_FONT = {
    "A": "25755", "B": "65656", "C": "34443", "D": "65556", "E": "74647", "F": "74644", "G": "34553", "H": "55755",
    "I": "72227", "J": "11152", "K": "55655", "L": "44447", "M": "57755", "N": "65555", "O": "25552", "P": "65644",
    "Q": "25563", "R": "65655", "S": "34216", "T": "72222", "U": "55557", "V": "55552", "W": "55775", "X": "55255",
    "Y": "55222", "Z": "71247", "0": "75557", "1": "26227", "2": "71747", "3": "71717", "4": "55711", "5": "74717",
    "6": "74757", "7": "71122", "8": "75757", "9": "75717", ".": "00002", ",": "00024", ":": "02020",
}  # fmt: skip
