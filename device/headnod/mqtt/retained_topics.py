"""Which topics may hold a retained message of ours, so that none is left behind.

A broker keeps a retained message for ever, and Home Assistant an entity as long:
after a change of node, base, discovery prefix or form, the topics of before are
emptied.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from headnod.files import write_whole

_log = logging.getLogger(__name__)

MIGRATE = b'{"migrate_discovery": true}'
"""Tells Home Assistant that an entity will come back under another topic and shall stay what it is."""

PAUSE = 2.0
"""Seconds that Home Assistant needs to let go of an entity: told anew at once, it skips entities."""

_DEVICE = re.compile(r"\A(?P<prefix>.+)/device/(?P<object>[^/]+)/config\Z")
_COMPONENT = re.compile(r"\A(?P<prefix>.+)/[^/]+/(?P<object>[^/]+)/[^/]+/config\Z")


class RetainedTopics:
    """Topics of discovery, and of the listener itself under any name that it had."""

    def __init__(self, path: Path | None, *, own: Iterable[str] = ()) -> None:
        """Open the ledger, or begin one.

        Args:
            path: Its file; None keeps it in memory, and a name that changes
                between two runs leaves its topics behind.
            own: Topics that the listener retains under its present name; others
                publish them, so they are in no plan.
        """
        self._path, self._own = path, frozenset(own)
        self._topics = set(self._read())

    @property
    def topics(self) -> frozenset[str]:
        """All that was published and not removed."""
        return frozenset(self._topics)

    def plan(self, wanted: Mapping[str, bytes]) -> list[dict[str, bytes]]:
        """What to publish so that exactly `wanted` is left.

        Topics that are no longer wanted are emptied first. Where only the form
        of discovery changed they are first marked as moving and emptied last, so
        Home Assistant keeps what a person changed about the entities.

        Returns:
            Steps of payloads by topic, all to be retained, with `PAUSE` between
            the steps. Mostly there is one.
        """
        outdated = sorted(self._topics - wanted.keys() - self._own)
        self._keep(self._topics | wanted.keys() | self._own)
        homes = {_home(topic) for topic in wanted}
        moving = [topic for topic in outdated if _home(topic) in homes]
        steps = (
            {topic: MIGRATE if topic in moving else b"" for topic in outdated},
            dict(wanted),
            dict.fromkeys(moving, b""),
        )
        return [step for step in steps if step]

    def settle(self, wanted: Iterable[str]) -> None:
        """The broker has acknowledged the whole plan: what was removed may be forgotten."""
        self._keep(set(wanted) | self._own)

    def _keep(self, topics: set[str]) -> None:
        if topics == self._topics:
            return
        self._topics = topics
        if self._path is None:
            return
        try:
            write_whole(self._path, msgspec.json.encode(sorted(topics)))
        except OSError as error:
            _log.warning(
                "%s: %s; what is retained under an old name may stay at the broker", self._path, error.strerror
            )

    def _read(self) -> list[str]:
        if self._path is None:
            return []
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[str])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.warning("%s: cannot be read (%s) and is begun anew", self._path, error)
            return []


def _home(topic: str) -> tuple[str, str]:
    """Prefix and listener of a discovery topic of either form."""
    found = _DEVICE.match(topic) or _COMPONENT.match(topic)
    return (found["prefix"], found["object"]) if found else ("", topic)
