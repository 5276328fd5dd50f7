"""The one place that knows which TensorFlow Lite runtime is installed.

LiteRT where it has a wheel, tflite-runtime on boards where it has none. Both
offer the same Interpreter over the same files and give the same int8 scores.
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
    """An interpreter with its tensors allocated, ready to run the model.

    Args:
        model: A TFLite file's bytes, already checked against their hash: this
            library does not notice corruption, and may crash on it.
        threads: Threads that one inference may use.

    Raises:
        MissingExtraError: No runtime is installed.
        Exception: Whatever the runtime raises for a file it cannot read.
    """
    library = _library()
    with _quiet_stderr():
        made = library.Interpreter(model_content=model, num_threads=threads)
        made.allocate_tensors()
    return made


def runtime_name() -> str:
    """The runtime in use and its version, such as `ai-edge-litert 2.3.0`."""
    package = _library().__name__.partition(".")[0]
    # Not by importlib.metadata, which costs 3 MB for as long as a listener lives.
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
    # The delegate announces itself from C++ on stderr, which is the log.
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
