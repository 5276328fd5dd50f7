"""Licence and limits of the collection that a network was trained on, for manifest and card."""

from __future__ import annotations

from dataclasses import dataclass

from headnod.errors import ConfigError


@dataclass(frozen=True)
class DatasetInfo:
    """A collection of music with genres."""

    name: str
    licence: str
    """Licence text, or the statement that there is none."""

    limits: tuple[str, ...] = ()
    """Known faults, one sentence each."""


GTZAN = DatasetInfo(
    "GTZAN genre collection (Tzanetakis and Cook, 2002), fault-filtered and artist-aware split "
    "(Kereliuk, Sturm and Larsen, 2015)",
    "GTZAN has no licence: its recordings belong to others and were collected for research. "
    "No recording and no feature of one is part of this bundle.",
    (
        "GTZAN's recordings are older than 2002; newer music is classified by its similarity to them.",
        "GTZAN has mislabelled, repeated and damaged tracks (Sturm, 2013). The split leaves the known ones out.",
        "The definitions of rock, country and pop in GTZAN are debatable.",
    ),
)
_KNOWN = {"gtzan": GTZAN}


def dataset_info(name: str, licence: str | None) -> DatasetInfo:
    """A known collection by its short name, or another with its licence.

    Raises:
        ConfigError: Its licence is neither known nor given.
    """
    known = _KNOWN.get(name.lower())
    if known is not None:
        return known
    if not licence:
        message = f"--collection: the licence of '{name}' is not known (give it with --licence; known: gtzan)"
        raise ConfigError(message)
    return DatasetInfo(name, licence)
