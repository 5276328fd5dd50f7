"""Builds MQTT from the configuration: broker, topics, publisher, commands, bundles that are sent, and payloads.

The payload `info` is that of the web page too, so MQTT's client is loaded only where a broker is configured.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import platform
import random
import secrets
import socket
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headnod import __version__, address, system
from headnod.address import display_address, split_address, without_login
from headnod.clock import Clock
from headnod.config import Config, MqttSection, WebSection, named_outputs
from headnod.config.layers import password_file, read_secret, readable_file
from headnod.errors import ConfigError
from headnod.factory import history_path
from headnod.inference.manifest import MODEL, Manifest, read_manifest
from headnod.inference.model import runtime_name
from headnod.mqtt.broker import Broker, Tls
from headnod.mqtt.commands import ERROR_LENGTH, VERBS, Commands, HistoryHandler
from headnod.mqtt.homeassistant import Fits, birth, check_prefix, discovery
from headnod.mqtt.payloads import (
    HistoryPayload,
    InfoPayload,
    ModelPayload,
    ResponsePayload,
    ShadowPayload,
    SongPayload,
    encode,
    estimate_payload,
    present,
)
from headnod.mqtt.topics import DEFAULT_BASE, OFFLINE, Topics, channel, is_name
from headnod.outputs import close_all
from headnod.outputs.history.summaries import HistoryRequests
from headnod.pipeline.estimate import Estimate, State, utc_now
from headnod.remote_controls import InForce
from headnod.resources import configured_model, models
from headnod.updates.manager import ModelManager, ModelSnapshot
from headnod.updates.shadow import offer_text
from headnod.updates.state import Agreement, Stage, UpdateProgress, id_of, serial_of

if TYPE_CHECKING:
    from headnod.listener_commands import ListenerCommands
    from headnod.mqtt.client import MqttClient
    from headnod.mqtt.connection import Message
    from headnod.mqtt.discovery import Discovery, RetainedTopics
    from headnod.mqtt.publisher import MqttPublisher

_log = logging.getLogger(__name__)

QUEUE_FILE, RETAINED_FILE = "mqtt.sqlite", "discovery.json"
"""Files in the state folder."""

_MESSAGE_LENGTH = 240
_ENVELOPE = 1024
"""Bytes of an answer beside its rows: a transaction of 64 characters has 768 at most as JSON."""

LARGEST_BUNDLE = 1 << 20
"""Bytes of a bundle in one message."""

_HEADER = 1024
"""Bytes of the topic and properties of that message."""

PASSWORD = "mqtt_password"  # noqa: S105 - its name
"""Name of the file, and of the systemd credential, with the broker's password."""

BOOT = secrets.token_hex(4)
"""This run of the listener."""


def topics(section: MqttSection) -> Topics:
    """The topics of this listener; its node defaults to the host name.

    Raises:
        ConfigError: A name is not valid in a topic.
    """
    host = socket.gethostname().partition(".")[0]
    if not section.node and not is_name(host):
        raise ConfigError(f"mqtt.node: is empty, and the host name '{host}' cannot be one (write node = \"kitchen\")")
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
        raise ConfigError("mqtt.host: no broker is set (write its name there, or HEADNOD_MQTT__HOST=broker.lan)")
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
        raise ConfigError(f"mqtt.password_file: {path}: {fault}")
    return password


def info_of(config: Config, snapshot: ModelSnapshot, *, paused: bool, off: Collection[str] = ()) -> InfoPayload:
    """The payload of `info`."""
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
        window_s=round(front_end.window_seconds, 3),
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


def current_info(in_force: Callable[[], InForce], models: ModelManager, clock: Clock) -> InfoPayload:
    """The payload of `info` of a listener that runs."""
    now = in_force()
    return info_of(now.config, models.snapshot(), paused=bool(now.pause_reason(clock)), off=now.off)


def latest(model: str, models: Iterable[str]) -> str:
    """The newest of `models` with the name of `model`, or `model` itself.

    >>> latest("genre-0.9.0", ["genre-0.9.0", "genre-0.10.0", "mood-2.0.0"])
    'genre-0.10.0'
    """
    name = model.rpartition("-")[0]
    return max([model, *(other for other in models if other.rpartition("-")[0] == name)], key=_version)


def _version(model: str) -> tuple[int, ...]:
    return tuple(int(number) for number in model.rpartition("-")[2].split(".") if number.isdigit())


def page_url(section: WebSection) -> str | None:
    """The URL at which other machines reach the listener's page; None if they cannot."""
    host = section.address
    if not section.enabled:
        return None
    if section.url or address.is_local(host):
        return section.url or None
    if host in address.ALL:
        # The name that mDNS gives this machine.
        host = f"{socket.gethostname().partition('.')[0]}.local"
    return address.page_url(host, section.port, tls=bool(section.certificate))


@contextlib.contextmanager
def mqtt_of(
    config: Config,
    models: ModelManager,
    in_force: Callable[[], InForce],
    *,
    state_folder: Path | None,
    clock: Clock,
    commands: ListenerCommands,
) -> Iterator[MqttPublisher]:
    """MQTT of a listener, which connects in the background: publishing, commands, and bundles that are sent.

    Without a state folder, queued messages are lost when the listener stops.

    Raises:
        ConfigError: A name or a file of the section cannot be used.
    """
    where = topics(config.mqtt)
    info = functools.partial(current_info, in_force, models, clock)
    installs = config.model.installed and models.store is not None
    mqtt = _publisher(config.mqtt, where, info, state_folder, clock)
    with contextlib.ExitStack() as stack:
        stack.callback(close_all, [mqtt])
        history = HistoryRequests(lambda: history_path(in_force().config.history))
        stack.callback(history.close)
        handler = history_handler(history, mqtt, where)
        mqtt.start(Commands(where, commands.remote, commands, info=info, health=mqtt.health, history=handler).handle)
        stack.callback(models.connect, None, None)
        models.connect(
            lambda progress: _publish_progress(mqtt, where, progress),
            lambda agreement: mqtt.publish_retained(where.shadow, agreement_payload(agreement, where)),
        )
        if config.model.keys and installs:
            stack.callback(_bundle_client(config, models.install).close)
        elif config.model.keys and config.model.installed:
            _log.warning("no state folder: models sent by MQTT are not installed (set history.path)")
        yield mqtt


def _publisher(
    section: MqttSection, where: Topics, info: Callable[[], InfoPayload], state_folder: Path | None, clock: Clock
) -> MqttPublisher:
    """The publisher of a listener, not started."""
    from headnod.mqtt.discovery import RetainedTopics  # noqa: PLC0415
    from headnod.mqtt.publisher import MqttPublisher  # noqa: PLC0415 - loads paho
    from headnod.mqtt.queue import MessageQueue  # noqa: PLC0415

    if state_folder is None:
        _log.warning("no state folder: messages queued for MQTT are lost when headnod stops (set history.path)")
    to_broker = broker(section, client_id=client_id(where))
    plain = (where.genre, where.confidence) if section.plain_topics else ()
    retained = RetainedTopics(
        state_folder and state_folder / RETAINED_FILE, own=(*where.retained, where.deploy, *plain)
    )
    announced = _discovery(section, where, info, retained)
    queue = MessageQueue(state_folder and state_folder / QUEUE_FILE, bound=section.queue)
    try:
        return MqttPublisher(
            to_broker,
            where,
            queue,
            info,
            boot=BOOT,
            rng=random.Random(),  # noqa: S311 - spreads attempts over time
            clock=clock,
            discovery=announced,
            health_every=section.health_every,
            will_delay=section.will_delay,
            plain=section.plain_topics,
        )
    except BaseException:
        queue.close()
        raise


def history_handler(history: HistoryRequests, mqtt: MqttPublisher, where: Topics) -> HistoryHandler:
    """Answers `request/history` on `response/history`."""
    topic = where.response("history")

    def handle(arguments: dict[str, Any], transaction: str | None) -> None:
        def answered(page: dict[str, Any] | None, reason: str) -> None:
            if page is None:
                answer = ResponsePayload(status="error", error=reason[:ERROR_LENGTH], transaction=transaction)
            else:
                answer = ResponsePayload(status="ok", data=present(HistoryPayload(**page)), transaction=transaction)
            mqtt.publish(topic, encode(answer))

        history.submit(arguments, mqtt.largest_payload(topic) - _ENVELOPE, answered)

    return handle


def _publish_progress(mqtt: MqttPublisher, where: Topics, progress: UpdateProgress) -> None:
    # A message about an unverified bundle must not replace the retained state of a model.
    publish = mqtt.publish_retained if progress.model or not progress.manifest else mqtt.publish
    publish(where.model, progress_payload(progress, where))
    # The list of models may have changed.
    mqtt.changed()


def _discovery(
    section: MqttSection, where: Topics, info: Callable[[], InfoPayload], retained: RetainedTopics
) -> Discovery:
    from headnod.mqtt.discovery import Discovery  # noqa: PLC0415 - loads paho

    prefix, form = section.discovery_prefix, section.discovery_form
    check_prefix(prefix, where)
    if not section.discovery:
        # Earlier announcements are removed, or Home Assistant would keep the entities.
        return Discovery(messages=lambda _fits: {}, retained=retained, birth="")
    return Discovery(
        messages=lambda fits: discovery(info(), where, prefix=prefix, form=form, fits=fits),
        retained=retained,
        birth=birth(prefix),
    )


def _bundle_client(config: Config, install: Callable[[bytes], None]) -> MqttClient:
    """A started client that receives bundles; it has a connection of its own, so that commands stay small."""
    from headnod.mqtt.client import MqttClient  # noqa: PLC0415 - loads paho

    where = topics(config.mqtt)

    def receive(message: Message) -> None:
        # An empty message removes a retained one.
        if message.payload:
            install(message.payload)

    client = MqttClient(
        broker(config.mqtt, client_id=client_id(where, "deploy")),
        subscriptions=(channel(where.base, config.model.channel), where.deploy),
        qos=1,
        on_message=receive,
        rng=random.Random(),  # noqa: S311 - spreads attempts over time
        largest=LARGEST_BUNDLE + _HEADER,
    )
    client.start()
    return client


def progress_payload(progress: UpdateProgress, where: Topics) -> bytes:
    """The payload of `model`: a step of an installation."""
    return encode(
        ModelPayload(
            node=where.node,
            ts=utc_now(),
            stage=progress.stage,
            model=progress.model,
            serial=progress.serial,
            manifest_sha256=progress.manifest,
            message=progress.message[:_MESSAGE_LENGTH],
        )
    )


def agreement_payload(agreement: Agreement, where: Topics) -> bytes:
    """The payload of `shadow`: the agreement of two models."""
    return encode(
        ShadowPayload(
            node=where.node,
            ts=utc_now(),
            shadow=agreement.model,
            model=agreement.reference,
            windows=agreement.windows,
            agreed=agreement.agreed,
            surer=agreement.gain,
        )
    )


def example_messages(config: Config) -> Callable[[Fits], dict[str, bytes]]:
    """`examples` with the model of the configuration.

    Raises:
        ConfigError: There is no such model.
        ManifestError: Its manifest cannot be used.
    """
    return functools.partial(examples, config, read_manifest(configured_model(config.model.name)))


def examples(config: Config, manifest: Manifest, fits: Fits) -> dict[str, bytes]:
    """A payload of the usual size for every topic that a listener publishes, discovery within what `fits`."""
    where = topics(config.mqtt)
    info = info_of(config, ModelSnapshot(manifest, 0, (), None), paused=False)
    estimate = Estimate(
        sequence=1_000_000,
        time=utc_now(),
        seconds=1e6,
        genre=info.labels[0],
        confidence=0.123,
        scores=dict.fromkeys(info.labels, 0.123),
        level=-20.12,
        peak=-3.12,
        dropped=1000.0,
        state=State.LISTENING,
        model=info.model,
        raw_genre=info.labels[0],
    )
    plain = (where.genre, where.confidence) if config.mqtt.plain_topics else ()
    example = encode(estimate_payload(estimate, node=where.node, boot=BOOT))
    answer = encode(ResponsePayload(status="ok", data=present(info)))
    song = SongPayload(
        id=f"{where.node}-{BOOT}-1000000",
        node=where.node,
        start=estimate.time,
        end=estimate.time,
        duration_s=1000.123,
        genre=info.labels[0],
        stability=0.123,
    )
    step = UpdateProgress(stage=Stage.KEPT, model=info.model, manifest="0" * 64, message="x" * _MESSAGE_LENGTH)
    prefix, form = config.mqtt.discovery_prefix, config.mqtt.discovery_form
    return {
        **dict.fromkeys((where.estimate, where.state), example),
        **dict.fromkeys(plain, info.labels[0].encode()),
        where.status: OFFLINE.encode(),
        where.info: encode(info),
        where.health: answer,
        **dict.fromkeys((where.song, where.last_song), encode(song)),
        **dict.fromkeys((where.model, where.shadow), progress_payload(step, where)),
        **dict.fromkeys(map(where.response, VERBS), answer),
        **(discovery(info, where, prefix=prefix, form=form, fits=fits) if config.mqtt.discovery else {}),
    }
