"""The names of topics, which names are valid in them, and the keys of scores.

<base>/<node>/status      `online` or `offline`, retained, last will
<base>/<node>/state       the latest estimate, retained
<base>/<node>/genre       its genre and confidence as plain text, retained; only on request
<base>/<node>/confidence
<base>/<node>/estimate    every estimate
<base>/<node>/song        every song, when it has ended
<base>/<node>/last_song   the latest of them, retained
<base>/<node>/health      the health report
<base>/<node>/info        what the listener is, retained
<base>/<node>/model       progress of a model installation, retained
<base>/<node>/shadow      agreement of a second model with the first, retained
<base>/<node>/deploy      a signed model for this listener; <base>/deploy/<channel> for many
<base>/<node>/set/<key>, request/<verb>, response/<verb>
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from dataclasses import dataclass
from functools import lru_cache

from headnod.errors import ConfigError

DEFAULT_BASE = "headnod"
"""The base that client ids and entity ids leave out."""

ONLINE, OFFLINE = "online", "offline"
"""The plain-text payloads of the status topic."""

SCORE = "scores_"
"""Prefix of the key of a label's score, as in `scores_jazz`."""

_KEY_LENGTH = 64
"""Characters of a key that come from the label."""

_NODE = re.compile(r"\A[A-Za-z0-9_-]{1,64}\Z")
_BASE = re.compile(r"\A[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,7}\Z")


class _Topic:
    """A topic under `<base>/<node>/`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, topics: Topics, _owner: type[Topics]) -> str:
        return topics.under(self._name)


@dataclass(frozen=True)
class Topics:
    """The topics of one listener.

    >>> Topics("headnod", "kitchen").state
    'headnod/kitchen/state'
    """

    base: str
    """First levels of every topic, separated by slashes."""

    node: str
    """The listener, one level."""

    status = _Topic("status")
    state = _Topic("state")
    estimate = _Topic("estimate")
    song = _Topic("song")
    last_song = _Topic("last_song")
    health = _Topic("health")
    info = _Topic("info")
    model = _Topic("model")
    shadow = _Topic("shadow")
    genre = _Topic("genre")
    confidence = _Topic("confidence")
    deploy = _Topic("deploy")
    settings = _Topic("set/+")
    requests = _Topic("request/+")

    def __post_init__(self) -> None:
        """Refuse names with wildcards, spaces or empty levels.

        Raises:
            ConfigError: A name is not valid in a topic.
        """
        if not is_base(self.base):
            raise ConfigError(
                f"mqtt.base: '{self.base}' (letters, digits, hyphens and underscores, levels separated by /)"
            )
        if not is_name(self.node):
            raise ConfigError(f"mqtt.node: '{self.node}' (up to 64 letters, digits, hyphens and underscores)")

    def under(self, name: str) -> str:
        """A topic of this listener."""
        return f"{self.base}/{self.node}/{name}"

    @property
    def retained(self) -> tuple[str, ...]:
        """Every topic with a retained message of the listener."""
        return self.status, self.state, self.last_song, self.info, self.model, self.shadow

    def setting(self, key: str) -> str:
        """The command that sets a value."""
        return self.under(f"set/{key}")

    def request(self, verb: str) -> str:
        """The command that requests something."""
        return self.under(f"request/{verb}")

    def response(self, verb: str) -> str:
        """The answer to a command."""
        return self.under(f"response/{verb}")


def channel(base: str, name: str) -> str:
    """The topic of signed models for every listener of a channel.

    >>> channel("headnod", "stable")
    'headnod/deploy/stable'
    """
    return f"{base}/deploy/{name}"


def is_name(level: str) -> bool:
    """Whether a text is valid as one level of a topic."""
    return bool(_NODE.match(level))


def is_base(levels: str) -> bool:
    """Whether a text is valid as the first levels of a topic, up to eight."""
    return bool(_BASE.match(levels))


def slug(name: str) -> str:
    """A label as an identifier: lower-case letters, digits, underscores."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "_"


@lru_cache(maxsize=4)
def score_keys(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The key of each label's score: lower-case letters without accents, digits and underscores.

    A label with letters that have no such form (`日本`) gets a checksum of its text (CRC-32).
    Labels with the same key (`r&b`, `r-b`) are numbered: `scores_r_b`, `scores_r_b_2`.

    >>> score_keys(("R&B", "Música", "日本"))
    ('scores_r_b', 'scores_musica', 'scores_c7b7cdcc')
    """
    keys: dict[str, None] = {}
    for label in labels:
        key, times = SCORE + _ascii_key(label), 1
        while key in keys:
            times += 1
            key = f"{SCORE}{_ascii_key(label)}_{times}"
        keys[key] = None
    return tuple(keys)


def _ascii_key(label: str) -> str:
    letters = [each for each in unicodedata.normalize("NFKD", label.casefold()) if not unicodedata.combining(each)]
    slugged = slug("".join(each for each in letters if each.isascii()))[:_KEY_LENGTH].strip("_")
    if slugged and not any(each.isalnum() and not each.isascii() for each in letters):
        return slugged
    return f"{slugged}_{zlib.crc32(label.encode('utf-8', 'surrogatepass')):08x}".lstrip("_")
