"""Outputs, built from the configuration and the command line, and the folders that they write to."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from headnod.config import Config, HistorySection, LedsSection
from headnod.errors import ConfigError, LedError
from headnod.extras import how_to_install
from headnod.outputs import Sink, close_all
from headnod.outputs.leds.lamp import Lamp
from headnod.outputs.leds.layouts import LAYOUTS, Layout
from headnod.pipeline.estimate import utc_now
from headnod.service import HISTORY_FILE, Service

_log = logging.getLogger(__name__)


def view(kind: str, source: str) -> list[Sink]:
    """The output on the terminal.

    Args:
        kind: `auto`, `plain`, `json` or `none`.
        source: Name of the audio source, for the title.

    Raises:
        ConfigError: The histogram's library is missing.
    """
    from headnod.outputs.text import Journal, JsonLines, PlainLines  # noqa: PLC0415

    if kind == "none":
        return [Journal()]
    if kind == "json":
        return [JsonLines(sys.stdout)]
    if kind == "plain" or not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return [PlainLines(sys.stdout)]
    try:
        from headnod.outputs.terminal import Terminal  # noqa: PLC0415
    except ImportError:
        message = f"the histogram needs rich: {how_to_install('device')}, or use --plain"
        raise ConfigError(message) from None
    return [Terminal(source=source)]


def leds(sections: Iterable[LedsSection]) -> list[Sink]:
    """The LEDs; each output that cannot be opened is a warning and left out.

    Raises:
        ConfigError: A section lacks a value.
    """
    opened: list[Sink] = []
    try:
        for section in sections:
            if section.kind != "none":
                opened += _led_sinks(section)
    except BaseException:
        close_all(opened)
        raise
    return opened


def _led_sinks(section: LedsSection) -> list[Sink]:
    from headnod.outputs.leds.lamp import AnimatedSink, LedSink  # noqa: PLC0415

    try:
        lit = lamp(section)
        try:
            return [AnimatedSink(LedSink(lit))]
        except BaseException:
            lit.close()
            raise
    except LedError as error:
        _log.warning("%s; the listener goes on without these LEDs", error)
        return []


def lamp(section: LedsSection) -> Lamp:
    """Open the LEDs of a section.

    Raises:
        LedError: They cannot be opened.
        ConfigError: The section lacks a value.
    """
    match section.kind:
        case "pins":
            from headnod.outputs.leds.gpio import GpioLeds  # noqa: PLC0415

            return GpioLeds(section)
        case "ws2812" | "apa102":
            from headnod.outputs.leds.spi import SpiStrip, open_spi  # noqa: PLC0415

            return SpiStrip(section, open_spi(section))
        case "wled":
            from headnod.outputs.leds.wled import WledLamp  # noqa: PLC0415

            if not section.host:
                message = "leds.host: is empty (write the name or address of the WLED lamp)"
                raise ConfigError(message)
            return WledLamp(section)
    message = f"leds.kind: '{section.kind}' is not a kind of LEDs"
    raise ConfigError(message)


def layout(section: LedsSection) -> tuple[Layout, int]:
    """Layout and number of the LEDs of a section; nothing is opened."""
    if section.kind in {"none", "pins"}:
        from headnod.outputs.leds.gpio import PINS, layout_of  # noqa: PLC0415

        pins = section.pins or PINS
        return layout_of(pins), len(pins)
    return LAYOUTS[section.mode], section.count


def recorded(config: Config) -> bool:
    """Whether estimates leave the terminal: to a broker, a history, LEDs or systemd."""
    elsewhere = config.mqtt.host or any(output.kind != "none" for output in config.leds) or history_path(config.history)
    return bool(elsewhere) or "NOTIFY_SOCKET" in os.environ


def runtime_folder() -> Path | None:
    """The folder in memory that systemd gives to a service or to a user's session; None where there is none."""
    given = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    session = os.environ.get("XDG_RUNTIME_DIR", "")
    # `su` and `sudo -E` leave the folder of the former user in the environment.
    if not given and os.access(session, os.W_OK | os.X_OK):
        given = session
    return Path(given) if given else None


def latest() -> list[Sink]:
    """The file that `headnod why` reads, where there is a folder in memory for it."""
    from headnod.outputs.latest import FILE, LatestFile  # noqa: PLC0415

    folder = runtime_folder()
    return [LatestFile(folder / FILE)] if folder is not None and folder.is_dir() else []


def history(section: HistorySection) -> list[Sink]:
    """The history, if a path is known."""
    path = history_path(section)
    if path is None:
        return []
    from headnod.outputs.history.recorder import HistoryRecorder  # noqa: PLC0415
    from headnod.pipeline.songs import SongSegmenter, SongSettings  # noqa: PLC0415

    return [HistoryRecorder(path, SongSegmenter(SongSettings()), section, now=utc_now)]


def given_state() -> Path | None:
    """The state folder from systemd (STATE_DIRECTORY); None outside a service."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(given) if given else None


def state_folder(section: HistorySection) -> Path | None:
    """The service's state folder, otherwise the folder of the history, otherwise None."""
    history = history_path(section)
    return given_state() or (history and history.parent)


def state_beside(section: HistorySection, service: Service | None) -> Path | None:
    """The state folder that a command shares with the listener of the same configuration.

    Args:
        section: The history.
        service: The installed service of the configuration, if there is one.
    """
    # lexists: the folder can be a link into one that only root may enter.
    if given_state() is None and service is not None and os.path.lexists(service.state):
        return service.state
    own = user_state()
    return state_folder(section) or (own if own is not None and own.is_dir() else None)


def user_state() -> Path | None:
    """The state folder of a listener with a page that is no service: `$XDG_STATE_HOME/headnod`; None without a home.

    Source: XDG Base Directory Specification 0.8, XDG_STATE_HOME.
    """
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    folder = given if given.is_absolute() else Path(os.path.expanduser("~/.local/state"))  # noqa: PTH111 - raises nothing
    return folder / "headnod" if folder.is_absolute() else None


def with_user_history(config: Config) -> Config:
    """Where a page is served, the configuration with a history in the user's state folder if it has none."""
    folder = user_state()
    if not config.web.enabled or history_path(config.history) is not None or folder is None:
        return config
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        _log.warning("%s: %s; the page keeps no history (set history.path)", folder, (error.strerror or "").lower())
        return config
    return replace(config, history=replace(config.history, path=str(folder / HISTORY_FILE)))


def history_path(section: HistorySection) -> Path | None:
    """The file of the history: as configured, or in the service's state folder, otherwise None."""
    if section.path:
        return Path(section.path)
    state = given_state()
    return state / HISTORY_FILE if state else None
