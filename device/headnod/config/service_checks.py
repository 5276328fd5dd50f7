"""Settings that an installed service may not use, though the user who checks them may."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from headnod.address import checked_address, display_address, is_address, split_address
from headnod.config import Config, load
from headnod.config.layers import file_layer
from headnod.errors import AccessError, AudioError, ConfigAccessError, ConfigError, HeadnodError
from headnod.service import MAIN, UNITS, Sandbox, Service, path_exists


def service_errors(config: Config, service: Service, *, units: Path = UNITS) -> list[HeadnodError]:
    """All settings that a service may not use.

    Args:
        config: The configuration.
        service: The service that has this configuration.
        units: Folder of the units.
    """
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
        message = f"{setting}: {value}: {fault}"
        yield ConfigError(message)


def _missing_settings(config: Config, service: Service) -> Iterator[HeadnodError]:
    """Settings that a further listener needs, because their defaults belong to the first."""
    if not any((config.microphone.device, config.microphone.command, config.microphone.address)):
        message = (
            f"microphone.device: is empty, and {service.unit} would want the microphone of headnod.service "
            "('headnod devices' lists them; set it in headnod.toml, too)"
        )
        yield ConfigError(message)
    if config.mqtt.host and not config.mqtt.node:
        message = f'mqtt.node: is empty, and headnod.service has the host name already (write node = "{service.name}")'
        yield ConfigError(message)


def _shared_settings(config: Config, other: Path) -> Iterator[HeadnodError]:
    """Settings that two listeners of one machine cannot share."""
    try:
        its = load(file_layer(other, required=True)).config
    except ConfigError:
        # That listener does not start, and has a check of its own.
        return
    device, mqtt, web = config.microphone.device, config.mqtt, config.web
    if web.enabled and its.web.enabled and web.port == its.web.port:
        message = f"web.port: {web.port} is the port of the listener of {other}, too (give each page its own)"
        yield ConfigError(message)
    if device and not config.microphone.command and device == its.microphone.device and not its.microphone.command:
        message = f"microphone.device: '{device}' is the microphone of {other}, too (give each listener its own)"
        yield ConfigError(message)
    if mqtt.host and mqtt.node and (mqtt.host, mqtt.base, mqtt.node) == (its.mqtt.host, its.mqtt.base, its.mqtt.node):
        message = f"mqtt.node: '{mqtt.node}' is the name of the listener of {other}, too (give each its own)"
        yield ConfigError(message)
