"""`headnod-train simulate`: publish what a crowd of listeners would."""

from __future__ import annotations

import argparse
import logging
import os

from rich.console import Console

from headnod_train.cli.arguments import address, listener_count, seconds, whole
from headnod_train.cli.command_options import say

_EXAMPLES = """\
examples:
  headnod-train simulate 100 --broker localhost:1884 --seconds 60
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "simulate",
        help="publish by MQTT what a crowd of listeners would",
        description="Publish by MQTT what a crowd of listeners would, to try a dashboard or a broker. The broker must "
        "let anybody publish: use one of your own for this, such as 'mosquitto -p 1884'. What it retained is taken "
        "back at the end. Exit status 1 if a message was lost.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("count", type=listener_count, metavar="N", help="how many listeners")
    parser.add_argument(
        "--broker", type=address, default=("localhost", 1883), metavar="HOST[:PORT]", help="where to (localhost:1883)"
    )
    parser.add_argument(
        "--base", default="headnod", metavar="TOPIC", help="what every topic begins with (default %(default)s)"
    )
    parser.add_argument(
        "--every",
        type=seconds,
        default=3.0,
        metavar="S",
        help="seconds between two estimates of one (default %(default)g)",
    )
    parser.add_argument("--seconds", type=seconds, metavar="S", help="how long (until Ctrl-C)")
    parser.add_argument("--seed", type=whole, default=1, help="of the music (default %(default)s)")
    parser.set_defaults(run=run, kept="nothing was published")


def run(options: argparse.Namespace, console: Console) -> None:
    """Simulate, and say how much arrived."""
    from headnod.mqtt.broker import Broker  # noqa: PLC0415
    from headnod_train.simulator.simulation import SimulationError, simulate  # noqa: PLC0415

    # What its warnings say, the sum at the end says.
    logging.getLogger("headnod.mqtt").setLevel(logging.ERROR)
    host, port = options.broker
    console.print(f"{options.count} listeners at {host}:{port}, one estimate each {options.every:g} s", highlight=False)
    told = simulate(
        options.count,
        Broker(host, port, client_id=f"headnod-simulate-{os.getpid()}"),
        base=options.base,
        every=options.every,
        seconds=options.seconds,
        seed=options.seed,
    )
    say(str(told))
    if told.lost:
        reason, times = told.lost.most_common(1)[0]
        message = f"{told.lost.total()} messages were lost, {times} of them: {reason}"
        raise SimulationError(message)
