"""Which model listens: the active one of the store, or the one of the configuration; and the probation of a new one.

The command line, MQTT and Home Assistant change the store; the listener asks the manager after each estimate whether
another model is active. During a probation its estimates are checked for failures in this room, on this board.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from msgspec.structs import replace

from headnod.config import Config
from headnod.errors import BundleError, HeadnodError, ManifestError
from headnod.inference.manifest import Health, Manifest
from headnod.inference.model import GenreModel
from headnod.pipeline.estimate import Estimate, State, StatusEvent
from headnod.resources import configured_model, find_model
from headnod.updates.shadow import ShadowRunner
from headnod.updates.state import ActiveModel, Agreement, Report, Stage, UpdateProgress, id_of, serial_of
from headnod.updates.store import Store

if TYPE_CHECKING:
    from headnod.updates.installer import InstallWorker

_log = logging.getLogger(__name__)

WINDOW_SHARE = 0.5
"""Share of the time between two windows that a model may take for one."""

_LOCK_TIMEOUT = 1.0
"""Seconds to wait for another process; the microphone's buffer holds two."""

MIN_WINDOWS = 3
"""Windows with music that a verdict needs."""


class ModelSnapshot(NamedTuple):
    """Active and stored models at one moment."""

    manifest: Manifest
    """Manifest of the model that listens."""

    serial: int
    """Its serial; 0 if it came with headnod."""

    stored: tuple[str, ...]
    """Names of all stored models, the one with the greatest serial last."""

    offered: str | None
    """Name of the newest stored model that waits to be activated; None if there is none."""

    offered_folder: Path | None = None
    """Its bundle."""

    agreement: Agreement | None = None
    """The last agreement of a shadow with the active model."""


class ModelManager:
    """Loads the model that listens, supervises its probation, and runs installations.

    `snapshot`, `install` and `activate` may be called on any thread, the rest on the one that listens.
    """

    def __init__(self, state_folder: Path | None, config: Callable[[], Config]) -> None:
        """Manage the models of a state folder; without one the model of the configuration in force listens."""
        self._config = config
        self.store = Store(state_folder, self.report, lock_timeout=_LOCK_TIMEOUT) if state_folder is not None else None
        # Model and name in one reference: another thread may read between two.
        self._active: tuple[GenreModel, str | None] | None = None
        self._probation: Probation | None = None
        self._broken: str | None = None
        self._state_error = ""
        self.shadow = ShadowRunner(self.store, lambda: self.model, self._report_agreement)
        self._publish: Report | None = None
        self._publish_agreement: Callable[[Agreement], None] | None = None
        self._unpublished: UpdateProgress | None = None
        self.last_step: UpdateProgress | None = None
        """The last step of an update since the start."""
        self._worker: InstallWorker | None = None

    def __enter__(self) -> Self:
        """Note that a listener starts; a model on probation whose listeners crashed is rolled back."""
        if self._config().model.installed:
            self._change("abnormal ends are not counted", Store.record_start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Note a normal end, and stop a running installation."""
        if error is None or isinstance(error, KeyboardInterrupt) or (isinstance(error, SystemExit) and not error.code):
            self._change("this end is counted as abnormal", Store.record_stop)
        if self._worker is not None:
            self._worker.close()

    @property
    def model(self) -> GenreModel:
        """The model that listens; `load` comes first."""
        assert self._active is not None  # noqa: S101 - see above
        return self._active[0]

    def snapshot(self) -> ModelSnapshot:
        """The model that listens, and what the store has now."""
        assert self._active is not None  # noqa: S101 - `load` comes first
        (model, name), store = self._active, self.store
        serial = serial_of(name) if name is not None else 0
        if store is None:
            return ModelSnapshot(model.manifest, serial, (), None)
        try:
            state = store.read()
            offered, agreement = store.offered(state), state.agreement
        except HeadnodError:
            # It was logged when the model was loaded.
            offered = agreement = None
        folder = store.path(offered) if offered is not None else None
        return ModelSnapshot(model.manifest, serial, tuple(store.names()), offered, folder, agreement)

    def load(self, config: Config) -> None:
        """Load the model that a configuration and the store name; one that failed before is tried again.

        Raises:
            ConfigError: The configuration names no model.
            ManifestError: The model of the configuration cannot be used.
        """
        self._broken = None
        self._load(config)

    def poll(self, config: Config) -> bool:
        """Load the active model if it is not the one that listens; false if it is.

        Raises:
            ConfigError: The configuration names no model.
            ManifestError: The model of the configuration cannot be used.
        """
        assert self._active is not None  # noqa: S101 - `load` comes first
        active = self._active_record(config)
        if (active.name if active is not None else None) == self._active[1]:
            return False
        self._load(config)
        if self._active[1] is not None:
            self._change("a crash would not be counted", Store.record_change)
        _log.info("%s is active", self.model.manifest.id)
        return True

    def observe(self, event: Estimate | StatusEvent) -> None:
        """Check what the listener gives while the model is on probation, and roll it back if it fails."""
        if self._probation is None or self._active is None:
            return
        probation, name = self._probation, self._active[1]
        failure = probation.check(event) if isinstance(event, Estimate) else probation.check_event(event)
        if failure:
            self._probation = None
            self._change(
                "the rollback is tried again at the next start", lambda each: each.roll_back(failure, model=name)
            )
        elif probation.over:
            self._probation = None
            if self._change("the probation starts again at the next start", lambda each: each.keep(name)):
                assert self.store is not None  # noqa: S101 - it was changed
                message = f"has passed its probation: {probation.windows} windows with music"
                self.report(replace(self.store.read().progress(), message=message))

    def report(self, progress: UpdateProgress) -> None:
        """Log and publish a step of an update."""
        self.last_step = progress
        loud = progress.stage in {Stage.REFUSED, Stage.ROLLED_BACK}
        name = f"{progress.model} ({progress.serial})" if progress.model else "a model"
        stage = progress.stage.replace("_", " ")
        _log.log(logging.WARNING if loud else logging.INFO, "%s: %s: %s", name, stage, progress.message)
        publish = self._publish
        if publish is None:
            self._unpublished = progress
        else:
            self._unpublished = None
            publish(progress)

    def connect(self, publish: Report | None, publish_agreement: Callable[[Agreement], None] | None) -> None:
        """Publish each step and each agreement of the shadow by these, beginning with the present stage; None stops."""
        self._publish_agreement = publish_agreement
        self._publish = publish
        if publish is None or self.store is None:
            return
        # What happened while nothing was connected comes before the present stage.
        progress, self._unpublished = self._unpublished, None
        if progress is None:
            try:
                progress = self.store.read().progress()
            except HeadnodError:
                # It was logged when the model was loaded.
                return
        publish(progress)

    def _report_agreement(self, agreement: Agreement) -> None:
        if self._publish_agreement is not None:
            self._publish_agreement(agreement)

    def install(self, bundle: bytes) -> None:
        """Install a bundle that was received; returns at once."""
        self._submit(bundle)

    def activate(self, model: str) -> None:
        """Activate a stored or shipped model by its name, after a self-test; returns at once.

        Raises:
            ConfigError: There is no such model.
        """
        stored = self.store.find(model) if self.store is not None else None
        if stored is not None:
            self._submit(stored=stored)
        else:
            self._submit(shipped=str(find_model(model)))

    def roll_back(self) -> str:
        """Return to the previous model; gives its name and version, or that of the configuration.

        Raises:
            BundleError: The previous model is not known, or there is no state folder.
        """
        if self.store is None:
            raise BundleError("there is no state folder, so no model was activated (set history.path)")
        previous = self.store.roll_back("")
        return id_of(previous) if previous is not None else configured_model(self._config().model.name).name

    def _submit(self, bundle: bytes = b"", *, stored: str = "", shipped: str = "") -> None:
        from headnod.updates.installer import InstallRequest, InstallWorker  # noqa: PLC0415 - most install nothing

        if self.store is None:
            return
        config = self._config()
        if self._worker is None:
            self._worker = InstallWorker(self.report)
        request = InstallRequest(
            state=str(self.store.state_folder),
            keys=config.model.keys,
            budget=WINDOW_SHARE * config.listen.every,
            windows=config.model.probation,
            activate=config.model.updates == "activate",
            stored=stored,
            shipped=shipped,
        )
        self._worker.submit(request, bundle)

    def _active_record(self, config: Config) -> ActiveModel | None:
        """The record of the active model that can be loaded; None is the model of the configuration."""
        if self.store is None or not config.model.installed:
            return None
        try:
            active = self.store.read().active
            self._state_error = ""
        except HeadnodError as error:
            if str(error) != self._state_error:
                self._state_error = str(error)
                _log.error("%s", error)
            linked = self.store.linked
            active = ActiveModel(linked) if linked is not None else None
        return None if active is None or active.name == self._broken else active

    def _load(self, config: Config) -> None:
        self._probation = None
        while self.store is not None and (active := self._active_record(config)) is not None:
            try:
                model = GenreModel.load(self.store.path(active.name))
            except ManifestError as error:
                _log.error("%s", error)
                self._drop(active.name)
                continue
            if active.windows_left:
                health, every = model.manifest.health, config.listen.every
                self._probation = Probation(health, windows=active.windows_left, every=every)
            self._active = model, active.name
            return
        self._active = GenreModel.load(configured_model(config.model.name)), None

    def _drop(self, name: str) -> None:
        """Roll back a model that cannot be loaded."""
        assert self.store is not None  # noqa: S101 - it is in the store
        try:
            # The bundle may be installed again: the card may have damaged it here.
            self.store.roll_back("it cannot be loaded", mark_failed=False, model=name)
        except HeadnodError as error:
            # Tried again after a reload, a restart or an activation, not with each estimate.
            self._broken = name
            _log.error("%s; the model of the configuration listens", error)

    def _change(self, consequence: str, change: Callable[[Store], object]) -> object:
        if self.store is None:
            return None
        try:
            return change(self.store)
        except HeadnodError as error:
            _log.error("%s; %s", error, consequence)
            return None


class Probation:
    """Checks the estimates of one model."""

    def __init__(self, health: Health | None, *, windows: int, every: float) -> None:
        """Check a number of windows, one in `every` seconds, against the entropy that the manifest promises."""
        self._health, self._left, self._every = health, windows, every
        self._entropies: list[float] = []
        self._answers: set[tuple[float, ...]] = set()
        self._latencies: list[float] = []
        self._overruns = 0

    @property
    def over(self) -> bool:
        """Whether all windows were checked."""
        return self._left <= 0

    @property
    def windows(self) -> int:
        """Windows with music so far."""
        return len(self._entropies)

    def check(self, estimate: Estimate) -> str:
        """Check an estimate; gives what is wrong with the model, or an empty text."""
        self._left -= 1
        if estimate.confidence == 0.0:
            return ""
        scores = tuple(estimate.scores.values())
        if not all(map(math.isfinite, scores)):
            return "its scores are not finite"
        self._entropies.append(entropy(scores))
        self._answers.add(scores)
        self._latencies.append(estimate.latency / 1e3)
        if self.windows < MIN_WINDOWS:
            return ""
        return self._too_slow() or (self._collapsed() if self.over else "")

    def check_event(self, event: StatusEvent) -> str:
        """Check a status event; gives what is wrong with the model, or an empty text."""
        self._overruns += event.state is State.BEHIND
        return "it runs behind: audio was lost repeatedly" if self._overruns >= MIN_WINDOWS else ""

    def _too_slow(self) -> str:
        median = sorted(self._latencies[-MIN_WINDOWS:])[MIN_WINDOWS // 2]
        return f"it runs behind: {median:.2f} s per window every {self._every:g} s" if median > self._every else ""

    def _collapsed(self) -> str:
        if len(self._answers) == 1 and self.windows >= 2 * MIN_WINDOWS:
            return f"its answers have collapsed: the same scores for {self.windows} windows of music"
        mean, health = math.fsum(self._entropies) / len(self._entropies), self._health
        if health is not None and not health.entropy_low <= mean <= health.entropy_high:
            bounds = f"{health.entropy_low:g} to {health.entropy_high:g}"
            return f"its answers have collapsed: entropy {mean:.3f}, the manifest promises {bounds}"
        return ""


def entropy(scores: tuple[float, ...]) -> float:
    """Shannon entropy of probabilities as a share of its maximum (0-1)."""
    total = -sum(score * math.log(score) for score in scores if score > 0)
    return min(max(total / math.log(len(scores)), 0.0), 1.0)
