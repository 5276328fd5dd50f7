"""The command line of the workstation: headnod-train."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from headnod import __version__
from headnod.cli.parser import Parser, add_completion, let_go_of_stdout, open_standard_streams, stdout_fault
from headnod.errors import HeadnodError
from headnod.escaping import printable
from headnod_train import cli
from headnod_train.console import plain_console

INTERRUPTED = 130
"""Exit status after Ctrl-C, as a shell has it."""

_EXAMPLES = """\
from a folder of music to a listener that uses the new model:
  headnod-train import   ~/music --out music.npz
  headnod-train fit      --data music.npz --run runs/first
  headnod-train quantise --data music.npz --run runs/first
  headnod-train pack     --data music.npz --run runs/first --name mine --version 1.0.0 --collection mine --licence own
  headnod-train deploy   models/mine-1.0.0 --ssh pi@raspberrypi.local

exit status: 0 done, 1 refused with one line that says why, 2 wrong usage, 130 stopped by Ctrl-C
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status.
    """
    open_standard_streams()
    options = command_parser().parse_args(arguments)
    log = plain_console(stderr=True)
    try:
        options.run(options, log)
        sys.stdout.flush()
    except HeadnodError as error:
        _complain(log, str(error))
        return 1
    except BrokenPipeError:
        return 0
    except OSError as error:
        fault = stdout_fault(error) or (error.filename and f"{error.filename}: {error.strerror}")
        if not fault:
            raise
        _complain(log, fault)
        return 1
    except KeyboardInterrupt:
        _complain(log, f"stopped; {options.kept}")
        return INTERRUPTED
    finally:
        let_go_of_stdout()
    return 0


def _complain(log: Console, text: str) -> None:
    log.print(printable(f"headnod-train: {text}"), soft_wrap=True)


def command_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser: argparse.ArgumentParser = Parser(
        prog="headnod-train", description="Make a model that headnod can listen with.", epilog=_EXAMPLES
    )
    parser.add_argument("-V", "--version", action="version", version=f"headnod-train {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    cli.add_all(subparsers)
    add_completion(subparsers, command_parser, program="headnod-train")
    return parser


if __name__ == "__main__":
    sys.exit(main())
