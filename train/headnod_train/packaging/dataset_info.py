"""What is known of a collection that a network learned from: its licence and its faults.

A model carries its collection's licence text, so nobody packs one without
having said what it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from headnod.errors import ConfigError


@dataclass(frozen=True)
class DatasetInfo:
    """A body of music with genres."""

    name: str
    """What it is called."""

    licence: str
    """Its licence, or that it has none."""

    limits: tuple[str, ...] = ()
    """What is wrong with it, a sentence each."""


GTZAN = DatasetInfo(
    "GTZAN genre collection (Tzanetakis and Cook, 2002), fault-filtered and artist-aware split "
    "(Kereliuk, Sturm and Larsen, 2015)",
    "GTZAN has no licence: its recordings belong to others and were collected for research. "
    "No recording and no feature of one is part of this bundle.",
    (
        "GTZAN's recordings are older than 2002; newer music is judged by its likeness to them.",
        "GTZAN has mislabelled, repeated and damaged tracks (Sturm, 2013). The split leaves the known ones out.",
        "What counts as rock, country or pop in GTZAN is arguable.",
    ),
)
_KNOWN = {"gtzan": GTZAN}


def dataset_info(name: str, licence: str | None) -> DatasetInfo:
    """A known collection by its short name, or another one with its licence.

    Raises:
        ConfigError: Its licence is neither known nor given.
    """
    known = _KNOWN.get(name.lower())
    if known is not None:
        return known
    if not licence:
        message = f"--collection: the licence of '{name}' is not known (say it with --licence; known: gtzan)"
        raise ConfigError(message)
    return DatasetInfo(name, licence)
