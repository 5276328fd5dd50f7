"""New models while the listener runs: from MQTT to the one that listens.

Alone because it joins the reign, which any listener has, to a broker, which few
have; what it holds of MQTT comes and goes with the configuration.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from headnod.config import Config
from headnod.resources import find_model
from headnod.updates.install_progress import Progress
from headnod.updates.manager import ModelManager
from headnod.updates.shadow import Agreement

if TYPE_CHECKING:
    from headnod.mqtt.client import MqttClient
    from headnod.mqtt.publisher import MqttPublisher
    from headnod.updates.install_worker import InstallWorker

_log = logging.getLogger(__name__)

SHARE = 0.5
"""Of the time between two windows that a model may take for one."""


class RemoteUpdates:
    """What is sent, asked for and told of models."""

    def __init__(self, state: Path | None, config: Callable[[], Config]) -> None:
        """Keep models.

        Args:
            state: Where; None takes none.
            config: The configuration in force.
        """
        self._state, self._config = state, config
        self.manager = ModelManager(state, self._pass_on)
        self._untold: Progress | None = None
        self._publisher: MqttPublisher | None = None
        self._worker: InstallWorker | None = None
        self._link: MqttClient | None = None

    def connect(self, publisher: MqttPublisher) -> None:
        """Tell this broker, and hear of models there if there is a key to verify them by.

        Raises:
            ConfigError: A setting of the broker cannot be used.
        """
        from headnod.factory.publisher_factory import deliveries  # noqa: PLC0415 - MQTT is loaded where it is configured

        config, self._publisher = self._config(), publisher
        if self.manager.activation is not None:
            # What happened at the start, before there was anybody to tell, goes before how things are.
            self._pass_on(self._untold or self.manager.activation.present())
        if not config.model.keys or not config.model.installed:
            return
        if self._state is None:
            _log.warning("there is no place for models, so none is taken by MQTT (set history.path)")
        else:
            self._link = deliveries(config, self._bring)

    def disconnect(self) -> None:
        """Tell and hear no more."""
        self._publisher = None
        if self._link is not None:
            self._link.close()
            self._link = None

    def activate(self, model: str) -> None:
        """Try a model that is here by name, and let it listen; returns at once.

        Raises:
            ConfigError: There is none of that name.
        """
        activation = self.manager.activation
        stored = activation.store.find(model) if activation is not None else None
        if stored is not None:
            self._order(stored=stored)
        else:
            self._order(shipped=str(find_model(model)))

    def compare(self, agreement: Agreement) -> None:
        """Tell how the shadow agrees."""
        if self._publisher is not None:
            from headnod.factory.broker_factory import topics  # noqa: PLC0415
            from headnod.factory.publisher_factory import compared  # noqa: PLC0415

            where = topics(self._config().mqtt)
            self._publisher.keep(where.shadow, compared(agreement, where))

    def close(self) -> None:
        """Stop what is under way; may be called twice."""
        self.disconnect()
        if self._worker is not None:
            self._worker.close()

    def _bring(self, bundle: bytes) -> None:
        self._order(bundle)

    def _order(self, bundle: bytes = b"", *, stored: str = "", shipped: str = "") -> None:
        from headnod.updates.install_worker import InstallWorker  # noqa: PLC0415 - few listeners are ever sent a model
        from headnod.updates.installer import InstallRequest  # noqa: PLC0415

        config = self._config()
        if self._state is None:
            return
        if self._worker is None:
            self._worker = InstallWorker(self.manager.tell)
        order = InstallRequest(
            state=str(self._state),
            keys=config.model.keys,
            budget=SHARE * config.listen.every,
            windows=config.model.probation,
            activate=config.model.updates == "activate",
            stored=stored,
            shipped=shipped,
        )
        self._worker.bring(order, bundle)

    def _pass_on(self, progress: Progress) -> None:
        publisher = self._publisher
        if publisher is None:
            self._untold = progress
            return
        self._untold = None
        from headnod.factory.broker_factory import topics  # noqa: PLC0415
        from headnod.factory.publisher_factory import told  # noqa: PLC0415

        where = topics(self._config().mqtt)
        # What a stranger sent must not stand where the state of a model does.
        tell = publisher.keep if progress.model or not progress.manifest else publisher.mention
        tell(where.model, told(progress, where))
        # Another model may be there to be chosen now, or gone.
        publisher.changed()
