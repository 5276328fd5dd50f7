"""How a network was made: `recipe.toml` of a run, and the recipe in a manifest.

`fit` writes every setting of a training into `recipe.toml` and reads it with --recipe. A manifest has the recipe as
flat text and numbers, hashes of the training tracks, and the command that repeats it.
"""

from __future__ import annotations

import base64
import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from headnod.errors import ConfigError
from headnod.escaping import printable
from headnod_train.storage import write_file
from headnod_train.training.augment import MelAugmentation
from headnod_train.training.run_folder import Recipe, RunError, TrainingSettings

FILE = "recipe.toml"
"""Its name in a run folder."""


class RecipeFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of a training."""

    settings: TrainingSettings = TrainingSettings()
    augmentation: MelAugmentation = MelAugmentation()

    n_mfcc: int = 64
    """Coefficients per frame."""


def read_recipe(path: Path) -> RecipeFile:
    """The settings of a file, with defaults for those that it lacks."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), RecipeFile)
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error
    except (ValueError, msgspec.ValidationError) as error:
        raise RunError(f"{path}: {printable(str(error))} ({FILE} of a run has all settings)") from error


def write_recipe(run: Path, recipe: RecipeFile) -> None:
    """Write the file of a run."""
    tables = {"settings": msgspec.to_builtins(recipe.settings), "augmentation": asdict(recipe.augmentation)}
    lines = ["# Settings of this run, for 'headnod-train fit --recipe'.", f"n_mfcc = {recipe.n_mfcc}"]
    for name, values in tables.items():
        # TOML has no null: a setting without a value is left out.
        lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in values.items() if value is not None)]
    write_file(run / FILE, ("\n".join(lines) + "\n").encode())


def _toml(value: Any) -> str:  # noqa: ANN401 - numbers, texts, and lists of them
    if isinstance(value, str):
        # A JSON text is a TOML text.
        return msgspec.json.encode(value).decode()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value).lower() if isinstance(value, bool) else repr(value)


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
    """A known collection by its short name, or another with its licence."""
    known = _KNOWN.get(name.lower())
    if known is not None:
        return known
    if not licence:
        raise ConfigError(f"--collection: the licence of '{name}' is not known (give it with --licence; known: gtzan)")
    return DatasetInfo(name, licence)


Plain = str | int | float | bool

TRACK_HASHES = "track_hashes"
"""Entry of a manifest's recipe: hashes of the names of the training tracks, so that figures on them can be labelled."""

_HASH_BYTES = 4
_GTZAN = re.compile(r"[a-z]+\.\d{5}")

_OF_THE_DATA = frozenset({"data", "tracks", "sides", TRACK_HASHES})
"""Settings that always differ between a run and its sibling."""

NETWORK = frozenset({"width", "other"})
"""Settings of the network, which are equal in siblings."""

_ELSEWHERE = frozenset({"labels", "front_end", "mean", "deviation", "tag_names"})
_WORDS = {
    name: f"--{name}" for name in ("epochs", "batch", "rate", "decay", "width", "start", "patience", "seed")
}  # fmt: skip


def track_hashes(names: Iterable[str], recipe: Mapping[str, Any] | None = None) -> str:
    """Hashes of names of tracks, with those of a former recipe: base64 of four bytes each."""
    hashes = {_track_hash(name) for name in names} | _stored_hashes(recipe or {})
    return base64.b64encode(b"".join(sorted(hashes))).decode("ascii")


def _stored_hashes(recipe: Mapping[str, Any]) -> set[bytes]:
    stored = base64.b64decode(str(recipe.get(TRACK_HASHES, "")))
    return {stored[start : start + _HASH_BYTES] for start in range(0, len(stored), _HASH_BYTES)}


def training_names(recipe: Mapping[str, Any], names: Iterable[str]) -> list[str] | None:
    """The names that are training tracks by the hashes in a recipe; None if it has no hashes."""
    if TRACK_HASHES not in recipe:
        return None
    hashes = _stored_hashes(recipe)
    return [name for name in names if _track_hash(name) in hashes]


def is_gtzan_name(name: str) -> bool:
    """Whether a name is that of a GTZAN track, such as `jazz.00054`, with or without folders."""
    return _GTZAN.fullmatch(name.rpartition("/")[2]) is not None


def _track_hash(name: str) -> bytes:
    # Collections keep GTZAN tracks in different folders; other names are unique with their folders only.
    identity = name.rpartition("/")[2] if is_gtzan_name(name) else name
    return hashlib.sha256(identity.encode()).digest()[:_HASH_BYTES]


def manifest_recipe(recipe: Recipe) -> dict[str, Plain]:
    """A recipe for a manifest, without parts that are elsewhere in it or were not used."""
    whole = {name: getattr(recipe, name) for name in recipe.__struct_fields__ if name not in _ELSEWHERE}
    settings = msgspec.structs.asdict(whole.pop("settings"))
    changes = {f"augmentation.{name}": value for name, value in asdict(whole.pop("augmentation")).items()}
    return {
        name: _plain(value) for name, value in {**whole, **settings, **changes}.items() if value not in {None, "", ()}
    }


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings in which two recipes differ, except those of the data; None for a missing one."""
    names = sorted({*one, *other} - _OF_THE_DATA)
    return {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}


def command(recipe: Recipe) -> str:
    """The command that repeats a recipe."""
    if recipe.prepared:
        settings = recipe.settings
        network = f"--epochs {settings.epochs} --width {settings.width} --seed {settings.seed}"
        if settings.start:
            network += f" --start {settings.start}"
        if recipe.mixtures:
            network += f" --teacher {recipe.teachers[-1]} --mixtures {recipe.mixtures}"
        return f"headnod-train student --windows WINDOWS --data {recipe.data} --tags TAGS --run RUN {network}"
    return " ".join(("headnod-train fit", "--data", recipe.data, "--run", "RUN", *_words(recipe)))


def _words(recipe: Recipe) -> Iterator[str]:
    settings, usual = recipe.settings, TrainingSettings()
    for name, word in _WORDS.items():
        value = getattr(settings, name)
        if value != getattr(usual, name) or name in {"epochs", "seed"}:
            yield f"{word} {value}"
    if settings.balance:
        yield "--balance"
    yield f"--n-mfcc {recipe.front_end.n_mfcc}"
    if settings.sides != usual.sides:
        yield f"--sides {','.join(settings.sides)}"
    if settings.fold:
        yield f"--fold {settings.fold[0]}/{settings.fold[1]}"
    if recipe.tags:
        yield f"--tags {recipe.tags}"
    if recipe.other:
        yield f"--not-music {recipe.other}"
    yield from (f"--teacher {teacher}" for teacher in recipe.teachers)


def _plain(value: object) -> Plain:
    return value if isinstance(value, str | int | float) else ", ".join(map(str, value))  # type: ignore[call-overload]
