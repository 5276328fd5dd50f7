"""`headnod history`, `headnod dashboard` and `headnod leds preview`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from headnod.cli.options import add_config, add_model, load_config, service_beside

if TYPE_CHECKING:
    from headnod.outputs.leds.animation import LedFrame


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
    from headnod.dashboard.site import run_page

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
    from headnod.inference.bundle_files import read_manifest
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
        message = f"{options.picture}: cannot be written: {error.strerror}"
        raise HeadnodError(message) from error
    print(options.picture)
