"""Which model listens: the one that was activated, or the one of the configuration.

Alone because it joins the store on the disk to the listener that runs. What is
activated by the command line, by MQTT or by Home Assistant changes the store; the
listener looks there after each estimate, and a link is read in microseconds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from headnod.config import Config
from headnod.errors import BundleError, ManifestError
from headnod.inference.model import GenreModel
from headnod.pipeline.estimate import Estimate, StatusEvent
from headnod.resources import configured_model
from headnod.updates.activation import Activation
from headnod.updates.install_progress import Progress, Stage, Tell
from headnod.updates.probation import Probation
from headnod.updates.rollback_protection import RollbackProtection
from headnod.updates.store import Store, serial_of

_log = logging.getLogger(__name__)

_LOUD = (Stage.REFUSED, Stage.ROLLED_BACK)

_PATIENCE = 1.0
"""Seconds to wait for the command line, while sound is kept for two."""


class ModelManager:
    """The model that listens, and whether it may go on."""

    def __init__(self, state: Path | None, tell: Tell) -> None:
        """Look after the models of a state folder.

        Args:
            state: The state folder; None has no models, and leaves all to the configuration.
            tell: Is told each step of a new model, after the log.
        """
        self._tell_others = tell
        self.activation: Activation | None = None
        if state is not None:
            self.activation = Activation(Store(state, patience=_PATIENCE), RollbackProtection(state), self.tell)
        self._name: str | None = None
        self._stuck: str | None = None
        self._listening: tuple[GenreModel, str | None] | None = None
        self._probation: Probation | None = None

    @property
    def listening(self) -> tuple[GenreModel, int]:
        """The model that listens, and its serial (0 if it came with headnod): one snapshot, for any thread."""
        # One reference is read once: model and serial set one after the other could be read in between.
        assert self._listening is not None  # noqa: S101 - `begin` comes first
        model, name = self._listening
        return model, serial_of(name) if name else 0

    @property
    def offered(self) -> str | None:
        """The stored model that was signed after the present one and waits to be activated; None if there is none."""
        return self.activation.offered() if self.activation is not None else None

    @property
    def stored(self) -> list[str]:
        """Every stored model, the one with the greatest serial last."""
        return self.activation.store.names() if self.activation is not None else []

    def begin(self, config: Config) -> GenreModel:
        """The model to begin with.

        Raises:
            ConfigError: The configuration names none.
            ManifestError: The one that it names cannot be used.
        """
        if self.activation is not None and config.model.installed:
            try:
                self.activation.begin()
            except BundleError as error:
                _log.warning("%s; who ended badly is not counted", error)
        return self._load(config)

    def look(self, config: Config) -> GenreModel | None:
        """Another model, if another one shall listen from now on."""
        if self._wanted(config) == self._name:
            return None
        model = self._load(config)
        if self.activation is not None and self._name is not None:
            self._guarded(self.activation.changed_over)
        _log.info("%s listens", model.manifest.id)
        return model

    def reloaded(self, config: Config) -> GenreModel:
        """The model of a configuration that was read again.

        Raises:
            ConfigError: It names none.
            ManifestError: The one that it names cannot be used.
        """
        self._stuck = None
        return self._load(config)

    def folder(self, config: Config) -> Path | None:
        """The folder of the activated model; None leaves it to the configuration."""
        name = self._wanted(config)
        return self.activation.store.path(name) if self.activation is not None and name is not None else None

    def watch(self, said: Estimate | StatusEvent) -> None:
        """See what the listener said: while a model is on probation, that is judged."""
        probation, activation, name = self._probation, self.activation, self._name
        if probation is None or activation is None:
            return
        fault = probation.watch(said) if isinstance(said, Estimate) else probation.interrupted(said)
        if fault:
            self._probation = None
            self._guarded(lambda: activation.roll_back(fault, model=name))
        elif probation.over:
            self._probation = None
            if self._guarded(lambda: activation.keep(name)):
                heard = f"{probation.heard} windows with music"
                self.tell(replace(activation.present(), message=f"has stood its probation: {heard}, all well"))

    def end(self) -> None:
        """The listener ends as it should."""
        if self.activation is not None:
            self._guarded(self.activation.end)

    def tell(self, progress: Progress) -> None:
        """Tell a step: in the log, and to the others."""
        level = logging.WARNING if progress.stage in _LOUD else logging.INFO
        what = f"{progress.model} ({progress.serial})" if progress.model else "a model"
        _log.log(level, "%s: %s: %s", what, progress.stage.replace("_", " "), progress.message)
        self._tell_others(progress)

    def _wanted(self, config: Config) -> str | None:
        if self.activation is None or not config.model.installed:
            return None
        current = self.activation.store.current
        return None if current == self._stuck else current

    def _load(self, config: Config) -> GenreModel:
        activation, self._probation = self.activation, None
        while activation is not None and (name := self._wanted(config)) is not None:
            try:
                model = GenreModel.load(activation.store.path(name))
            except ManifestError as error:
                _log.error("%s", error)
                try:
                    # Not for good: a card may have lost what was sent in good order.
                    activation.roll_back("it cannot be loaded", mark_failed=False)
                except BundleError as error:
                    # Not tried again with each estimate: a new attempt comes with a reload, a start or another model.
                    self._stuck = name
                    _log.error("%s; the model of the configuration listens", error)
                continue
            record, self._name = activation.record, name
            if record is not None and record.left:
                health = model.manifest.health
                self._probation = Probation(health, windows=record.left, every=config.listen.every)
            self._listening = model, name
            return model
        self._name = None
        model = GenreModel.load(configured_model(config.model.name))
        self._listening = model, None
        return model

    def _guarded(self, change: Callable[[], object]) -> object:
        try:
            return change()
        except BundleError as error:
            _log.error("%s; it is tried again when the listener starts", error)
            return None
