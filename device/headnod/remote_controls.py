"""Settings that a person changes by MQTT: threshold, brightness, pause and model.

Commands arrive on the MQTT client's thread and are applied by the main loop. What was set applies again after a
restart, until it is set again, reset, or its value in the configuration changes: the last change counts.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from headnod.audio.blocks import Block, Gap, RateChange
from headnod.config import Config
from headnod.files import write_atomically
from headnod.pipeline.estimate import Now, State, StatusEvent
from headnod.resources import find_model

if TYPE_CHECKING:
    from headnod.mqtt.payloads import HealthPayload, InfoPayload

SETTINGS_FILE = "settings.json"
"""The file in the state folder."""

Share = Annotated[float, Meta(ge=0.0, le=1.0)]

_log = logging.getLogger(__name__)


class InForce(NamedTuple):
    """What the listener runs with."""

    config: Config
    """The configuration, with what was set by MQTT."""

    paused: bool
    """No estimates are made."""


Change = Callable[[InForce], InForce]
"""Makes the wanted settings from those in force."""


class RemoteControls:
    """Thread-safe queue of changes, filled by MQTT commands and emptied by the main loop."""

    def __init__(
        self,
        info: Callable[[], InfoPayload],
        health: Callable[[], HealthPayload],
        activate: Callable[[str], None] | None,
        *,
        configured: Callable[[], Config],
    ) -> None:
        """Queue changes.

        Args:
            info: Answers `request/info`.
            health: Answers `request/health`.
            activate: Tests a model by its name and activates it; None where no state folder can store that, then
                the model listens until the listener ends.
            configured: The configuration without what was set by MQTT, for a reset.
        """
        self.info, self.health, self._activate, self._configured = info, health, activate, configured
        self._changes: queue.SimpleQueue[Change] = queue.SimpleQueue()

    def take(self) -> Iterator[Change]:
        """The changes since the last call."""
        while not self._changes.empty():
            yield self._changes.get()

    def threshold(self, threshold: float) -> None:
        """Set the least probability of a named genre (0-1); 0 is the model's own."""
        self._change(lambda config: replace(config, listen=replace(config.listen, threshold=threshold)))

    def pause(self, paused: bool) -> None:  # noqa: FBT001 - as commands call it
        """Pause, or resume."""
        self._changes.put(lambda in_force: in_force._replace(paused=paused))

    def brightness(self, level: float) -> None:
        """Set the brightness of all LEDs (0-1)."""
        self._change(lambda config: config.with_brightness(level))

    def reset(self) -> None:
        """Restore threshold and brightness of the configuration, and resume."""

        def restored(config: Config) -> Config:
            configured = self._configured()
            listen = replace(config.listen, threshold=configured.listen.threshold)
            return replace(config, listen=listen, leds=configured.leds)

        self.pause(False)
        self._change(restored)

    def activate(self, model: str) -> None:
        """Change to a model, once its golden numbers agree."""
        if self._activate is not None:
            self._activate(model)
            return

        def changed(config: Config) -> Config:
            from headnod.inference.golden import load_checked  # noqa: PLC0415 - few listeners have no state folder

            load_checked(find_model(model))
            return replace(config, model=replace(config.model, name=model))

        self._change(changed)

    def _change(self, change: Callable[[Config], Config]) -> None:
        self._changes.put(lambda in_force: in_force._replace(config=change(in_force.config)))


class ChangedValue(msgspec.Struct, frozen=True):
    """A value that was set by MQTT."""

    value: Share
    """The value."""

    configured: Share
    """The value of the configuration at that time."""


class Settings(msgspec.Struct, frozen=True, omit_defaults=True):
    """Content of the settings file; the configuration applies where a value is absent."""

    paused: bool = False
    """No estimates are made."""

    certainty: ChangedValue | None = None
    """`listen.certainty`."""

    brightness: ChangedValue | None = None
    """`leds.brightness`."""


class SavedSettings:
    """The settings file, which is replaced as a whole."""

    def __init__(self, state_folder: Path | None) -> None:
        """Read the file of a state folder; without one the settings last until the listener ends."""
        self._folder = state_folder
        self._path = state_folder / SETTINGS_FILE if state_folder is not None else None
        self.settings = Settings() if self._path is None else _read(self._path)

    def in_folder(self, state_folder: Path | None) -> SavedSettings:
        """These settings, or those of another state folder."""
        return self if state_folder == self._folder else SavedSettings(state_folder)

    def applied(self, config: Config) -> InForce:
        """The settings to run with: those of the configuration where neither broker nor page could change them."""
        if not config.mqtt.host and not config.web.enabled:
            return InForce(config, paused=False)
        certainty, brightness = self.settings.certainty, self.settings.brightness
        if certainty is not None and certainty.configured == config.listen.threshold:
            config = replace(config, listen=replace(config.listen, threshold=certainty.value))
        if brightness is not None and brightness.configured == config.brightness:
            config = config.with_brightness(brightness.value)
        return InForce(config, self.settings.paused)

    def save(self, configured: Config, in_force: InForce) -> None:
        """Save the difference between the configuration and what is in force."""
        settings = Settings(
            paused=in_force.paused,
            certainty=_changed(configured.listen.threshold, in_force.config.listen.threshold),
            brightness=_changed(configured.brightness, in_force.config.brightness),
        )
        if settings == self.settings:
            return
        self.settings = settings
        if self._path is None:
            return
        try:
            write_atomically(self._path, msgspec.json.encode(settings) + b"\n")
        except OSError as error:
            _log.warning("%s: %s (what was set by MQTT is lost when the listener ends)", self._path, error.strerror)


def paused_events(blocks: Iterable[Block], *, rate: int, every: float, now: Now) -> Iterator[StatusEvent]:
    """Read a source without making estimates.

    Args:
        blocks: Mono audio and gaps.
        rate: Sample rate of the first blocks in Hz.
        every: Seconds between events.
        now: The wall clock.

    Yields:
        An event for each gap, and regularly one that the listener is paused.
    """
    passed = due = 0
    for block in blocks:
        if isinstance(block, Gap):
            yield StatusEvent(time=now(), state=block.state, message=block.message)
            continue
        if isinstance(block, RateChange):
            passed, due, rate = block.place(passed) - block.repeated, block.place(due), block.rate
            continue
        if passed >= due:
            due += round(every * rate)
            yield StatusEvent(time=now(), state=State.PAUSED, message="paused by MQTT")
        passed += block.size


def _changed(configured: float, in_force: float) -> ChangedValue | None:
    return None if in_force == configured else ChangedValue(in_force, configured)


def _read(path: Path) -> Settings:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Settings)
    except FileNotFoundError:
        return Settings()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        _log.warning("%s: %s (the configuration applies; delete the file to end this warning)", path, error)
        return Settings()
