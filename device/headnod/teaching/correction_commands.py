"""Corrections while the listener runs: labels by people and media players, suggestions, and teaching on request.

Suggestions are moments of the last hours that would teach a model most: uncertain answers to sounds unlike those that
have labels. Active learning by margin (Scheffer et al. 2001) and novelty of the embedding; each suggestion counts as
labelled for the next, so that ten differ from each other.

Corrections also go to another machine as one npz file: `headnod corrections export`, `headnod-train teach
--corrections`. docs/teaching.md describes its arrays. It is read without pickled objects and within bounds.
"""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unicodedata import normalize

import msgspec
import numpy as np
from numpy.typing import NDArray

from headnod.clock import Clock
from headnod.errors import HeadnodError
from headnod.escaping import UNKNOWN
from headnod.files import read_arrays
from headnod.teaching.corrections import (
    CAPACITY,
    NOT_MUSIC,
    Correction,
    CorrectionError,
    CorrectionStore,
    EmbeddedWindows,
    LabelledEmbeddings,
    RecentWindows,
    check_label,
    spread,
)

_log = logging.getLogger(__name__)

FILE = "headnod-suggestions.json"
"""File of the runtime folder with the suggestions of a running listener."""

_LENGTH, _SHORTEST_MOMENT = 20, 5
"""Windows of one moment: a minute at one in three seconds, and at least."""
_GAP = 3.0
"""Ratio of a pause to the usual time between windows that ends a moment."""

_CONTEXT = 40
"""Windows of other music that are stored with a correction."""

_SETTLING = 5.0
"""Seconds that are left out at both ends of a label by a media player, which reports early or late."""

_SHORTEST = 20.0
"""Seconds of a label by a media player that are stored."""

_LONGEST_LABEL = 1_800.0
"""Seconds after which a label by a media player ends by itself: players do not always report that they stopped."""

_TIMEOUT = 600.0

FORMAT = 1
"""Number of the format of a file of corrections."""

LARGEST = 256 << 20
"""Most bytes of a file of corrections, and of its arrays."""

_WIDEST = 8_192
_MOST_CONTEXT = 2 * CAPACITY
_TYPES = {
    "format": np.int64,
    "model": np.str_,
    "body": np.str_,
    "times": np.float64,
    "embeddings": np.float32,
    "features": np.float32,
    "labels": np.str_,
    "weights": np.float32,
    "groups": np.int64,
    "context_times": np.float64,
    "context_embeddings": np.float32,
    "context_features": np.float32,
}


class Suggestion(msgspec.Struct, frozen=True):
    """One moment."""

    start: float
    """Seconds since 1970."""

    end: float
    """Seconds since 1970."""

    answer: str
    """Most probable answer: a label, or `not music`."""

    margin: float
    """Mean difference of the two greatest probabilities (0-1): 0 is undecided."""

    novelty: float
    """Distance of the embedding to the nearest one with a label (0-1)."""


def suggest(
    windows: EmbeddedWindows, labelled: NDArray[np.floating], corrected: NDArray[np.float64], *, count: int = 10
) -> list[Suggestion]:
    """The moments that would teach most, the best first.

    Args:
        windows: The last hours.
        labelled: Embeddings with a label of the same network, (n, size).
        corrected: Times of windows with a label, seconds since 1970.
        count: Most suggestions.
    """
    moments = [rows for rows in _moments(windows.times) if not np.isin(windows.times[rows], corrected).any()]
    if not moments:
        return []
    values = windows.embeddings.astype(np.float32)
    centre = values.mean(axis=0)
    means = _units(np.stack([values[rows].mean(axis=0) for rows in moments]) - centre)
    ordered = np.sort(windows.scores.astype(np.float32), axis=1)
    margins = np.array([(ordered[rows, -1] - ordered[rows, -2]).mean() for rows in moments])
    known = _units(labelled.astype(np.float32) - centre) if len(labelled) else means[:0]
    # Without any label everything is equally new.
    nearest = (means @ known.T).max(axis=1) if len(known) else np.zeros(len(means), np.float32)
    found: list[Suggestion] = []
    left = np.ones(len(moments), np.bool_)
    for _ in range(min(count, len(moments))):
        novelty = np.clip(0.5 - 0.5 * nearest, 0.0, 1.0)
        best = int(np.where(left, (1.0 - margins) * novelty, -1.0).argmax())
        left[best] = False
        found.append(_suggestion(windows.rows(moments[best]), float(margins[best]), float(novelty[best])))
        nearest = np.maximum(nearest, means @ means[best])
    return found


def _suggestion(moment: EmbeddedWindows, margin: float, novelty: float) -> Suggestion:
    answer = moment.answers[int(np.log(np.maximum(moment.scores.astype(np.float32), 1e-6)).mean(axis=0).argmax())]
    return Suggestion(
        float(moment.times[0]),
        float(moment.times[-1]),
        NOT_MUSIC if answer == UNKNOWN else answer,
        round(margin, 3),
        round(novelty, 3),
    )


def _moments(times: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Rows of successive windows, without pauses."""
    if len(times) < _SHORTEST_MOMENT:
        return []
    steps = np.diff(times)
    pauses = np.flatnonzero(steps > _GAP * np.median(steps)) + 1
    found: list[NDArray[np.intp]] = []
    for rows in np.split(np.arange(len(times)), pauses):
        found += [rows[start : start + _LENGTH] for start in range(0, len(rows), _LENGTH)]
    return [rows for rows in found if len(rows) >= _SHORTEST_MOMENT]


def _units(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9), np.float32)


class TeachRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The request to a process that teaches."""

    state: str
    """The state folder."""

    configured: str
    """The bundle of the configuration."""

    budget: float
    """Seconds that one window may take."""

    windows: int
    """Windows of a probation."""


class TeachResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of that process."""

    model: str = ""
    """Name and version of the new model; empty if none was installed."""

    summary: tuple[str, ...] = ()
    """What improves, one line each."""

    error: str = ""
    """Why nothing was installed; empty if the model was."""


class CorrectionCommands:
    """Corrections of one listener; thread-safe."""

    def __init__(
        self,
        windows: RecentWindows,
        state_folder: Path | None,
        clock: Clock,
        *,
        teaching: Callable[[Path], TeachRequest],
    ) -> None:
        """Use the windows of a listener.

        Corrections are stored in the state folder; without one nothing can be corrected. `teaching` gives the request
        of the process of a teacher for a state folder.
        """
        self._windows, self._state_folder, self._clock, self._teaching = windows, state_folder, clock, teaching
        self._store = None if state_folder is None else CorrectionStore(state_folder)
        self._playing: tuple[str, float] | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._result: TeachResult | None = None

    @property
    def store(self) -> CorrectionStore:
        """The stored corrections.

        Raises:
            CorrectionError: There is no state folder.
        """
        if self._store is None:
            raise CorrectionError("there is no state folder for corrections (set history.path)")
        return self._store

    def correct(self, start: float, end: float, label: str, *, source: str = "person") -> Correction:
        """Label the windows of a time range.

        Times are in seconds since 1970. The label is a genre, a new label, or `not music`; the source is `person` or
        `player`.

        Raises:
            CorrectionError: The label cannot be one, or there are no windows in that time.
        """
        label = _checked(label)
        if end < start:
            raise CorrectionError(f"the time range ends {start - end:.0f} s before it starts")
        store, windows = self.store, self._windows.all()
        there = windows.between(start, end)
        if not len(windows.times):
            raise CorrectionError("no window has an embedding (the model has none, or no music played yet)")
        if not there.any():
            oldest, newest = (datetime.fromtimestamp(float(windows.times[place]), UTC) for place in (0, -1))
            raise CorrectionError(
                f"no window of music is known from that time; the oldest is of {oldest:%Y-%m-%d %H:%M:%S} UTC, the "
                f"newest of {newest:%Y-%m-%d %H:%M:%S} UTC"
            )
        outside = ~there
        for each in store.all():
            outside &= ~windows.between(each.start, each.end)
        other = np.flatnonzero(outside)
        context = windows.rows(other[spread(len(other), _CONTEXT)])
        made = self._clock.now().timestamp()
        return store.add(windows.rows(there), label, start=start, end=end, made=made, source=source, context=context)

    def label(self, label: str) -> None:
        """What a media player plays from now on; an empty label ends it. What played before is stored.

        Raises:
            CorrectionError: The label cannot be one, or there is no state folder.
        """
        if label:
            label = _checked(label)
        _ = self.store
        now = self._clock.monotonic()
        with self._lock:
            before, self._playing = self._playing, (label, now) if label else None
        if before is not None:
            self._store_played(before[0], before[1], min(now, before[1] + _LONGEST_LABEL))

    def _store_played(self, label: str, began: float, ended: float) -> None:
        start, end = began + _SETTLING, ended - _SETTLING
        if end - start < _SHORTEST:
            return
        try:
            self.correct(self._clock.at(start).timestamp(), self._clock.at(end).timestamp(), label, source="player")
        except CorrectionError as error:
            # The volume was zero, or another source played.
            _log.info("what the media player played as %s is not kept: %s", label, error)

    def suggestions(self) -> list[Suggestion]:
        """Moments whose label would teach most, the best first."""
        windows = self._windows.all()
        labelled = self._store.labelled(windows.body) if self._store is not None else None
        if labelled is None:
            return suggest(windows, windows.embeddings[:0], windows.times[:0])
        return suggest(windows, labelled.embeddings, labelled.times)

    def teach(self) -> None:
        """Start a process that teaches; returns at once. `teaching` gives the result.

        Raises:
            CorrectionError: One runs already, or there is no state folder.
        """
        _ = self.store
        assert self._state_folder is not None  # noqa: S101 - there is a store
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                raise CorrectionError("a model is being taught already (wait until it is done)")
            request, self._result = self._teaching(self._state_folder), None
            self._thread = threading.Thread(target=self._run, args=(request,), name="teach", daemon=True)
            self._thread.start()

    def teaching(self) -> dict[str, object]:
        """Whether a model is being taught, and the result of the last one."""
        with self._lock:
            running = self._thread is not None and self._thread.is_alive()
            return {"running": running, "result": self._result}

    def _run(self, request: TeachRequest) -> None:
        command = [sys.executable, "-P", "-m", "headnod.teaching.teacher"]
        try:
            given = msgspec.json.encode(request) + b"\n"
            ended = subprocess.run(command, input=given, stdout=subprocess.PIPE, timeout=_TIMEOUT, check=True)  # noqa: S603 - our own program
            result = msgspec.json.decode(ended.stdout, type=TeachResult)
        except (OSError, subprocess.SubprocessError, msgspec.MsgspecError) as error:
            _log.warning("the process that teaches failed: %s", error)
            result = TeachResult(error="the process that teaches failed: see headnod's log")
        for line in (*result.summary, *([result.error] if result.error else [])):
            _log.info("teach: %s", line)
        self._result = result


def _checked(label: str) -> str:
    """A label in the composed form of Unicode (NFC), in which names are compared.

    Raises:
        CorrectionError: It cannot be a label.
    """
    composed = normalize("NFC", label)
    check_label(composed)
    return composed


class CorrectionFileError(HeadnodError, ValueError):
    """A file of corrections cannot be used."""


@dataclass(frozen=True)
class LabelledFeatures:
    """Embeddings with their labels, and the inputs of the last layer for them."""

    windows: LabelledEmbeddings
    """Embeddings, labels, weights and groups."""

    features: NDArray[np.float32]
    """Inputs of the last layer, (windows, features): see `headnod.teaching.last_layer.LastLayer.features_of`."""

    context_features: NDArray[np.float32]
    """The same of the context, (context windows, features)."""


def packed(labelled: LabelledFeatures) -> bytes:
    """The content of a file."""
    windows, file = labelled.windows, io.BytesIO()
    arrays = {
        **{name: getattr(windows, name) for name in _TYPES if hasattr(windows, name)},
        "format": FORMAT,
        "labels": np.array(windows.labels, np.str_),
        "features": labelled.features,
        "context_features": labelled.context_features,
    }
    typed: dict[str, Any] = {name: np.asarray(value, _TYPES[name]) for name, value in arrays.items()}
    np.savez_compressed(file, **typed)
    return file.getvalue()


def read_corrections(path: Path) -> LabelledFeatures:
    """The content of a file that another machine may have written.

    Raises:
        CorrectionFileError: It cannot be read, or is not a file of corrections.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError(f"is larger than {LARGEST >> 20} MiB")
        return unpacked(content)
    except OSError as error:
        raise CorrectionFileError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except (ValueError, CorrectionError) as error:
        raise CorrectionFileError(
            f"{path}: is not a file of corrections: {error} (make it with 'headnod corrections export')"
        ) from error


def unpacked(content: bytes) -> LabelledFeatures:
    """The corrections in the content of a file.

    Raises:
        ValueError: It is not a file of corrections.
    """
    arrays = read_arrays(content, _TYPES, limit=LARGEST)
    if arrays["format"].shape or int(arrays["format"]) != FORMAT:
        raise ValueError(f"format: is {arrays['format']}, this headnod reads {FORMAT}")
    count, context = len(np.atleast_1d(arrays["times"])), len(np.atleast_1d(arrays["context_times"]))
    if not 0 < count <= CAPACITY or context > _MOST_CONTEXT:
        raise ValueError(
            f"times: has {count} windows and {context} of context, {CAPACITY} and {_MOST_CONTEXT} are allowed"
        )
    for name, length in _lengths(arrays, count, context).items():
        if arrays[name].shape != length:
            raise ValueError(f"{name}: shape is {arrays[name].shape}, not {length}")
    labels = tuple(map(str, arrays["labels"].tolist()))
    for label in set(labels):
        check_label(label)
    if not ((arrays["weights"] > 0) & (arrays["weights"] <= 1)).all():
        raise ValueError("weights: one is not over 0 and at most 1")
    given: dict[str, Any] = {name: arrays[name] for name in LabelledEmbeddings.__struct_fields__}
    given |= {"model": str(arrays["model"]), "body": str(arrays["body"]), "labels": labels}
    return LabelledFeatures(LabelledEmbeddings(**given), arrays["features"], arrays["context_features"])


def _lengths(arrays: dict[str, np.ndarray], count: int, context: int) -> dict[str, tuple[int, ...]]:
    """The shape that each array must have."""
    widths = {}
    for name in ("embeddings", "features"):
        array = arrays[name]
        widths[name] = array.shape[1] if array.ndim == 2 and array.shape[1] <= _WIDEST else -1  # noqa: PLR2004 - a matrix
    single = dict.fromkeys(("times", "labels", "weights", "groups"), (count,))
    matrices = {name: (count, width) for name, width in widths.items()}
    around = {f"context_{name}": (context, width) for name, width in widths.items()}
    return {"model": (), "body": (), "context_times": (context,), **single, **matrices, **around}
