"""A second model that hears what the first hears, and whose answers nobody sees but who compares.

    headnod models shadow genre-0.2.0 --every 5

Alone because it must not be able to disturb: it hears a copy of every n-th
window after the estimate was shown.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from headnod.errors import BundleError
from headnod.features.frontend import Audio
from headnod.features.windows import MARGIN, RecentAudio, Window
from headnod.files import write_atomically
from headnod.inference.model import GenreModel

SHADOW_FILE, AGREEMENT_FILE = "shadow.json", "agreement.json"


class ShadowRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which model is a shadow, and how often."""

    model: str
    """Its name in the store."""

    every: int
    """Each so many windows with music."""


class Agreement(msgspec.Struct, frozen=True):
    """How two models agree."""

    model: str
    """The shadow."""

    beside: str
    """The model that listens."""

    windows: int = 0
    """Windows that both heard."""

    agreed: int = 0
    """Those for which both had the same likeliest label."""

    surer: float = 0.0
    """Mean of the shadow's best probability less the other's."""

    last: tuple[str, str] = ("", "")
    """Labels of the last window: the listener's, the shadow's."""

    @property
    def share(self) -> float:
        """Of the windows (0-1)."""
        return self.agreed / self.windows if self.windows else 0.0


class Shadow:
    """A model that hears along."""

    def __init__(self, model: GenreModel, beside: GenreModel, *, name: str, every: int) -> None:
        """Compare two models.

        Args:
            model: The shadow.
            beside: The model that listens.
            name: The shadow's name in the store.
            every: Hear each so many windows.
        """
        self._model, self._every, self._passed = model, every, 0
        self.agreement = Agreement(model=name, beside=beside.manifest.id)

    def audio_of(self, window: Window, recent: RecentAudio) -> Audio | None:
        """This model's window that ends where another model's ends, (window_samples,).

        With another sample rate it ends `headnod.features.windows.MARGIN` earlier. None
        where the stream is not kept for as long yet.
        """
        front_end = self._model.front_end
        if (window.rate, window.samples.size) == (front_end.sample_rate, front_end.window_samples):
            return window.samples
        seconds = front_end.window_samples / front_end.sample_rate
        # A block may reach past the window's end, and is one second long at most.
        recent.seconds = max(recent.seconds, seconds + 1.0 + 4.0 * MARGIN)
        return recent.until(window.end, front_end.window_samples, front_end.sample_rate)

    def hear(self, audio: Audio, answer: str, probability: float) -> bool:
        """Hear a window that the other model called so; true if it was this one's turn.

        Args:
            audio: The window as `audio_of` gives it, (window_samples,).
            answer: The other's likeliest label of this window alone.
            probability: That label's probability (0-1).
        """
        self._passed += 1
        if self._passed % self._every:
            return False
        scores = self._model.scores(self._model.front_end.mfcc(audio))
        best = int(np.argmax(scores))
        label, before = self._model.answers[best], self.agreement
        windows = before.windows + 1
        gained = float(scores[best]) - probability
        self.agreement = Agreement(
            model=before.model,
            beside=before.beside,
            windows=windows,
            agreed=before.agreed + (label == answer),
            surer=round(before.surer + (gained - before.surer) / windows, 4),
            last=(answer, label),
        )
        return True


def read_request(state: Path) -> ShadowRequest | None:
    """Which model is wanted as a shadow; None if there is none, or the file says nothing that can be done."""
    try:
        return msgspec.json.decode((state / SHADOW_FILE).read_bytes(), type=ShadowRequest)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def report(state: Path) -> str:
    """How the two agreed when the listener last told, in one line.

    Raises:
        BundleError: It never did.
    """
    path = state / AGREEMENT_FILE
    try:
        told = msgspec.json.decode(path.read_bytes(), type=Agreement)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = f"{path}: no shadow has heard music here yet (headnod models shadow NAME)"
        raise BundleError(message) from error
    return (
        f"{told.model} agrees with {told.beside} on {told.agreed} of {told.windows} windows ({told.share:.0%}), "
        f"its best probability is {100 * told.surer:+.1f} points"
    )


def write_request(state: Path, order: ShadowRequest | None) -> None:
    """Want another shadow, or none.

    Raises:
        BundleError: It cannot be written.
    """
    path = state / SHADOW_FILE
    try:
        if order is None:
            path.unlink(missing_ok=True)
        else:
            write_atomically(path, msgspec.json.encode(order))
    except OSError as error:
        message = f"{path}: {(error.strerror or str(error)).lower()}"
        raise BundleError(message) from error
