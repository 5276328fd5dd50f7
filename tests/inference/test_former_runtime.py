"""The shipped models in tflite-runtime 2.14, which the extra `tflite` installs where there is no LiteRT."""

import subprocess
import sys
from pathlib import Path

import pytest

from headnod.resources import models

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.version_info >= (3, 12), reason="tflite-runtime 2.14 is for Python 3.11 and older"),
]


@pytest.fixture(scope="module")
def headnod(tmp_path_factory):
    """The command of an environment with that runtime and without LiteRT."""
    place = tmp_path_factory.mktemp("former") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    subprocess.run([place / "bin" / "pip", "install", "--quiet", f"{ROOT}[tflite]"], check=True)
    listed = subprocess.run([place / "bin" / "pip", "list"], check=True, capture_output=True, text=True).stdout
    assert "tflite-runtime" in listed
    assert "ai-edge-litert" not in listed
    return place / "bin" / "headnod"


@pytest.mark.parametrize("folder", models(), ids=lambda folder: folder.name)
def test_golden_numbers_agree(headnod, folder):
    ended = subprocess.run([headnod, "models", "verify", folder], check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "golden numbers agree" in ended.stdout
