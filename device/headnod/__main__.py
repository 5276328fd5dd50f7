"""The command line: `headnod listen`, `headnod classify` and their neighbours.

Results go to stdout and the log to stderr. Exit status: 0, 1 for what went
wrong, 2 for usage, 78 for the configuration.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from types import FrameType

from headnod import __version__, cli
from headnod.cli import add_examples
from headnod.cli.parser import (
    Parser,
    add_completion,
    let_go_of_stdout,
    located,
    open_standard_streams,
    stdout_fault,
)
from headnod.errors import ConfigError, HeadnodError, UsageError
from headnod.log import formatter

_log = logging.getLogger("headnod")
_dead_thread = threading.Event()
_STDERR = 2


def main(words: list[str] | None = None) -> int:
    """Run a command.

    Args:
        words: The command line after the program's name; the process's own if None.

    Returns:
        The exit status.
    """
    open_standard_streams()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(_STDERR, os.environ.get("JOURNAL_STREAM", "")))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    signal.signal(signal.SIGTERM, _stop)
    threading.excepthook = _end_with_the_thread
    options = command_parser().parse_args(words)
    try:
        status = int(options.run(options) or 0)
        sys.stdout.flush()
    except (HeadnodError, PermissionError) as error:
        status = _report(error, options)
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        status = 0
    except OSError as error:
        if (fault := stdout_fault(error)) is None:
            raise
        _log.error("%s", fault)
        status = 1
    finally:
        let_go_of_stdout()
    return status


def command_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser: argparse.ArgumentParser = Parser(prog="headnod", description="Names the genre of the music in a room.")
    parser.add_argument("-V", "--version", action="version", version=f"headnod {__version__}")
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    cli.add_all(subparsers)
    add_completion(subparsers, command_parser, program="headnod")
    add_examples(parser)
    return parser


def _stop(_signal: int, _frame: FrameType | None) -> None:
    # Raised where the main thread is, so every `with` on the way out closes what it opened.
    raise SystemExit(1 if _dead_thread.is_set() else 0)


def _end_with_the_thread(dead: threading.ExceptHookArgs) -> None:
    # A listener that lost a thread looks alive and is not, so the service manager must start it again.
    _log.critical("a part of headnod died", exc_info=dead.exc_value)
    _dead_thread.set()
    os.kill(os.getpid(), signal.SIGTERM)


def _report(error: HeadnodError | PermissionError, options: argparse.Namespace) -> int:
    """Log the error, and each further value that is refused with it, in a line of its own; give the exit status."""
    for line in (located(options, error), *getattr(error, "__notes__", ())):
        _log.error("%s", line)
    loaded = getattr(options, "loaded", None)
    if isinstance(error, ConfigError) and loaded is not None and loaded.set_by_flag(str(error)):
        return UsageError.exit_status
    return getattr(error, "exit_status", HeadnodError.exit_status)


if __name__ == "__main__":
    sys.exit(main())
