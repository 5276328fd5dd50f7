"""Checks of a configuration beyond the types and bounds of its keys.

The listener and the dashboard raise the first error of the parts that they use;
`headnod config check` shows every error of every part. Each rule calls the code that
would fail in the program itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize

from headnod.config import Config, DashboardSection, WebSection, named_outputs
from headnod.errors import AccessError, ConfigAccessError, ConfigError, HeadnodError
from headnod.inference.bundle_files import read_manifest
from headnod.resources import configured_model
from headnod.service import path_exists

if TYPE_CHECKING:
    from headnod.dashboard import PageSettings

Rule = Callable[[Config], object]
"""Raises the error of a configuration."""

_SPI = re.compile(r"\A\d{1,2}\.\d{1,2}\Z")


def validate_listener(config: Config) -> Config:
    """Check what `headnod listen` cannot start without.

    Raises:
        ConfigError: A setting is invalid; the message names key, value and way out.
    """
    for rule in (_keys, _lamp_host, _broker, _web):
        rule(config)
    return config


def validate_dashboard(config: Config) -> PageSettings:
    """Check the settings that `headnod dashboard` uses; returns those of its page.

    Raises:
        ConfigError: A setting is invalid.
    """
    # The broker first, because the dashboard cannot work without one.
    _names(config)
    _login(config)
    from headnod.factory.page_factory import dashboard_page  # noqa: PLC0415 - for the dashboard only

    return dashboard_page(config)


def config_errors(
    config: Config, installed_model: Path | None = None, *, of_service: bool = False
) -> list[HeadnodError]:
    """All errors of a configuration; empty if it is valid.

    Args:
        config: The configuration.
        installed_model: Folder of the installed model, which replaces the configured one.
        of_service: Whether a service with a user of its own writes the history.
    """
    rules: tuple[Rule, ...] = (
        _model,
        _keys,
        _command,
        _lamp_host,
        _strip,
        lambda config: _pins(config, installed_model),
        lambda config: _history(config, of_service=of_service),
        _broker,
        _dashboard,
        lambda config: _page_address("dashboard.host", config.dashboard.host),
        _web,
        lambda config: _page_address("web.address", config.web.address),
    )
    found: list[HeadnodError] = []
    for rule in rules:
        try:
            rule(config)
        except HeadnodError as error:
            found.append(error)
    return found


def ineffective_settings(config: Config) -> list[str]:
    """Warnings about settings that have no effect beside the others."""
    mqtt, microphone, warnings = config.mqtt, config.microphone, []
    if mqtt.host and not mqtt.tls:
        warnings += [
            f"mqtt.{key}: has no effect, and nothing is encrypted, as long as mqtt.tls is false (set it to true)"
            for key in ("ca_file", "cert_file", "key_file", "insecure")
            if getattr(mqtt, key)
        ]
    if mqtt.path and mqtt.transport == "tcp":
        warnings.append('mqtt.path: has no effect with mqtt.transport = "tcp" (write "websockets" there)')
    if mqtt.will_delay and mqtt.protocol != 5:  # noqa: PLR2004 - MQTT 5
        warnings.append("mqtt.will_delay: has no effect with MQTT 3.1.1 (mqtt.protocol = 4)")
    if mqtt.key_file and not mqtt.cert_file:
        warnings.append("mqtt.key_file: has no effect without mqtt.cert_file, the certificate that it belongs to")
    if microphone.command and microphone.device:
        warnings.append("microphone.device: has no effect beside microphone.command (empty one of them)")
    if microphone.address and microphone.device:
        warnings.append("microphone.device: has no effect beside microphone.address (empty one of them)")
    if config.dashboard != DashboardSection() and not mqtt.host:
        warnings.append("dashboard: is served only where a broker is set (mqtt.host)")
    return warnings + _ineffective_web(config.web)


def _ineffective_web(web: WebSection) -> list[str]:
    warnings = []
    if web != WebSection() and not web.enabled:
        warnings.append("web: the page is served only with web.enabled = true, or with --web")
    if web.webhook_key_file and not web.webhooks:
        warnings.append("web.webhook_key_file: has no effect without web.webhooks")
    if web.reader_password_file and web.open:
        warnings.append("web.reader_password_file: has no effect beside web.open, which lets everyone read")
    return warnings


def _model(config: Config) -> None:
    from headnod.inference.model import GenreModel  # noqa: PLC0415 - loads the runtime

    folder = configured_model(config.model.name)
    with _errors_of("model.name"):
        GenreModel.load(folder)


@contextlib.contextmanager
def _errors_of(setting: str) -> Iterator[None]:
    """Puts a setting before each error, so that `Loaded.located` finds its origin."""
    try:
        yield
    except AccessError as error:
        message = f"{setting}: {error}"
        raise ConfigAccessError(message) from error
    except HeadnodError as error:
        message = f"{setting}: {error}"
        raise ConfigError(message) from error


def _history(config: Config, *, of_service: bool) -> None:
    from headnod.outputs.history.database import check_kind  # noqa: PLC0415 - loads SQLite

    if not config.history.path:
        return
    path = Path(config.history.path)
    folder, fault = path.parent, ""
    with _errors_of("history.path"):
        if not path_exists(folder):
            fault = f"there is no folder {folder} (make it with mkdir -p, or set another history.path)"
        elif not folder.is_dir():
            fault = f"{folder} is not a folder (set another history.path)"
        elif not of_service and not os.access(folder, os.W_OK | os.X_OK):
            fault = f"this user may not write into {folder} (change its owner or mode, or set another history.path)"
        else:
            check_kind(path)
            if not of_service and path_exists(path) and not os.access(path, os.W_OK):
                fault = "this user may not write to it (change its owner or mode, or set another history.path)"
        if fault:
            message = f"{path}: {fault}"
            raise ConfigError(message)


def _keys(config: Config) -> None:
    if config.model.keys:
        from headnod.updates.bundle import decoded_key  # noqa: PLC0415

        for key in config.model.keys:
            decoded_key(key)


def _command(config: Config) -> None:
    command = config.microphone.command
    if command and shutil.which(command[0]) is None:
        message = f"microphone.command: '{command[0]}' is not a program of this machine (install it, or write its path)"
        raise ConfigError(message)


def _lamp_host(config: Config) -> None:
    for name, output in named_outputs(config.leds):
        if output.kind == "wled" and not output.host:
            message = f"{name}.host: is empty (write the name or address of the WLED lamp)"
            raise ConfigError(message)


def _strip(config: Config) -> None:
    for name, output in named_outputs(config.leds):
        if output.kind in {"ws2812", "apa102"} and not _SPI.match(output.spi):
            message = f"{name}.spi: '{output.spi}' is not an SPI bus and device (write 0.0 or 0.1)"
            raise ConfigError(message)


def _pins(config: Config, installed_model: Path | None) -> None:
    for name, output in named_outputs(config.leds):
        if output.kind == "pins" and output.pins:
            _check_pins(name, output.pins, installed_model or configured_model(config.model.name))


def _check_pins(output: str, pins: Mapping[str, int], model: Path) -> None:
    shared = [number for number, times in Counter(pins.values()).items() if times > 1]
    if shared:
        names = ", ".join(f"'{name}'" for name, number in pins.items() if number == shared[0])
        message = f"{output}.pins: GPIO {shared[0]} is named more than once, by {names} (give each LED its own pin)"
        raise ConfigError(message)
    from headnod.outputs.leds.gpio import layout_of  # noqa: PLC0415

    with _errors_of(f"{output}.pins"):
        layout_of(pins)
    manifest = read_manifest(model)
    places = all(name.isdecimal() for name in pins)
    unknown = [name for name in pins if not places and normalize("NFC", name) not in manifest.labels]
    if unknown:
        message = (
            f"{output}.pins: '{unknown[0]}' is not a genre of {manifest.id} (choose from {', '.join(manifest.labels)}; "
            "or name places of a bar: 1, 2, 3)"
        )
        raise ConfigError(message)


def _broker(config: Config) -> None:
    if config.mqtt.host:
        _names(config)
        _login(config)


def _names(config: Config) -> None:
    from headnod.factory.mqtt_factory import topics  # noqa: PLC0415 - MQTT is loaded where it is configured
    from headnod.mqtt.homeassistant import check_prefix  # noqa: PLC0415

    check_prefix(config.mqtt.discovery_prefix, topics(config.mqtt))


def _login(config: Config) -> None:
    from headnod.factory.mqtt_factory import broker  # noqa: PLC0415

    found = broker(config.mqtt, client_id="headnod")
    if found.tls is not None:
        found.tls.context()


def _dashboard(config: Config) -> None:
    from headnod.factory.page_factory import dashboard_password  # noqa: PLC0415

    dashboard_password(config.dashboard)


def _web(config: Config) -> None:
    if config.web.enabled:
        from headnod.factory.page_factory import web_page  # noqa: PLC0415 - where the page is served

        web_page(config)


def _page_address(setting: str, host: str) -> None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # Any free port, because the page may be served at present.
        with socket.socket(family, kind) as trial:
            trial.bind(address)
    except OSError as error:
        message = f"{setting}: '{host}': {error.strerror} (write an address of this machine, or 0.0.0.0)"
        raise ConfigError(message) from None
