"""The sections of the configuration: every key of them with its type, its bounds and its default."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from headnod.address import split_address


class ModelSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which model listens."""

    name: str = "genre"
    """A shipped model, with its version or without, or a bundle's folder."""

    installed: bool = True
    """A model that was installed and activated goes before that."""

    keys: Annotated[tuple[Annotated[str, Meta(max_length=100)], ...], Meta(max_length=2)] = ()
    """Public keys of who may send models: the present one and the next; empty takes none."""

    channel: Literal["stable", "canary"] = "stable"
    """Whose models are taken: everybody's, or those that are tried first."""

    updates: Literal["activate", "offer"] = "activate"
    """Let a model that was sent listen at once, or keep it until somebody asks for it."""

    probation: Annotated[int, Meta(ge=3, le=10_000)] = 10
    """Windows that a new model is watched for, before it is kept."""


class MicrophoneSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What hears the room."""

    device: str = ""
    """A name as `headnod devices` gives it; empty takes a USB microphone if there is one."""

    command: tuple[str, ...] = ()
    """A program that writes raw 16-bit samples, in place of a device."""

    rate: Annotated[int, Meta(ge=16_000, le=192_000)] = 22_050
    """Samples per second of that program's output."""

    channels: Annotated[int, Meta(ge=1, le=32)] = 1
    """Channels of that program's output."""


class LedsSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lights that show the scores."""

    kind: Literal["none", "pins", "ws2812", "apa102", "wled"] = "none"
    """Single LEDs on GPIO pins, a strip on SPI, or a WLED lamp in the network."""

    brightness: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.5
    """Of full brightness (0-1)."""

    pins: dict[str, Annotated[int, Meta(ge=0, le=27)]] = {}
    """GPIO number of each genre's LED; or of each place of a bar, "1" the best."""

    count: Annotated[int, Meta(ge=1, le=1000)] = 60
    """LEDs of the strip or lamp."""

    mode: Literal["bars", "mood"] = "bars"
    """A stretch for every genre, or the whole strip in the colour of the one that plays."""

    spi: str = "0.0"
    """SPI bus and device of the strip."""

    host: str = ""
    """Name or address of the WLED lamp, with a port after a colon if it is not 4048."""

    order: Literal["", "RGB", "RBG", "GRB", "GBR", "BRG", "BGR"] = ""
    """Order of colours that the strip's chips expect; empty is GRB for ws2812 and BGR for apa102."""

    rgbw: bool = False
    """The strip's LEDs have a white one beside red, green and blue (SK6812 RGBW, ws2812 only)."""

    milliamps: Annotated[int, Meta(ge=100, le=100_000)] = 1500
    """Most current that the strip may draw: a frame that would draw more is dimmed."""

    active_low: bool = False
    """A pin that is low lights its LED: for LEDs between 3.3 V and the pin."""

    gamma: Annotated[float, Meta(ge=1.0, le=4.0)] = 2.2
    """Exponent that makes half a bar look half as bright; 1 where the lights correct it themselves."""

    def __post_init__(self) -> None:
        """Refuse values that do not belong together.

        Raises:
            ValueError: They do not; the message begins with the key.
        """
        if self.rgbw and self.kind == "apa102":
            raise ValueError('rgbw: apa102 have no white LED (write kind = "ws2812" for SK6812 RGBW)')
        if not self.host:
            return
        if "://" in self.host:
            scheme = self.host.partition("://")[0]
            message = f"host: '{scheme}://...' is a URL (write the lamp's name or address alone, such as wled.local)"
            raise ValueError(message)
        try:
            split_address(self.host)
        except ValueError as error:
            message = f"host: {error}"
            raise ValueError(message) from None


class HistorySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is remembered."""

    path: str = ""
    """The database; empty keeps it in the state directory of the service, or none elsewhere."""

    days: Annotated[int, Meta(ge=1, le=3650)] = 90
    """Estimates and songs older than this are forgotten."""

    megabytes: Annotated[int, Meta(ge=1, le=4096)] = 64
    """The database grows no larger than this."""


class DashboardSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The page that shows every listener of the broker."""

    host: str = "127.0.0.1"
    """Address to serve it at; any but this machine's own needs a password."""

    port: Annotated[int, Meta(ge=1, le=65_535)] = 8137
    """Port to serve it at."""

    password_file: str = ""
    """A file whose first line is the page's password; empty takes /etc/headnod/dashboard_password, or asks for none."""


class MqttSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who else is told."""

    host: str = ""
    """Name or address of the broker, perhaps with its port (`broker.lan:1884`, `[::1]:1883`); empty uses no broker."""

    port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    """Its port; 0 is 1883, and 8883 with TLS."""

    node: str = ""
    """What this listener is called in topics; empty takes the host name."""

    base: str = "headnod"
    """What every topic begins with."""

    username: str = ""
    """Who we are to the broker; empty says nothing."""

    password_file: str = ""
    """A file with the password alone; empty takes /etc/headnod/mqtt_password, which systemd hands to the service."""

    tls: bool = False
    """Encrypt, and never do without."""

    ca_file: str = ""
    """Certificates that are trusted, in place of the system's."""

    cert_file: str = ""
    """Our own certificate, if the broker wants one."""

    key_file: str = ""
    """Its key; empty if it is in the same file."""

    insecure: bool = False
    """Believe any broker's certificate: for a trial on a bench only."""

    protocol: Literal[5, 4] = 5
    """5, or 4 for a broker that has MQTT 3.1.1 only (amqtt, aedes), which hides refusals and cannot bound commands."""

    keepalive: Annotated[int, Meta(ge=1, le=600)] = 15
    """Seconds of silence after which it is asked whether the other still lives."""

    queue: Annotated[int, Meta(ge=20, le=1_000_000)] = 28_800
    """Estimates and songs that wait for an absent broker, at most: then the oldest go."""

    health_every: Annotated[float, Meta(ge=1.0, le=86_400.0)] = 60.0
    """Seconds between reports of health."""

    discovery: bool = True
    """Let Home Assistant find this listener by itself."""

    discovery_prefix: str = "homeassistant"
    """Where Home Assistant looks."""

    discovery_form: Literal["device", "component"] = "device"
    """`component` is for a Home Assistant older than 2024.11."""

    def __post_init__(self) -> None:
        """Refuse a host that is none.

        Raises:
            ValueError: It is none; the message begins with its key.
        """
        if not self.host:
            return
        try:
            _, port = split_address(self.host)
        except ValueError as error:
            message = f"host: {error}"
            raise ValueError(message) from None
        if port and self.port not in {0, port}:
            message = f"host: '{self.host}' names port {port}, and mqtt.port is {self.port} (remove one of them)"
            raise ValueError(message)


class LogSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is told on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important thing that is told."""
