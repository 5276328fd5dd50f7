"""What can go wrong on purpose: one root, few children.

Each child is also the built-in error that it resembles, so a caller who knows
nothing of headnod still catches it. A message names the thing, the value and
the way out, because it is printed to a person as it stands.
"""


class HeadnodError(Exception):
    """Anything this package raises on purpose."""


class ConfigError(HeadnodError, ValueError):
    """The configuration or the command line cannot be used."""


class UsageError(ConfigError):
    """A value on the command line cannot be used."""


class AccessError(HeadnodError, PermissionError):
    """This user may not read or write a file or folder."""


class ConfigAccessError(ConfigError, AccessError):
    """This user may not read a file that the configuration names."""


class ManifestError(HeadnodError, ValueError):
    """A model bundle does not keep its manifest's promise."""


class BundleError(HeadnodError, ValueError):
    """A model bundle is not trusted, or cannot be taken, kept or put to use."""


class AudioError(HeadnodError, OSError):
    """Audio cannot be had, or ended badly."""


class MissingExtraError(HeadnodError, ImportError):
    """An optional library is needed and not installed."""


class LedError(HeadnodError, OSError):
    """Lights cannot be had, or went away."""
