"""Levels over longer times: of a room and its microphone, of the last minutes of estimates, and live for the page.

`headnod check` measures a second, `headnod calibrate` a minute, and the journal the
last minute of a running listener. The spectrum on the page cannot be turned back into audio: each column is one frame
of 64 mel bands in 256 steps.
"""

from __future__ import annotations

import base64
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import msgspec
import numpy as np

from headnod.audio.blocks import Block, Gap, RateChange
from headnod.escaping import SILENCE
from headnod.features.frontend import Audio, FrontEnd
from headnod.pipeline.estimate import Estimate, State
from headnod.pipeline.level import SILENT_DBFS, clipped_share, decibels, is_dead

TOO_LOUD, TOO_SOFT, SUITABLE = -3.0, -42.0, -20.0
"""Level of loud pieces in dBFS: above the first they clip, below the second the noise of the sound card
masks them; the third is the target of a change of the gain."""

CREST = 5.5
"""Level of loud pieces of music relative to the level of their window in decibels: the 95th percentile of windows."""

SPAN, LEAST = 60.0, 30.0
"""Seconds of estimates that `QuietMusic` considers, and the minimum of them."""

_PIECE = 1024
_QUIET, _LOUD = 5.0, 95.0
_ABOVE_FLOOR = 6.0
_SHARE_CLIPPED = 0.001
_LEAST_SILENCE, _MAX_FLOOR = -80.0, -40.0


class LevelReport(msgspec.Struct, frozen=True, kw_only=True):
    """Levels of a recording."""

    seconds: float
    """Duration."""

    noise_floor: float
    """5th percentile of the level, in dBFS."""

    loud: float
    """95th percentile of the level, in dBFS."""

    peak: float
    """Largest sample, in dBFS."""

    clipped: float
    """Share of samples at full scale (0-1)."""

    dead: bool
    """All samples are equal: the microphone is not connected, or muted."""

    @property
    def silence(self) -> float | None:
        """Proposed `listen.silence` in dBFS: slightly above the noise floor.

        None if there was no silence in the recording, so that the noise floor is unknown.
        """
        if self.dead or self.noise_floor > _MAX_FLOOR:
            return None
        return float(max(np.ceil(self.noise_floor + _ABOVE_FLOOR), _LEAST_SILENCE))

    @property
    def gain(self) -> float:
        """Proposed change of the microphone's gain in decibels, 0 for none."""
        if self.dead:
            return 0.0
        if self.clipped > _SHARE_CLIPPED or self.loud > TOO_LOUD:
            return float(min(-6.0, np.floor(SUITABLE - self.loud)))
        if self.loud < TOO_SOFT:
            return float(np.ceil(SUITABLE - self.loud))
        return 0.0


class LevelMeter:
    """Measures the levels of a stream.

    >>> meter = LevelMeter(8_000)
    >>> meter.update(np.tile([0.1, -0.1], 8_000).astype(np.float32))
    >>> meter.report().seconds, meter.report().loud
    (2.0, -20.0)
    """

    def __init__(self, sample_rate: int) -> None:
        """Start empty; audio will have `sample_rate` samples per second."""
        self._rate = sample_rate
        self._rest = np.empty(0, np.float32)
        self._levels: list[float] = []
        self._samples, self._clipped, self._peak = 0, 0.0, 0.0
        self._dead = True

    @property
    def seconds(self) -> float:
        """Duration so far."""
        return self._samples / self._rate

    def update(self, audio: Audio) -> None:
        """Add mono audio in [-1, 1], shape (n,) for any n."""
        if not audio.size:
            return
        self._samples += audio.size
        self._clipped += clipped_share(audio) * audio.size
        self._peak = max(self._peak, float(np.abs(audio).max()))
        self._dead = self._dead and is_dead(audio)
        whole = np.concatenate([self._rest, audio])
        used = whole.size // _PIECE * _PIECE
        self._rest = whole[used:]
        self._levels.extend(whole[:used].reshape(-1, _PIECE).std(axis=1).tolist())

    def report(self) -> LevelReport:
        """Levels so far."""
        levels = np.array(self._levels or [0.0])
        return LevelReport(
            seconds=round(self.seconds, 1),
            noise_floor=round(decibels(float(np.percentile(levels, _QUIET))), 1),
            loud=round(decibels(float(np.percentile(levels, _LOUD))), 1),
            peak=round(decibels(self._peak), 1) if self._samples else SILENT_DBFS,
            clipped=round(self._clipped / max(self._samples, 1), 5),
            dead=self._dead,
        )


class QuietMusic:
    """Decides whether all music of the last minute was too quiet, by the limit of `LevelReport.gain`."""

    def __init__(self) -> None:
        """Start without estimates."""
        self._music: deque[tuple[float, float]] = deque()

    def update(self, estimate: Estimate) -> float | None:
        """Add an estimate; returns the missing gain in decibels, or None if the level suits or is unknown.

        Estimates without a genre do not count: they say nothing about the level of music.
        """
        while self._music and not 0.0 <= estimate.seconds - self._music[0][0] <= SPAN:
            self._music.popleft()
        if estimate.genre in estimate.scores:
            self._music.append((estimate.seconds, estimate.level))
        if not self._music or self._music[-1][0] - self._music[0][0] < LEAST:
            return None
        loud = max(level for _, level in self._music) + CREST
        return float(math.ceil(SUITABLE - loud)) if loud < TOO_SOFT else None


_KEPT = 200
"""Estimates: ten minutes at one in three seconds."""

_LEAST_MUSIC = 10
_LEAST_QUIET = 3
_NEAR = 15.0
"""Decibels between music and the noise of the room under which the microphone is too far from the music."""


class PlacementMeter:
    """Collects levels of estimates."""

    def __init__(self) -> None:
        """Start without estimates."""
        self._kept: deque[tuple[float, float, State, bool]] = deque(maxlen=_KEPT)

    def update(self, estimate: Estimate) -> None:
        """Add an estimate."""
        self._kept.append((estimate.level, estimate.peak, estimate.state, estimate.genre != SILENCE))

    def reset(self) -> None:
        """Start anew, for another microphone."""
        self._kept.clear()

    def report(self) -> dict[str, object]:
        """Levels in dBFS, the proposed change of the gain in decibels, and advice; empty before the first estimates."""
        kept = list(self._kept)
        if not kept:
            return {}
        music = np.array([level for level, _, _, sounds in kept if sounds])
        quiet = np.array([level for level, _, _, sounds in kept if not sounds])
        # Without a pause the noise of the room is not known: soft music would be taken for it.
        floor = float(np.median(quiet)) if len(quiet) >= _LEAST_QUIET else None
        loud = float(np.percentile(music, _LOUD)) + CREST if len(music) else SILENT_DBFS
        clipped = float(np.mean([state is State.CLIPPING for _, _, state, _ in kept]))
        measured = LevelReport(
            seconds=float(len(kept)),
            noise_floor=SILENT_DBFS if floor is None else round(floor, 1),
            loud=round(loud, 1),
            peak=max(peak for _, peak, _, _ in kept),
            clipped=clipped,
            dead=all(state is State.DEAF for _, _, state, _ in kept),
        )
        return {
            "level": kept[-1][0],
            "peak": kept[-1][1],
            "noise_floor": None if floor is None else measured.noise_floor,
            "loud": measured.loud if len(music) else None,
            "gain": measured.gain if len(music) else 0.0,
            "advice": _advice(measured, music=len(music), floor=floor),
        }


def _advice(measured: LevelReport, *, music: int, floor: float | None) -> str:
    if measured.dead:
        return "the microphone sends nothing but zeros: it is muted, or not connected"
    if music < _LEAST_MUSIC:
        return "play music for half a minute to measure it"
    if measured.gain:
        fault, change = ("too loud", "lower") if measured.gain < 0 else ("too quiet", "raise")
        return f"{fault}: {change} the gain by about {abs(measured.gain):.0f} dB (alsamixer, then F4)"
    if floor is None:
        return "loud enough; pause the music for a moment to measure the noise of the room, too"
    if measured.loud - CREST - floor < _NEAR:
        return "music is hardly louder than the noise of the room: move it closer to the loudspeaker"
    return "placed well"


COLUMN_SECONDS = 0.2
"""Audio between two columns, in seconds."""

BANDS = 64
"""Mel bands of a column."""

FLOOR_DB, TOP_DB = -60.0, 30.0
"""Mel power, in decibels, that is 0 and 255 in a column: below white noise at -60 dBFS, and near a full-scale tone."""

_FRAME = 2048


class Column(msgspec.Struct, frozen=True):
    """One column of the picture."""

    level: float
    """Level of the last `seconds`, in dBFS."""

    mel: str
    """Mel bands, the lowest first, one byte each (0 is `FLOOR_DB`, 255 is `TOP_DB`), in base64."""

    seconds: float = COLUMN_SECONDS
    """Audio since the column before. Columns arrive in groups, one group per block of the microphone."""


def with_spectrum(
    blocks: Iterable[Block], *, rate: Callable[[], int], watched: Callable[[], bool], send: Callable[[bytes], None]
) -> Iterator[Block]:
    """Pass blocks on unchanged, and send columns of their spectrum while `watched`.

    Columns are sent as JSON while a browser shows the spectrum. `rate` gives the sample rate of the blocks in Hz.
    """
    for block in blocks:
        if not isinstance(block, Gap | RateChange) and watched():
            for column in columns(block, rate()):
                send(msgspec.json.encode(column))
        yield block


def columns(audio: Audio, rate: int) -> Iterator[Column]:
    """The columns of a block; a rest shorter than a frame gives none.

    Args:
        audio: Mono samples in [-1, 1], shape (n,).
        rate: Samples per second.
    """
    step = max(round(COLUMN_SECONDS * rate), _FRAME)
    front_end = FrontEnd(rate, _FRAME, _FRAME, 1, BANDS, n_mfcc=0, f_max=rate / 2)
    for start in range(0, max(audio.size - _FRAME + 1, 0), step):
        piece = audio[start : start + step]
        mel = front_end.log_mel(piece[-_FRAME:])[0]
        scaled = np.clip((mel - FLOOR_DB) * (255.0 / (TOP_DB - FLOOR_DB)), 0.0, 255.0).astype(np.uint8)
        level = round(decibels(float(piece.std())), 1)
        yield Column(level, base64.b64encode(scaled.tobytes()).decode(), round(piece.size / rate, 3))
