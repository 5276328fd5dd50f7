"""`headnod completion`: commands and options completed by the shell."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def add(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    whole: Callable[[], argparse.ArgumentParser],
    *,
    program: str,
) -> None:
    """Add the command to a parser.

    Args:
        subparsers: The program's commands.
        whole: Makes the program's whole parser.
        program: The name of the program.
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
    parser.set_defaults(run=lambda options, *_: run(options, whole()))


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Print the script.

    Raises:
        MissingExtraError: shtab is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        from headnod.errors import MissingExtraError
        from headnod.extras import how_to_install

        message = f"completion needs shtab: {how_to_install('device')}"
        raise MissingExtraError(message) from error
    print(shtab.complete(parser, options.shell))
