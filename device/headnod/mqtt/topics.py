"""The names of topics, and which names may be in them.

<base>/<node>/status      online or offline, retained, last will
<base>/<node>/state       latest estimate, retained
<base>/<node>/estimate    every estimate
<base>/<node>/song        every song, when it ends
<base>/<node>/health      how the listener fares
<base>/<node>/info        what it is, retained
<base>/<node>/model       how far a new model has come, retained
<base>/<node>/shadow      how a second model agrees with the first, retained
<base>/<node>/deploy      a signed model for this listener; <base>/deploy/<channel> for many
<base>/<node>/set/<key>, request/<verb>, response/<verb>
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from headnod.errors import ConfigError

ONLINE, OFFLINE = "online", "offline"
"""The plain-text payloads of the status topic."""

_NODE = re.compile(r"\A[A-Za-z0-9_-]{1,64}\Z")
_BASE = re.compile(r"\A[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,7}\Z")


@dataclass(frozen=True)
class Topics:
    """The topics of one listener.

    >>> Topics("headnod", "kitchen").state
    'headnod/kitchen/state'
    """

    base: str
    """What every topic begins with; levels are separated by slashes."""

    node: str
    """The listener, one level."""

    def __post_init__(self) -> None:
        """Refuse names with wildcards, spaces or empty levels.

        Raises:
            ConfigError: A name is none that a topic may have.
        """
        if not is_base(self.base):
            message = f"mqtt.base: '{self.base}' (letters, digits, hyphens and underscores, levels parted by /)"
            raise ConfigError(message)
        if not is_name(self.node):
            message = f"mqtt.node: '{self.node}' (up to 64 letters, digits, hyphens and underscores)"
            raise ConfigError(message)

    def _of(self, name: str) -> str:
        return f"{self.base}/{self.node}/{name}"

    @property
    def status(self) -> str:
        """`online` or `offline`."""
        return self._of("status")

    @property
    def state(self) -> str:
        """The latest estimate, retained."""
        return self._of("state")

    @property
    def estimate(self) -> str:
        """Every estimate."""
        return self._of("estimate")

    @property
    def song(self) -> str:
        """Every song, when it ends."""
        return self._of("song")

    @property
    def health(self) -> str:
        """How the listener fares."""
        return self._of("health")

    @property
    def info(self) -> str:
        """What the listener is, retained."""
        return self._of("info")

    @property
    def model(self) -> str:
        """How far a new model has come, retained."""
        return self._of("model")

    @property
    def shadow(self) -> str:
        """How a second model agrees with the first, retained."""
        return self._of("shadow")

    @property
    def deploy(self) -> str:
        """A signed model for this listener alone."""
        return self._of("deploy")

    @property
    def retained(self) -> tuple[str, ...]:
        """Every topic that holds a retained message of the listener."""
        return self.status, self.state, self.info, self.model, self.shadow

    @property
    def settings(self) -> str:
        """Filter for everything that can be set."""
        return self._of("set/+")

    @property
    def requests(self) -> str:
        """Filter for everything that can be asked."""
        return self._of("request/+")

    def setting(self, key: str) -> str:
        """Where a setting is set."""
        return self._of(f"set/{key}")

    def request(self, verb: str) -> str:
        """Where something is asked."""
        return self._of(f"request/{verb}")

    def response(self, verb: str) -> str:
        """Where it is answered."""
        return self._of(f"response/{verb}")


def channel(base: str, name: str) -> str:
    """Where signed models are sent to every listener of a channel.

    >>> channel("headnod", "stable")
    'headnod/deploy/stable'
    """
    return f"{base}/deploy/{name}"


def is_name(level: str) -> bool:
    """One level of a topic that nobody must escape."""
    return bool(_NODE.match(level))


def is_base(levels: str) -> bool:
    """Up to eight levels that a topic may begin with."""
    return bool(_BASE.match(levels))


def slug(name: str) -> str:
    """A label as a name that every dashboard takes: small letters, digits, underscores."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "_"
