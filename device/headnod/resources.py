"""Files that come with headnod: models and the demo clip.

They are inside the package in an installed copy, and at the root of the project in a checkout.
"""

from __future__ import annotations

from pathlib import Path

from headnod.errors import ConfigAccessError, ConfigError
from headnod.inference.manifest import MANIFEST, MODEL

DEFAULT_MODEL = "genre"
"""Name of the default model."""

_PACKAGE = Path(__file__).parent


def shipped(name: str) -> Path:
    """A folder of headnod, such as `models`.

    Raises:
        ConfigError: This installation does not have it.
    """
    for place in (_PACKAGE / name, _PACKAGE.parents[1] / name):
        if place.is_dir():
            return place
    raise ConfigError(f"this installation has no folder '{name}' (install headnod again)")


def demo_clip() -> Path:
    """Freely licensed music for machines without a microphone."""
    return next(path for path in sorted(shipped("demo").iterdir()) if path.suffix in {".ogg", ".flac", ".wav"})


def find_model(wanted: str) -> Path:
    """The folder of a model bundle.

    `wanted` is a folder, or the name of a shipped model, without a version for the newest.

    Raises:
        ConfigError: There is no such bundle; the message lists the shipped ones.
    """
    folder = Path(wanted)
    try:
        (folder / MANIFEST).stat()
    except PermissionError as error:
        raise ConfigAccessError(f"{folder}: permission denied") from error
    except (OSError, ValueError):
        pass
    else:
        return folder
    if folder.is_file() or (folder / MODEL).is_file() or (folder / "labels.txt").is_file():
        what = _kind(folder) if folder.is_file() else "a folder without a manifest.json"
        raise ConfigError(
            f"{folder}: is {what}, not a bundle of headnod (a folder with manifest.json; "
            "headnod-train trains a network for headnod's own features and packs it)"
        )
    there = models()
    named = [path for path in there if wanted in {path.name, path.name.rpartition("-")[0]}]
    if not named:
        raise ConfigError(
            f"there is no model '{wanted}' (shipped are {', '.join(path.name for path in there) or 'none'}; "
            "or name a folder with a manifest.json)"
        )
    return named[-1]


def configured_model(name: str) -> Path:
    """The folder of the bundle in `model.name`.

    Raises:
        ConfigError: There is no such bundle; the message begins with the setting.
    """
    try:
        return find_model(name)
    except ConfigAccessError as error:
        raise ConfigAccessError(f"model.name: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"model.name: {error}") from error


def _kind(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            begins = opened.read(8)
    except OSError:
        return "a file"
    return "a bare TFLite network" if begins[4:8] == b"TFL3" else "a file"


def models() -> list[Path]:
    """Folders of the shipped bundles, the newest version of each last."""
    return sorted((manifest.parent for manifest in shipped("models").glob(f"*/{MANIFEST}")), key=_by_version)


def _by_version(bundle: Path) -> tuple[str, list[int]]:
    name, _, version = bundle.name.rpartition("-")
    return name, [int(number) for number in version.split(".") if number.isdigit()]
