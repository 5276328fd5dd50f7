"""`headnod check`: is everything there, and does it work?"""

from __future__ import annotations

import argparse

from headnod.cli.options import add_config, add_model, load_config, service_beside, values_set, way_out_of_denial
from headnod.escaping import printable

_MARKS = {"well": "ok", "warning": "warning", "fault": "FAULT", "none": "-"}


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "check",
        help="test every part and say how to fix faults",
        description="Look at configuration, runtime, model, microphone, lights, broker, disk and clock. "
        "Exit status: 0 if headnod can work, 1 if a fault prevents it, 78 for an invalid configuration.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.add_argument("--device", metavar="NAME", help="a microphone as 'headnod devices' names it")
    add_model(parser)
    add_config(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print a line for every part."""
    import msgspec

    from headnod.config.service_checks import service_errors
    from headnod.diagnostics import CheckResult, run_checks
    from headnod.errors import AccessError

    flags = {
        ("--model", "model", "name"): options.model,
        ("--model", "model", "installed"): None if options.model is None else False,
        ("--device", "microphone", "device"): options.device,
    }
    loaded = load_config(options, flags)
    worst = 0

    def tell(finding: CheckResult) -> None:
        finding = msgspec.structs.replace(finding, message=loaded.located(finding.message))
        if options.json:
            print(msgspec.json.encode(finding).decode(), flush=True)
        else:
            print(f"{_MARKS[finding.verdict]:<8} {finding.part:<14} {printable(finding.message)}", flush=True)

    tell(CheckResult("configuration", "well", values_set(loaded)))
    service = service_beside(options)
    for refusal in service_errors(loaded.config, service) if service is not None else []:
        # Access that is denied here is told by the part that needs it.
        if not isinstance(refusal, AccessError):
            tell(CheckResult("service", "fault", str(refusal)))
            worst = 1
    for finding in run_checks(loaded.config, service, denied=way_out_of_denial):
        tell(finding)
        worst = max(worst, finding.verdict == "fault")
    return worst
