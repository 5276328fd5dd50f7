"""Whole Debian systems with headnod installed in them."""

import shutil
import wave
from pathlib import Path

import numpy as np
import pytest

from headnod.audio.audio_file import audio_file
from headnod.resources import demo_clip
from support import debian_roots as roots
from support.booted_system import Machine

HERE = Path(__file__).parent
RATE = 22_050


@pytest.fixture(scope="session", params=["bookworm", "trixie"])
def installed(request):
    """A system with headnod and its dashboard freshly installed in it, and what the installer said."""
    if reason := roots.missing():
        pytest.skip(f"no Debian can be made here: {reason}")
    with roots.copy(roots.bare(request.param), "installed") as root:
        roots.take_in(root)
        ended = roots.run(root, f"{roots.INSIDE}/scripts/install", "--dashboard")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        yield root, ended.stderr


@pytest.fixture(scope="session")
def machine(installed, tmp_path_factory):
    """A booted system with headnod in it, something to play and something to probe with."""
    with roots.copy(installed[0], "booted", shared="usr") as root:
        library = root / "usr/local/lib"
        for name in ("looped_microphone.py", "sandbox_probe.py"):
            shutil.copy(HERE / name, library)
        with audio_file(demo_clip(), RATE) as blocks, wave.open(str(library / "demo.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((np.concatenate(list(blocks)) * 32_767).astype("<i2").tobytes())
        with Machine(root, tmp_path_factory.mktemp("console") / "console.log") as booted:
            yield booted
