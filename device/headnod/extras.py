"""The command that installs an optional part of headnod: for a checkout, `scripts/install` or pip."""

from __future__ import annotations

import json
import shlex
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

_CHECKOUT = Path(__file__).parents[2]
_INSTALLED = Path("/opt/headnod")
"""First part of the path of environments of scripts/install."""

_BY_INSTALL = {"device": "", "dashboard": " --dashboard"}
"""Extras of scripts/install, with its options for them."""


def how_to_install(extra: str, *, prefix: str = sys.prefix, checkout: Path = _CHECKOUT) -> str:
    """The command that installs an extra.

    Args:
        extra: Such as `device` or `train`.
        prefix: The Python environment of headnod.
        checkout: The folder that is a checkout if headnod runs from one.
    """
    if _is_checkout(checkout):
        return f"{_short(checkout / 'scripts' / 'setup')} {extra}"
    source = _source()
    if source is not None and Path(prefix).name.startswith(_INSTALLED.name) and extra in _BY_INSTALL:
        return f"sudo {shlex.quote(str(source / 'scripts' / 'install'))}{_BY_INSTALL[extra]}"
    return _pip(f"{source or 'headnod'}[{extra}]", prefix)


def how_to_install_package(package: str, *, prefix: str = sys.prefix) -> str:
    """The command that installs a package that no extra names."""
    return _pip(package, prefix)


def _pip(wanted: str, prefix: str) -> str:
    return f"{_short(Path(prefix) / 'bin' / 'python')} -m pip install {shlex.quote(wanted)}"


def _short(path: Path) -> str:
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _is_checkout(folder: Path) -> bool:
    return (folder / "pyproject.toml").is_file() and (folder / "scripts" / "setup").is_file()


def _source() -> Path | None:
    """The checkout that headnod was installed from, if it still exists."""
    try:
        text = metadata.distribution("headnod").read_text("direct_url.json")
        url = urlsplit(json.loads(text or "{}").get("url", ""))
    except (metadata.PackageNotFoundError, ValueError):
        return None
    folder = Path(unquote(url.path))
    return folder if url.scheme == "file" and _is_checkout(folder) else None
