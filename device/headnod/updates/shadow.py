"""The shadow: a second model that is compared with the active one and changes nothing.

    headnod models shadow genre-0.2.0 --every 5

It gets a copy of every n-th window with music, after the estimate was shown, and no error of it reaches the listener.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from headnod.errors import BundleError, HeadnodError
from headnod.escaping import printable
from headnod.features.frontend import Audio
from headnod.features.windows import MARGIN, RecentAudio, Window
from headnod.inference.manifest import CARD
from headnod.inference.model import GenreModel
from headnod.pipeline.estimate import Estimate
from headnod.updates.state import Agreement, ShadowRequest, id_of
from headnod.updates.store import Store

REPORT_INTERVAL = 20
"""Compared windows between two reports; each is one write to the card."""

_CARD_BYTES, _OFFER_LENGTH = 4096, 255
"""Characters of a card that are read, and of a summary that Home Assistant accepts."""

_log = logging.getLogger(__name__)


class Shadow:
    """A model that is compared with the active one."""

    def __init__(self, model: GenreModel, reference: GenreModel, *, name: str, every: int) -> None:
        """Compare every n-th window of a named shadow with the active model."""
        self._model, self._every, self._windows = model, every, 0
        self.agreement = Agreement(model=name, reference=reference.manifest.id)

    def audio_of(self, window: Window, recent: RecentAudio) -> Audio | None:
        """The shadow's own window that ends where a window of the active model ends, shape (window_samples,).

        With another sample rate it ends `headnod.features.windows.MARGIN` earlier. None while `recent` does not
        hold enough of the stream.
        """
        front_end = self._model.front_end
        if (window.rate, window.samples.size) == (front_end.sample_rate, front_end.window_samples):
            return window.samples
        # A block may reach past the window's end, and is one second long at most.
        recent.seconds = max(recent.seconds, front_end.window_seconds + 1.0 + 4.0 * MARGIN)
        return recent.until(window.end, front_end.window_samples, front_end.sample_rate)

    def compare(self, audio: Audio, label: str, probability: float) -> bool:
        """Compare the models on a window; false if the window is skipped.

        Args:
            audio: The window from `audio_of`, shape (window_samples,).
            label: The active model's likeliest label of this window alone.
            probability: Its probability (0-1).
        """
        self._windows += 1
        if self._windows % self._every:
            return False
        scores = self._model.scores(self._model.front_end.mfcc(audio))
        best = int(np.argmax(scores))
        own, before = self._model.answers[best], self.agreement
        windows = before.windows + 1
        gain = float(scores[best]) - probability
        differences = before.differences
        if own != label:
            row = differences.get(label, {})
            differences = {**differences, label: {**row, own: row.get(own, 0) + 1}}
        self.agreement = replace(
            before,
            windows=windows,
            agreed=before.agreed + (own == label),
            gain=round(before.gain + (gain - before.gain) / windows, 4),
            last=(label, own),
            differences=differences,
        )
        return True


class ShadowRunner:
    """Runs the shadow that the state file requests, beside the listener."""

    def __init__(
        self, store: Store | None, reference: Callable[[], GenreModel], report: Callable[[Agreement], None]
    ) -> None:
        """Follow the requests in a store; report after the first compared window and each 20 further ones."""
        self._store, self._reference, self._report = store, reference, report
        self.recent = RecentAudio()
        """The last seconds of the stream, for a shadow with other windows."""
        self._running: tuple[ShadowRequest | None, GenreModel] | None = None
        self._shadow: Shadow | None = None

    def compare(self, window: Window, estimate: Estimate) -> None:
        """Compare the models on a window with music, after its estimate was shown."""
        if self._store is None:
            return
        self._follow(self._store)
        if self._shadow is None:
            return
        try:
            audio = self._shadow.audio_of(window, self.recent)
            compared = audio is not None and self._shadow.compare(audio, estimate.raw_genre, estimate.raw_confidence)
        except Exception:
            _log.exception("the shadow failed and is stopped")
            self._shadow = None
            return
        windows = self._shadow.agreement.windows
        if compared and (windows == 1 or windows % REPORT_INTERVAL == 0):
            self._save(self._store, self._shadow.agreement)

    def _follow(self, store: Store) -> None:
        try:
            request = store.read().shadow
        except HeadnodError:
            request = None
        wanted = request, self._reference()
        if wanted == self._running:
            return
        self._running, self._shadow = wanted, None
        self.recent.seconds = 0.0
        self.recent.clear()
        if request is None:
            return
        try:
            model = GenreModel.load(store.path(request.model))
            self._shadow = Shadow(model, wanted[1], name=id_of(request.model), every=request.every)
        except HeadnodError as error:
            _log.warning("%s; no shadow runs", error)

    def _save(self, store: Store, agreement: Agreement) -> None:
        _log.info("%s", _share(agreement))
        try:
            store.change(lambda state: replace(state, agreement=agreement))
        except HeadnodError as error:
            _log.warning("%s; the agreement is not stored", error)
        self._report(agreement)


def agreement_text(store: Store) -> str:
    """How often shadow and active model agree, in one line.

    Raises:
        BundleError: Nothing was compared yet.
    """
    agreement = store.read().agreement
    if agreement is None:
        raise BundleError(f"{store.state_folder}: no shadow was compared on music yet (headnod models shadow NAME)")
    return (
        f"{_share(agreement)} ({agreement.share:.0%}), its top probability differs by "
        f"{100 * agreement.gain:+.1f} points"
    )


def offer_text(folder: Path, model: str, agreement: Agreement | None) -> str:
    """What is known about an offered model: from its card, and from its windows as a shadow; at most 255 characters."""
    seen = ""
    if agreement is not None and agreement.model == model and agreement.windows:
        pairs = [(count, own, shadow) for own, row in agreement.differences.items() for shadow, count in row.items()]
        most = max(pairs, default=None)
        seen = f"As a shadow here it agrees on {agreement.share:.0%} of {agreement.windows} windows"
        seen += f", and most often names {most[2]} where the active model names {most[1]}." if most else "."
    try:
        with (folder / CARD).open(encoding="utf-8") as file:
            lines = [line.strip() for line in file.read(_CARD_BYTES).splitlines()]
    except (OSError, UnicodeDecodeError):
        lines = []
    about = printable(next((line for line in lines if line and not line.startswith("#")), ""))
    room = _OFFER_LENGTH - len(seen) - 1
    if len(about) > room:
        about = about[: room - 1].rpartition(" ")[0] + "…"
    return f"{about} {seen}".strip()


def _share(agreement: Agreement) -> str:
    return f"{agreement.model} agrees with {agreement.reference} on {agreement.agreed} of {agreement.windows} windows"
