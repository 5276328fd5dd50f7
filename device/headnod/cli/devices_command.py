"""`headnod devices`: microphones by the names that stay theirs."""

from __future__ import annotations

import argparse
import logging

from headnod.escaping import printable

_log = logging.getLogger(__name__)


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "devices",
        help="list microphones by their stable names",
        description="List microphones. The first name of each stays the same after a reboot and at another USB port: "
        "put it into the configuration as microphone.device, or give it to 'headnod listen --device'.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print a JSON array")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print them; exit status 1 if there is none."""
    # Imported here, because json and dataclasses take a tenth of the time of `headnod --help`.
    import json
    from dataclasses import asdict

    from headnod.audio.devices import find, list_devices

    there = list_devices()
    found = there.devices
    for shut in there.closed:
        _log.warning("%s", printable(f"{shut.names[0]} {shut.reason}"))
    if options.json:
        print(json.dumps([asdict(device) for device in found]))
        return 0 if found else 1
    usual = find("", found, there.closed)
    for device in found:
        mark = "*" if device is usual else " "
        channels = "channel" if device.channels == 1 else "channels"
        also = f"  also {', '.join(device.others)}" if device.others else ""
        print(printable(f"{mark} {device.name:<28} {device.rate:6d} Hz, {device.channels} {channels}{also}"))
    print("* is used if none is named")
    return 0
