"""`headnod config show` and `headnod config check`."""

from __future__ import annotations

import argparse

from headnod.commands.options import add_config, load_config


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser("config", help="show or check the configuration", allow_abbrev=False)
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    show = verbs.add_parser("show", help="print every value and where it came from", allow_abbrev=False)
    show.add_argument("--json", action="store_true", help="print a JSON object")
    show.set_defaults(run=run_show)
    check = verbs.add_parser("check", help="say whether the configuration can be used", allow_abbrev=False)
    check.set_defaults(run=run_check)
    for verb in (show, check):
        add_config(verb)


def run_show(options: argparse.Namespace) -> None:
    """Print every value with its origin."""
    import msgspec  # noqa: PLC0415

    loaded = load_config(options)
    values = msgspec.to_builtins(loaded.config)
    if options.json:
        told = [
            {"section": section, "key": key, "value": values[section][key], "origin": origin}
            for (section, key), origin in loaded.origins.items()
        ]
        print(msgspec.json.encode(told).decode())  # noqa: T201
        return
    for (section, key), origin in loaded.origins.items():
        shown = msgspec.json.encode(values[section][key]).decode()
        print(f"{section}.{key} = {shown:<24} # {origin}")  # noqa: T201


def run_check(options: argparse.Namespace) -> None:
    """Say that all is well; what is not is an error on the way."""
    loaded = load_config(options)
    said = sum(origin != "default" for origin in loaded.origins.values())
    print(f"the configuration can be used: {said} values set, {len(loaded.origins) - said} as they come")  # noqa: T201
