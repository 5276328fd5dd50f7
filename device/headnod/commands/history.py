"""`headnod history`: what was heard."""

from __future__ import annotations

import argparse
import sys

from headnod.commands.options import add_config, load_config

_PLACE = "/var/lib/headnod"


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
    from pathlib import Path  # noqa: PLC0415

    from headnod.app.outputs import HISTORY_FILE, history_path  # noqa: PLC0415
    from headnod.estimate import utc_now  # noqa: PLC0415
    from headnod.history.show import print_history  # noqa: PLC0415

    path = history_path(load_config(options).config.history) or Path(_PLACE) / HISTORY_FILE
    print_history(
        path,
        since=options.since,
        form=options.form,
        out=sys.stdout,
        now=utc_now(),
        of="estimates" if options.estimates else "songs",
    )
