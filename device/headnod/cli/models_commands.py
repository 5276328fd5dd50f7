"""The commands of models: `headnod models`; `corrections`, `suggest` and `teach` make one from people's labels."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from headnod.cli.parser import (
    add_config,
    add_state,
    explained,
    load_config,
    number,
    print_progress,
    print_result,
    print_row,
    running_folder,
    state_folder,
)
from headnod.escaping import padded, printable

if TYPE_CHECKING:
    from datetime import datetime

    from headnod.config import Config
    from headnod.teaching.correction_commands import LabelledFeatures, Suggestion
    from headnod.teaching.corrections import Correction
    from headnod.updates.installer import Installer
    from headnod.updates.store import Store

_log = logging.getLogger(__name__)


def add_models(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `headnod models`."""
    parser = subparsers.add_parser(
        "models",
        help="install, test, activate and roll back models",
        description="Install, test, activate and roll back models. A running listener switches over by itself.",
    )
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    listed = verbs.add_parser("list", help="list installed and shipped models")
    listed.add_argument("--json", action="store_true", help="print one JSON object per line")
    listed.set_defaults(run=run_list)
    verify = verbs.add_parser("verify", help="check the signature, the files and the results of a bundle")
    verify.add_argument("bundle", metavar="FILE|FOLDER|NAME", help="a bundle, or an installed or shipped model")
    verify.add_argument("--json", action="store_true", help="print one JSON object per line")
    verify.set_defaults(run=run_verify)
    install = verbs.add_parser("install", help="verify, test, store and activate a bundle")
    install.add_argument("bundle", metavar="FILE|FOLDER|-", help="a signed bundle; - reads it from stdin")
    install.add_argument(
        "--unsigned", action="store_true", help="accept a bundle without a signature, if no key is set"
    )
    install.add_argument("--keep-current", action="store_true", help="store it and do not activate it")
    install.set_defaults(run=run_install)
    activate = verbs.add_parser("activate", help="activate a model, on probation")
    activate.add_argument("model", metavar="NAME", help="as 'headnod models list' names it")
    activate.set_defaults(run=run_activate)
    rollback = verbs.add_parser("rollback", help="return to the previous model")
    rollback.set_defaults(run=run_rollback)
    prune = verbs.add_parser("prune", help="remove the oldest models")
    kept = "keep the N newest (2); models in use are always kept"
    prune.add_argument("--keep", type=number(int, 0), default=2, metavar="N", help=kept)
    prune.set_defaults(run=run_prune)
    shadow = verbs.add_parser("shadow", help="run a second model beside the active one and compare")
    shadow.add_argument("model", nargs="?", metavar="NAME", help="the second model; without it, print how they agree")
    shadow.add_argument("--every", type=number(int, 1), default=5, metavar="N", help="every N-th window with music (5)")
    shadow.add_argument("--stop", action="store_true", help="end it")
    shadow.set_defaults(run=run_shadow)
    for verb in (listed, verify, install, activate, rollback, prune, shadow):
        add_state(verb)
        add_config(verb)


def run_list(options: argparse.Namespace) -> int:
    """Print installed and shipped models; exit status 1 if this user may not read the installed ones."""
    from headnod.resources import configured_model, models
    from headnod.updates.state import id_of, serial_of

    config = load_config(options).config
    store = _readable_store(options, config)
    current = store.current if store is not None and config.model.installed else None
    active: Path | None
    if store is not None and current:
        active = store.path(current)
    elif store is None and config.model.installed:
        # The active model may be an installed one.
        active = None
    else:
        active = configured_model(config.model.name)
    names = [] if store is None else [(store, name) for name in store.names()]
    rows = [(there.path(name), id_of(name), serial_of(name), "installed") for there, name in names]
    rows += [(folder, folder.name, 0, "shipped") for folder in models()]
    for folder, model, serial, origin in rows:
        mark = None if active is None else folder == active
        row = {"model": model, "serial": serial, "origin": origin, "listens": mark, "folder": str(folder)}
        print_row(row, f"{'*' if mark else ' '} {model:<24} {serial or '-':<18} {origin}", json=options.json)
    return int(store is None)


def run_verify(options: argparse.Namespace) -> int:
    """Print the checks that passed, raise the first that failed; exit status 1 if installed models are not readable."""
    from headnod.errors import CheckResult
    from headnod.resources import models
    from headnod.updates.installer import inspect_bundle

    config = load_config(options).config
    store = _readable_store(options, config)
    stored = store.find(options.bundle) if store is not None else None
    named = {name: folder for folder in models() for name in (folder.name, folder.name.rpartition("-")[0])}
    path = store.path(stored) if store is not None and stored else named.get(options.bundle, Path(options.bundle))
    for part, message in inspect_bundle(path, keys=config.model.keys, budget=_budget(config), shipped=models()):
        print_result(CheckResult(part, "well", message), width=10, json=options.json)
    return int(store is None)


def run_install(options: argparse.Namespace) -> None:
    """Verify, test, store and activate a bundle."""
    from headnod.errors import BundleError, ConfigError
    from headnod.updates.bundle import LARGEST, read, split

    config = load_config(options).config
    if options.unsigned and config.model.keys:
        raise ConfigError("model.keys is set, so a signature is needed (sign the bundle, or empty model.keys)")
    if not config.model.keys and not options.unsigned:
        raise ConfigError(
            "model.keys: is empty, so no signature can be verified (write the line that 'headnod-train keygen' "
            "printed there, or use --unsigned for a bundle that you trust like a program)"
        )
    piped = options.bundle == "-"
    files = split(sys.stdin.buffer.read(LARGEST + 1)) if piped else read(Path(options.bundle))
    installer = _installer(options, config)
    try:
        name = installer.install(files, trusted=options.unsigned)
    except BundleError as error:
        raise BundleError(f"{options.bundle}: {error}") from error
    if not options.keep_current:
        installer.start_probation(name)


def run_activate(options: argparse.Namespace) -> None:
    """Test and activate a model."""
    from headnod.resources import find_model
    from headnod.updates.bundle import read

    installer = _installer(options, load_config(options).config)
    name = installer.store.find(options.model)
    if name is None:
        installer.start_probation(installer.install(read(find_model(options.model)), trusted=True))
    else:
        installer.activate(name)


def run_rollback(options: argparse.Namespace) -> None:
    """Return to the previous model."""
    _installer(options, load_config(options).config).store.roll_back("")


def run_prune(options: argparse.Namespace) -> None:
    """Remove models and print their names."""
    for name in _installer(options, load_config(options).config).store.prune(options.keep):
        print(f"removed {name}")


def run_shadow(options: argparse.Namespace) -> None:
    """Start, stop or report the shadow."""
    from msgspec.structs import replace

    from headnod.errors import ConfigError
    from headnod.updates.shadow import agreement_text
    from headnod.updates.state import ShadowRequest
    from headnod.updates.store import Store

    store = Store(state_folder(options, load_config(options).config))
    if options.stop:
        store.change(lambda state: replace(state, shadow=None))
    elif options.model is None:
        print(agreement_text(store))
    else:
        name = store.find(options.model)
        if name is None:
            raise ConfigError(f"there is no installed model '{options.model}' (install it with --keep-current)")
        request = ShadowRequest(name, options.every)
        store.change(lambda state: replace(state, shadow=request))
        print(f"{options.model} runs as the shadow: 'headnod models shadow' shows how often they agree")


def _readable_store(options: argparse.Namespace, config: Config) -> Store | None:
    """The installed models; None, with a warning, if this user may not read them."""
    from headnod.errors import AccessError
    from headnod.service import readable_folder
    from headnod.updates.store import Store

    try:
        store = Store(state_folder(options, config, reading=True))
        readable_folder(store.folder)
        store.read()
    except AccessError as error:
        _log.warning("installed models are left out: %s", explained(error))
        return None
    return store


def _budget(config: Config) -> float:
    from headnod.updates.manager import WINDOW_SHARE

    return WINDOW_SHARE * config.listen.every


def _installer(options: argparse.Namespace, config: Config) -> Installer:
    from headnod.updates.installer import Installer

    folder, model = state_folder(options, config), config.model
    return Installer(folder, model.keys, print_progress, budget=_budget(config), windows=model.probation)


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
    listed.set_defaults(run=run_correction_list)
    export = verbs.add_parser("export", help="write corrections into a file for headnod-train teach --corrections")
    export.add_argument("file", metavar="FILE", type=Path, help="a new npz file")
    export.add_argument("--replace", action="store_true", help="replace the file if it exists")
    export.set_defaults(run=run_correction_export)
    delete = verbs.add_parser("delete", help="delete corrections")
    which = delete.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "numbers", metavar="NUMBER", nargs="*", type=number(int, 1), default=[], help="as list numbers them"
    )
    which.add_argument("--all", action="store_true", help="delete all of them")
    delete.set_defaults(run=run_correction_delete)
    for verb in (listed, export, delete):
        add_state(verb)
        add_config(verb)


def run_correction_list(options: argparse.Namespace) -> None:
    """Print the corrections, the oldest first."""
    from headnod.teaching.corrections import CorrectionStore

    for each in CorrectionStore(state_folder(options, load_config(options).config)).all():
        print_row(each, _correction_line(each), json=options.json)


def _correction_line(each: Correction) -> str:
    start, end = _local_span(each)
    said_by = "media player" if each.source == "player" else "person"
    span = f"{start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S}"
    return f"{each.id:>5}  {span}  {padded(each.label, 16)} {each.windows:>5} windows  by a {said_by}"


def _local_span(part: Correction | Suggestion) -> tuple[datetime, datetime]:
    from datetime import UTC, datetime

    from headnod.clock import local

    return local(datetime.fromtimestamp(part.start, UTC)), local(datetime.fromtimestamp(part.end, UTC))


def run_correction_export(options: argparse.Namespace) -> None:
    """Write the file and print its path."""
    from headnod.errors import HeadnodError, UsageError
    from headnod.files import write_atomically
    from headnod.teaching.correction_commands import packed

    if options.file.exists() and not options.replace:
        raise UsageError(f"{options.file}: exists (name another file, or use --replace)")
    exported, left_out = labelled_features(options)
    try:
        write_atomically(options.file, packed(exported))
    except OSError as error:
        raise HeadnodError(f"{options.file}: cannot be written: {(error.strerror or str(error)).lower()}") from error
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
        raise CorrectionError(
            f"{corrections.path}: there are no corrections yet (correct a song on the page of 'headnod listen --web')"
        )
    folders = [*(store.path(name) for name in reversed(store.names())), *reversed(models())]
    network = network_with_body(windows.body, folders)
    features, context = (network.features_of(each) for each in (windows.embeddings, windows.context_embeddings))
    left_out = sum(each.body != windows.body for each in there)
    return LabelledFeatures(windows, features, context), left_out


def run_correction_delete(options: argparse.Namespace) -> None:
    """Delete corrections.

    Raises:
        CorrectionError: Some do not exist; the others are deleted.
    """
    from headnod.teaching.corrections import CorrectionError, CorrectionStore

    corrections = CorrectionStore(state_folder(options, load_config(options).config))
    absent = sorted(set(options.numbers) - {each.id for each in corrections.all()})
    print(f"{corrections.delete(None if options.all else options.numbers)} deleted")
    if absent:
        raise CorrectionError(f"there is no correction {', '.join(map(str, absent))} (see 'headnod corrections list')")


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
    import msgspec

    from headnod.errors import AudioError
    from headnod.teaching.correction_commands import FILE, Suggestion

    path = running_folder(options) / FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=list[Suggestion])
    except FileNotFoundError:
        raise AudioError(
            f"{path}: a listener suggests nothing here yet (it needs a model with an embedding and some minutes)"
        ) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise AudioError(f"{path}: cannot be read: {error} (is the listener of another version? restart it)") from error
    for each in found:
        start, end = _local_span(each)
        how = f"margin {each.margin:.2f}, novelty {each.novelty:.2f}"
        text = f"{start:%H:%M:%S} to {end:%H:%M:%S}  {padded(each.answer, 12)} {how}"
        print_row(each, text, json=options.json)


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

    config = load_config(options).config
    teacher = Teacher(
        state_folder(options, config),
        configured_model(config.model.name),
        print_progress,
        budget=_budget(config),
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
