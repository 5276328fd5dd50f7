"""What can go wrong on purpose while tagging."""

from __future__ import annotations

from headnod.errors import HeadnodError


class TaggerError(HeadnodError, ValueError):
    """The tagger's weights, what it shall hear or where it shall write cannot be used."""
