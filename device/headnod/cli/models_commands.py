"""`headnod models`: install, test, activate and roll back models."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from headnod.cli.options import (
    add_config,
    add_state,
    explained,
    load_config,
    print_progress,
    print_result,
    state_folder,
)
from headnod.cli.parser import at_least
from headnod.escaping import printable

if TYPE_CHECKING:
    from headnod.config import Config
    from headnod.updates.installer import Installer
    from headnod.updates.store import Store

_log = logging.getLogger(__name__)


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    prune.add_argument(
        "--keep", type=at_least(0), default=2, metavar="N", help="keep the N newest (2); models in use are always kept"
    )
    prune.set_defaults(run=run_prune)
    shadow = verbs.add_parser("shadow", help="run a second model beside the active one and compare")
    shadow.add_argument("model", nargs="?", metavar="NAME", help="the second model; without it, print how they agree")
    shadow.add_argument("--every", type=at_least(1), default=5, metavar="N", help="every N-th window with music (5)")
    shadow.add_argument("--stop", action="store_true", help="end it")
    shadow.set_defaults(run=run_shadow)
    for verb in (listed, verify, install, activate, rollback, prune, shadow):
        add_state(verb)
        add_config(verb)


def run_list(options: argparse.Namespace) -> int:
    """Print installed and shipped models; exit status 1 if this user may not read the installed ones."""
    import msgspec

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
        if options.json:
            row = {"model": model, "serial": serial, "origin": origin, "listens": mark, "folder": str(folder)}
            print(msgspec.json.encode(row).decode())
        else:
            print(printable(f"{'*' if mark else ' '} {model:<24} {serial or '-':<18} {origin}"))
    return int(store is None)


def run_verify(options: argparse.Namespace) -> int:
    """Print the checks that passed, raise the first that failed; exit status 1 if installed models are not readable."""
    from headnod.check_result import CheckResult
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
        message = "--unsigned: model.keys is set, so a signature is needed (sign the bundle, or empty model.keys)"
        raise ConfigError(message)
    if not config.model.keys and not options.unsigned:
        message = (
            "model.keys: is empty, so no signature can be verified (write the line that 'headnod-train keygen' "
            "printed there, or use --unsigned for a bundle that you trust like a program)"
        )
        raise ConfigError(message)
    piped = options.bundle == "-"
    files = split(sys.stdin.buffer.read(LARGEST + 1)) if piped else read(Path(options.bundle))
    installer = _installer(options, config)
    try:
        name = installer.install(files, trusted=options.unsigned)
    except BundleError as error:
        message = f"{options.bundle}: {error}"
        raise BundleError(message) from error
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
            message = f"there is no installed model '{options.model}' (install it with --keep-current)"
            raise ConfigError(message)
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
