"""The page with everything that it is made of, from its start to its end.

`headnod dashboard` and the process of `headnod listen --web` run the same page: the first with a broker only,
the second with the link to its listener, and with a broker where one is configured.
"""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from headnod.address import page_url
from headnod.dashboard import PageSettings
from headnod.dashboard.auth import Authenticator, Role, Sessions
from headnod.dashboard.fleet import EventStream, Fleet
from headnod.dashboard.listener_link import ListenerLink
from headnod.dashboard.remote_history import HISTORY_RESPONSE, LARGEST_ANSWER, RemoteHistories
from headnod.dashboard.server import listen_at, serve
from headnod.dashboard.webhooks import Webhooks, WebhookSender

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Site:
    """What the routes of the page use."""

    settings: PageSettings
    """Settings of the page."""

    fleet: Fleet
    """All listeners."""

    stream: EventStream
    """Events for browsers."""

    authenticator: Authenticator
    """Checks requests."""

    link: ListenerLink | None
    """The listener that serves the page; None for `headnod dashboard`."""

    webhooks: Webhooks
    """Sends events of that listener elsewhere."""

    remote: RemoteHistories
    """The histories of other listeners."""


def run_page(settings: PageSettings, connection: socket.socket | None = None) -> None:
    """Serve the page until a signal, or until the listener at the other end of the connection ends.

    Raises:
        DashboardError: The address cannot be used, or the event stream failed.
    """
    fleet, rng = Fleet(settings.base), random.Random()  # noqa: S311 - jitter of back-offs
    with contextlib.ExitStack() as stack:
        listening = listen_at(settings.address, settings.port, settings.section)
        for each in listening:
            stack.enter_context(each)
        remote = RemoteHistories(fleet, settings.base)
        reason = stack.enter_context(_broker(settings, fleet, remote, rng))
        stream = EventStream(fleet, reason, now=time.time)
        hooks = Webhooks(WebhookSender(each, settings.webhook_key, rng=rng) for each in settings.webhooks)
        link = None
        if connection is not None:
            link = ListenerLink(connection, fleet, settings, on_live=stream.send_live, on_message=hooks.process)
        tls = bool(settings.certificate)
        authenticator = Authenticator(
            settings.password,
            reader=settings.reader_password,
            everyone=Role.READER if settings.open else None,
            sessions=Sessions(listening[0].getsockname()[1], secure=tls, monotonic=time.monotonic),
            monotonic=time.monotonic,
        )
        _log.info(
            "the %s is at %s", "page" if link else "dashboard", page_url(*listening[0].getsockname()[:2], tls=tls)
        )
        serve(Site(settings, fleet, stream, authenticator, link, hooks, remote), listening)


@contextlib.contextmanager
def _broker(settings: PageSettings, fleet: Fleet, remote: RemoteHistories, rng: random.Random) -> Iterator[Any]:
    """Passes messages of the broker on, and requests to it; a function with the reason why there is no connection."""
    if settings.broker is None:
        yield str
        return
    from headnod.mqtt.broker import Broker  # noqa: PLC0415 - MQTT is loaded where a broker is configured
    from headnod.mqtt.client import MqttClient  # noqa: PLC0415
    from headnod.mqtt.connection import Message  # noqa: PLC0415

    # The listener that serves the page sends the same messages itself.
    own = f"{settings.base}/{settings.node}/" if settings.node else None

    def receive(message: Message) -> None:
        if message.topic.endswith(HISTORY_RESPONSE):
            if not message.retained:
                remote.receive(message.topic, message.payload)
        elif own is None or not message.topic.startswith(own):
            fleet.process(message.topic, message.payload, retained=message.retained)

    client = MqttClient(
        msgspec.convert(settings.broker, Broker, dec_hook=_path),
        subscriptions=(*fleet.subscriptions, remote.subscription),
        # At QoS 0 the broker drops messages of a burst.
        qos=1,
        on_message=receive,
        rng=rng,
        largest=LARGEST_ANSWER,
    )
    remote.publish = client.publish
    client.start()
    try:
        yield lambda: client.reason
    finally:
        client.close()


def _path(kind: type, value: Any) -> object:  # noqa: ANN401 - any value of JSON
    return Path(value) if kind is Path else value
