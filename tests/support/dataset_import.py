"""Imports of a collection of tunes, as the command makes them."""

import sys

from headnod.features.frontend import FrontEnd
from headnod_train.__main__ import main
from headnod_train.dataset.archive import read_archive

ARTISTS = {"folk": ("ann", "bob", "cy", "di"), "jazz": ("ann", "eve", "flo", "guy")}
FILES = [f"{genre}/{artist}/{n}.wav" for genre, artists in ARTISTS.items() for artist in artists for n in (1, 2)]
TUNES = {name: seed for seed, name in enumerate(FILES)}
COMMAND = [sys.executable, "-m", "headnod_train", "import"]


def imported(out, *arguments):
    assert main(["import", *map(str, arguments), "--out", str(out), "--jobs", "1"]) == 0
    return read_archive(out, FrontEnd())


def refused(capsys, out, *arguments):
    assert main(["import", *map(str, arguments), "--out", str(out), "--jobs", "1"]) == 1
    assert not out.exists()
    return capsys.readouterr().err.splitlines()


def work(out):
    return {path: path.stat().st_mtime_ns for path in out.with_name(f"{out.name}.work").glob("[!.]*.npz")}
