"""TensorFlow and Keras, imported here only, without the messages of their import.

The import takes seconds and a gigabyte, and prints lines that look like errors.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from headnod.errors import MissingExtraError
from headnod.system import how_to_install


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide what the body writes to stdout and stderr, from C++ too; show it only if the body raises."""
    with tempfile.TemporaryFile() as written:
        _flush()
        saved = [os.dup(1), os.dup(2)]
        try:
            os.dup2(written.fileno(), 1)
            os.dup2(written.fileno(), 2)
            yield
        except Exception:
            _flush()
            written.seek(0)
            os.write(saved[1], written.read())
            raise
        finally:
            _flush()
            for stream, former in zip((1, 2), saved, strict=True):
                os.dup2(former, stream)
                os.close(former)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def repeatable(seed: int) -> None:
    """Seed every random generator, and make operations deterministic."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"
try:
    with quiet():
        import keras
        import tensorflow as tf
except ImportError as error:
    raise MissingExtraError(f"training needs TensorFlow and Keras: {how_to_install('train')} ({error})") from error

__all__ = ["keras", "quiet", "repeatable", "tf"]
