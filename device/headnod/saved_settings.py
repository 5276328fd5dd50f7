"""What a person set by MQTT (pause, threshold, brightness), kept in the state folder.

A setting lasts until it is set again or reset, also over a restart. It gives way
when its value in the configuration is changed: whoever wrote last is followed.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from headnod.config import Config
from headnod.files import write_atomically

SETTINGS_FILE = "settings.json"
"""What it is called in the state folder."""

_log = logging.getLogger(__name__)

Share = Annotated[float, Meta(ge=0.0, le=1.0)]


class ChangedValue(msgspec.Struct, frozen=True):
    """A value that was set by MQTT."""

    value: Share
    """What was set."""

    configured: Share
    """What the configuration said when it was set."""


class Settings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was set by MQTT; an absent value is the configuration's."""

    paused: bool = False
    """No estimates are made."""

    certainty: ChangedValue | None = None
    """`listen.certainty`."""

    brightness: ChangedValue | None = None
    """`leds.brightness`."""


class SavedSettings:
    """The settings, in a file that is replaced as a whole."""

    def __init__(self, state: Path | None) -> None:
        """Read them from a state folder; without one they last as long as this object."""
        self._path = state and state / SETTINGS_FILE
        self.settings = Settings() if self._path is None else _read(self._path)

    def applied(self, config: Config) -> Config:
        """A configuration with what was set; it is unchanged without a broker, by which a setting could be undone."""
        if not config.mqtt.host:
            return config
        certainty, brightness = self.settings.certainty, self.settings.brightness
        if certainty is not None and certainty.configured == config.listen.certainty:
            config = replace(config, listen=replace(config.listen, certainty=certainty.value))
        if brightness is not None and brightness.configured == config.brightness:
            config = config.with_brightness(brightness.value)
        return config

    def keep(self, configured: Config, in_force: Config, *, paused: bool) -> None:
        """Keep what differs between the configuration as it was read and the one in force."""
        settings = Settings(
            paused=paused,
            certainty=_changed(configured.listen.certainty, in_force.listen.certainty),
            brightness=_changed(configured.brightness, in_force.brightness),
        )
        if settings == self.settings:
            return
        self.settings = settings
        if self._path is None:
            return
        try:
            write_atomically(self._path, msgspec.json.encode(settings) + b"\n")
        except OSError as error:
            _log.warning("%s: %s (what was set by MQTT is lost at the end)", self._path, error.strerror)


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
