"""The publisher put together, where a broker is configured.

Alone because it is all that loads MQTT: without a broker this file is not loaded.
"""

from __future__ import annotations

import logging
import os
import platform
import random
import secrets
from collections.abc import Callable
from pathlib import Path

from headnod import __version__, machine
from headnod.app import outputs
from headnod.app.broker import broker, topics
from headnod.app.controls import Controls
from headnod.config import Config, MqttSection
from headnod.errors import MissingExtraError
from headnod.estimate import utc_now
from headnod.manifest import MODEL
from headnod.model import GenreModel
from headnod.mqtt.commands import Commands
from headnod.mqtt.discovery import birth, discovery
from headnod.mqtt.ledger import Ledger
from headnod.mqtt.outbox import Outbox
from headnod.mqtt.payloads import InfoPayload, latest
from headnod.runtime import runtime_name
from headnod.shipped import models

try:
    from headnod.mqtt.publisher import Discovery, Mqtt
except ImportError as error:
    if (error.name or "").partition(".")[0] != "paho":
        raise
    _missing = "MQTT needs paho-mqtt (pip install 'headnod[device]', or leave mqtt.host empty)"
    raise MissingExtraError(_missing) from error

QUEUE_FILE, LEDGER_FILE = "mqtt.sqlite", "discovery.json"
"""What is kept in the state directory."""

BOOT = secrets.token_hex(4)
"""This run of the listener."""

_log = logging.getLogger(__name__)


def publisher(section: MqttSection, info: Callable[[], InfoPayload], state: Path | None) -> tuple[Mqtt, Controls]:
    """What publishes, begun, and what was asked of it from afar.

    Args:
        section: Where the broker is.
        info: What the listener is.
        state: A folder for what must outlive the process; None is nowhere.

    Raises:
        ConfigError: A name or a file of the section cannot be used.
    """
    where = topics(section)
    if state is None:
        _log.warning("there is no place for what MQTT queues: it is lost at the end (set history.path)")
    mqtt = Mqtt(
        broker(section, client_id=f"headnod-{where.node}"),
        where,
        Outbox(state and state / QUEUE_FILE, bound=section.queue),
        info,
        boot=BOOT,
        rng=random.Random(),  # noqa: S311 - it spreads attempts over time
        now=utc_now,
        discovery=Discovery(
            wanted=lambda: discovery(info(), where, prefix=section.discovery_prefix, form=section.discovery_form),
            ledger=Ledger(state and state / LEDGER_FILE),
            birth=birth(section.discovery_prefix),
        )
        if section.discovery
        else None,
        health_every=section.health_every,
    )
    controls = Controls(info, mqtt.health)
    mqtt.start(Commands(where, controls).handle)
    return mqtt, controls


def info_of(config: Config, model: GenreModel, *, paused: bool) -> InfoPayload:
    """What the listener is."""
    front_end, manifest = model.front_end, model.manifest
    there = tuple(folder.name for folder in models())
    return InfoPayload(
        node=topics(config.mqtt).node,
        boot=BOOT,
        version=__version__,
        runtime=runtime_name(),
        python=platform.python_version(),
        board=machine.board(),
        microphone=" ".join(config.microphone.command) or config.microphone.device,
        model=manifest.id,
        model_sha256=manifest.sha256[MODEL],
        models=there,
        latest_model=latest(manifest.id, there),
        labels=model.labels,
        every_s=config.listen.every,
        window_s=round(front_end.window_samples / front_end.sample_rate, 3),
        health_every_s=config.mqtt.health_every,
        sample_rate=front_end.sample_rate,
        certainty=config.listen.certainty or manifest.rejection.certainty,
        paused=paused,
        brightness=config.leds.brightness,
    )


def state_folder(config: Config) -> Path | None:
    """The service's state directory, or where history is kept, or nowhere."""
    state = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    history = outputs.history_path(config.history)
    return Path(state) if state else history and history.parent
