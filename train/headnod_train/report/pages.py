"""HTML pages by Jinja2 templates, in the themes of figures: one file, no script, nothing from the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headnod.errors import MissingExtraError
from headnod.extras import how_to_install
from headnod_train.report.plots import DARK, LIGHT, css_variables

try:
    from jinja2 import Environment, PackageLoader, StrictUndefined
except ImportError as error:
    _MESSAGE = f"pages need Jinja2: {how_to_install('train')} ({error})"
    raise MissingExtraError(_MESSAGE) from error

_TEMPLATES = Environment(
    loader=PackageLoader("headnod_train.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, *, labels: Sequence[str] = (), **values: Any) -> str:  # noqa: ANN401 - whatever a template shows
    """A page; `labels` are the genres whose colours its inline figures use."""
    light, dark = css_variables(LIGHT, labels), css_variables(DARK, labels)
    return _TEMPLATES.get_template(template).render(light=light, dark=dark, labels=labels, **values) + "\n"
