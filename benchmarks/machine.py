"""Which machine and which versions a figure was measured with."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_LIBRARIES = ("numpy", "ai-edge-litert", "tensorflow_cpu", "keras", "librosa", "scipy", "msgspec", "paho-mqtt")


def machine() -> dict[str, Any]:
    """The processor, the system, every library that was measured, and the load just now."""
    return {**_steady(), "load": round(os.getloadavg()[0], 1)}


@cache
def _steady() -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    told = {
        "day": datetime.now(UTC).date().isoformat(),
        "processor": f"{model}, {os.cpu_count()} cores",
        "system": f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}",
        "python": platform.python_version(),
    }
    for library in _LIBRARIES:
        try:
            told[library] = version(library)
        except PackageNotFoundError:
            told[library] = "absent"
    return told
