"""Standard input, output and error of a command: closed, full, or of an encoding that lacks characters."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator

_MOST_HELD = 1 << 16
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def open_standard_streams() -> None:
    """Open /dev/null in place of each standard stream that is closed, as by `>&-` or a careless cron.

    Otherwise the first file that is opened, such as a database, gets the number of standard output.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def tolerate_any_locale() -> None:
    """Print characters that the encoding of the terminal lacks as question marks."""
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
