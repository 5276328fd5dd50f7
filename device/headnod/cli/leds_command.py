"""`headnod leds preview`: what the lights will show, as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from headnod.cli.options import add_config, add_model, load_config

if TYPE_CHECKING:
    from headnod.outputs.leds.layouts import LedFrame


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser("leds", help="preview what the lights show", allow_abbrev=False)
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    preview = verbs.add_parser(
        "preview", help="draw the configured lights at several moments into a PNG", allow_abbrev=False
    )
    preview.add_argument(
        "picture", metavar="FILE", type=Path, nargs="?", default=Path("leds.png"), help="write it here (leds.png)"
    )
    preview.add_argument("--kind", choices=("pins", "ws2812", "apa102", "wled"), help="draw these lights")
    preview.add_argument("--count", metavar="N", type=int, help="LEDs of the strip or lamp")
    preview.add_argument("--mode", choices=("bars", "mood"), help="how a strip shows genres")
    add_model(preview)
    add_config(preview)
    preview.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Write the picture and say where it is."""
    from headnod.errors import HeadnodError
    from headnod.factory.output_factory import layout
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
        lights, size = layout(section)
        output = f"{number} {section.kind}: " if len(config.leds) > 1 else ""
        moments |= {output + name: light for name, light in demonstration(lights, size, labels).items()}
    try:
        write_preview(options.picture, moments)
    except OSError as error:
        message = f"{options.picture}: cannot be written: {error.strerror}"
        raise HeadnodError(message) from error
    print(options.picture)
