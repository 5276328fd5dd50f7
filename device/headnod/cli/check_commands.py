"""The commands around a listener: `headnod check`, `config`, `mqtt`, `history`, `dashboard` and `leds preview`."""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from headnod.cli.parser import (
    add_config,
    add_device,
    add_model,
    load_config,
    located,
    print_json,
    print_result,
    service_beside,
    values_set,
    way_out_of_denial,
)

if TYPE_CHECKING:
    from headnod.config import Loaded
    from headnod.errors import CheckResult, Verdict
    from headnod.outputs.leds import LedFrame
    from headnod.service import Service

_log = logging.getLogger(__name__)


def add_check(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `headnod check`."""
    parser = subparsers.add_parser(
        "check",
        help="test every part and say how to fix faults",
        description="Test configuration, runtime, model, microphone, lights, broker, disk and clock. "
        "Exit status: 0 if headnod can work, 1 if a fault prevents it, 78 for an invalid configuration.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    also = parser.add_mutually_exclusive_group()
    also.add_argument(
        "--report", metavar="FILE", type=Path, help="write an archive for a bug report, without passwords and audio"
    )
    also.add_argument(
        "--privacy", action="store_true", help="show open sockets, allowed addresses and written files instead"
    )
    also.add_argument(
        "--music", action="store_true", help="play the test record and compare the answers in the room with the file's"
    )
    parser.add_argument("--audio", metavar="mic|FILE", default="mic", help="with --music: a recording of the record")
    add_device(parser)
    add_model(parser)
    add_config(parser)
    parser.set_defaults(run=run_check)


def run_music_check(options: argparse.Namespace, loaded: Loaded) -> int:
    """Record the test record in the room, and print how many answers stay."""
    from headnod.diagnostics import RECORD_LEAD, check_music, first_seconds, music_lines, read_record, record_path
    from headnod.factory import MICROPHONE, source
    from headnod.inference.model import load_checked
    from headnod.resources import find_model

    model = load_checked(find_model(options.model or loaded.config.model.name))
    rate = model.front_end.sample_rate
    record, sound = read_record(record_path(), rate)
    seconds = sound.size / rate + RECORD_LEAD
    if options.audio == MICROPHONE:
        _log.info("play %s near the microphone now; recording for %.0f s", record_path(), seconds)
    with source(options.audio, loaded.config.microphone, rate, None) as blocks:
        recording = first_seconds(blocks, seconds, rate)
    result = check_music(recording, model, record, sound)
    if options.json:
        print_json(result)
    else:
        for line in music_lines(result):
            print(line)
    return 0


def run_check(options: argparse.Namespace) -> int:
    """Print one result per part."""
    from headnod.diagnostics import run_checks
    from headnod.errors import CheckResult
    from headnod.support_report import check_privacy

    flags = {
        ("--model", "model", "name"): options.model,
        ("--model", "model", "installed"): None if options.model is None else False,
        ("--device", "microphone", "device"): options.device,
    }
    loaded = load_config(options, flags)
    if options.music:
        return run_music_check(options, loaded)
    status = 0
    shown: list[CheckResult] = []

    def show(result: CheckResult) -> None:
        result = result._replace(message=loaded.located(result.message))
        print_result(result, width=14, json=options.json)
        shown.append(result)

    service = service_beside(options)
    if options.privacy:
        show(CheckResult("configuration", "well", values_set(loaded)))
        for result in check_privacy(loaded.config, service):
            show(result)
        return 0
    parts = run_checks(loaded.config, service, denied=way_out_of_denial)
    for result in itertools.chain(_check_configuration(loaded, service), parts):
        show(result)
        status = max(status, result.verdict == "fault")
    if options.report is not None:
        from headnod.cli.listen_commands import running_latest
        from headnod.support_report import write_report

        write_report(options.report, loaded, service, shown, latest=lambda: running_latest(options))
        show(CheckResult("report", "well", f"{options.report}: read it before you publish it"))
    return status


def _check_configuration(loaded: Loaded, service: Service | None) -> Iterator[CheckResult]:
    """Results for settings with which the listener, or the service, does not start."""
    from headnod.config.validation import service_errors, validate_listener
    from headnod.errors import AccessError, CheckResult, ConfigError

    refused = None
    try:
        validate_listener(loaded.config)
    except ConfigError as error:
        # The part that needs access reports that it is denied.
        refused = None if isinstance(error, AccessError) else error
    if refused is None:
        yield CheckResult("configuration", "well", values_set(loaded))
    else:
        yield CheckResult("configuration", "fault", str(refused))
    for fault in service_errors(loaded.config, service) if service is not None else []:
        if not isinstance(fault, AccessError):
            yield CheckResult("service", "fault", str(fault))


def add_config_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `headnod config`."""
    parser = subparsers.add_parser("config", help="show or check the configuration")
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    show = verbs.add_parser("show", help="print every value and its origin")
    show.add_argument("--json", action="store_true", help="print it as JSON")
    show.set_defaults(run=run_config_show)
    check = verbs.add_parser("check", help="check that the configuration is valid")
    check.add_argument("--json", action="store_true", help="print one JSON object per line")
    check.set_defaults(run=run_config_check)
    for verb in (show, check):
        add_config(verb)


def run_config_show(options: argparse.Namespace) -> None:
    """Print every value with its origin, without the logins of addresses."""
    import msgspec

    loaded = load_config(options)
    if unreadable := getattr(options, "unreadable_overlay", None):
        _log.warning(
            "%s: permission denied: what was set on the page is left out (%s)", unreadable, way_out_of_denial()
        )
    if options.json:
        print_json([dict(zip(("section", "key", "value", "origin"), row, strict=True)) for row in loaded.rows()])
        return
    for section, key, value, origin in loaded.rows():
        print(f"{section}.{key} = {msgspec.json.encode(value).decode():<24} # {origin}")


def run_config_check(options: argparse.Namespace) -> int:
    """Log every error, or print that the configuration is valid; with --json print both."""
    from headnod import factory
    from headnod.config import misspelt_variables
    from headnod.config.validation import config_errors, ineffective_settings, service_errors
    from headnod.errors import CheckResult, ConfigError
    from headnod.service import Sandbox

    def show(verdict: Verdict, message: str) -> None:
        if options.json or verdict == "well":
            print_result(CheckResult("configuration", verdict, message), width=14, json=options.json)
        else:
            _log.log(logging.ERROR if verdict == "fault" else logging.WARNING, "%s", message)

    try:
        loaded = load_config(options)
    except ConfigError as error:
        for line in (located(options, error), *getattr(error, "__notes__", ())):
            show("fault", line)
        return 78
    config, service = loaded.config, service_beside(options)
    for warning in (*ineffective_settings(config), *misspelt_variables(os.environ)):
        show("warning", loaded.located(warning))
    state = factory.state_beside(config.history, service)
    # The installed model matters only to LEDs on pins.
    installed = factory.installed_model(config, state) if any(output.pins for output in config.leds) else None
    found = config_errors(config, installed, of_service=service is not None and Sandbox(service.unit).installed)
    found += service_errors(config, service) if service is not None else []
    lines = dict.fromkeys(located(options, error) for error in found)
    for line in lines:
        show("fault", line)
    if lines:
        return 78
    show("well", f"valid ({values_set(loaded)})")
    return 0


def add_mqtt(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    test.set_defaults(run=run_mqtt_test)
    forget = verbs.add_parser(
        "forget",
        help="remove everything that the broker retains for a listener",
        description="Empty every retained topic of a listener that is gone, so that dashboards and Home Assistant "
        "drop it. Exit status: 0 if nothing of it is left, 1 if not, 78 for the configuration.",
    )
    forget.add_argument("node", metavar="NODE", help="name of the listener, as in mqtt.node")
    forget.add_argument("--force", action="store_true", help="even if the listener is online")
    add_config(forget)
    forget.set_defaults(run=run_mqtt_removal)
    schema = verbs.add_parser("schema", help="print the JSON Schema of every payload")
    schema.set_defaults(run=run_mqtt_schema)
    docs = verbs.add_parser("docs", help="bring the tables of a Markdown file up to date")
    docs.add_argument("file", metavar="FILE", type=Path, help="such as docs/mqtt.md")
    docs.set_defaults(run=run_mqtt_docs)


def run_mqtt_test(options: argparse.Namespace) -> int:
    """Print one result per step."""
    import random

    from headnod.config.validation import broker_errors
    from headnod.errors import CheckResult
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


def run_mqtt_removal(options: argparse.Namespace) -> None:
    """Print each topic that was emptied."""
    import random

    from headnod.errors import UsageError
    from headnod.factory.mqtt_factory import broker, client_id
    from headnod.mqtt.discovery import remove_retained
    from headnod.mqtt.topics import Topics, is_name

    section = load_config(options).config.mqtt
    if not is_name(options.node):
        raise UsageError(f"NODE: {options.node!r} is not a name (up to 64 letters, digits, hyphens and underscores)")
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


def run_mqtt_schema(_options: argparse.Namespace) -> None:
    """Print the JSON Schema."""
    import json

    from headnod.mqtt.payloads import json_schema

    print(json.dumps(json_schema(), indent=2))


def run_mqtt_docs(options: argparse.Namespace) -> None:
    """Replace the tables between the marks of a file."""
    from headnod.errors import ConfigError
    from headnod.mqtt.payloads import documented

    try:
        options.file.write_text(documented(options.file.read_text(encoding="utf-8")), encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{options.file}: cannot be brought up to date: {getattr(error, 'strerror', None) or error}"
        ) from error


def add_history(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `headnod history`."""
    parser = subparsers.add_parser("history", help="print the songs of the history")
    parser.add_argument("--since", metavar="WHEN", help="90m, 2h, 3d, or a date such as 2026-11-20 (all of it)")
    parser.add_argument("--estimates", action="store_true", help="print every estimate instead of songs")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const="json", help="print one JSON object per line")
    form.add_argument("--csv", dest="form", action="store_const", const="csv", help="print CSV")
    add_config(parser)
    parser.set_defaults(run=run_history, form="table")


def run_history(options: argparse.Namespace) -> None:
    """Print the history, the oldest first."""
    from headnod.factory import history_path, state_beside
    from headnod.outputs.history.records import print_history
    from headnod.pipeline.estimate import utc_now
    from headnod.service import HISTORY_FILE, MAIN, STATE

    section = load_config(options).config.history
    state = state_beside(section, service_beside(options)) or STATE / MAIN
    print_history(
        history_path(section) or state / HISTORY_FILE,
        since=options.since,
        form=options.form,
        out=sys.stdout,
        now=utc_now(),
        of="estimates" if options.estimates else "songs",
    )


def add_dashboard(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `headnod dashboard`."""
    parser = subparsers.add_parser("dashboard", help="serve a page that shows every listener")
    parser.add_argument("--host", metavar="ADDRESS", help="serve it at this address (127.0.0.1: this machine alone)")
    parser.add_argument("--port", metavar="N", type=int, help="serve it at this port (8137)")
    add_config(parser)
    parser.set_defaults(run=run_dashboard)


def run_dashboard(options: argparse.Namespace) -> None:
    """Serve the page until a signal arrives."""
    from headnod.config.validation import validate_dashboard
    from headnod.dashboard.page_process import run_page

    flags = {(f"--{key}", "dashboard", key): getattr(options, key) for key in ("host", "port")}
    config = load_config(options, flags).config
    logging.getLogger().setLevel(config.log.level.upper())
    run_page(validate_dashboard(config))


def add_leds(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `headnod leds`."""
    parser = subparsers.add_parser("leds", help="preview what the lights show")
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    preview = verbs.add_parser("preview", help="draw the configured lights at several moments into a PNG")
    preview.add_argument(
        "picture", metavar="FILE", type=Path, nargs="?", default=Path("leds.png"), help="write it here (leds.png)"
    )
    preview.add_argument("--kind", choices=("pins", "ws2812", "apa102", "wled"), help="draw these lights")
    preview.add_argument("--count", metavar="N", type=int, help="LEDs of the strip or lamp")
    preview.add_argument("--mode", choices=("bars", "mood"), help="how a strip shows genres")
    add_model(preview)
    add_config(preview)
    preview.set_defaults(run=run_leds_preview)


def run_leds_preview(options: argparse.Namespace) -> None:
    """Write the picture and print its path."""
    from headnod.errors import HeadnodError
    from headnod.factory import layout
    from headnod.inference.manifest import read_manifest
    from headnod.outputs.leds.preview import demonstration, write_preview
    from headnod.resources import configured_model

    flags = {
        ("--kind", "leds", "kind"): options.kind,
        ("--count", "leds", "count"): options.count,
        ("--mode", "leds", "mode"): options.mode,
        ("--model", "model", "name"): options.model,
    }
    config = load_config(options, flags).config
    labels = read_manifest(configured_model(config.model.name)).labels
    moments: dict[str, LedFrame] = {}
    for number, section in enumerate(config.leds, 1):
        placed, size = layout(section)
        output = f"{number} {section.kind}: " if len(config.leds) > 1 else ""
        moments |= {output + name: frame for name, frame in demonstration(placed, size, labels).items()}
    try:
        write_preview(options.picture, moments)
    except OSError as error:
        raise HeadnodError(f"{options.picture}: cannot be written: {error.strerror}") from error
    print(options.picture)
