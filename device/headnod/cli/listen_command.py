"""`headnod listen`: the daemon and the interactive listener, which are one program."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from headnod.cli.options import add_config, add_model, load_config

if TYPE_CHECKING:
    from headnod.config import Config

_EXAMPLES = """\
examples:
  headnod listen                                   watch the bars move
  headnod listen --audio party.flac --json         a JSON object an estimate
  arecord -t raw -f S16_LE -r 22050 -c 1 | headnod listen --audio - --rate 22050
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "listen",
        help="name the genre of what plays, every few seconds",
        description="Name the genre of what plays, every few seconds. Pause, threshold and brightness that were set by "
        "MQTT are kept in the state folder and apply again after a restart; request/reset by MQTT ends that.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--audio",
        metavar="mic|FILE|URL|-",
        help="the microphone, a file, a web radio (http or https), or raw 16-bit samples on stdin "
        "(default: the microphone, or the demo clip where there is none and no output is configured)",
    )
    parser.add_argument("--device", metavar="NAME", help="a microphone as 'headnod devices' names it")
    parser.add_argument("--rate", metavar="HZ", type=int, help="sample rate of raw samples (22050)")
    parser.add_argument("--channels", metavar="N", type=int, help="channels of raw samples (1)")
    parser.add_argument("--every", metavar="SECONDS", type=float, help="time between estimates (3)")
    add_model(parser)
    view = parser.add_mutually_exclusive_group()
    view.add_argument("--json", dest="view", action="store_const", const="json", help="print JSON lines")
    view.add_argument("--plain", dest="view", action="store_const", const="plain", help="print plain lines")
    view.add_argument("--quiet", dest="view", action="store_const", const="none", help="print nothing, only log")
    parser.add_argument(
        "--pace", choices=("real", "fast"), help="hear a file as fast as it plays, or as fast as it goes"
    )
    add_config(parser)
    parser.set_defaults(run=run, view="auto")


def run(options: argparse.Namespace) -> None:
    """Listen until the audio ends or somebody stops it."""
    from headnod import runtime

    flags = {
        ("--model", "model", "name"): options.model,
        # What is said here and now goes before what was installed.
        ("--model", "model", "installed"): None if options.model is None else False,
        ("--device", "microphone", "device"): options.device,
        ("--rate", "microphone", "rate"): options.rate,
        ("--channels", "microphone", "channels"): options.channels,
        ("--every", "listen", "every"): options.every,
    }

    def read_config() -> Config:
        config = load_config(options, flags).config
        logging.getLogger().setLevel(config.log.level.upper())
        return config

    runtime.run(read_config, audio=options.audio, view=options.view, pace=options.pace)
