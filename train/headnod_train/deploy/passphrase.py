"""Asking a person for a passphrase: at the terminal, and nowhere else, so that no shell remembers it."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from pathlib import Path

from headnod_train.deploy.signing_key import KeyFileError

_LEAST = 8


def new_passphrase(ask: Callable[[str], str] = getpass.getpass) -> bytes:
    """A passphrase that was typed twice.

    Raises:
        KeyFileError: It is short, or the second was another.
    """
    _at_a_terminal(ask)
    first = ask("passphrase: ")
    if len(first) < _LEAST:
        message = f"a passphrase has {_LEAST} characters at least"
        raise KeyFileError(message)
    if ask("again: ") != first:
        raise KeyFileError("the second passphrase was another")
    return first.encode()


def passphrase_from(path: Path | None, ask: Callable[[str], str] = getpass.getpass) -> bytes:
    """A passphrase from the first line of a file, or from the terminal.

    Raises:
        KeyFileError: The file cannot be read, or there is no terminal.
    """
    if path is None:
        _at_a_terminal(ask)
        return ask("passphrase: ").encode()
    try:
        return path.read_bytes().partition(b"\n")[0].removesuffix(b"\r")
    except OSError as error:
        message = f"{path}: {(error.strerror or str(error)).lower()}"
        raise KeyFileError(message) from error


def _at_a_terminal(ask: Callable[[str], str]) -> None:
    if ask is getpass.getpass and not sys.stdin.isatty():
        raise KeyFileError("there is no terminal to ask for the passphrase (name a file with --passphrase-file)")
