"""The command line: its parser, options that several commands share, and the standard streams.

headnod-train uses the parser, the command `completion` and the standard streams, too.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from headnod.escaping import printable

# argparse would search for a translation of its own words more than a hundred times, in a seventh of `headnod --help`.
argparse._ = lambda text: text  # type: ignore[attr-defined]

if TYPE_CHECKING:
    from headnod.config import Config, Loaded, Overlay
    from headnod.config.layers import Layer
    from headnod.errors import CheckResult
    from headnod.service import Service
    from headnod.updates.state import UpdateProgress

Number = TypeVar("Number", int, float)

USAGE = 2
"""Exit status of a command line that cannot be used."""

_MARKS = {"well": "ok", "warning": "warning", "fault": "FAULT", "none": "-"}

_MOST_HELD = 1 << 16
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class Parser(argparse.ArgumentParser):
    """A parser whose errors name the nearest command, option or choice.

    Without a command it prints the help. Its subparsers are of this class too. An epilog keeps its lines.
    """

    def __init__(self, *args: Any, **more: Any) -> None:  # noqa: ANN401 - argparse's own
        """As argparse, without abbreviated options."""
        super().__init__(*args, **{"allow_abbrev": False, "formatter_class": _Help, **more})

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]  # noqa: ANN401 - argparse's own
        """Refuse unknown arguments here, where the options of this parser can be proposed."""
        words = sys.argv[1:] if args is None else args
        if self._subparsers is not None and list(words[:1]) == ["help"]:
            words = [*words[1:], "--help"]
        if not words and self._subparsers is not None:
            self.print_help(sys.stderr)
            self.exit(USAGE)
        known, unknown = super().parse_known_args(words, namespace)
        if unknown:
            nearest = _nearest(unknown[0], self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{nearest}")
        return known, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:  # noqa: ANN401 - argparse's own
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += _nearest(str(value), map(str, action.choices or ()))
            raise

    def _print_message(self, message: str, file: Any = None) -> None:  # noqa: ANN401 - argparse's own
        """Write the help or a version. An incomplete output is an error, a closed pipe is not."""
        try:
            super()._print_message(message, file)
            (file or sys.stderr).flush()
        except OSError as error:
            if file is not sys.stdout:
                return
            let_go_of_stdout()
            fault = stdout_fault(error)
            sys.exit(f"{self.prog}: {fault}" if fault else 0)

    def error(self, message: str) -> NoReturn:
        """Print the usage and one line to stderr, and exit with status 2."""
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def add_completion(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    whole: Callable[[], argparse.ArgumentParser],
    *,
    program: str,
) -> None:
    """Add the command `completion`.

    `whole` makes the whole parser of the program.
    """
    parser = subparsers.add_parser(
        "completion",
        help="print a script that lets a shell complete commands and options",
        description="Print a script that lets a shell complete commands and options. It starts no Python when the "
        "Tab key is pressed.",
        epilog=f"examples:\n  {program} completion bash | sudo tee /etc/bash_completion.d/{program}\n"
        f"  {program} completion zsh > ~/.zfunc/_{program}",
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish", "tcsh"), help="for this shell")
    parser.set_defaults(run=lambda options, *_: _print_completion(options, whole()))


def _print_completion(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    try:
        import shtab
    except ImportError as error:
        from headnod.errors import MissingExtraError
        from headnod.system import how_to_install

        raise MissingExtraError(f"completion needs shtab: {how_to_install('device')}") from error
    print(shtab.complete(parser, options.shell))


def number(kind: type[Number], least: float, most: float = math.inf, what: str = "") -> Callable[[str], Number]:
    """A type for arguments: a whole number (`int`) or any (`float`), within bounds; `what` names it in the error."""

    def parse(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            named = ("a whole number" if kind is int else "a number") + (f" of {what}" if what else "")
            bounds = f"of at least {least:g}" if most == math.inf else f"from {least:.16g} to {most:.16g}"
            raise argparse.ArgumentTypeError(f"'{text}' is not {named} {bounds}")
        return value

    return parse


class _Help(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        # Without a width, argparse loads shutil and with it three modules of compression, for this number.
        super().__init__(prog, width=_columns() - 2)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" not in text:
            return super()._fill_text(text, width, indent)
        return "".join(indent + line for line in text.splitlines(keepends=True))


def _columns() -> int:
    """Columns of the terminal, as `shutil.get_terminal_size` finds them."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno() if sys.__stdout__ else 1).columns or 80
    except (OSError, ValueError):
        return 80


def _nearest(word: str, known: Iterable[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word.partition("=")[0], list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the option for a configuration file."""
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="read this configuration, not /etc/headnod/headnod.toml"
    )


def add_state(parser: argparse.ArgumentParser) -> None:
    """Add the option for the state folder."""
    parser.add_argument("--state", type=Path, metavar="DIR", help="the listener's state directory (/var/lib/headnod)")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the option for a model."""
    parser.add_argument("--model", metavar="NAME", help="a shipped model, or the folder of a bundle")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the option for a microphone."""
    parser.add_argument("--device", metavar="NAME", help="a microphone as 'headnod devices' names it")


def service_beside(options: argparse.Namespace) -> Service | None:
    """The installed service with the configuration of a command; None for others, and in the service itself."""
    from headnod.config.layers import CONFIG_FILE
    from headnod.service import service_of

    # These variables name the state folder.
    if "STATE_DIRECTORY" in os.environ or "HEADNOD_HISTORY__PATH" in os.environ:
        return None
    return service_of(_named(options) or CONFIG_FILE)


def _named(options: argparse.Namespace) -> Path | None:
    variable = os.environ.get("HEADNOD_CONFIG")
    return options.config or (Path(variable) if variable else None)


def load_config(options: argparse.Namespace, flags: dict[tuple[str, str, str], object] | None = None) -> Loaded:
    """The configuration from file, environment and flags, kept for `located`.

    Raises:
        ConfigError: It is invalid.
    """
    overlay = overlay_of(options, flags)
    loaded = options.loaded = _load(options, flags, {}) if overlay is None else overlay.loaded()
    return loaded


def located(options: argparse.Namespace, error: Exception) -> str:
    """An error in one line, with the way out and, for a setting, the origin of its value."""
    loaded: Loaded | None = getattr(options, "loaded", None)
    text = explained(error)
    return text if loaded is None else loaded.located(text)


def _load(options: argparse.Namespace, flags: dict[tuple[str, str, str], object] | None, overlay: Layer) -> Loaded:
    """The configuration with a layer between the file and the environment."""
    from headnod.config import load
    from headnod.config.layers import CONFIG_FILE, Value, environment_layer, file_layer, flag_layer
    from headnod.service import service_of

    named = _named(options)
    layers = (
        file_layer(named or CONFIG_FILE, required=named is not None),
        overlay,
        environment_layer(os.environ),
        flag_layer(flags or {}),
    )
    loaded = load(*layers)
    service = service_of(named or CONFIG_FILE)
    if service is None:
        return loaded
    wanted = []
    # A broker's password is used only with a user name.
    if loaded.config.mqtt.host and loaded.config.mqtt.username and not loaded.config.mqtt.password_file:
        wanted.append(("mqtt", "mqtt_password"))
    if not loaded.config.dashboard.password_file:
        wanted.append(("dashboard", "dashboard_password"))
    if not loaded.config.web.password_file:
        wanted.append(("web", "dashboard_password"))
    found = {
        (section, "password_file"): Value(str(path), "default")
        for section, kind in wanted
        if (path := next(filter(os.path.lexists, service.password_files(kind)), None)) is not None
    }
    return load(*layers, found) if found else loaded


def overlay_of(options: argparse.Namespace, flags: dict[tuple[str, str, str], object] | None) -> Overlay | None:
    """The file of values that were set on the page; None where no state folder is known or this user may not read it.

    Raises:
        ConfigError: The configuration is invalid.
    """
    from headnod.config import OVERLAY_FILE, Overlay
    from headnod.errors import AccessError
    from headnod.factory import state_beside
    from headnod.service import path_exists

    state = state_beside(_load(options, flags, {}).config.history, service_beside(options))
    if state is None:
        return None
    path = state / OVERLAY_FILE
    try:
        path_exists(path)
    except AccessError:
        options.unreadable_overlay = path
        return None
    return Overlay(path, lambda layer: _load(options, flags, layer))


def state_folder(options: argparse.Namespace, config: Config, *, reading: bool = False) -> Path:
    """The state folder of the listener with this configuration.

    With `reading` it may be absent as long as the service was not installed.

    Raises:
        ConfigError: There is none.
    """
    from headnod.errors import ConfigError
    from headnod.factory import state_beside
    from headnod.service import MAIN, STATE, readable_folder

    known: Path | None = options.state or state_beside(config.history, service_beside(options))
    place = known or STATE / MAIN
    # Before the service was installed, no installed models can be read.
    if not readable_folder(place) and not (reading and known is None):
        raise ConfigError(f"{place}: is not a folder (name the listener's state directory with --state)")
    return place


def running_folder(options: argparse.Namespace) -> Path:
    """The folder in memory of the listener that runs here.

    Raises:
        AudioError: There is none.
    """
    from headnod.errors import AudioError
    from headnod.factory import runtime_folder

    service, folder = service_beside(options), runtime_folder()
    running = Path("/run") / service.state.name if service is not None else None
    place = running if running is not None and running.is_dir() else folder
    if place is None:
        raise AudioError("no listener runs here (start 'headnod listen', or name a file with --audio)")
    return place


def print_progress(progress: UpdateProgress) -> None:
    """Print a step of an update."""
    print(printable(f"{progress.model}: {progress.stage.replace('_', ' ')}: {progress.message}"), flush=True)


def print_json(value: object) -> None:
    """Print a value as JSON on one line."""
    import msgspec

    print(msgspec.json.encode(value).decode(), flush=True)


def print_row(value: object, text: str, *, json: bool) -> None:
    """Print a line of a list: the value as JSON, or a text for a person."""
    if json:
        print_json(value)
    else:
        print(printable(text), flush=True)


def print_result(result: CheckResult, *, width: int, json: bool, key: str = "part") -> None:
    """Print a check result as a line, with its part in `width` columns, or as JSON with its part under `key`."""
    row = {key: result.part, "verdict": result.verdict, "message": result.message}
    print_row(row, f"{_MARKS[result.verdict]:<8} {result.part:<{width}} {result.message}", json=json)


def values_set(loaded: Loaded) -> str:
    """The numbers of values that are set and that are defaults."""
    changed, defaults = loaded.changed, len(loaded.origins) - loaded.changed
    return f"{changed} {'value' if changed == 1 else 'values'} set, {defaults} defaults"


def explained(error: Exception) -> str:
    """An error in one line, with the way out if access was denied."""
    text = str(error)
    if isinstance(error, PermissionError) and error.filename:
        text = f"{error.filename}: permission denied"
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, PermissionError):
        cause = cause.__cause__
    return text if cause is None or text.endswith(")") else f"{text} ({way_out_of_denial()})"


def way_out_of_denial() -> str:
    """The command, or the advice, after access was denied to this program."""
    import shlex
    import shutil

    if "CREDENTIALS_DIRECTORY" in os.environ:
        return "the service runs as a user of its own: let root 'chmod a+r' it"
    if _may_read_everything():
        return "check its owner, its mode and its file system"
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        program = [sys.executable, "-m", called.parent.name]
    else:
        # The search path of sudo.
        found = shutil.which(called.name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        program = [called.name if found and Path(found).resolve() == called.resolve() else str(called)]
    # sudo removes variables that are not named.
    variables = ",".join(sorted(name for name in os.environ if name.startswith("HEADNOD_")))
    kept = [f"--preserve-env={variables}"] if variables else []
    return shlex.join(["sudo", *kept, *program, *sys.argv[1:]])


def _may_read_everything() -> bool:
    """Whether the process has CAP_DAC_OVERRIDE, which root lacks in some containers."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return bool(int(status.partition("CapEff:")[2].split()[0], 16) >> 1 & 1)
    except (OSError, ValueError, IndexError):
        return os.geteuid() == 0


def open_standard_streams() -> None:
    """Open /dev/null in place of each standard stream that is closed, as by `>&-` or a careless cron.

    Otherwise the first file that is opened, such as a database, gets the number of standard output. Characters that the
    encoding of the terminal lacks are printed as question marks.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def stdout_fault(error: OSError) -> str | None:
    """What keeps standard output from being written, in one line; None if the error is not of standard output."""
    if error.filename is not None or error.errno not in _FULL:
        return None
    return f"standard output: {os.strerror(error.errno or 0).lower()} (the output is incomplete)"


@contextlib.contextmanager
def held_stderr() -> Iterator[None]:
    """Write what goes to standard error, also from child processes, at the end of the `with` block.

    Does nothing where standard error is not the terminal of standard output.
    """
    if not os.path.sameopenfile(1, 2):
        yield
        return
    sys.stderr.flush()
    saved, held = os.dup(2), os.memfd_create("stderr")
    os.dup2(held, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        size = os.lseek(held, 0, os.SEEK_END)
        with contextlib.suppress(OSError):
            os.write(2, os.pread(held, _MOST_HELD, max(size - _MOST_HELD, 0)))
        os.close(held)
        os.close(saved)


def let_go_of_stdout() -> None:
    """Write what is left, and drop it if that fails: Python tries once more at its end, and would complain."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
