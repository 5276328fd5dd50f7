"""The command lines of headnod and headnod-train: help where no command is named, the nearest word for a wrong one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

USAGE = 2
"""Exit status of a command line that cannot be used."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors name the nearest command, option or choice.

    Parsers that its subparsers make are of this class too. An epilog keeps its lines, so that examples stand in
    lines of their own.
    """

    def __init__(self, *args: Any, **more: Any) -> None:  # noqa: ANN401 - argparse's own
        """Take what argparse takes; options are not abbreviated."""
        super().__init__(*args, **{"allow_abbrev": False, "formatter_class": _Help, **more})

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]  # noqa: ANN401 - argparse's own
        """Refuse what is not known here, where this parser's own options can be proposed."""
        words = sys.argv[1:] if args is None else args
        if self._subparsers is not None and list(words[:1]) == ["help"]:
            words = [*words[1:], "--help"]
        if not words and self._subparsers is not None:
            self.print_help(sys.stderr)
            self.exit(USAGE)
        known, strange = super().parse_known_args(words, namespace)
        if strange:
            nearest = _nearest(strange[0], self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(strange)}{nearest}")
        return known, strange

    def _check_value(self, action: argparse.Action, value: Any) -> None:  # noqa: ANN401 - argparse's own
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += _nearest(str(value), map(str, action.choices or ()))
            raise

    def error(self, message: str) -> NoReturn:
        """Usage and one line on stderr, exit status 2."""
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def at_least(least: int) -> Callable[[str], int]:
    """A type for whole numbers of the command line that are this or more."""

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


def tolerate_any_locale() -> None:
    """Print what the terminal's alphabet lacks as question marks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


class _Help(argparse.HelpFormatter):
    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" not in text:
            return super()._fill_text(text, width, indent)
        return "".join(indent + line for line in text.splitlines(keepends=True))


def _nearest(word: str, known: Iterable[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word.partition("=")[0], list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""
