"""`headnod corrections`, `headnod suggest` and `headnod teach`: labels by people, and a model that is made of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from headnod.cli.options import add_config, add_state, load_config, print_progress, running_folder, state_folder
from headnod.cli.parser import at_least
from headnod.escaping import padded, printable

if TYPE_CHECKING:
    from headnod.teaching.correction_commands import LabelledFeatures
    from headnod.teaching.corrections import Correction


def add_corrections(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `headnod corrections`."""
    parser = subparsers.add_parser(
        "corrections",
        help="list, export or delete corrections of songs",
        description="List, export or delete corrections of songs. A correction keeps the network's embeddings of the "
        "windows, never audio.",
    )
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    listed = verbs.add_parser("list", help="list all corrections")
    listed.add_argument("--json", action="store_true", help="print one JSON object per line")
    listed.set_defaults(run=run_list)
    export = verbs.add_parser("export", help="write corrections into a file for headnod-train teach --corrections")
    export.add_argument("file", metavar="FILE", type=Path, help="a new npz file")
    export.add_argument("--replace", action="store_true", help="replace the file if it exists")
    export.set_defaults(run=run_export)
    delete = verbs.add_parser("delete", help="delete corrections")
    which = delete.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "numbers", metavar="NUMBER", nargs="*", type=at_least(1), default=[], help="as list numbers them"
    )
    which.add_argument("--all", action="store_true", help="delete all of them")
    delete.set_defaults(run=run_delete)
    for verb in (listed, export, delete):
        add_state(verb)
        add_config(verb)


def run_list(options: argparse.Namespace) -> None:
    """Print the corrections, the oldest first."""
    import msgspec

    from headnod.teaching.corrections import CorrectionStore

    for each in CorrectionStore(state_folder(options, load_config(options).config)).all():
        print(msgspec.json.encode(each).decode() if options.json else printable(_line(each)), flush=True)


def _line(each: Correction) -> str:
    from datetime import UTC, datetime

    from headnod.clock import local

    start, end = (local(datetime.fromtimestamp(moment, UTC)) for moment in (each.start, each.end))
    said_by = "media player" if each.source == "player" else "person"
    span = f"{start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S}"
    return f"{each.id:>5}  {span}  {padded(each.label, 16)} {each.windows:>5} windows  by a {said_by}"


def run_export(options: argparse.Namespace) -> None:
    """Write the file and print its path."""
    from headnod.errors import UsageError
    from headnod.files import write_atomically
    from headnod.teaching.correction_commands import packed

    if options.file.exists() and not options.replace:
        message = f"{options.file}: exists (name another file, or use --replace)"
        raise UsageError(message)
    exported, left_out = labelled_features(options)
    write_atomically(options.file, packed(exported))
    print(f"{options.file}: {len(exported.windows.labels)} windows of {exported.windows.model}")
    if left_out:
        print(f"left out: {left_out} corrections that were made with another network")


def labelled_features(options: argparse.Namespace) -> tuple[LabelledFeatures, int]:
    """The corrections of the network with the newest one, and the number of corrections of other networks.

    Raises:
        CorrectionError: There are none.
        TeachError: Their network is not installed.
    """
    from headnod.resources import models
    from headnod.teaching.correction_commands import LabelledFeatures
    from headnod.teaching.corrections import CorrectionError, CorrectionStore
    from headnod.teaching.last_layer import network_with_body
    from headnod.updates.store import Store

    state = state_folder(options, load_config(options).config)
    corrections = CorrectionStore(state)
    there, store = corrections.all(), Store(state)
    windows = corrections.labelled(there[-1].body) if there else None
    if windows is None:
        message = (
            f"{corrections.path}: there are no corrections yet (correct a song on the page of 'headnod listen --web')"
        )
        raise CorrectionError(message)
    folders = [*(store.path(name) for name in reversed(store.names())), *reversed(models())]
    network = network_with_body(windows.body, folders)
    features, context = (network.features_of(each) for each in (windows.embeddings, windows.context_embeddings))
    left_out = sum(each.body != windows.body for each in there)
    return LabelledFeatures(windows, features, context), left_out


def run_delete(options: argparse.Namespace) -> int:
    """Delete corrections; exit status 1 if one does not exist."""
    from headnod.teaching.corrections import CorrectionStore

    corrections = CorrectionStore(state_folder(options, load_config(options).config))
    deleted = corrections.delete(None if options.all else options.numbers)
    print(f"{deleted} deleted")
    return int(not options.all and deleted < len(set(options.numbers)))


def add_suggest(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `headnod suggest`."""
    parser = subparsers.add_parser(
        "suggest",
        help="name the moments of the last hours that would teach most",
        description="Name the moments of the last hours whose label would teach the model most. Correct them on the "
        "page, then run 'headnod teach'.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    add_config(parser)
    parser.set_defaults(run=run_suggest)


def run_suggest(options: argparse.Namespace) -> None:
    """Print the suggestions of the listener that runs here."""
    from datetime import UTC, datetime

    import msgspec

    from headnod.clock import local
    from headnod.errors import AudioError
    from headnod.teaching.correction_commands import FILE, Suggestion

    path = running_folder(options) / FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=list[Suggestion])
    except FileNotFoundError:
        message = f"{path}: a listener suggests nothing here yet (it needs a model with an embedding and some minutes)"
        raise AudioError(message) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = f"{path}: cannot be read: {error} (is the listener of another version? restart it)"
        raise AudioError(message) from error
    for each in found:
        start, end = (local(datetime.fromtimestamp(moment, UTC)) for moment in (each.start, each.end))
        how = f"margin {each.margin:.2f}, novelty {each.novelty:.2f}"
        text = f"{start:%H:%M:%S} to {end:%H:%M:%S}  {padded(each.answer, 12)} {how}"
        print(msgspec.json.encode(each).decode() if options.json else printable(text), flush=True)


def add_teach(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `headnod teach`."""
    parser = subparsers.add_parser(
        "teach",
        help="make a new model from corrections, on this machine",
        description="Adapt the last layer of the active model to corrections, say what it improves on corrections that "
        "were left out, test it and activate it on probation. 'headnod models rollback' takes it back.",
    )
    parser.add_argument("--name", metavar="NAME", help="name of the new model (that of the present one with -taught)")
    parser.add_argument("--keep-current", action="store_true", help="store it and do not activate it")
    parser.add_argument("--anyway", action="store_true", help="install it also if it improves nothing")
    add_state(parser)
    add_config(parser)
    parser.set_defaults(run=run_teach)


def run_teach(options: argparse.Namespace) -> int:
    """Teach, print what improves, install; exit status 1 if nothing improves."""
    from headnod.resources import configured_model
    from headnod.teaching.teacher import Teacher, summary
    from headnod.updates.manager import WINDOW_SHARE

    config = load_config(options).config
    teacher = Teacher(
        state_folder(options, config),
        configured_model(config.model.name),
        print_progress,
        budget=WINDOW_SHARE * config.listen.every,
        windows=config.model.probation,
    )
    taught = teacher.teach(options.name)
    for line in summary(taught):
        print(printable(line), flush=True)
    if not taught.improves and not options.anyway:
        print("nothing is installed: correct more songs of each label (--anyway installs it)", flush=True)
        return 1
    teacher.install(taught, activate=not options.keep_current)
    return 0
