"""headnod: names the genre of the music in a room.

Blocks of audio become windows, windows become features, features become
scores, scores become an estimate, and estimates are shown.
"""

from headnod import threads  # noqa: F401 - before anything that imports numpy
from headnod.errors import AudioError, ConfigError, HeadnodError, ManifestError, MissingExtraError
from headnod.estimate import Condition, Estimate, State
from headnod.frontend import FrontEnd
from headnod.listener import ListenerSettings, listen
from headnod.manifest import Manifest
from headnod.model import GenreModel

__version__ = "0.1.0"

__all__ = [
    "AudioError",
    "Condition",
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
    "listen",
]
