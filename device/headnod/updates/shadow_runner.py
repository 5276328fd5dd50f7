"""The shadow of the listener that runs: found in the state folder, heard, and reported.

Alone because it is wanted, changed and forgotten while the listener goes on, and
nothing that happens to it may reach the listener.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from headnod.errors import HeadnodError
from headnod.features.windows import RecentAudio, Window
from headnod.files import write_atomically
from headnod.inference.model import GenreModel
from headnod.pipeline.estimate import Estimate
from headnod.updates.shadow import AGREEMENT_FILE, Agreement, Shadow, ShadowRequest, read_request
from headnod.updates.store import Store, id_of

_log = logging.getLogger(__name__)

REPORT = 20
"""Windows that both have heard, between two reports: the card is written so often."""


class ShadowRunner:
    """Lets a second model hear along, if one is wanted."""

    def __init__(self, state: Path | None, beside: Callable[[], GenreModel], tell: Callable[[Agreement], None]) -> None:
        """Look for orders in a state folder.

        Args:
            state: The state folder; None has no orders.
            beside: The model that listens.
            tell: Is told how the two agree.
        """
        self._state, self._beside, self._tell = state, beside, tell
        self.recent = RecentAudio()
        """The last seconds of the stream, kept for a shadow whose windows are others."""
        self._order: ShadowRequest | None = None
        self._shadow: Shadow | None = None
        self._of: GenreModel | None = None

    def hear(self, window: Window, estimate: Estimate) -> None:
        """Hear a window with music, after its estimate was shown."""
        if self._state is None:
            return
        self._follow(self._state)
        if self._shadow is None:
            return
        try:
            audio = self._shadow.audio_of(window, self.recent)
            heard = audio is not None and self._shadow.hear(audio, estimate.raw_genre, estimate.raw_confidence)
        except Exception:
            _log.exception("the shadow broke and hears no more")
            self._shadow = None
            return
        if heard and (self._shadow.agreement.windows == 1 or self._shadow.agreement.windows % REPORT == 0):
            self._report(self._state, self._shadow.agreement)

    def _follow(self, state: Path) -> None:
        order, beside = read_request(state), self._beside()
        if (order, beside) == (self._order, self._of):
            return
        self._order, self._of, self._shadow = order, beside, None
        self.recent.seconds = 0.0
        self.recent.clear()
        if order is None:
            return
        try:
            folder = Store(state).path(order.model)
            self._shadow = Shadow(GenreModel.load(folder), beside, name=id_of(order.model), every=order.every)
        except HeadnodError as error:
            _log.warning("%s; there is no shadow", error)

    def _report(self, state: Path, agreement: Agreement) -> None:
        _log.info(
            "%s agrees with %s on %d of %d windows",
            agreement.model,
            agreement.beside,
            agreement.agreed,
            agreement.windows,
        )
        try:
            write_atomically(state / AGREEMENT_FILE, msgspec.json.encode(agreement))
        except OSError as error:
            _log.warning("%s: %s", state / AGREEMENT_FILE, error.strerror)
        self._tell(agreement)
