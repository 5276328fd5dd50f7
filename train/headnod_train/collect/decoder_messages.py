"""What C libraries write to stderr while files are decoded.

libmpg123 writes a line for each damaged frame, without the name of the file. These lines are
kept in a file while an import decodes, and told in one line at its end.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, TextIO

from rich.console import Console

from headnod.legible import legible

_STDERR = 2


@contextmanager
def decoder_messages(console: Console) -> Iterator[None]:
    """Keep file descriptor 2 of this process and of its children off the terminal; Python's own stderr stays."""
    with tempfile.TemporaryFile() as kept, _elsewhere(kept):
        yield
        kept.seek(0)
        count, first = 0, b""
        for line in kept:
            count, first = count + 1, first or line
    if count:
        said = legible(first.decode(errors="replace").strip())
        console.print(f"decoders wrote {count} lines about damaged audio, the first: {said}", soft_wrap=True)


@contextmanager
def _elsewhere(kept: BinaryIO) -> Iterator[None]:
    sys.stderr.flush()
    saved, former = os.dup(_STDERR), sys.stderr
    apart = _is_descriptor_2(former)
    if apart:
        sys.stderr = os.fdopen(os.dup(_STDERR), "w", 1, former.encoding, former.errors)
    os.dup2(kept.fileno(), _STDERR)
    try:
        yield
    finally:
        os.dup2(saved, _STDERR)
        os.close(saved)
        if apart:
            sys.stderr.close()
            sys.stderr = former


def _is_descriptor_2(stream: TextIO) -> bool:
    try:
        return stream.fileno() == _STDERR
    except (OSError, ValueError):
        return False
