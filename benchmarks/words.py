"""Figures as a person reads them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence


def number(value: float | None) -> str:
    """Four digits, or commas from a thousand on; a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"  # noqa: PLR2004 - where commas help


def plain(value: object) -> str:
    """Any figure, or several, in one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{title(key)} {_inner(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(each) for each in value)
    return number(value) if isinstance(value, int | float) else str(value)


def title(key: object) -> str:
    """A key as words."""
    return str(key).replace("_", " ").strip()


def wrapped(text: str, indent: str = "") -> str:
    """A paragraph, or an item of a list, in lines of 120."""
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def among(names: Sequence[str]) -> str:
    """Names in a row, the last behind `and`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _inner(value: object) -> str:
    return f"({plain(value)})" if isinstance(value, Mapping) else plain(value)
