"""The exceptions of headnod, and the results of its checks.

Each exception is also the built-in exception that it resembles. A message names the thing, the
value and the way out, because it is printed to users unchanged.
"""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple


class HeadnodError(Exception):
    """Base class of all exceptions that headnod raises on purpose."""

    exit_status: ClassVar[int] = 1
    """Exit status of the program that ends with it."""


class ConfigError(HeadnodError, ValueError):
    """The configuration or the command line is invalid."""

    exit_status = 78
    """EX_CONFIG of sysexits.h, after which systemd does not restart the service."""


class UsageError(ConfigError):
    """A value on the command line is invalid."""

    exit_status = 2


class AccessError(HeadnodError, PermissionError):
    """This user may not read or write a file or folder."""


class ConfigAccessError(ConfigError, AccessError):
    """This user may not read a file that the configuration names."""


class ManifestError(HeadnodError, ValueError):
    """A model bundle does not match its manifest."""


class BundleError(HeadnodError, ValueError):
    """A model bundle is not trusted, or cannot be installed or activated."""


class AudioError(HeadnodError, OSError):
    """An audio source cannot be opened, or failed."""


class MissingExtraError(HeadnodError, ImportError):
    """An optional library is not installed."""


class LedError(HeadnodError, OSError):
    """Lights cannot be opened, or failed."""


Verdict = Literal["well", "warning", "fault", "none"]
"""`fault` means that headnod cannot work; `none` that the part is not configured."""


class CheckResult(NamedTuple):
    """The result for one part of headnod, or for one step to the broker."""

    part: str
    """Name of the part or step."""

    verdict: Verdict

    message: str
    """One line: what was found and, if necessary, the way out."""
