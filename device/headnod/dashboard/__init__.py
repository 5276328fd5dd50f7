"""The page: one listener without a broker, or all listeners of a broker.

It runs in a process of its own, `headnod dashboard` or the one that `headnod listen --web` starts, keeps the last
hours of each listener, and sends them to browsers. The process that starts it makes `PageSettings` from the
configuration and reads the files with secrets: the process that is reachable over the network loads no configuration.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headnod import __version__


class PageSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one page."""

    section: str
    """Section of the configuration, for messages: `web` or `dashboard`."""

    address: str
    """Address to listen at."""

    port: int
    """Port to listen at; 0 lets the system choose."""

    password: str | None = None
    """Password of the owner; None for none."""

    reader_password: str | None = None
    """Password of readers; None for none."""

    open: bool = False
    """Reading needs no password."""

    certificate: str = ""
    """File with the TLS certificate; empty for plain HTTP."""

    key: str = ""
    """File with its key; empty if the certificate's file has it."""

    frame_ancestors: tuple[str, ...] = ()
    """Origins that may embed the page."""

    webhooks: tuple[str, ...] = ()
    """Addresses that receive events by POST."""

    webhook_key: str = ""
    """Key of their signatures; empty for none."""

    base: str = "headnod"
    """First part of every topic."""

    node: str = ""
    """The listener that serves the page; empty for `headnod dashboard`."""

    history: str = ""
    """Database of that listener; empty if it keeps none."""

    broker: dict[str, Any] | None = None
    """The broker as builtins of `headnod.mqtt.broker.Broker`; None for none."""

    version: str = __version__
    """Version of headnod."""

    log_level: str = "INFO"
    """Lowest level that is logged."""
