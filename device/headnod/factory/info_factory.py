"""Builds the payload `info` of a listener, for MQTT and for its web page; it does not load MQTT's client."""

from __future__ import annotations

import platform
import secrets
import socket
from collections.abc import Collection

from headnod import __version__, address, system
from headnod.address import display_address, without_login
from headnod.config import Config, WebSection, named_outputs
from headnod.factory.broker_factory import topics
from headnod.factory.output_factory import history_path
from headnod.inference.manifest import MODEL
from headnod.inference.model import runtime_name
from headnod.mqtt.payloads import InfoPayload, latest
from headnod.resources import models
from headnod.updates.manager import ModelSnapshot
from headnod.updates.shadow import offer_text
from headnod.updates.state import id_of, serial_of

BOOT = secrets.token_hex(4)
"""This run of the listener."""


def info_of(config: Config, snapshot: ModelSnapshot, *, paused: bool, off: Collection[str] = ()) -> InfoPayload:
    """The payload of `info`.

    Args:
        config: The configuration in force.
        snapshot: Active and stored models.
        paused: No estimates are made.
        off: Names of outputs that are switched off.
    """
    manifest, serial, stored, offered, folder, agreement = snapshot
    lights = {name for name, section in named_outputs(config.leds) if section.kind != "none"}
    front_end = manifest.front_end
    shipped = {bundle.name: bundle for bundle in models()}
    there = tuple(dict.fromkeys([*shipped, *map(id_of, stored)]))
    unsigned = [*shipped, *(id_of(name) for name in stored if not serial_of(name))]
    newest = id_of(offered) if offered else manifest.id if serial else latest(manifest.id, unsigned)
    folder = folder or (shipped.get(newest) if newest != manifest.id else None)
    return InfoPayload(
        node=topics(config.mqtt).node,
        boot=BOOT,
        version=__version__,
        runtime=runtime_name(),
        python=platform.python_version(),
        board=system.board(),
        microphone=without_login(" ".join(config.microphone.command))
        or (config.microphone.address and display_address(config.microphone.address))
        or config.microphone.device,
        model=manifest.id,
        model_sha256=manifest.sha256[MODEL],
        models=there,
        latest_model=newest,
        latest_serial=serial_of(offered) if offered else serial if newest == manifest.id else 0,
        labels=manifest.labels,
        every_s=config.listen.every,
        window_s=round(front_end.window_samples / front_end.sample_rate, 3),
        health_every_s=config.mqtt.health_every,
        sample_rate=front_end.sample_rate,
        certainty=config.listen.threshold or manifest.rejection.threshold,
        paused=paused,
        brightness=config.brightness,
        serial=serial,
        channel=config.model.channel,
        updates=config.model.updates if config.model.keys and config.model.installed else "none",
        lights=config.brightness > 0 and bool(lights - set(off)) if lights else None,
        effect=config.mode,
        area=config.mqtt.area or None,
        page=page_url(config.web),
        history=history_path(config.history) is not None,
        offer=offer_text(folder, newest, agreement) or None if folder is not None else None,
    )


def page_url(section: WebSection) -> str | None:
    """The URL at which other machines reach the listener's page; None if they cannot."""
    host = section.address
    if not section.enabled or address.is_local(host):
        return None
    if host in address.ALL:
        # The name that mDNS gives this machine.
        host = f"{socket.gethostname().partition('.')[0]}.local"
    return address.page_url(host, section.port, tls=bool(section.certificate))
