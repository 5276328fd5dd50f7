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
        "processor": f"{model}, {os.cpu_count()} cores{_vectors(lines)}",
        "system": f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}",
        "python": platform.python_version(),
    }
    for library in _LIBRARIES:
        try:
            told[library] = version(library)
        except PackageNotFoundError:
            told[library] = "absent"
    return told


def _vectors(lines: list[str]) -> str:
    """Vector instructions of an x86 processor: those of VNNI make int8 networks about four times as fast."""
    flags = next((set(line.partition(": ")[2].split()) for line in lines if line.startswith("flags")), set())
    if not flags:
        return ""
    widest = next((name for name in ("avx512f", "avx2", "avx") if name in flags), "sse")
    return f" ({widest}, {'with' if flags & {'avx512_vnni', 'avx_vnni'} else 'without'} VNNI)"
