"""`headnod dashboard`: every listener of the broker, live on one page."""

from __future__ import annotations

import argparse

from headnod.cli.options import add_config, load_config

_LARGEST = 16_384


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser("dashboard", help="serve a page that shows every listener", allow_abbrev=False)
    parser.add_argument("--host", metavar="ADDRESS", help="serve it at this address (127.0.0.1: this machine alone)")
    parser.add_argument("--port", metavar="N", type=int, help="serve it at this port (8137)")
    add_config(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Serve it until told to end."""
    import contextlib
    import logging
    import random
    import time

    from headnod.config.validation import validate_dashboard
    from headnod.dashboard.connections import listen_at, url_of
    from headnod.dashboard.event_stream import EventStream
    from headnod.dashboard.fleet import Fleet
    from headnod.dashboard.server import serve
    from headnod.factory.broker_factory import broker, client_id, topics
    from headnod.mqtt.client import MqttClient

    flags = {(f"--{key}", "dashboard", key): getattr(options, key) for key in ("host", "port")}
    config = load_config(options, flags).config
    logging.getLogger().setLevel(config.log.level.upper())
    access = validate_dashboard(config)
    fleet = Fleet(config.mqtt.base)
    link = MqttClient(
        broker(config.mqtt, client_id=client_id(topics(config.mqtt), f"dashboard-{config.dashboard.port}")),
        subscriptions=fleet.subscriptions,
        # In a burst the broker drops what is asked for at QoS 0.
        qos=1,
        on_message=lambda heard: fleet.process(heard.topic, heard.payload, retained=heard.retained),
        rng=random.Random(),  # noqa: S311 - spreads attempts
        largest=_LARGEST,
    )
    listening = listen_at(config.dashboard.host, config.dashboard.port)
    with contextlib.ExitStack() as sockets:
        for each in listening:
            sockets.enter_context(each)
        link.start()
        try:
            logging.getLogger(__name__).info("the dashboard is at %s", url_of(listening[0]))
            serve(EventStream(fleet, lambda: link.reason, now=time.time), access, listening)
        finally:
            link.close()
