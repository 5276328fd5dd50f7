"""`headnod history`: what was heard."""

from __future__ import annotations

import argparse
import sys

from headnod.cli.options import add_config, load_config, service_beside


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser("history", help="print the songs that were heard", allow_abbrev=False)
    parser.add_argument("--since", metavar="WHEN", help="90m, 2h, 3d, or a date such as 2026-11-20 (all of it)")
    parser.add_argument("--estimates", action="store_true", help="print every estimate instead of songs")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const="json", help="print a JSON object a line")
    form.add_argument("--csv", dest="form", action="store_const", const="csv", help="print CSV")
    add_config(parser)
    parser.set_defaults(run=run, form="table")


def run(options: argparse.Namespace) -> None:
    """Print it, the oldest first."""
    from headnod.factory.output_factory import history_path, state_beside
    from headnod.outputs.history.export import print_history
    from headnod.pipeline.estimate import utc_now
    from headnod.service import HISTORY_FILE, MAIN, STATE

    section = load_config(options).config.history
    state = state_beside(section, service_beside(options)) or STATE / MAIN
    path = history_path(section) or state / HISTORY_FILE
    print_history(
        path,
        since=options.since,
        form=options.form,
        out=sys.stdout,
        now=utc_now(),
        of="estimates" if options.estimates else "songs",
    )
