"""Commands that bring a model to listeners: export, keygen, sign and deploy; and simulate."""

from __future__ import annotations

import argparse
import logging
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from headnod_train.cli.command_options import (
    add_key,
    add_passphrase_file,
    add_split,
    add_supersede,
    address,
    few,
    listener_count,
    place,
    seconds,
    whole,
)
from headnod_train.console import print_line, print_result

if TYPE_CHECKING:
    from headnod.config import MqttSection
    from headnod.inference.manifest import Health
    from headnod.inference.model import GenreModel
    from headnod_train.deploy.signing import Signed

_KEYGEN_EXAMPLES = """\
examples:
  headnod-train keygen
  headnod-train keygen --passphrase --key ~/keys/headnod.key
"""


def add_keygen(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `keygen`."""
    parser = subparsers.add_parser(
        "keygen",
        help="make the key that signs models",
        description="Make the key that signs models, and print the line for the configuration of every listener.",
        epilog=_KEYGEN_EXAMPLES,
    )
    add_key(parser)
    parser.add_argument("--passphrase", action="store_true", help="ask for a passphrase and encrypt the key with it")
    parser.set_defaults(run=run_keygen, kept="no key was made")


def run_keygen(options: argparse.Namespace, console: Console) -> None:
    """Make a key, and print its public half."""
    from headnod_train.deploy.signing import generate, new_passphrase

    public = generate(options.key, new_passphrase() if options.passphrase else None)
    for line in (
        f"{options.key}: keep it secret, and a copy elsewhere: with it models can be installed on every listener",
        "on every listener, in /etc/headnod/headnod.toml, under [model]:",
    ):
        print_line(console, line)
    print_result(f'keys = ["{public}"]')


_SIGN_EXAMPLES = """\
examples:
  headnod-train sign models/mine-1.0.0
  headnod-train sign models/mine-1.0.0 --out mine.bundle --data mine.npz
"""


def add_sign(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `sign`."""
    parser = subparsers.add_parser(
        "sign",
        help="sign a bundle, so that listeners accept it",
        description="Write a bundle with a serial and a signature into one file that can be copied and deployed. The "
        "folder is unchanged, and so is a signed file that is up to date.",
        epilog=_SIGN_EXAMPLES,
    )
    parser.add_argument("bundle", type=Path, metavar="FOLDER", help="a bundle, such as models/genre-0.2.0")
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write (default FOLDER.bundle)")
    parser.add_argument("--anew", action="store_true", help="use a new serial: listeners accept an old model again")
    add_supersede(parser)
    parser.add_argument(
        "--data", type=Path, metavar="ARCHIVE", help="measure the usual entropy of estimates on this archive"
    )
    add_split(parser)
    add_key(parser)
    add_passphrase_file(parser)
    parser.set_defaults(run=run_sign, kept="nothing was signed")


def run_sign(options: argparse.Namespace, console: Console) -> None:
    """Sign, and print the path of the file."""
    from headnod_train.deploy.signing import load, passphrase_from, sign

    key = load(options.key, lambda: passphrase_from(options.passphrase_file))

    def health(model: GenreModel) -> Health:
        from headnod_train.dataset.archive import read_archive
        from headnod_train.evaluation.calibration import measure_health

        return measure_health(model, read_archive(options.data, model.front_end), split=options.split, console=console)

    measured = None if options.data is None else health
    signed = sign(options.bundle, key, out=options.out, anew=options.anew, supersede=options.supersede, health=measured)
    print_result(f"{signed.path}: {signed.manifest.id}, serial {signed.manifest.serial}, {len(signed.content)} bytes")


_DEPLOY_EXAMPLES = """\
examples:
  headnod-train deploy models/genre-0.2.0 --broker broker.lan --canaries 3
  headnod-train deploy genre-0.2.0.bundle --broker broker.lan --node kitchen
  headnod-train deploy models/genre-0.2.0 --ssh pi@kitchen.local

The login is that of [mqtt] in the configuration: HEADNOD_MQTT__USERNAME and HEADNOD_MQTT__PASSWORD_FILE, or a
file with --config. Exit status: 0 if every connected listener has it, 1 if not, 2 for usage.
"""


def add_deploy(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `deploy`."""
    parser = subparsers.add_parser(
        "deploy",
        help="send a model to the listeners",
        description="Sign a bundle that is not signed yet, and send it to a few listeners first. The others receive it "
        "if those keep it; otherwise the rollout stops.",
        epilog=_DEPLOY_EXAMPLES,
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a folder, or a file that 'sign' wrote")
    parser.add_argument("--anew", action="store_true", help="sign it again: listeners accept an old model again")
    add_supersede(parser)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--broker", type=place, metavar="HOST[:PORT]", help="by MQTT (default: mqtt.host)")
    way.add_argument("--ssh", metavar="HOST", help="to one machine by ssh; its user may run 'sudo headnod'")
    parser.add_argument("--channel", choices=("stable", "canary"), default="stable", help="update channel (stable)")
    parser.add_argument("--node", action="append", default=[], metavar="NAME", help="only this listener (repeatable)")
    parser.add_argument(
        "--canaries",
        type=few,
        default=0,
        metavar="N",
        help="number of listeners that get it first; all of channel canary do (0)",
    )
    parser.add_argument("--timeout", type=seconds, default=300.0, metavar="S", help="time limit of each part (300)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a headnod.toml with [mqtt] for login and TLS")
    add_key(parser)
    add_passphrase_file(parser)
    parser.set_defaults(run=run_deploy, kept="what was sent stays at the broker: run it again, or send another model")


def run_deploy(options: argparse.Namespace, console: Console) -> None:
    """Deploy, show the progress, and print the result."""
    signed = _signed_bundle(options)
    model = f"{signed.manifest.id} ({signed.manifest.serial})"
    if options.ssh is not None:
        from headnod_train.deploy.rollout import install

        print_result(install(options.ssh, signed.content, timeout=options.timeout))
        return
    from headnod.factory.mqtt_factory import broker, topics
    from headnod_train.deploy.rollout import RolloutDisplay, RolloutError, RolloutPlan, roll_out, summary

    section = _mqtt_section(options)
    plan = RolloutPlan(options.channel, tuple(dict.fromkeys(options.node)), options.canaries, options.timeout)
    where = broker(section, client_id=f"headnod.deploy-{secrets.token_hex(4)}")
    with RolloutDisplay(console, model) as board:
        base = topics(section).base
        outcome = roll_out(signed.content, signed.digest, where, base, plan, board.show, model=model)
    for note in outcome.notes:
        print_result(note)
    print_result(summary(outcome, model))
    if outcome.stopped:
        raise RolloutError(f"the rollout was stopped: {outcome.stopped}")
    if outcome.failed or outcome.silent:
        raise RolloutError(f"{len(outcome.failed) + len(outcome.silent)} did not install it")


def _signed_bundle(options: argparse.Namespace) -> Signed:
    from headnod_train.deploy.signing import load, opened, passphrase_from, sign

    if not options.bundle.is_dir() and not options.anew and not options.supersede:
        return opened(options.bundle)
    key = load(options.key, lambda: passphrase_from(options.passphrase_file))
    return sign(options.bundle, key, anew=options.anew, supersede=options.supersede)


def _mqtt_section(options: argparse.Namespace) -> MqttSection:
    from msgspec.structs import replace

    from headnod.cli.parser import load_config

    section = load_config(options).config.mqtt
    if options.broker is None:
        return section
    host, port = options.broker
    return replace(section, host=host, port=port)


_SIMULATE_EXAMPLES = """\
examples:
  headnod-train simulate 100 --broker localhost:1884 --seconds 60
  headnod-train simulate 10000 --broker localhost:1884 --seconds 120 --own-connections
"""


def add_simulate(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `simulate`."""
    parser = subparsers.add_parser(
        "simulate",
        help="publish by MQTT like many listeners",
        description="Publish by MQTT like many listeners, to test a dashboard or a broker. The broker must accept "
        "clients without a login, such as 'mosquitto -p 1884'. Retained messages are deleted at the end. Exit status 1 "
        "if a message was lost.",
        epilog=_SIMULATE_EXAMPLES,
    )
    parser.add_argument("count", type=listener_count, metavar="N", help="number of listeners")
    parser.add_argument(
        "--broker", type=address, default=("localhost", 1883), metavar="HOST[:PORT]", help="broker (localhost:1883)"
    )
    parser.add_argument(
        "--base", default="headnod", metavar="TOPIC", help="first part of every topic (default %(default)s)"
    )
    parser.add_argument(
        "--every",
        type=seconds,
        default=3.0,
        metavar="S",
        help="seconds between two estimates of a listener (default %(default)g)",
    )
    parser.add_argument("--seconds", type=seconds, metavar="S", help="length of the simulation (until Ctrl-C)")
    parser.add_argument("--seed", type=whole, default=1, help="seed of the music (default %(default)s)")
    parser.add_argument(
        "--own-connections",
        action="store_true",
        help="measure a broker: each listener has a connection and a last will, a collector receives every estimate, "
        "and both latencies are reported (with --seconds; one file descriptor for each listener)",
    )
    parser.set_defaults(run=run_simulate, kept="nothing was published")


def run_simulate(options: argparse.Namespace, console: Console) -> None:
    """Simulate, and print the numbers of messages."""
    from headnod.mqtt.broker import Broker
    from headnod_train.simulator.simulation import SimulationError, simulate

    # Lost messages are counted in the result.
    logging.getLogger("headnod.mqtt").setLevel(logging.ERROR)
    host, port = options.broker
    if options.own_connections:
        _simulate_fleet(options, host, port)
        return
    console.print(f"{options.count} listeners at {host}:{port}, one estimate each {options.every:g} s", highlight=False)
    summary = simulate(
        options.count,
        Broker(host, port, client_id=f"headnod-simulate-{os.getpid()}"),
        base=options.base,
        every=options.every,
        seconds=options.seconds,
        seed=options.seed,
    )
    print_result(str(summary))
    if summary.lost:
        reason, times = summary.lost.most_common(1)[0]
        raise SimulationError(f"{summary.lost.total()} messages were lost, {times} of them: {reason}")


def _simulate_fleet(options: argparse.Namespace, host: str, port: int) -> None:
    from headnod.errors import ConfigError
    from headnod_train.simulator.connected_listeners import FleetError, simulate_fleet

    if options.seconds is None:
        raise ConfigError("--own-connections needs --seconds")
    result = simulate_fleet(options.count, host, port, base=options.base, every=options.every, seconds=options.seconds)
    print_result(str(result))
    missing = result.published - result.acknowledged + result.published // 2 - result.received
    if missing:
        raise FleetError(f"{missing} messages were not acknowledged or did not arrive")


FORMATS = ("onnx", "onnx-int8", "c")

_EXPORT_EXAMPLES = """\
examples:
  headnod-train export genre --out exported
  headnod-train export models/mine-1.0.0 --out firmware --format c
"""


def add_export(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `export`."""
    parser = subparsers.add_parser(
        "export",
        help="write a model as ONNX, or as C source for microcontrollers",
        description="Write the network of a bundle as ONNX, in real numbers and int8, and as C source for TensorFlow "
        "Lite for Microcontrollers with the constants of its front end. Each is checked with the golden windows of the "
        "bundle before it is written.",
        epilog=_EXPORT_EXAMPLES,
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of a bundle, or a shipped model such as genre")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the files")
    parser.add_argument("--format", action="append", choices=FORMATS, help="format to write (repeatable; default: all)")
    parser.set_defaults(run=run_export, kept="files that were written are complete")


def run_export(options: argparse.Namespace, console: Console) -> None:
    """Export, and print each file with the result of its check."""
    from headnod.inference.manifest import GOLDEN, MODEL, read_checked
    from headnod.inference.model import load_checked
    from headnod.resources import find_model
    from headnod_train.deploy.c_export import c_sources
    from headnod_train.storage import write_file

    folder = find_model(options.bundle)
    manifest = load_checked(folder).manifest
    content, golden = (read_checked(folder, name, manifest) for name in (MODEL, GOLDEN))
    formats = options.format or FORMATS
    if "c" in formats:
        for name, text in c_sources(manifest, content, golden).items():
            write_file(options.out / name, text.encode())
            print_result(str(options.out / name))
    if not {"onnx", "onnx-int8"} & set(formats):
        return
    from headnod_train.deploy.onnx_export import check, float_onnx, int8_onnx

    console.print("converting to ONNX", highlight=False)
    whole = int8_onnx(content)
    for kind, model in (("onnx", float_onnx(whole)), ("onnx-int8", whole)):
        if kind in formats:
            path = options.out / f"{manifest.id}{'-int8' if kind == 'onnx-int8' else ''}.onnx"
            found = check(model, content, golden, manifest)
            write_file(path, model.SerializeToString())
            print_result(f"{path}: {found}")
