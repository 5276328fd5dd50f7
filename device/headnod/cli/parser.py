"""The argument parser of headnod and headnod-train, and their command `completion`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

USAGE = 2
"""Exit status of a command line that cannot be used."""


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

    Args:
        subparsers: The commands of the program.
        whole: Makes the whole parser of the program.
        program: Name of the program.
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
        from headnod.extras import how_to_install

        message = f"completion needs shtab: {how_to_install('device')}"
        raise MissingExtraError(message) from error
    print(shtab.complete(parser, options.shell))


def at_least(least: int) -> Callable[[str], int]:
    """A type for arguments: a whole number of at least this."""

    def number(text: str) -> int:
        try:
            given: int | None = int(text)
        except ValueError:
            given = None
        if given is None or given < least:
            message = f"'{text}' is not a whole number from {least} on"
            raise argparse.ArgumentTypeError(message)
        return given

    return number


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
