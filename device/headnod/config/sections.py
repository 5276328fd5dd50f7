"""The sections of the configuration: every key with its type, bounds and default."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from headnod.address import checked_address, split_address
from headnod.errors import AudioError

_LONGEST_SOCKET = 107

Mode = Literal["bars", "mood"]
"""How a strip of LEDs shows genres: a stretch for each, or the whole strip in the colour of the current genre."""


class ModelSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The model, and updates of it."""

    name: str = "genre"
    """A shipped model, with or without its version, or the folder of a bundle."""

    installed: bool = True
    """Whether a model that was installed and activated replaces it."""

    keys: Annotated[tuple[Annotated[str, Meta(max_length=100)], ...], Meta(max_length=2)] = ()
    """Public keys whose signatures are trusted: the current one and the next; empty accepts no signed model."""

    channel: Literal["stable", "canary"] = "stable"
    """Update channel; `canary` gets models before all others."""

    updates: Literal["activate", "offer"] = "activate"
    """Whether a model that was sent is activated at once, or stored until it is activated by request."""

    probation: Annotated[int, Meta(ge=3, le=10_000)] = 10
    """Windows for which a new model is on probation."""


class MicrophoneSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The audio input."""

    device: str = ""
    """A name from `headnod devices`; empty uses a USB microphone if there is one."""

    command: tuple[str, ...] = ()
    """A program that writes raw 16-bit samples, in place of a device."""

    address: str = ""
    """Web radio (http, https) or camera (rtsp, rtsps), in place of a device."""

    rate: Annotated[int, Meta(ge=16_000, le=192_000)] = 22_050
    """Samples per second of that program's output."""

    channels: Annotated[int, Meta(ge=1, le=32)] = 1
    """Channels of that program's output."""

    def __post_init__(self) -> None:
        """Refuse an address that cannot be played.

        Raises:
            ValueError: The message begins with the key.
        """
        try:
            if self.address:
                checked_address(self.address)
        except AudioError as error:
            raise ValueError(f"address: {error}") from None
        if self.address and self.command:
            raise ValueError("address: excludes command (empty one of them)")


class LedsSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One output of lights that shows the scores."""

    kind: Literal["none", "pins", "ws2812", "apa102", "wled"] = "none"
    """LEDs on GPIO pins, a strip on SPI, or a WLED lamp on the network."""

    brightness: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.5
    """Greatest brightness (0-1)."""

    pins: dict[str, Annotated[int, Meta(ge=0, le=27)]] = {}
    """GPIO number of each genre's LED, or of each of the highest bars, "1" the best; empty uses ten default pins."""

    count: Annotated[int, Meta(ge=1, le=1000)] = 60
    """LEDs of the strip or lamp."""

    mode: Mode = "bars"
    """A stretch for every genre, or the whole strip in the colour of the current one."""

    spi: str = "0.0"
    """SPI bus and device of the strip."""

    host: str = ""
    """Name or address of the WLED lamp, with a port after a colon if it is not 4048."""

    order: Literal["", "RGB", "RBG", "GRB", "GBR", "BRG", "BGR"] = ""
    """Order of colours of the strip's chips; empty is GRB for ws2812 and BGR for apa102."""

    rgbw: bool = False
    """Whether each LED has a white one beside red, green and blue (SK6812 RGBW, ws2812 only)."""

    milliamps: Annotated[int, Meta(ge=100, le=100_000)] = 1500
    """Limit of the strip's current: a frame that would draw more is dimmed."""

    active_low: bool = False
    """Whether a pin that is low lights its LED: for LEDs between 3.3 V and the pin."""

    gamma: Annotated[float, Meta(ge=1.0, le=4.0)] = 2.2
    """Exponent that makes half a bar look half as bright; 1 for lights that correct it themselves."""

    def __post_init__(self) -> None:
        """Refuse values that exclude each other.

        Raises:
            ValueError: They do; the message begins with the key.
        """
        if self.rgbw and self.kind == "apa102":
            raise ValueError('rgbw: apa102 have no white LED (write kind = "ws2812" for SK6812 RGBW)')
        if "://" in self.host:
            scheme = self.host.partition("://")[0]
            raise ValueError(
                f"host: '{scheme}://...' is a URL (write the lamp's name or address alone, such as wled.local)"
            )
        _port_of(self.host)

    @property
    def occupied(self) -> list[tuple[str, str]]:
        """What no other output can use, each with its key: pins, an SPI device or a lamp."""
        match self.kind:
            case "pins":
                return [("pins", f"GPIO {number}") for number in sorted(set(self.pins.values()))]
            case "ws2812" | "apa102":
                return [("spi", f"SPI {self.spi}")]
            case "wled" if self.host:
                return [("host", self.host)]
        return []

    @property
    def wires(self) -> tuple[int, ...]:
        """GPIO numbers that a strip needs: data and, for chips with a clock wire, clock."""
        if self.kind not in {"ws2812", "apa102"}:
            return ()
        return {"0": (10, 11), "1": (20, 21)}.get(self.spi.partition(".")[0], ())[: 1 if self.kind == "ws2812" else 2]


class HistorySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The history of estimates and songs."""

    path: str = ""
    """The database; empty keeps it in the state folder of the service or, where a page is served, of the user."""

    days: Annotated[int, Meta(ge=1, le=3650)] = 400
    """Older estimates and songs are deleted."""

    megabytes: Annotated[int, Meta(ge=1, le=4096)] = 64
    """Limit of the database's size: beyond it the oldest estimates are deleted; songs stay for `days`."""

    def __post_init__(self) -> None:
        """Refuse the name of another file of the state folder, which is the folder of the history.

        Raises:
            ValueError: The message begins with the key.
        """
        name = self.path.rpartition("/")[2]
        if name in {"corrections.sqlite", "mqtt.sqlite"}:
            raise ValueError(f"path: {name} in this folder is another file of headnod (write history.sqlite)")


class DashboardSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The page that shows every listener of the broker."""

    host: str = "127.0.0.1"
    """Address to serve it at; any but this machine's own needs a password."""

    port: Annotated[int, Meta(ge=1, le=65_535)] = 8137
    """Port to serve it at."""

    password_file: str = ""
    """File whose first line is the page's password; empty uses /etc/headnod/dashboard_password, or no password."""


class WebSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The page that `headnod listen` serves itself, without a broker."""

    enabled: bool = False
    """Whether the listener serves it."""

    address: str = "127.0.0.1"
    """Address to serve it at; any but this machine's own needs a password, or `open`."""

    port: Annotated[int, Meta(ge=1, le=65_535)] = 8080
    """Port to serve it at."""

    url: Annotated[str, Meta(pattern=r"^((https?|homeassistant)://[!-~]{1,200})?$")] = ""
    """Its address for Home Assistant where a proxy or a container changes it; empty is that of this machine."""

    password_file: str = ""
    """File whose first line is the owner's password; empty uses /etc/headnod/dashboard_password, or no password."""

    reader_password_file: str = ""
    """File whose first line is the password for reading everything and changing nothing; empty for none."""

    open: bool = False
    """Whether reading needs no password; changes need the owner's."""

    certificate: str = ""
    """File with the TLS certificate and its chain; empty serves plain HTTP."""

    key: str = ""
    """Key of the certificate; empty if it is in the same file."""

    frame_ancestors: tuple[str, ...] = ()
    """Pages that may embed this one, such as "http://homeassistant.local:8123"; empty for none."""

    webhooks: Annotated[tuple[str, ...], Meta(max_length=8)] = ()
    """Addresses (http or https) that receive songs and states of the microphone by POST."""

    webhook_key_file: str = ""
    """File whose first line is the key of the signature (HMAC-SHA256) of each POST; empty for none."""


class MqttSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The MQTT broker and topics."""

    host: str = ""
    """Name or address of the broker, with or without its port (`broker.lan:1884`, `[::1]:1883`); empty for none."""

    port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    """Port of the broker; 0 is 1883, 8883 with TLS, and for websockets 80 or 443."""

    transport: Literal["tcp", "websockets", "unix"] = "tcp"
    """How the broker is reached: `unix` is a socket file of this machine, whose path is `host`."""

    path: Annotated[str, Meta(pattern=r"^(/[!-~]{0,255})?$")] = ""
    """Path of the WebSocket's URL; empty is `/mqtt`."""

    node: str = ""
    """Name of this listener in topics; empty uses the host name."""

    base: str = "headnod"
    """First part of every topic."""

    username: str = ""
    """User name at the broker; empty sends none."""

    password_file: str = ""
    """File with the password alone; empty uses /etc/headnod/mqtt_password, a credential of the service."""

    tls: bool = False
    """Whether the connection is encrypted."""

    ca_file: str = ""
    """Certificates that are trusted, in place of the system's."""

    cert_file: str = ""
    """Client certificate, if the broker requires one."""

    key_file: str = ""
    """Key of the client certificate; empty if it is in the same file."""

    insecure: bool = False
    """Whether any certificate of the broker is accepted; for tests only."""

    protocol: Literal[5, 4] = 5
    """5, or 4 for a broker that has MQTT 3.1.1 only (amqtt, aedes), which hides refusals and cannot bound commands."""

    keepalive: Annotated[int, Meta(ge=1, le=600)] = 15
    """MQTT keep-alive in seconds."""

    will_delay: Annotated[int, Meta(ge=0, le=3600)] = 0
    """Seconds that the broker waits for a lost connection to return before it publishes `offline` (MQTT 5)."""

    reconnect_spread: Annotated[float, Meta(ge=0.0, le=3600.0)] = 0.0
    """Seconds over which attempts to connect are spread by chance; for thousands of listeners at one broker."""

    plain_topics: bool = False
    """Whether genre and confidence are also published as plain text, on topics of their own."""

    queue: Annotated[int, Meta(ge=20, le=1_000_000)] = 28_800
    """Limit of estimates and songs that wait for an absent broker: beyond it the oldest are discarded."""

    health_every: Annotated[float, Meta(ge=1.0, le=86_400.0)] = 60.0
    """Seconds between health reports."""

    discovery: bool = True
    """Whether Home Assistant discovery is published."""

    discovery_prefix: str = "homeassistant"
    """First part of the discovery topics."""

    area: Annotated[str, Meta(max_length=100)] = ""
    """Room that is suggested to Home Assistant, such as "Kitchen"."""

    discovery_form: Literal["device", "component"] = "device"
    """`component` is for a Home Assistant older than 2024.11."""

    def __post_init__(self) -> None:
        """Refuse an invalid host.

        Raises:
            ValueError: It is invalid; the message begins with the key.
        """
        if self.transport == "unix":
            if self.path and not self.host:
                msgspec.structs.force_setattr(self, "host", self.path)
            if self.host and not self.host.startswith("/"):
                raise ValueError(
                    f"host: '{self.host}' is not the path of a socket (write it from / on, or transport = \"tcp\")"
                )
            if len(os.fsencode(self.host)) > _LONGEST_SOCKET:
                raise ValueError(
                    f"host: the path of a socket has {_LONGEST_SOCKET} bytes at most (make a shorter link)"
                )
            if self.tls:
                raise ValueError("tls: a socket of this machine is not encrypted (write tls = false)")
            return
        if self.host.startswith("/"):
            raise ValueError(f"host: '{self.host}' is the path of a socket (write transport = \"unix\" beside it)")
        port = _port_of(self.host)
        if port and self.port not in {0, port}:
            raise ValueError(
                f"host: '{self.host}' names port {port}, and mqtt.port is {self.port} (remove one of them)"
            )

    @property
    def used_port(self) -> int:
        """The port, or the usual one of the transport; without a meaning for a Unix socket."""
        if self.transport == "unix":
            return 1
        usual = (443 if self.tls else 80) if self.transport == "websockets" else (8883 if self.tls else 1883)
        return self.port or _port_of(self.host) or usual


class LogSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The log on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level that is logged."""


def _port_of(host: str) -> int:
    try:
        return split_address(host)[1] if host else 0
    except ValueError as error:
        raise ValueError(f"host: {error}") from None
