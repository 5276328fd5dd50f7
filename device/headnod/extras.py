"""The command that installs an optional part of headnod, as it can be followed where headnod runs from."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from importlib import metadata

_CHECKOUT = Path(__file__).parents[2]
_INSTALLED = Path("/opt/headnod")
"""First part of the path of environments of scripts/install."""

_BY_INSTALL = {"device": "", "dashboard": " --dashboard"}
"""Extras of scripts/install, with its options for them."""

_OF_EXTRA = re.compile(r"\s*(?:;|and)\s*extra\s*==\s*['\"]([\w-]+)['\"]$")
_OF_HEADNOD = re.compile(r"headnod\[([\w,]+)\]")


def how_to_install(
    extra: str,
    *,
    prefix: str = sys.prefix,
    checkout: Path = _CHECKOUT,
    distribution: metadata.Distribution | None = None,
) -> str:
    """The command that installs an extra.

    From a checkout it is `scripts/setup`. An installed copy is extended by pip, from the folder or file that it came
    from. Where that is gone, the command names the packages of the extra, because no index needs to have headnod.

    Args:
        extra: Such as `device` or `train`.
        prefix: The Python environment of headnod.
        checkout: The folder that is a checkout if headnod runs from one.
        distribution: The installed copy; None for the one that runs.
    """
    if _is_checkout(checkout):
        return f"{_short(checkout / 'scripts' / 'setup')} {extra}"
    if distribution is None:
        from importlib import metadata  # noqa: PLC0415 - 1 MB, needed for this message only

        try:
            distribution = metadata.distribution("headnod")
        except metadata.PackageNotFoundError:
            return _pip([f"headnod[{extra}]"], prefix)
    origin = _origin(distribution)
    if origin is None:
        return _pip([f"headnod[{extra}]"], prefix)
    if _is_checkout(origin) and Path(prefix).name.startswith(_INSTALLED.name) and extra in _BY_INSTALL:
        return f"sudo {shlex.quote(str(origin / 'scripts' / 'install'))}{_BY_INSTALL[extra]}"
    if origin.is_file() or _is_checkout(origin):
        return _pip([f"headnod[{extra}] @ {origin.as_uri()}"], prefix)
    return _pip(_requirements(distribution, extra), prefix)


def how_to_install_package(package: str, *, prefix: str = sys.prefix) -> str:
    """The command that installs a package that no extra names."""
    return _pip([package], prefix)


def from_checkout(command: str, otherwise: str, *, checkout: Path = _CHECKOUT) -> str:
    """A command of a checkout, or what an installed copy needs in its place."""
    return command if _is_checkout(checkout) else otherwise


def _pip(wanted: list[str], prefix: str) -> str:
    return f"{_short(Path(prefix) / 'bin' / 'python')} -m pip install {shlex.join(wanted)}"


def _short(path: Path) -> str:
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _is_checkout(folder: Path) -> bool:
    return (folder / "pyproject.toml").is_file() and (folder / "scripts" / "setup").is_file()


def _origin(distribution: metadata.Distribution) -> Path | None:
    """The folder or file that headnod was installed from, which may be gone; None for a package index."""
    try:
        url = urlsplit(json.loads(distribution.read_text("direct_url.json") or "{}").get("url", ""))
    except ValueError:
        return None
    return Path(unquote(url.path)) if url.scheme == "file" else None


def _requirements(distribution: metadata.Distribution, extra: str) -> list[str]:
    """The packages of an extra, and of the extras that it contains."""
    found: list[str] = []
    for line in distribution.requires or ():
        match = _OF_EXTRA.search(line)
        if match is None or match[1] != extra:
            continue
        wanted = line[: match.start()].strip()
        nested = _OF_HEADNOD.fullmatch(wanted)
        for each in nested[1].split(",") if nested else ():
            found += _requirements(distribution, each)
        found += [] if nested else [re.sub(r";\s*\((.*)\)$", r"; \1", wanted)]
    return list(dict.fromkeys(found))
