"""What comes with headnod is found by its name, in a checkout and where it is installed."""

import shutil

import pytest

from headnod.errors import ConfigError
from headnod.resources import demo_clip, find_model, shipped


def test_a_name_finds_the_shipped_model_with_its_version_and_without(bundle):
    assert find_model("genre").name == "genre-2.2.0"
    assert find_model(bundle.name) == bundle
    assert bundle.parent == shipped("models")


def test_a_folder_with_a_manifest_is_a_model(bundle, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(bundle, folder)
    assert find_model(str(folder)) == folder


@pytest.mark.parametrize("wanted", ["gener", "genre-9.9.9", "", "../genre", "/", "genre-0"])
def test_a_model_that_is_not_there_is_reported_with_those_that_are(bundle, wanted):
    with pytest.raises(ConfigError) as caught:
        find_model(wanted)
    assert f"there is no model '{wanted}' (shipped are " in str(caught.value)
    assert bundle.name in str(caught.value)


def test_a_folder_without_a_manifest_is_no_model(tmp_path):
    with pytest.raises(ConfigError, match=r"or name a folder with a manifest\.json"):
        find_model(str(tmp_path))


def test_the_demo_clip_is_half_a_minute_of_music_with_its_licence():
    assert demo_clip().is_file()
    text = (shipped("demo") / "SOURCE.md").read_text()
    assert demo_clip().name in text
    assert "Permission is hereby granted" in text


def test_what_did_not_come_along_is_reported():
    with pytest.raises(ConfigError, match=r"this installation has no folder 'nonsense' \(install headnod again\)"):
        shipped("nonsense")


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [("my.tflite", b"\x1c\0\0\0TFL3", "a bare TFLite network"), ("my.h5", b"\x89HDF", "a file")],
)
def test_a_network_from_elsewhere_is_explained(tmp_path, name, content, what):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{name}: is {what}, not a bundle of headnod .*headnod-train"):
        find_model(str(tmp_path / name))


@pytest.mark.parametrize("name", ["model.tflite", "labels.txt"])
def test_a_folder_from_elsewhere_is_explained(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ConfigError, match=r"is a folder without a manifest\.json, not a bundle of headnod"):
        find_model(str(tmp_path))
