"""`headnod-train teach`: new genres for the shipped network from a folder of music, in one command."""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from headnod.cli.options import add_config
from headnod.escaping import printable
from headnod_train.cli.command_options import SIGNING_KEY, add_key, add_passphrase_file, excerpt_seconds, jobs
from headnod_train.console import plain_console, print_result

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from headnod.teaching.corrections import LabelledEmbeddings
    from headnod_train.report.plots import Figure, Theme
    from headnod_train.teaching.teaching_report import Figures

_EXAMPLES = """\
examples:
  headnod-train teach ~/Music/by-genre --name mine
  headnod-train teach ~/Music --labels tags --name mine --rename "Hip-Hop=Rap"
  headnod-train teach ~/Music/cumbia-and-salsa --name ours --add
  headnod-train teach --corrections songs.npz --name ours
  headnod-train teach --corrections mqtt://broker.lan/kitchen --name ours
  headnod models install models/mine-1.0.0.bundle     (on the listener)
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "teach",
        help="make a model for your own genres from a few songs of each",
        description="Fit the last layer of a shipped model to a folder of music, measure it on music it was not "
        "fitted to, and write a bundle, signed if there is a key. Ten songs of each genre are a good start.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("music", type=Path, nargs="?", metavar="MUSIC", help="folder of music")
    parser.add_argument(
        "--corrections",
        metavar="FILE",
        help="instead of a folder: what people corrected on the page ('headnod corrections export FILE' there), or "
        "mqtt://[USER@]HOST/NODE for the corrections of a listener by MQTT",
    )
    parser.add_argument("--name", required=True, help="name of the model")
    parser.add_argument("--version", metavar="X.Y.Z", help="version of the model (1.0.0, then 2.0.0 and so on)")
    parser.add_argument(
        "--labels",
        choices=("folders", "tags"),
        default="folders",
        help="genres are folders, with folders of artists in them, or the genre and artist tags of the files (folders)",
    )
    parser.add_argument(
        "--rename",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="rename a genre; the same new name joins two (repeatable)",
    )
    parser.add_argument("--add", action="store_true", help="keep the genres of the base model and add the new ones")
    parser.add_argument("--base", default="genre", metavar="BUNDLE", help="model to start from (default %(default)s)")
    parser.add_argument(
        "--models", type=Path, default=Path("models"), metavar="DIR", help="folder of bundles (default %(default)s)"
    )
    parser.add_argument("--licence", default="", metavar="TEXT", help="licence of the music, for the card")
    parser.add_argument(
        "--seconds",
        type=excerpt_seconds,
        default=60.0,
        metavar="S",
        help="how much of each file is used, after its intro (default 60)",
    )
    parser.add_argument("--jobs", type=jobs, metavar="N", help="processes (all cores)")
    parser.add_argument("--replace", action="store_true", help="a bundle of that name and version may be replaced")
    add_config(parser)
    add_key(parser)
    add_passphrase_file(parser)
    parser.set_defaults(run=run, kept="no bundle was written", key=None)


def run(options: argparse.Namespace, console: Console) -> None:
    """Teach, show figures, and name the bundle."""
    import os

    from headnod.resources import find_model
    from headnod.teaching.last_layer import TeachError
    from headnod_train.deploy.signing_key import load, passphrase_from
    from headnod_train.teaching.teach import next_version, teach, teach_corrections
    from headnod_train.teaching.teaching_report import remarks, tables

    place = options.key or (SIGNING_KEY if SIGNING_KEY.exists() else None)
    key = None if place is None else load(place, lambda: passphrase_from(options.passphrase_file))
    version = options.version or next_version(options.models, options.name)
    if (options.music is None) == (options.corrections is None):
        message = "give a folder of music, or --corrections FILE, and not both"
        raise TeachError(message)
    if options.corrections is not None:
        folder, lines = teach_corrections(
            _corrections(options, console),
            printable(options.corrections),
            options.models,
            name=options.name,
            version=version,
            base=find_model(options.base),
            replace_former=options.replace,
        )
        for line in lines:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        _finish(folder, key, console)
        return
    folder, figures = teach(
        options.music,
        options.models,
        name=options.name,
        version=version,
        base=find_model(options.base),
        add=options.add,
        labels=options.labels,
        renames=options.rename,
        licence=options.licence,
        seconds=options.seconds,
        jobs=options.jobs or len(os.sched_getaffinity(0)),
        replace_former=options.replace,
        console=console,
    )
    for table in tables(figures):
        plain_console().print(table)
    for remark in remarks(figures):
        console.print(remark, soft_wrap=True)
    _draw(folder, figures, console)
    _finish(folder, key, console)


def _draw(folder: Path, figures: Figures, console: Console) -> None:
    """Draw the confusion matrix beside the bundle."""
    from headnod_train.report.evaluation_charts import confusion_matrix
    from headnod_train.report.plots import letters_without_glyphs, save_png

    def draw(theme: Theme) -> Figure:
        return confusion_matrix(theme, figures.labels, figures.confusion)

    picture = folder.parent / save_png(folder.parent, f"{folder.name}-confusion", draw)
    console.print(
        f"{printable(str(picture))}: which labels are confused", markup=False, highlight=False, soft_wrap=True
    )
    if lacking := letters_without_glyphs(figures.labels):
        console.print(f"no font has {lacking}: these letters are boxes in the picture", markup=False, soft_wrap=True)


def _corrections(options: argparse.Namespace, console: Console) -> LabelledEmbeddings:
    """Corrections of a file or of a listener."""
    from headnod.teaching.correction_file import read_corrections

    if "://" not in options.corrections:
        return read_corrections(Path(options.corrections)).windows
    from headnod.cli.options import load_config
    from headnod.factory.broker_factory import broker, topics
    from headnod_train.teaching.listener_corrections import fetch, split_url

    section = split_url(options.corrections, load_config(options).config.mqtt)
    found, left_out = fetch(broker(section, client_id=f"headnod.teach-{secrets.token_hex(4)}"), topics(section))
    console.print(f"{len(found.labels)} windows of {len(set(found.groups.tolist()))} corrections received")
    if left_out:
        console.print(f"left out: {left_out} corrections that were made with another network")
    return found


def _finish(folder: Path, key: Ed25519PrivateKey | None, console: Console) -> None:
    """Sign and pack the bundle if there is a key, and name the result."""
    from headnod_train.deploy.signing import sign

    if key is not None:
        signed = sign(folder, key)
        print_result(f"{signed.path}: {signed.manifest.id}, {len(signed.content)} bytes, signed")
        return
    print_result(str(folder))
    console.print(
        f"not signed: make a key once with 'headnod-train keygen', then 'headnod-train sign {folder}'", soft_wrap=True
    )
