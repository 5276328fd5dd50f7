"""What a configuration is refused for, beyond the types and bounds of its keys.

The listener and the dashboard raise the first refusal of the parts that they use; `headnod config check` shows every
refusal of every part. Each rule calls the code that the program itself would stumble over.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize

from headnod.address import split_address
from headnod.audio.web_address import checked_address, is_address, shown
from headnod.config import Config, DashboardSection, load, named_outputs
from headnod.config.credentials import password_file
from headnod.config.layers import file_layer
from headnod.errors import AccessError, AudioError, ConfigAccessError, ConfigError, HeadnodError
from headnod.inference.bundle_files import read_manifest
from headnod.resources import configured_model
from headnod.sandbox import UNITS, Sandbox
from headnod.service import MAIN, Service, path_exists

if TYPE_CHECKING:
    from headnod.dashboard.auth import Authenticator

DASHBOARD_PASSWORD = "dashboard_password"  # noqa: S105 - its name
"""The file and the credential of systemd that hold the page's password."""

Rule = Callable[[Config], object]
"""Raises what a configuration is refused for."""

_SPI = re.compile(r"\A\d{1,2}\.\d{1,2}\Z")


def validate_listener(config: Config) -> Config:
    """The configuration, if `headnod listen` may try it.

    Raises:
        ConfigError: It may not; the message names key, value and way out.
    """
    for rule in (_keys, _lamp_host, _broker):
        rule(config)
    return config


def validate_dashboard(config: Config) -> Authenticator:
    """The rule of access to the page, if `headnod dashboard` may serve it with this configuration.

    Raises:
        ConfigError: It may not.
    """
    # In this order, because the dashboard is of no use without a broker.
    _names(config)
    _login(config)
    return access(config.dashboard)


def config_errors(
    config: Config, installed_model: Path | None = None, *, of_service: bool = False
) -> list[HeadnodError]:
    """Everything that this configuration is refused for; empty if it can be used.

    Args:
        config: The configuration.
        installed_model: The folder of the model that was installed and activated, which goes before the configured one.
        of_service: A service with a user of its own writes the history, not the user who checks.
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
        lambda config: access(config.dashboard),
        _page_address,
    )
    found: list[HeadnodError] = []
    for rule in rules:
        try:
            rule(config)
        except HeadnodError as error:
            found.append(error)
    return found


def service_errors(config: Config, service: Service, *, units: Path = UNITS) -> list[HeadnodError]:
    """Everything that a service may not use of a configuration, though the person who checks it may.

    Args:
        config: The configuration.
        service: The service that has it.
        units: Where units are.
    """
    sandbox, page = Sandbox(service.unit, units=units), Sandbox("headnod-dashboard.service", units=units)
    found: list[HeadnodError] = []
    if sandbox.installed:
        found += _listener_rights(config, service, sandbox)
    if page.installed and service.name == MAIN:
        section = config.dashboard
        found += _rights("dashboard.password_file", section.password_file, page.unreadable)
        found += _refusal("dashboard.port", section.port, page.refused_port(section.port))
    if service.name != MAIN:
        found += _own(config, service)
    for other in service.others(units=units):
        found += _shared(config, other)
    return found


def broker_errors(config: Config, service: Service, *, units: Path = UNITS) -> list[HeadnodError]:
    """What keeps a service from the broker, though the person who tests the way there may go it.

    Unlike `service_errors`, the broker's name is looked up.
    """
    sandbox = Sandbox(service.unit, units=units)
    if not sandbox.installed:
        return []
    found = [each for each in service_errors(config, service, units=units) if str(each).startswith("mqtt.")]
    host, _ = split_address(config.mqtt.host)
    if not sandbox.unreachable(host):
        found += _refusal("mqtt.host", host, _unreachable_name(host, sandbox))
    return found


def _unreachable_name(host: str, sandbox: Sandbox) -> str:
    """Why the service may talk to none of the addresses of a name; empty if it may, and where the name is unknown."""
    with contextlib.suppress(OSError, UnicodeError):
        addresses = {str(each[4][0]) for each in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
        faults = [sandbox.unreachable(address) for address in sorted(addresses)]
        return faults[0] if all(faults) else ""
    return ""


def _listener_rights(config: Config, service: Service, sandbox: Sandbox) -> Iterator[HeadnodError]:
    mqtt, history, command = config.mqtt, config.history.path, config.microphone.command
    yield from _rights("the configuration", str(service.configuration), sandbox.unusable)
    yield from _rights("model.name", config.model.name, sandbox.unusable)
    yield from _rights("microphone.command", command[0] if command else "", sandbox.unusable)
    yield from _radio_rights(sandbox)
    if history:
        try:
            yield from _refusal("history.path", history, sandbox.unwritable(Path(history), service.state))
        except AccessError as error:
            yield ConfigAccessError(f"history.path: {error}")
    if mqtt.host:
        yield from _refusal("mqtt.host", mqtt.host, sandbox.unreachable(split_address(mqtt.host)[0]))
        for key in ("password_file", "ca_file", "cert_file", "key_file"):
            yield from _rights(f"mqtt.{key}", getattr(mqtt, key), sandbox.unreadable)


def _radio_rights(sandbox: Sandbox) -> Iterator[HeadnodError]:
    """What keeps the service from the web radio that its command line names."""
    audio = sandbox.option("--audio")
    if not is_address(audio):
        return
    setting = f"--audio of {sandbox.unit}"
    try:
        host = checked_address(audio).hostname or ""
    except AudioError as error:
        yield from _refusal(setting, shown(audio), str(error).removeprefix(f"{shown(audio)}: "))
    else:
        yield from _refusal(setting, shown(audio), _unreachable_name(host, sandbox))


def _rights(setting: str, name: str, reason: Callable[[Path], str]) -> Iterator[HeadnodError]:
    path = Path(name)
    try:
        # A file that is absent is refused with or without a service.
        if name and path.is_absolute() and path_exists(path):
            yield from _refusal(setting, path, reason(path))
    except AccessError as error:
        yield ConfigAccessError(f"{setting}: {error}")


def _refusal(setting: str, value: object, fault: str) -> Iterator[HeadnodError]:
    if fault:
        message = f"{setting}: {value}: {fault}"
        yield ConfigError(message)


def _own(config: Config, service: Service) -> Iterator[HeadnodError]:
    """What a further listener must have for itself, because defaults are those of the first."""
    if not config.microphone.device and not config.microphone.command:
        message = (
            f"microphone.device: is empty, and {service.unit} would want the microphone of headnod.service "
            "('headnod devices' lists them; set it in headnod.toml, too)"
        )
        yield ConfigError(message)
    if config.mqtt.host and not config.mqtt.node:
        message = f'mqtt.node: is empty, and headnod.service has the host name already (write node = "{service.name}")'
        yield ConfigError(message)


def _shared(config: Config, other: Path) -> Iterator[HeadnodError]:
    """What two listeners on one machine cannot both have."""
    try:
        its = load(file_layer(other, required=True)).config
    except ConfigError:
        # It does not run, and its own check says why.
        return
    device, mqtt = config.microphone.device, config.mqtt
    if device and not config.microphone.command and device == its.microphone.device and not its.microphone.command:
        message = f"microphone.device: '{device}' is the microphone of {other}, too (give each listener its own)"
        yield ConfigError(message)
    if mqtt.host and mqtt.node and (mqtt.host, mqtt.base, mqtt.node) == (its.mqtt.host, its.mqtt.base, its.mqtt.node):
        message = f"mqtt.node: '{mqtt.node}' is the name of the listener of {other}, too (give each its own)"
        yield ConfigError(message)


def ineffective_settings(config: Config) -> list[str]:
    """Settings that have no effect beside the others, a line each."""
    mqtt, microphone, told = config.mqtt, config.microphone, []
    if mqtt.host and not mqtt.tls:
        told += [
            f"mqtt.{key}: has no effect, and nothing is encrypted, as long as mqtt.tls is false (set it to true)"
            for key in ("ca_file", "cert_file", "key_file", "insecure")
            if getattr(mqtt, key)
        ]
    if mqtt.key_file and not mqtt.cert_file:
        told.append("mqtt.key_file: has no effect without mqtt.cert_file, the certificate that it belongs to")
    if microphone.command and microphone.device:
        told.append("microphone.device: has no effect beside microphone.command (empty one of them)")
    if config.dashboard != DashboardSection() and not mqtt.host:
        told.append("dashboard: is served only where a broker is set (mqtt.host)")
    return told


def access(section: DashboardSection) -> Authenticator:
    """Who may look at the page.

    Raises:
        ConfigError: It would be open to others without a password, or the password cannot be used.
    """
    from headnod.dashboard.auth import Authenticator, is_local, password_from  # noqa: PLC0415 - for the dashboard only

    path = password_file(DASHBOARD_PASSWORD, "dashboard.password_file", section.password_file)
    if path is None and not is_local(section.host):
        message = (
            f"dashboard.host: '{section.host}' is open to others, and dashboard.password_file is empty "
            "(write a password into /etc/headnod/dashboard_password, or into a file that you name there, "
            "or serve at 127.0.0.1)"
        )
        raise ConfigError(message)
    return Authenticator(None if path is None else password_from(path), monotonic=time.monotonic)


def _model(config: Config) -> None:
    from headnod.inference.model import GenreModel  # noqa: PLC0415 - loads the runtime

    folder = configured_model(config.model.name)
    with _setting("model.name"):
        GenreModel.load(folder)


@contextlib.contextmanager
def _setting(name: str) -> Iterator[None]:
    """Puts the name of a setting before each error, so that its line in the file can be found."""
    try:
        yield
    except AccessError as error:
        message = f"{name}: {error}"
        raise ConfigAccessError(message) from error
    except HeadnodError as error:
        message = f"{name}: {error}"
        raise ConfigError(message) from error


def _history(config: Config, *, of_service: bool) -> None:
    from headnod.outputs.history.database import check_kind  # noqa: PLC0415 - loads SQLite

    if not config.history.path:
        return
    path = Path(config.history.path)
    folder, fault = path.parent, ""
    with _setting("history.path"):
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
        from headnod.updates.signature import decoded  # noqa: PLC0415

        for key in config.model.keys:
            decoded(key)


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

    try:
        layout_of(pins)
    except HeadnodError as error:
        message = f"{output}.pins: {error}"
        raise ConfigError(message) from error
    manifest = read_manifest(model)
    places = all(name.isdecimal() for name in pins)
    strange = [name for name in pins if not places and normalize("NFC", name) not in manifest.labels]
    if strange:
        message = (
            f"{output}.pins: '{strange[0]}' is not a genre of {manifest.id} (choose from {', '.join(manifest.labels)}; "
            "or name places of a bar: 1, 2, 3)"
        )
        raise ConfigError(message)


def _broker(config: Config) -> None:
    if config.mqtt.host:
        _names(config)
        _login(config)


def _names(config: Config) -> None:
    from headnod.factory.broker_factory import topics  # noqa: PLC0415 - MQTT is loaded where it is configured
    from headnod.mqtt.homeassistant import check_prefix  # noqa: PLC0415

    check_prefix(config.mqtt.discovery_prefix, topics(config.mqtt))


def _login(config: Config) -> None:
    from headnod.factory.broker_factory import broker  # noqa: PLC0415

    reached = broker(config.mqtt, client_id="headnod")
    if reached.tls is not None:
        reached.tls.context()


def _page_address(config: Config) -> None:
    section = config.dashboard
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            section.host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Any free port: the page itself may be served just now.
        with socket.socket(family, kind) as trial:
            trial.bind(address)
    except OSError as error:
        message = f"dashboard.host: '{section.host}': {error.strerror} (write an address of this machine, or 0.0.0.0)"
        raise ConfigError(message) from None
