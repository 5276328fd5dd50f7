"""Selects the installed TensorFlow Lite runtime.

LiteRT where it has a wheel, tflite-runtime on boards where it has none. Both
have the same `Interpreter`, read the same files and give the same int8 scores.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headnod.errors import MissingExtraError
from headnod.extras import how_to_install

if TYPE_CHECKING:
    from types import ModuleType


def interpreter(model: bytes, *, threads: int = 1) -> Any:  # noqa: ANN401 - the two runtimes share no type
    """An interpreter for a model, with its tensors allocated.

    Args:
        model: Content of a TFLite file whose hash was checked: the runtime does
            not detect corruption and may crash on it.
        threads: Maximum number of threads per inference.

    Raises:
        MissingExtraError: No runtime is installed.
        Exception: The runtime cannot read the file.
    """
    library = _library()
    with _quiet_stderr():
        made = library.Interpreter(model_content=model, num_threads=threads)
        made.allocate_tensors()
    return made


def runtime_name() -> str:
    """Name and version of the runtime, such as `ai-edge-litert 2.3.0`."""
    package = _library().__name__.partition(".")[0]
    # importlib.metadata would need 3 MB of memory for as long as the listener runs.
    return f"{package.replace('_', '-')} {sys.modules[package].__version__}"


def _library() -> ModuleType:
    try:
        from ai_edge_litert import interpreter as library  # noqa: PLC0415 - 8 MB, needed by a model only
    except ImportError:
        try:
            from tflite_runtime import interpreter as library  # noqa: PLC0415
        except ImportError:
            message = f"no TensorFlow Lite runtime is installed: {how_to_install('device')}"
            raise MissingExtraError(message) from None
    return library


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    # The delegate prints a line from C++ to stderr, which is the log.
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
