"""`headnod-train deploy`: send a model to the listeners."""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from headnod_train.cli.arguments import few, place, seconds
from headnod_train.cli.command_options import add_key, add_passphrase_file, add_supersede, say

if TYPE_CHECKING:
    from headnod.config import MqttSection
    from headnod_train.deploy.signing import Signed

_EXAMPLES = """\
examples:
  headnod-train deploy models/genre-0.2.0 --broker broker.lan --canaries 3
  headnod-train deploy genre-0.2.0.bundle --broker broker.lan --node kitchen
  headnod-train deploy models/genre-0.2.0 --ssh pi@kitchen.local

The login is that of [mqtt] in the configuration: HEADNOD_MQTT__USERNAME and HEADNOD_MQTT__PASSWORD_FILE, or a
file with --config. Exit status: 0 if everybody who is there has it, 1 if not, 2 for usage.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "deploy",
        help="send a model to the listeners",
        description="Sign a bundle if need be and send it, to a few listeners first and to the others when those are "
        "well. A rollout whose first listeners fail stops there.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a folder, or a file that 'sign' wrote")
    parser.add_argument("--anew", action="store_true", help="sign it anew: go back to a model that was sent before")
    add_supersede(parser)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--broker", type=place, metavar="HOST[:PORT]", help="by MQTT (default: mqtt.host)")
    way.add_argument("--ssh", metavar="HOST", help="to one machine by ssh, whose user may 'sudo headnod'")
    parser.add_argument("--channel", choices=("stable", "canary"), default="stable", help="who shall have it (stable)")
    parser.add_argument("--node", action="append", default=[], metavar="NAME", help="only this one; may be repeated")
    parser.add_argument(
        "--canaries", type=few, default=0, metavar="N", help="so many try it first; all of channel canary do anyway (0)"
    )
    parser.add_argument("--timeout", type=seconds, default=300.0, metavar="S", help="for each part (300)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a headnod.toml with [mqtt] for login and TLS")
    add_key(parser)
    add_passphrase_file(parser)
    parser.set_defaults(run=run, kept="what was sent stays at the broker: run it again, or send another model")


def run(options: argparse.Namespace, console: Console) -> None:
    """Deploy, show how it goes, and sum up."""
    signed = _signed(options)
    model = f"{signed.manifest.id} ({signed.manifest.serial})"
    if options.ssh is not None:
        from headnod_train.deploy.ssh import install  # noqa: PLC0415

        say(install(options.ssh, signed.content, timeout=options.timeout))
        return
    from headnod.factory.broker_factory import broker, topics  # noqa: PLC0415
    from headnod_train.deploy.rollout import RolloutError, RolloutPlan, roll_out  # noqa: PLC0415
    from headnod_train.deploy.rollout_table import RolloutDisplay, summary  # noqa: PLC0415

    section = _section(options)
    plan = RolloutPlan(options.channel, tuple(dict.fromkeys(options.node)), options.canaries, options.timeout)
    where = broker(section, client_id=f"headnod.deploy-{secrets.token_hex(4)}")
    with RolloutDisplay(console, model) as board:
        base = topics(section).base
        outcome = roll_out(signed.content, signed.digest, where, base, plan, board.show, model=model)
    for note in outcome.notes:
        say(note)
    say(summary(outcome, model))
    if outcome.stopped:
        message = f"the rollout was stopped: {outcome.stopped}"
        raise RolloutError(message)
    if outcome.failed or outcome.silent:
        message = f"{len(outcome.failed) + len(outcome.silent)} did not take it"
        raise RolloutError(message)


def _signed(options: argparse.Namespace) -> Signed:
    from headnod_train.deploy.passphrase import passphrase_from  # noqa: PLC0415
    from headnod_train.deploy.signing import opened, sign  # noqa: PLC0415
    from headnod_train.deploy.signing_key import load  # noqa: PLC0415

    if not options.bundle.is_dir() and not options.anew and not options.supersede:
        return opened(options.bundle)
    key = load(options.key, lambda: passphrase_from(options.passphrase_file))
    return sign(options.bundle, key, anew=options.anew, supersede=options.supersede)


def _section(options: argparse.Namespace) -> MqttSection:
    from msgspec.structs import replace  # noqa: PLC0415

    from headnod.cli.options import load_config  # noqa: PLC0415

    section = load_config(options).config.mqtt
    if options.broker is None:
        return section
    host, port = options.broker
    return replace(section, host=host, port=port)
