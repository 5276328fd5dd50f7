"""`headnod check`, `headnod config show` and `headnod config check`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from headnod.cli.options import (
    add_config,
    add_model,
    load_config,
    located,
    print_result,
    service_beside,
    values_set,
    way_out_of_denial,
)

if TYPE_CHECKING:
    from headnod.check_result import CheckResult, Verdict
    from headnod.config import Loaded

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
    parser.add_argument("--device", metavar="NAME", help="a microphone as 'headnod devices' names it")
    add_model(parser)
    add_config(parser)
    parser.set_defaults(run=run_check)


def run_music_check(options: argparse.Namespace, loaded: Loaded) -> int:
    """Record the test record in the room, and print how many answers stay."""
    import msgspec

    from headnod.factory import source
    from headnod.inference.model import load_checked
    from headnod.music_check import LEAD, check_music, lines, read_record, record_path, recorded
    from headnod.resources import find_model

    model = load_checked(find_model(options.model or loaded.config.model.name))
    rate = model.front_end.sample_rate
    record, sound = read_record(record_path(), rate)
    seconds = sound.size / rate + LEAD
    if options.audio == "mic":
        _log.info("play %s near the microphone now; recording for %.0f s", record_path(), seconds)
    with source(options.audio, loaded.config.microphone, rate, None) as blocks:
        heard = recorded(blocks, seconds, rate)
    result = check_music(heard, model, record, sound)
    if options.json:
        print(msgspec.json.encode(result).decode())
    else:
        for line in lines(result):
            print(line)
    return 0


def run_check(options: argparse.Namespace) -> int:
    """Print one result per part."""
    import msgspec

    from headnod.check_result import CheckResult
    from headnod.config.service_checks import service_errors
    from headnod.diagnostics import run_checks
    from headnod.errors import AccessError
    from headnod.privacy import check_privacy

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
        result = msgspec.structs.replace(result, message=loaded.located(result.message))
        print_result(result, width=14, json=options.json)
        shown.append(result)

    show(CheckResult("configuration", "well", values_set(loaded)))
    service = service_beside(options)
    if options.privacy:
        for result in check_privacy(loaded.config, service):
            show(result)
        return 0
    for error in service_errors(loaded.config, service) if service is not None else []:
        # The part that needs access reports that it is denied.
        if not isinstance(error, AccessError):
            show(CheckResult("service", "fault", str(error)))
            status = 1
    for result in run_checks(loaded.config, service, denied=way_out_of_denial):
        show(result)
        status = max(status, result.verdict == "fault")
    if options.report is not None:
        from headnod.cli.why_command import running_latest
        from headnod.support_report import write_report

        write_report(options.report, loaded, service, shown, latest=lambda: running_latest(options))
        show(CheckResult("report", "well", f"{options.report}: read it before you publish it"))
    return status


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
        rows = [dict(zip(("section", "key", "value", "origin"), row, strict=True)) for row in loaded.rows()]
        print(msgspec.json.encode(rows).decode())
        return
    for section, key, value, origin in loaded.rows():
        print(f"{section}.{key} = {msgspec.json.encode(value).decode():<24} # {origin}")


def run_config_check(options: argparse.Namespace) -> int:
    """Log every error, or print that the configuration is valid; with --json print both."""
    from headnod import factory
    from headnod.check_result import CheckResult
    from headnod.config.service_checks import service_errors
    from headnod.config.validation import config_errors, ineffective_settings
    from headnod.errors import ConfigError
    from headnod.service import Sandbox, readable_folder
    from headnod.updates.store import Store

    def show(verdict: Verdict, message: str) -> None:
        if options.json or verdict == "well":
            print_result(CheckResult("configuration", verdict, message), width=14, json=options.json)
        else:
            _log.log(logging.ERROR if verdict == "fault" else logging.WARNING, "%s", message)

    try:
        loaded = load_config(options)
    except ConfigError as error:
        for line in (str(error), *getattr(error, "__notes__", ())):
            show("fault", line)
        return 78
    config, service = loaded.config, service_beside(options)
    for warning in ineffective_settings(config):
        show("warning", loaded.located(warning))
    state = factory.state_beside(config.history, service)
    # The installed model matters only to LEDs on pins.
    needed = config.model.installed and any(output.pins for output in config.leds)
    installed = Store(state).active_folder() if needed and state is not None and readable_folder(state) else None
    found = config_errors(config, installed, of_service=service is not None and Sandbox(service.unit).installed)
    found += service_errors(config, service) if service is not None else []
    lines = dict.fromkeys(located(options, error) for error in found)
    for line in lines:
        show("fault", line)
    if lines:
        return 78
    show("well", f"valid ({values_set(loaded)})")
    return 0
