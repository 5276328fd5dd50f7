"""`headnod mqtt`: the connection test, removal of retained messages, and the documentation of payloads."""

from __future__ import annotations

import argparse
from pathlib import Path

from headnod.cli.options import add_config, load_config, located, print_result, service_beside


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `headnod mqtt`."""
    parser = subparsers.add_parser("mqtt", help="test the broker, remove a listener from it, describe messages")
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    test = verbs.add_parser(
        "test",
        help="test each step of the connection to the broker",
        description="Try the broker's name, its port, its certificate, the login, the right to publish and the way "
        "back, under another client id than the listener's. Exit status: 0 if all of it works, 1 if not, 78 for "
        "the configuration.",
    )
    test.add_argument("--json", action="store_true", help="print one JSON object per line")
    add_config(test)
    test.set_defaults(run=run_test)
    forget = verbs.add_parser(
        "forget",
        help="remove everything that the broker retains for a listener",
        description="Empty every retained topic of a listener that is gone, so that dashboards and Home Assistant "
        "drop it. Exit status: 0 if nothing of it is left, 1 if not, 78 for the configuration.",
    )
    forget.add_argument("node", metavar="NODE", help="name of the listener, as in mqtt.node")
    forget.add_argument("--force", action="store_true", help="even if the listener is online")
    add_config(forget)
    forget.set_defaults(run=run_removal)
    schema = verbs.add_parser("schema", help="print the JSON Schema of every payload")
    schema.set_defaults(run=run_schema)
    docs = verbs.add_parser("docs", help="bring the tables of a Markdown file up to date")
    docs.add_argument("file", metavar="FILE", type=Path, help="such as docs/mqtt.md")
    docs.set_defaults(run=run_docs)


def run_test(options: argparse.Namespace) -> int:
    """Print one result per step."""
    import itertools
    import logging
    import random

    from headnod.check_result import CheckResult
    from headnod.config.service_checks import broker_errors
    from headnod.factory.mqtt_factory import broker, client_id, example_messages, topics
    from headnod.mqtt.broker_check import check_broker
    from headnod.pipeline.estimate import utc_now

    config, service = load_config(options).config, service_beside(options)
    ours = topics(config.mqtt)
    # The results say the same as these warnings.
    logging.getLogger("headnod.mqtt").setLevel(logging.ERROR)
    results = check_broker(
        broker(config.mqtt, client_id=client_id(ours)),
        ours,
        examples=example_messages(config),
        rng=random.Random(),  # noqa: S311 - jitter of the back-off
        now=utc_now,
    )
    errors = broker_errors(config, service) if service is not None else []
    of_service = (CheckResult("service", "fault", located(options, error)) for error in errors)
    status = 0
    for result in itertools.chain(results, of_service):
        print_result(result, width=12, json=options.json, key="step")
        status = max(status, result.verdict == "fault")
    return status


def run_removal(options: argparse.Namespace) -> None:
    """Print each topic that was emptied."""
    import logging
    import random

    from headnod.factory.mqtt_factory import broker, client_id
    from headnod.mqtt.discovery import remove_retained
    from headnod.mqtt.topics import Topics

    section = load_config(options).config.mqtt
    # An error says the same as these warnings.
    logging.getLogger("headnod.mqtt").setLevel(logging.ERROR)
    gone = Topics(section.base, options.node)
    emptied = remove_retained(
        broker(section, client_id=client_id(gone)),
        gone,
        prefix=section.discovery_prefix,
        force=options.force,
        rng=random.Random(),  # noqa: S311 - jitter of the back-off
    )
    print("\n".join(emptied) or f"nothing is retained for {gone.node}")


def run_schema(_options: argparse.Namespace) -> None:
    """Print the JSON Schema."""
    import json

    from headnod.mqtt.payloads import json_schema

    print(json.dumps(json_schema(), indent=2))


def run_docs(options: argparse.Namespace) -> None:
    """Replace the tables between the marks of a file."""
    from headnod.errors import ConfigError
    from headnod.mqtt.payloads import documented

    try:
        options.file.write_text(documented(options.file.read_text(encoding="utf-8")), encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{options.file}: cannot be brought up to date: {error}"
        raise ConfigError(message) from error
