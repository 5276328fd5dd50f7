"""`headnod mqtt`: what is told to a broker, and whether it arrives."""

from __future__ import annotations

import argparse
from pathlib import Path

from headnod.cli.options import add_config, load_config, located, service_beside
from headnod.escaping import printable

_MARKS = {"well": "ok", "warning": "warning", "fault": "FAULT", "none": "-"}


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "mqtt", help="test the connection to the broker, describe its messages", allow_abbrev=False
    )
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    test = verbs.add_parser(
        "test",
        help="test each step of the connection to the broker",
        description="Try the broker's name, its port, its certificate, the login, the right to publish and the way "
        "back, under another client id than the listener's. Exit status: 0 if all of it works, 1 if not, 78 for "
        "the configuration.",
        allow_abbrev=False,
    )
    test.add_argument("--json", action="store_true", help="print one JSON object per line")
    add_config(test)
    test.set_defaults(run=run_test)
    schema = verbs.add_parser("schema", help="print the JSON Schema of every payload", allow_abbrev=False)
    schema.set_defaults(run=run_schema)
    docs = verbs.add_parser("docs", help="bring the tables of a Markdown file up to date", allow_abbrev=False)
    docs.add_argument("file", metavar="FILE", type=Path, help="such as docs/mqtt.md")
    docs.set_defaults(run=run_docs)


def run_test(options: argparse.Namespace) -> int:
    """Print a line a step."""
    import itertools
    import logging
    import random

    import msgspec

    from headnod.config.service_checks import broker_errors
    from headnod.errors import MissingExtraError
    from headnod.extras import how_to_install
    from headnod.factory.broker_factory import broker, client_id, topics
    from headnod.pipeline.estimate import utc_now

    try:
        from headnod.factory.publisher_factory import example_messages
        from headnod.mqtt.broker_test import Step, check_broker
    except ImportError as error:
        message = f"MQTT needs {error.name}: {how_to_install('device')}"
        raise MissingExtraError(message) from error

    config, service = load_config(options).config, service_beside(options)
    section, ours = config.mqtt, topics(config.mqtt)
    # Its warnings would say again what the steps say.
    logging.getLogger("headnod.mqtt").setLevel(logging.ERROR)
    worst = 0
    reached = broker(section, client_id=client_id(ours))
    refused = broker_errors(config, service) if service is not None else []
    steps = check_broker(reached, ours, examples=example_messages(config), rng=random.Random(), now=utc_now)  # noqa: S311 - spreads attempts, hides nothing
    for step in itertools.chain(steps, (Step("service", "fault", located(options, each)) for each in refused)):
        if options.json:
            print(msgspec.json.encode(step).decode(), flush=True)
        else:
            print(f"{_MARKS[step.verdict]:<8} {step.step:<12} {printable(step.message)}", flush=True)
        worst = max(worst, step.verdict == "fault")
    return worst


def run_schema(_options: argparse.Namespace) -> None:
    """Print it."""
    import json

    from headnod.mqtt.schema import json_schema

    print(json.dumps(json_schema(), indent=2))


def run_docs(options: argparse.Namespace) -> None:
    """Write the tables between their marks, and nothing else."""
    from headnod.errors import ConfigError
    from headnod.mqtt.schema import documented

    try:
        options.file.write_text(documented(options.file.read_text(encoding="utf-8")), encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{options.file}: cannot be brought up to date: {error}"
        raise ConfigError(message) from error
