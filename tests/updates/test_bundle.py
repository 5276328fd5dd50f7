"""A bundle in one piece or as a folder: what is in it comes out, and nothing else is taken."""

import os
from pathlib import Path

import pytest

from headnod.errors import BundleError
from headnod.inference.manifest import CARD, MANIFEST, MODEL, SIGNATURE
from headnod.updates.bundle import LIMITS, MAGIC, join, read, split
from support import signed_bundles


@pytest.fixture(scope="module")
def files():
    return signed_bundles.good()


@pytest.fixture
def folder(files, tmp_path):
    return signed_bundles.write(files, tmp_path / "bundle")


def refused(path):
    with pytest.raises(BundleError) as refusal:
        read(path)
    return str(refusal.value)


def test_what_is_joined_is_split_again(files):
    assert split(join(files)) == files


def test_an_unsigned_bundle_has_no_signature_afterwards():
    assert SIGNATURE not in split(join(signed_bundles.good(key=None)))


def test_a_folder_and_its_file_hold_the_same(files, folder, tmp_path):
    (tmp_path / "one").write_bytes(join(files))
    assert read(tmp_path / "one") == read(folder) == files


@pytest.mark.parametrize("cut", [0, 5, len(MAGIC), len(MAGIC) + 2, len(MAGIC) + 4, 500, -1])
def test_a_piece_that_is_cut_off_is_refused(files, cut):
    with pytest.raises(BundleError):
        split(join(files)[:cut])


def test_what_stands_after_the_end_is_refused(files):
    with pytest.raises(BundleError, match="1 bytes follow its end"):
        split(join(files) + b"\0")


def test_a_length_over_the_limit_is_refused_before_anything_is_read():
    with pytest.raises(BundleError, match=r"manifest.json: has 4294967295 bytes, 1048576 are allowed"):
        split(MAGIC + b"\xff\xff\xff\xff")


@pytest.mark.parametrize("name", ["../evil", "model.tflite.bak", ".hidden"])
def test_a_file_that_no_bundle_has_is_refused(folder, name):
    (folder / name.replace("/", "_")).write_bytes(b"")
    assert "is not a file of a bundle" in refused(folder)


def test_a_missing_file_is_named(folder):
    (folder / CARD).unlink()
    assert "CARD.md is missing" in refused(folder)


def test_a_link_in_a_bundle_is_refused(folder, tmp_path):
    (folder / MODEL).rename(tmp_path / "elsewhere")
    (folder / MODEL).symlink_to(tmp_path / "elsewhere")
    assert "model.tflite: is a link" in refused(folder)


def test_a_pipe_in_a_bundle_is_refused_and_not_waited_for(folder):
    (folder / MODEL).unlink()
    os.mkfifo(folder / MODEL)
    assert "is not a regular file" in refused(folder)


def test_a_device_is_no_bundle():
    assert "is not a regular file" in refused(Path("/dev/zero"))


def test_a_file_of_a_gigabyte_is_refused_after_what_it_may_have(folder):
    with (folder / MODEL).open("wb") as file:
        file.truncate(1 << 30)
    assert f"is larger than {LIMITS[MODEL]} bytes" in refused(folder)


def test_a_bundle_that_is_not_there_is_named(tmp_path):
    assert "nowhere: no such file or directory" in refused(tmp_path / "nowhere")


def test_no_name_comes_out_of_a_piece_but_those_that_are_known(files):
    renamed = join(files).replace(b"model", b"../mo")
    assert split(renamed).keys() == files.keys()
    assert MANIFEST in files
