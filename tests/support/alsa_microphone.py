"""A microphone of ALSA with one rate and channel count, or one that cannot be opened (paced_microphone.c)."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

SOURCE = Path(__file__).parents[2] / "benchmarks" / "paced_microphone.c"
RATE = 48_000


def alsa_microphone(folder: Path, frames: np.ndarray, *, refused: int = 0) -> dict[str, str]:
    """The environment of a program that finds it as `pcm:mic`, playing frames of shape (n, channels) for ever."""
    plugin = folder / "paced.so"
    command = ["cc", "-shared", "-fPIC", "-DPIC", "-O2", "-o", str(plugin), str(SOURCE), "-lasound"]
    if shutil.which("cc") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no C compiler with the headers of ALSA (libasound2-dev)")
    (np.clip(frames, -1.0, 1.0) * 32_767).astype("<i2").tofile(folder / "played.raw")
    (folder / ".asoundrc").write_text(
        f'pcm_type.paced {{ lib "{plugin}" }}\n'
        f'pcm.mic {{ type paced file "{folder}/played.raw" channels {frames.shape[1]} refused {refused} '
        'hint { show on description "microphone" } }\n'
    )
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    (folder / "headnod.toml").write_text("")
    told = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "HEADNOD_CONFIG": str(folder / "headnod.toml")}
    return {**kept, **told}
