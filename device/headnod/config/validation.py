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
from urllib.parse import urlsplit

import msgspec

from headnod.address import checked_address, display_address, is_address, split_address
from headnod.config import Config, DashboardSection, MqttSection, WebSection, load, named_outputs
from headnod.config.layers import file_layer
from headnod.errors import AccessError, AudioError, ConfigAccessError, ConfigError, HeadnodError, MissingExtraError
from headnod.inference.manifest import read_manifest
from headnod.resources import configured_model
from headnod.service import MAIN, UNITS, Sandbox, Service, path_exists

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


def validate_history(config: Config, *, of_service: bool) -> None:
    """Check that the history can be written where the configuration places it.

    Args:
        config: The configuration.
        of_service: Whether a service with a user of its own writes it.

    Raises:
        ConfigError: It cannot.
    """
    from headnod.outputs.history import check_kind  # noqa: PLC0415 - loads SQLite

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
            raise ConfigError(f"{path}: {fault}")


def config_errors(
    config: Config, installed_model: Path | None = None, *, of_service: bool = False
) -> list[HeadnodError]:
    """All errors of a configuration; empty if it is valid.

    The installed model replaces the configured one. With `of_service` a service with a user of its own writes the
    history.
    """
    # Also what is switched off, because a flag or one more key switches it on.
    rules: tuple[Rule, ...] = (
        _model,
        _keys,
        _command,
        _lamp_host,
        _strip,
        lambda config: _pins(config, installed_model),
        lambda config: validate_history(config, of_service=of_service),
        lambda config: _broker(_with_broker(config)),
        _dashboard,
        lambda config: _page_address("dashboard.host", config.dashboard.host),
        _web_section,
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
        warnings.append(
            "web.reader_password_file: has no effect beside web.open, which allows reading without a password"
        )
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
        raise ConfigAccessError(f"{setting}: {error}") from error
    except HeadnodError as error:
        raise ConfigError(f"{setting}: {error}") from error


def _keys(config: Config) -> None:
    if config.model.keys:
        from headnod.updates.bundle import decoded_key  # noqa: PLC0415

        for key in config.model.keys:
            decoded_key(key)


def _command(config: Config) -> None:
    command = config.microphone.command
    if command and shutil.which(command[0]) is None:
        raise ConfigError(
            f"microphone.command: '{command[0]}' is not a program of this machine (install it, or write its path)"
        )


def _lamp_host(config: Config) -> None:
    for name, output in named_outputs(config.leds):
        if output.kind == "wled" and not output.host:
            raise ConfigError(f"{name}.host: is empty (write the name or address of the WLED lamp)")


def _strip(config: Config) -> None:
    for name, output in named_outputs(config.leds):
        if not _SPI.match(output.spi):
            raise ConfigError(f"{name}.spi: '{output.spi}' is not an SPI bus and device (write 0.0 or 0.1)")


def _pins(config: Config, installed_model: Path | None) -> None:
    for name, output in named_outputs(config.leds):
        if output.pins:
            _check_pins(name, output.pins, installed_model or configured_model(config.model.name))


def _check_pins(output: str, pins: Mapping[str, int], model: Path) -> None:
    shared = [number for number, times in Counter(pins.values()).items() if times > 1]
    if shared:
        names = ", ".join(f"'{name}'" for name, number in pins.items() if number == shared[0])
        raise ConfigError(
            f"{output}.pins: GPIO {shared[0]} is named more than once, by {names} (give each LED its own pin)"
        )
    from headnod.outputs.leds.gpio import layout_of  # noqa: PLC0415

    with _errors_of(f"{output}.pins"):
        layout_of(pins)
    manifest = read_manifest(model)
    places = all(name.isdecimal() for name in pins)
    unknown = [name for name in pins if not places and normalize("NFC", name) not in manifest.labels]
    if unknown:
        raise ConfigError(
            f"{output}.pins: '{unknown[0]}' is not a genre of {manifest.id} (choose from {', '.join(manifest.labels)}; "
            "or name places of a bar: 1, 2, 3)"
        )


def _broker(config: Config) -> None:
    if config.mqtt.host:
        _names(config)
        _login(config)


def _with_broker(config: Config) -> Config:
    """The configuration with a broker, whose name is not checked, if it has other settings of one."""
    mqtt = config.mqtt
    if mqtt.host or mqtt == MqttSection():
        return config
    host = "/run/broker" if mqtt.transport == "unix" else "localhost"
    return msgspec.structs.replace(config, mqtt=msgspec.structs.replace(mqtt, host=host))


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


def _web(config: Config, *, also_disabled: bool = False) -> None:
    if config.web.enabled or (also_disabled and config.web != WebSection()):
        from headnod.factory.page_factory import web_page  # noqa: PLC0415 - where the page is configured

        # The page's libraries are needed only where it is served.
        with contextlib.nullcontext() if config.web.enabled else contextlib.suppress(MissingExtraError):
            web_page(config)


def _web_section(config: Config) -> None:
    _page_address("web.address", config.web.address)
    _web(config, also_disabled=True)


def _page_address(setting: str, host: str) -> None:
    with _errors_of(setting):
        alone, port = _split(host)
        if alone != host:
            also = f", and {setting.partition('.')[0]}.port = {port}" if port else ""
            raise ConfigError(f"'{host}' is not a host alone (write {alone}{also})")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # Any free port, because the page may be served at present.
        with socket.socket(family, kind) as trial:
            trial.bind(address)
    except OSError as error:
        raise ConfigError(
            f"{setting}: '{host}': {error.strerror} (write an address of this machine, or 0.0.0.0)"
        ) from None


def _split(address: str) -> tuple[str, int]:
    try:
        return split_address(address)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def service_errors(config: Config, service: Service, *, units: Path = UNITS) -> list[HeadnodError]:
    """All settings that a service may not use."""
    sandbox, page = Sandbox(service.unit, units=units), Sandbox("headnod-dashboard.service", units=units)
    found: list[HeadnodError] = []
    if sandbox.installed:
        found += _listener_errors(config, service, sandbox)
    if page.installed and service.name == MAIN:
        section = config.dashboard
        found += _path_errors("dashboard.password_file", section.password_file, page.unreadable)
        found += _error("dashboard.port", section.port, page.refused_port(section.port))
    if service.name != MAIN:
        found += _missing_settings(config, service)
    for other in service.others(units=units):
        found += _shared_settings(config, other)
    return found


def broker_errors(config: Config, service: Service, *, units: Path = UNITS) -> list[HeadnodError]:
    """The errors of `service_errors` about the broker; in addition the broker's name is resolved."""
    sandbox = Sandbox(service.unit, units=units)
    if not sandbox.installed:
        return []
    found = [each for each in service_errors(config, service, units=units) if str(each).startswith("mqtt.")]
    if config.mqtt.transport == "unix":
        return found
    host, _ = split_address(config.mqtt.host)
    if not sandbox.unreachable(host):
        found += _error("mqtt.host", host, _unreachable_name(host, sandbox))
    return found


def _unreachable_name(host: str, sandbox: Sandbox) -> str:
    """Why the service may connect to no address of a name; empty if it may, and for an unknown name."""
    with contextlib.suppress(OSError, UnicodeError):
        addresses = {str(each[4][0]) for each in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
        faults = [sandbox.unreachable(address) for address in sorted(addresses)]
        return faults[0] if all(faults) else ""
    return ""


def _listener_errors(config: Config, service: Service, sandbox: Sandbox) -> Iterator[HeadnodError]:
    mqtt, history, command = config.mqtt, config.history.path, config.microphone.command
    yield from _path_errors("the configuration", str(service.configuration), sandbox.unusable)
    for setting, name in (("model.name", config.model.name), ("microphone.command", command[0] if command else "")):
        # Without a slash it is a shipped model, or a program of the search path.
        yield from _path_errors(setting, name if "/" in name else "", sandbox.unusable)
    yield from _stream_errors(f"--audio of {sandbox.unit}", sandbox.option("--audio"), sandbox)
    yield from _stream_errors("microphone.address", config.microphone.address, sandbox)
    if history:
        try:
            yield from _error("history.path", history, sandbox.unwritable(Path(history), service.state))
        except AccessError as error:
            yield ConfigAccessError(f"history.path: {error}")
    if mqtt.host:
        if mqtt.transport == "unix":
            yield from _path_errors("mqtt.host", mqtt.host, sandbox.unusable)
        else:
            yield from _error("mqtt.host", mqtt.host, sandbox.unreachable(split_address(mqtt.host)[0]))
        for key in ("password_file", "ca_file", "cert_file", "key_file"):
            yield from _path_errors(f"mqtt.{key}", getattr(mqtt, key), sandbox.unreadable)
    yield from _web_errors(config, sandbox)


def _web_errors(config: Config, sandbox: Sandbox) -> Iterator[HeadnodError]:
    """Settings of the page that the listener serves."""
    web = config.web
    if not web.enabled:
        return
    for key in ("password_file", "reader_password_file", "certificate", "key", "webhook_key_file"):
        yield from _path_errors(f"web.{key}", getattr(web, key), sandbox.unreadable)
    yield from _error("web.port", web.port, sandbox.refused_port(web.port))
    for address in web.webhooks:
        host = urlsplit(address).hostname or ""
        yield from _error("web.webhooks", host, sandbox.unreachable(host) or _unreachable_name(host, sandbox))


def _stream_errors(setting: str, audio: str, sandbox: Sandbox) -> Iterator[HeadnodError]:
    """Why the service may not play a web radio or a camera."""
    if not is_address(audio):
        return
    try:
        host = checked_address(audio).hostname or ""
    except AudioError as error:
        yield from _error(setting, display_address(audio), str(error).removeprefix(f"{display_address(audio)}: "))
    else:
        yield from _error(setting, display_address(audio), _unreachable_name(host, sandbox))


def _path_errors(setting: str, name: str, reason: Callable[[Path], str]) -> Iterator[HeadnodError]:
    path = Path(name)
    if not path.is_absolute():
        fault = "depends on the folder that a program starts in, and a service starts in another (write the whole path)"
        yield from _error(setting, name, fault if name else "")
        return
    try:
        # An absent file is an error with or without a service.
        if path_exists(path):
            yield from _error(setting, path, reason(path))
    except AccessError as error:
        yield ConfigAccessError(f"{setting}: {error}")


def _error(setting: str, value: object, fault: str) -> Iterator[HeadnodError]:
    if fault:
        yield ConfigError(f"{setting}: {value}: {fault}")


def _missing_settings(config: Config, service: Service) -> Iterator[HeadnodError]:
    """Settings that a further listener needs, because their defaults belong to the first."""
    if not any((config.microphone.device, config.microphone.command, config.microphone.address)):
        yield ConfigError(
            f"microphone.device: is empty, and {service.unit} would use the microphone of headnod.service "
            "('headnod devices' lists them; set it in headnod.toml, too)"
        )
    if config.mqtt.host and not config.mqtt.node:
        yield ConfigError(
            f'mqtt.node: is empty, and headnod.service has the host name already (write node = "{service.name}")'
        )


def _shared_settings(config: Config, other: Path) -> Iterator[HeadnodError]:
    """Settings that two listeners of one machine cannot share."""
    try:
        its = load(file_layer(other, required=True)).config
    except ConfigError:
        # That listener does not start, and has a check of its own.
        return
    device, mqtt, web = config.microphone.device, config.mqtt, config.web
    if web.enabled and its.web.enabled and web.port == its.web.port:
        yield ConfigError(f"web.port: {web.port} is the port of the listener of {other}, too (give each page its own)")
    if device and not config.microphone.command and device == its.microphone.device and not its.microphone.command:
        yield ConfigError(
            f"microphone.device: '{device}' is the microphone of {other}, too (give each listener its own)"
        )
    if mqtt.host and mqtt.node and (mqtt.host, mqtt.base, mqtt.node) == (its.mqtt.host, its.mqtt.base, its.mqtt.node):
        yield ConfigError(f"mqtt.node: '{mqtt.node}' is the name of the listener of {other}, too (give each its own)")
