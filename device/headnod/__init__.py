"""headnod: names the genre of the music in a room.

Blocks of audio become windows, windows become features, features become
scores, scores become an estimate, and estimates are shown.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

from headnod.errors import AudioError, ConfigError, HeadnodError, ManifestError, MissingExtraError

if TYPE_CHECKING:
    from headnod.features.frontend import FrontEnd
    from headnod.inference.manifest import Manifest
    from headnod.inference.model import GenreModel
    from headnod.pipeline.estimate import Estimate, State, StatusEvent
    from headnod.pipeline.listener import ListenerSettings, listen

# Before numpy is imported: OpenBLAS starts a thread for each core when it is loaded. For matrices of a few kilobytes
# they cost more than they save, and the last bit of a feature would depend on the number of cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

__version__ = "0.3.0"

__all__ = [
    "AudioError",
    "ConfigError",
    "Estimate",
    "FrontEnd",
    "GenreModel",
    "HeadnodError",
    "ListenerSettings",
    "Manifest",
    "ManifestError",
    "MissingExtraError",
    "State",
    "StatusEvent",
    "listen",
]

_MODULES = {
    "Estimate": "pipeline.estimate",
    "FrontEnd": "features.frontend",
    "GenreModel": "inference.model",
    "ListenerSettings": "pipeline.listener",
    "Manifest": "inference.manifest",
    "State": "pipeline.estimate",
    "StatusEvent": "pipeline.estimate",
    "listen": "pipeline.listener",
}
"""Modules of names that are imported on first use, because `headnod --help` must not wait for numpy."""


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
