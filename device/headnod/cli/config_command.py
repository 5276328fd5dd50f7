"""`headnod config show` and `headnod config check`."""

from __future__ import annotations

import argparse

from headnod.cli.options import add_config, load_config, located, service_beside, values_set


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser("config", help="show or check the configuration", allow_abbrev=False)
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    show = verbs.add_parser("show", help="print every value and where it came from", allow_abbrev=False)
    show.add_argument("--json", action="store_true", help="print it as JSON")
    show.set_defaults(run=run_show)
    check = verbs.add_parser("check", help="check that the configuration is valid", allow_abbrev=False)
    check.set_defaults(run=run_check)
    for verb in (show, check):
        add_config(verb)


def run_show(options: argparse.Namespace) -> None:
    """Print every value with its origin."""
    import msgspec

    loaded = load_config(options)
    values = msgspec.to_builtins(loaded.config)
    values |= {f"leds.{number}": table for number, table in enumerate(values["leds"], 1)}
    values["leds"] = values["leds.1"]
    if options.json:
        told = [
            {"section": section, "key": key, "value": values[section][key], "origin": origin}
            for (section, key), origin in loaded.origins.items()
        ]
        print(msgspec.json.encode(told).decode())
        return
    for (section, key), origin in loaded.origins.items():
        shown = msgspec.json.encode(values[section][key]).decode()
        print(f"{section}.{key} = {shown:<24} # {origin}")


def run_check(options: argparse.Namespace) -> int:
    """Print every refusal, or that there is none."""
    import logging

    from headnod.config.service_checks import service_errors
    from headnod.config.validation import config_errors, ineffective_settings
    from headnod.factory import output_factory
    from headnod.service import (
        Sandbox,
        readable_folder,
    )
    from headnod.updates.store import Store

    loaded, log = load_config(options), logging.getLogger(__name__)
    config, service = loaded.config, service_beside(options)

    for doubt in ineffective_settings(config):
        log.warning("%s", loaded.located(doubt))
    state = output_factory.state_beside(config.history, service)
    # Only LEDs on pins depend on which model was installed.
    asked = config.model.installed and any(output.pins for output in config.leds)
    installed = Store(state).active_folder() if asked and state is not None and readable_folder(state) else None
    found = config_errors(config, installed, of_service=service is not None and Sandbox(service.unit).installed)
    found += service_errors(config, service) if service is not None else []
    lines = dict.fromkeys(located(options, refusal) for refusal in found)
    for line in lines:
        log.error("%s", line)
    if lines:
        return 78
    print(f"the configuration is valid ({values_set(loaded)})")
    return 0
