"""Builds what commands act on beside the settings: corrections, the log of the last hours, levels, the overlay."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from headnod.clock import Clock
from headnod.config.overlay import Overlay
from headnod.factory.output_factory import runtime_folder
from headnod.inference.manifest import Model, Prediction
from headnod.listener_commands import ListenerCommands
from headnod.log import RecentLog
from headnod.pipeline.estimate import Estimate
from headnod.pipeline.level_meter import PlacementMeter
from headnod.remote_controls import InForce
from headnod.resources import configured_model
from headnod.teaching.correction_commands import CorrectionCommands, TeachRequest
from headnod.teaching.recent_windows import RecentWindows
from headnod.teaching.suggestions import FILE
from headnod.updates.manager import WINDOW_SHARE, ModelManager

_SUGGEST_EVERY, _FIRST = 300.0, 60.0
"""Seconds between two writes of the suggestions, in memory, and before the first."""

_log = logging.getLogger(__name__)

Observe = Callable[[Estimate, Prediction | None, Model], None]
"""Called with every estimate, after it was shown."""


@contextlib.contextmanager
def commands_of(
    in_force: Callable[[], InForce],
    models: ModelManager,
    overlay: Overlay | None,
    state_folder: Path | None,
    clock: Clock,
) -> Iterator[tuple[ListenerCommands, Observe]]:
    """The commands of a listener, and what they need of its estimates.

    Args:
        in_force: The settings in force.
        models: The models.
        overlay: The file of values that are set on the page; None where there is no state folder.
        state_folder: Where corrections are stored.
        clock: The clocks.
    """
    windows, placement, log = RecentWindows(clock), PlacementMeter(), RecentLog()

    def teaching(folder: Path) -> TeachRequest:
        config = in_force().config
        return TeachRequest(
            state=str(folder),
            configured=str(configured_model(config.model.name)),
            budget=WINDOW_SHARE * config.listen.every,
            windows=config.model.probation,
        )

    corrections = CorrectionCommands(windows, state_folder, clock, teaching=teaching)
    folder = runtime_folder()
    file = folder / FILE if folder is not None and folder.is_dir() else None
    written = clock.monotonic() + _FIRST - _SUGGEST_EVERY

    def observe(estimate: Estimate, prediction: Prediction | None, model: Model) -> None:
        nonlocal written
        placement.update(estimate)
        if prediction is not None and state_folder is not None:
            windows.add(estimate, prediction, model.manifest, model.answers)
        if file is not None and estimate.monotonic - written >= _SUGGEST_EVERY:
            written = estimate.monotonic
            _write(file, corrections)

    logging.getLogger().addHandler(log)
    try:
        yield (
            ListenerCommands(in_force, models, corrections, clock=clock, placement=placement, log=log, overlay=overlay),
            observe,
        )
    finally:
        logging.getLogger().removeHandler(log)
        if file is not None:
            file.unlink(missing_ok=True)


def _write(file: Path, corrections: CorrectionCommands) -> None:
    """Write the suggestions for `headnod suggest`."""
    try:
        new = file.with_name(f".{file.name}.new")
        new.write_bytes(msgspec.json.encode(corrections.suggestions()))
        new.replace(file)
    except Exception as error:
        # A full or damaged disk must not end the listener.
        _log.debug("%s: suggestions are not written: %s", file, error)
