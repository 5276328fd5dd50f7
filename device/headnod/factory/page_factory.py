"""Builds the web page, and what commands act on beside the settings, from the configuration.

Everything that the page could not be served with is an error here, before it is served.
"""

from __future__ import annotations

import contextlib
import logging
import random
import re
import ssl
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from headnod.address import is_local
from headnod.clock import Clock
from headnod.config import Config, DashboardSection, Overlay, WebSection
from headnod.config.layers import password_file, read_secret, readable_file
from headnod.dashboard import PageSettings
from headnod.errors import ConfigError, MissingExtraError
from headnod.factory import history_path, runtime_folder
from headnod.factory.mqtt_factory import BOOT, broker, client_id, current_info, topics
from headnod.files import write_atomically
from headnod.inference.manifest import Model, Prediction
from headnod.listener_commands import ListenerCommands
from headnod.log import RecentLog
from headnod.mqtt.broker import pem_errors
from headnod.mqtt.payloads import HealthPayload, ReportMaker, encode
from headnod.outputs import close_all
from headnod.outputs.web import Page, WebOutput
from headnod.pipeline.estimate import Estimate
from headnod.pipeline.level_meter import PlacementMeter
from headnod.remote_controls import InForce, RemoteControls
from headnod.resources import configured_model
from headnod.system import how_to_install
from headnod.teaching.correction_commands import FILE, CorrectionCommands, TeachRequest
from headnod.teaching.corrections import RecentWindows
from headnod.updates.manager import WINDOW_SHARE, ModelManager

_log = logging.getLogger(__name__)

PASSWORD = "dashboard_password"  # noqa: S105 - its name
"""Name of the file, and of the systemd credential, with the password of either page."""

SHORTEST = 8
"""Least number of characters of a password."""

_ORIGIN = re.compile(r"(https?://)?(\*\.)?[A-Za-z0-9._-]+(:(\d{1,5}|\*))?|https?://\[[0-9a-f:]+\](:\d{1,5})?|'self'")

_SELF = "'self'"
"""Allows pages of the same origin, such as Home Assistant's, where the page is served below its address."""

_SUGGEST_EVERY, _FIRST = 300.0, 60.0
"""Seconds between two writes of the suggestions, in memory, and before the first."""

Observe = Callable[[Estimate, Prediction | None, Model], None]
"""Called with every estimate, after it was shown."""


def dashboard_page(config: Config) -> PageSettings:
    """The settings of `headnod dashboard`.

    Raises:
        ConfigError: A setting cannot be used.
    """
    section = config.dashboard
    return PageSettings(
        section="dashboard",
        address=section.host,
        port=section.port,
        password=dashboard_password(section),
        base=config.mqtt.base,
        broker=_broker_of(config, f"dashboard-{section.port}"),
        log_level=config.log.level.upper(),
    )


def web_page(config: Config) -> PageSettings:
    """The settings of the page of `headnod listen --web`.

    Raises:
        ConfigError: A setting cannot be used.
        MissingExtraError: All settings can be used, and a library of the page is missing.
    """
    section, where, history = config.web, topics(config.mqtt), history_path(config.history)
    certificate, key = _certificate(section)
    settings = PageSettings(
        section="web",
        address=section.address,
        port=section.port,
        password=_owner_password(
            "web.address",
            section.address,
            section.password_file,
            public=section.open,
            others=", or allow reading without a password with web.open = true or --web-open",
        ),
        reader_password=_optional_password("web.reader_password_file", section.reader_password_file),
        open=section.open,
        certificate=certificate,
        key=key,
        frame_ancestors=_frame_ancestors(section),
        webhooks=_webhooks(section),
        webhook_key=_optional_password("web.webhook_key_file", section.webhook_key_file) or "",
        base=where.base,
        node=where.node,
        history=str(history) if history is not None else "",
        broker=_broker_of(config, "web") if config.mqtt.host else None,
        log_level=config.log.level.upper(),
    )
    # Looked up and not loaded: only the process of the page needs it.
    if find_spec("uvicorn") is None:
        raise MissingExtraError(f"the web page needs uvicorn: {how_to_install('device')}")
    return settings


@contextlib.contextmanager
def web_of(
    config: Config,
    models: ModelManager,
    in_force: Callable[[], InForce],
    *,
    clock: Clock,
    commands: ListenerCommands,
    health: Callable[[], HealthPayload | None],
) -> Iterator[WebOutput]:
    """The page of a listener, in a process of its own.

    `health` gives None without a broker.

    Raises:
        ConfigError: A setting cannot be used.
    """
    settings, where = web_page(config), topics(config.mqtt)
    reports = ReportMaker(where.node, BOOT, clock=clock, monotonic=clock.monotonic)

    output = WebOutput(
        # Its threads share one heap of malloc: 0.4 MiB less.
        Page(
            ("env", "MALLOC_ARENA_MAX=1", sys.executable, "-P", "-m", "headnod.dashboard"),
            msgspec.json.encode(settings),
        ),
        reports,
        info=lambda: encode(current_info(in_force, models, clock)),
        health=lambda: encode(health() or reports.health()),
        controls=lambda: msgspec.json.encode(commands.controls()),
        handle=commands.call,
        rng=random.Random(),  # noqa: S311 - jitter of the back-off
    )
    try:
        yield output
    finally:
        close_all([output])


def dashboard_password(section: DashboardSection) -> str | None:
    """The password of `headnod dashboard`; None for none.

    Raises:
        ConfigError: The page would be open to other machines without a password, or the password cannot be used.
    """
    return _owner_password("dashboard.host", section.host, section.password_file)


def password_from(path: Path, setting: str) -> str:
    """The password of a file: its first line.

    Raises:
        ConfigError: It cannot be read, or is too short.
    """
    password = read_secret(setting, path).partition("\n")[0].strip()
    if len(password) < SHORTEST:
        raise ConfigError(f"{setting}: {path}: the password is shorter than {SHORTEST} characters")
    return password


def _owner_password(setting: str, address: str, file: str, *, public: bool = False, others: str = "") -> str | None:
    """The owner's password of the page that is served at the address of a setting; `others` are further ways out."""
    file_setting = f"{setting.partition('.')[0]}.password_file"
    path = password_file(PASSWORD, file_setting, file)
    if path is None and not public and not is_local(address):
        raise ConfigError(
            f"{setting}: '{address}' is open to others, and {file_setting} is empty (write a password into "
            "/etc/headnod/dashboard_password, or into a file that you name there, "
            f"or serve at 127.0.0.1{others})"
        )
    return None if path is None else password_from(path, file_setting)


def _optional_password(setting: str, name: str) -> str | None:
    path = readable_file(setting, name)
    return None if path is None else password_from(path, setting)


def _certificate(section: WebSection) -> tuple[str, str]:
    if section.key and not section.certificate:
        raise ConfigError("web.key: has no effect without web.certificate, the certificate that it belongs to")
    certificate = readable_file("web.certificate", section.certificate)
    key = readable_file("web.key", section.key)
    if certificate is not None:
        with pem_errors("web.certificate", certificate):
            # Without a password OpenSSL would ask for it on the terminal.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
    return str(certificate or ""), str(key or "")


def _frame_ancestors(section: WebSection) -> tuple[str, ...]:
    for origin in section.frame_ancestors:
        if origin != _SELF and not _ORIGIN.fullmatch(origin):
            raise ConfigError(
                f"web.frame_ancestors: '{origin}' is not the origin of a page "
                '(write scheme, host and port, such as "http://homeassistant.local:8123")'
            )
    return section.frame_ancestors


def _webhooks(section: WebSection) -> tuple[str, ...]:
    for address in section.webhooks:
        try:
            parts = urlsplit(address)
            valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and address.isprintable()
            _ = parts.port
        except ValueError:
            valid = False
        if not valid or " " in address:
            # Not the whole address: it may hold a token.
            raise ConfigError(
                f"web.webhooks: '{address[:20]}...' is not an address (write it as http://host:port/path or https://...)"
            )
    return section.webhooks


def _broker_of(config: Config, role: str) -> dict[str, Any]:
    found = broker(config.mqtt, client_id=client_id(topics(config.mqtt), role))
    return dict(msgspec.to_builtins(found, enc_hook=str))


@contextlib.contextmanager
def commands_of(
    in_force: Callable[[], InForce],
    models: ModelManager,
    overlay: Overlay | None,
    state_folder: Path | None,
    clock: Clock,
    configured: Callable[[], Config],
) -> Iterator[tuple[ListenerCommands, Observe]]:
    """The commands of a listener, and what they need of its estimates.

    Without a state folder there is no overlay of the configuration, and no corrections are stored. A reset restores
    what `configured` gives.
    """
    windows, placement, log = RecentWindows(clock), PlacementMeter(), RecentLog()

    def teaching(folder: Path) -> TeachRequest:
        config = in_force().config
        return TeachRequest(
            state=str(folder),
            configured=str(configured_model(config.model.name)),
            budget=WINDOW_SHARE * config.listen.every,
            windows=config.model.probation,
        )

    corrections = CorrectionCommands(windows, state_folder, clock, teaching=teaching)
    folder = runtime_folder()
    file = folder / FILE if folder is not None and folder.is_dir() else None
    written = clock.monotonic() + _FIRST - _SUGGEST_EVERY

    def activate(model: str) -> bool:
        stored = in_force().config.model.installed and models.store is not None
        if stored:
            models.activate(model)
        return stored

    def observe(estimate: Estimate, prediction: Prediction | None, model: Model) -> None:
        nonlocal written
        placement.update(estimate)
        if prediction is not None and state_folder is not None:
            windows.add(estimate, prediction, model.manifest, model.answers)
        if file is not None and estimate.monotonic - written >= _SUGGEST_EVERY:
            written = estimate.monotonic
            _write_suggestions(file, corrections)

    logging.getLogger().addHandler(log)
    try:
        remote = RemoteControls(activate, configured=configured, clock=clock)
        commands = ListenerCommands(
            in_force, models, corrections, remote, clock=clock, placement=placement, log=log, overlay=overlay
        )
        yield commands, observe
    finally:
        logging.getLogger().removeHandler(log)
        if file is not None:
            file.unlink(missing_ok=True)


def _write_suggestions(file: Path, corrections: CorrectionCommands) -> None:
    """Write the suggestions for `headnod suggest`."""
    try:
        write_atomically(file, msgspec.json.encode(corrections.suggestions()))
    except Exception as error:
        # A full or damaged disk must not end the listener.
        _log.debug("%s: suggestions are not written: %s", file, error)
