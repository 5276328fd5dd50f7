"""The command line of the workstation: headnod-train."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from headnod.errors import HeadnodError
from headnod.frontend import FrontEnd
from headnod.model import GenreModel
from headnod_train.archive import read_archive
from headnod_train.arguments import address, coefficients, crowd, positive, seconds, whole
from headnod_train.augment import Augmentation
from headnod_train.collection import collection
from headnod_train.evaluate import evaluate, save, table
from headnod_train.pack import pack
from headnod_train.split import refuse_leaks

INTERRUPTED = 130
"""Exit status after Ctrl-C, as a shell has it."""

_EXAMPLES = """\
from an archive to a bundle:
  headnod-train fit      --data logmel.npz --run runs/first
  headnod-train quantise --data logmel.npz --run runs/first
  headnod-train pack     --data logmel.npz --run runs/first --name genre --version 0.1.0
  headnod-train evaluate models/genre-0.1.0 --data logmel.npz --report report

exit status: 0 done, 1 refused with one line that says why, 2 wrong usage, 130 stopped by Ctrl-C
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    log = Console(stderr=True)
    try:
        options.command(options, log)
    except HeadnodError as error:
        _line(log, f"headnod-train: {error}")
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        _line(log, f"headnod-train: {error.filename}: {error.strerror}")
        return 1
    except KeyboardInterrupt:
        _line(log, f"headnod-train: stopped; {options.kept}")
        return INTERRUPTED
    return 0


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _fit(options: argparse.Namespace, console: Console) -> None:
    from headnod_train.fit import fit  # noqa: PLC0415 - TensorFlow: seconds and a gigabyte

    fit(
        options.data,
        options.run,
        epochs=options.epochs,
        seed=options.seed,
        front_end=FrontEnd(n_mfcc=options.n_mfcc),
        augmentation=Augmentation(),
        console=console,
    )
    _line(Console(), str(options.run))


def _quantise(options: argparse.Namespace, console: Console) -> None:
    from headnod_train.quantise import quantise  # noqa: PLC0415 - TensorFlow: seconds and a gigabyte

    made = quantise(options.run, options.data, console=console)
    size = (options.run / "model.tflite").stat().st_size
    _line(
        Console(),
        f"{options.run / 'model.tflite'}: {size / 1000:.0f} kB, {made.multiply_adds / 1e6:.1f} M multiply-adds, "
        f"temperature {made.temperature:g}, certainty {made.certainty:g}",
    )


def _evaluate(options: argparse.Namespace, console: Console) -> None:
    model = GenreModel.load(options.bundle)
    archive = read_archive(options.data, model.front_end)
    refuse_leaks(archive)
    found = evaluate(model, archive, data=options.data.name, split=options.split, console=console)
    Console().print(table(found))
    if options.json is not None:
        save(found, options.json)
    if options.report is not None:
        from headnod_train.pictures import draw_confusion  # noqa: PLC0415 - needed by a report only

        options.report.mkdir(parents=True, exist_ok=True)
        save(found, options.report / "evaluation.json")
        draw_confusion(found, options.report)


def _pack(options: argparse.Namespace, console: Console) -> None:
    folder, found = pack(
        options.run,
        options.data,
        options.models,
        name=options.name,
        version=options.version,
        collection=collection(options.collection, options.licence),
        split=options.split,
        replace=options.replace,
        console=console,
    )
    Console().print(table(found))
    _line(Console(), str(folder))


def _simulate(options: argparse.Namespace, console: Console) -> None:
    from headnod.mqtt.broker import Broker  # noqa: PLC0415 - MQTT: for a simulation only
    from headnod_train.simulate import SimulationError, simulate  # noqa: PLC0415 - MQTT: for a simulation only

    # What its warnings say, the sum at the end says.
    logging.getLogger("headnod.mqtt").setLevel(logging.ERROR)
    host, port = options.broker
    _line(console, f"{options.count} listeners at {host}:{port}, one estimate each {options.every:g} s")
    told = simulate(
        options.count,
        Broker(host, port, client_id=f"headnod-simulate-{os.getpid()}"),
        base=options.base,
        every=options.every,
        seconds=options.seconds,
        seed=options.seed,
    )
    _line(Console(), str(told))
    if told.lost:
        reason, times = told.lost.most_common(1)[0]
        message = f"{told.lost.total()} messages were lost, {times} of them: {reason}"
        raise SimulationError(message)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headnod-train",
        description="Make a model that headnod can listen with.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fit = _command(commands, "fit", "train a network on a log-mel archive", _fit)
    fit.set_defaults(kept="every finished epoch is kept in the run folder and can be quantised")
    _add_run(fit, "folder to write; a former run in it is replaced")
    fit.add_argument(
        "--epochs", type=positive, default=70, help="passes over the training tracks (default %(default)s)"
    )
    fit.add_argument("--seed", type=whole, default=1, help="seed of every random choice (default %(default)s)")
    fit.add_argument("--n-mfcc", type=coefficients, default=64, help="coefficients a frame (default %(default)s)")

    quantise = _command(commands, "quantise", "make the int8 file of a run and calibrate it", _quantise)
    quantise.set_defaults(kept="the run is as fit left it; quantise again")
    _add_run(quantise, "folder that fit wrote")

    evaluation = _command(commands, "evaluate", "measure a bundle on music of known genre", _evaluate)
    evaluation.set_defaults(kept="nothing was written")
    evaluation.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of a model, such as models/genre-0.1.0")
    _add_split(evaluation)
    evaluation.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    evaluation.add_argument("--report", type=Path, metavar="DIR", help="write the figures and confusion pictures")

    packing = _command(commands, "pack", "measure a quantised run and write its bundle", _pack)
    packing.set_defaults(kept="no bundle was written")
    _add_run(packing, "folder that quantise completed")
    _add_split(packing)
    packing.add_argument("--name", default="genre", help="what the model is called (default %(default)s)")
    packing.add_argument("--version", required=True, metavar="X.Y.Z", help="version of the model")
    packing.add_argument(
        "--models", type=Path, default=Path("models"), metavar="DIR", help="folder of bundles (default %(default)s)"
    )
    packing.add_argument("--collection", default="gtzan", help="what the network learned from (default %(default)s)")
    packing.add_argument("--licence", metavar="TEXT", help="licence of a collection other than gtzan")
    packing.add_argument("--replace", action="store_true", help="a bundle of that name and version may be replaced")

    _add_simulate(commands)
    return parser


def _add_simulate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "simulate",
        help="publish by MQTT what a crowd of listeners would",
        description="Publish by MQTT what a crowd of listeners would, to try a dashboard or a broker. The broker must "
        "let anybody publish: use one of your own for this, such as 'mosquitto -p 1884'. What it retained is taken "
        "back at the end. Exit status 1 if a message was lost.",
        allow_abbrev=False,
    )
    parser.set_defaults(command=_simulate, kept="nothing was published")
    parser.add_argument("count", type=crowd, metavar="N", help="how many listeners")
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


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    command: object,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    parser.set_defaults(command=command)
    parser.add_argument("--data", type=Path, required=True, metavar="ARCHIVE", help="log-mel archive, an npz file")
    return parser


def _add_run(parser: argparse.ArgumentParser, purpose: str) -> None:
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help=purpose)


def _add_split(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--split", default="valid", help="side of the archive to measure on (default %(default)s)")


if __name__ == "__main__":
    sys.exit(main())
