"""Builds broker, client id and topics from the configuration, for listener, dashboard and `headnod mqtt test`."""

from __future__ import annotations

import socket

from headnod.address import split_address
from headnod.config import MqttSection
from headnod.config.layers import password_file, read_secret, readable_file
from headnod.errors import ConfigError
from headnod.mqtt.broker import Broker, Tls
from headnod.mqtt.topics import DEFAULT_BASE, Topics, is_name

PASSWORD = "mqtt_password"  # noqa: S105 - its name
"""Name of the file, and of the systemd credential, with the broker's password."""


def topics(section: MqttSection) -> Topics:
    """The topics of this listener; its node defaults to the host name.

    Raises:
        ConfigError: A name is not valid in a topic.
    """
    host = socket.gethostname().partition(".")[0]
    if not section.node and not is_name(host):
        message = f"mqtt.node: is empty, and the host name '{host}' cannot be one (write node = \"kitchen\")"
        raise ConfigError(message)
    return Topics(section.base, section.node or host)


def client_id(where: Topics, role: str = "") -> str:
    """The client id of a program: unique for base, node and role, and the same at every start.

    >>> client_id(Topics("headnod", "kitchen")), client_id(Topics("house/one", "kitchen"), "deploy")
    ('headnod-kitchen', 'headnod-house.one.kitchen.deploy')
    """
    # Neither base nor node contains a dot, so ids are unique; some access lists do not accept a slash.
    base = "" if where.base == DEFAULT_BASE else where.base.replace("/", ".") + "."
    return f"headnod-{base}{where.node}" + (f".{role}" if role else "")


def broker(section: MqttSection, *, client_id: str) -> Broker:
    """Address, login and TLS of the broker.

    Raises:
        ConfigError: No broker is set, or the password cannot be read.
    """
    if not section.host:
        message = "mqtt.host: no broker is set (write its name there, or HEADNOD_MQTT__HOST=broker.lan)"
        raise ConfigError(message)
    tls = Tls(
        ca=readable_file("mqtt.ca_file", section.ca_file),
        certificate=readable_file("mqtt.cert_file", section.cert_file),
        key=readable_file("mqtt.key_file", section.key_file),
        insecure=section.insecure,
    )
    return Broker(
        host=section.host if section.transport == "unix" else split_address(section.host)[0],
        port=section.used_port,
        client_id=client_id,
        username=section.username,
        password=_password(section),
        tls=tls if section.tls else None,
        keepalive=section.keepalive,
        spread=section.reconnect_spread,
        protocol=section.protocol,
        transport=section.transport,
        path=section.path or Broker.path,
    )


def _password(section: MqttSection) -> str:
    path = password_file(PASSWORD, "mqtt.password_file", section.password_file)
    if path is None:
        return ""
    password = read_secret("mqtt.password_file", path).removesuffix("\n").removesuffix("\r")
    if not password or "\n" in password or not section.username:
        fault = "a password needs mqtt.username too" if password and "\n" not in password else "is not one line"
        message = f"mqtt.password_file: {path}: {fault}"
        raise ConfigError(message)
    return password
