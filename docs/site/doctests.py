"""An extension of griffe: examples in docstrings are shown as code, wherever they stand."""

from __future__ import annotations

import re

import griffe

_EXAMPLE = re.compile(r"^(>>> .*(?:\n.+)*)", re.MULTILINE)


class FencedDoctests(griffe.Extension):
    """Puts a fence around each example."""

    def on_instance(self, *, obj: griffe.Object, **_more: object) -> None:
        """Change the docstring of an object."""
        if obj.docstring is not None and ">>> " in obj.docstring.value:
            obj.docstring.value = _EXAMPLE.sub(r"```pycon\n\1\n```", obj.docstring.value)
