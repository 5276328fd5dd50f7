"""An archive of three genres of tones, for what describes a collection."""

import pytest

from headnod_train.dataset.archive import read_archive
from support.tones import write_tones


@pytest.fixture(scope="package")
def path(tmp_path_factory):
    from headnod_train.explore.classical import FRONT_END

    return write_tones(tmp_path_factory.mktemp("tones") / "tones.npz", FRONT_END)


@pytest.fixture(scope="package")
def archive(path):
    from headnod_train.explore.classical import FRONT_END

    return read_archive(path, FRONT_END)
