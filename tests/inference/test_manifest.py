"""The manifest is read strictly: what does not fit is refused by file and field."""

import json
import os
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnod.errors import ManifestError
from headnod.inference.manifest import (
    CARD,
    GOLDEN,
    HASHED,
    MANIFEST,
    MODEL,
    Manifest,
    manifest_bytes,
    read_checked,
    read_manifest,
    read_part,
)
from headnod.testing import fixed_manifest
from support.bundles import edited, flipped, put, replaced

FIELDS = tuple(field.name for field in msgspec.structs.fields(Manifest))


@pytest.fixture
def folder(tmp_path):
    """A bundle that keeps its promises, as far as anybody looks without a runtime."""
    (tmp_path / MANIFEST).write_bytes(msgspec.json.encode(fixed_manifest()))
    for name in HASHED:
        replaced(tmp_path, name, name.encode() * 200)
    return tmp_path


def refusal(folder):
    with pytest.raises(ManifestError) as caught:
        read_manifest(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder / MANIFEST}: ")
    assert len(message.splitlines()) == 1
    assert message.endswith(")"), "the way out"
    return message.removeprefix(f"{folder / MANIFEST}: ")


def test_the_shipped_manifest_is_read(bundle):
    manifest = read_manifest(bundle)
    assert manifest.id == bundle.name
    assert manifest.input.shape == (1, manifest.front_end.frames, manifest.front_end.n_mfcc)
    assert list(manifest.labels) == sorted(manifest.labels)


def test_what_is_written_is_read_as_it_was(tmp_path):
    manifest = fixed_manifest()
    (tmp_path / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    assert read_manifest(tmp_path) == manifest


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (put(3, "format"), "format: is 3, this headnod reads 1 and 2 (upgrade headnod or repack the model)"),
        (put(0, "format"), "format: is 0, this headnod reads 1"),
        (put(10**30, "format"), "format: is 1"),
        (put("1", "format"), "Expected `int`, got `str` - at `$.format`"),
        (put(True, "format"), "Expected `int`, got `bool` - at `$.format`"),
        (put("../genre", "name"), "at `$.name`"),
        (put("Genre", "name"), "at `$.name`"),
        (put("genre\n", "name"), "at `$.name`"),
        (put("1.0", "version"), "at `$.version`"),
        (put("1.0.0\n", "version"), "at `$.version`"),
        (put({}, "sha256"), "sha256: names nothing, not model.tflite, golden.npz, CARD.md"),
        (put("0" * 64, "sha256", "../../etc/passwd"), "sha256: names ../../etc/passwd, CARD.md"),
        (put("0" * 63, "sha256", MODEL), "at `$.sha256[...]`"),
        (put("F" * 64, "sha256", MODEL), "at `$.sha256[...]`"),
        (put([], "labels"), "labels: there must be two or more"),
        (put(["jazz"], "labels"), "labels: there must be two or more"),
        (put("jazz", "labels", 1), "labels: contain a duplicate"),
        (put("silence", "labels", 1), "labels: 'silence' is reserved"),
        (put("Unknown", "labels", 1), "labels: 'Unknown' is reserved"),
        (put("", "labels", 1), "labels: '' is empty"),
        (put(7, "labels", 1), "at `$.labels[1]`"),
        (put("jazz\x1b[2J", "labels", 1), r"labels: 'jazz\x1b[2J' holds U+001B, which cannot be printed"),
        (put("b" * 100_000, "labels", 1), f"labels: '{'b' * 64}' has 100000 characters"),
        (put(["a", "b", "c"], "labels"), "output.shape: is (1, 2), 3 labels need (1, 3)"),
        (put("1024", "front_end", "n_fft"), "at `$.front_end.n_fft`"),
        (put(0, "front_end", "hop"), "hop is 0, it must lie between 1 and 1024 - at `$.front_end`"),
        (put(13.5, "front_end", "n_mfcc"), "at `$.front_end.n_mfcc`"),
        (put(None, "front_end"), "at `$.front_end`"),
        (put([], "front_end"), "at `$.front_end`"),
        (put([0.0], "standardisation", "mean"), "standardisation: has 1 means and 8 deviations for 8 coefficients"),
        (put(0.0, "standardisation", "deviation", 5), "standardisation: holds a deviation that is not positive"),
        (put(-1.0, "standardisation", "deviation", 5), "standardisation: holds a deviation that is not positive"),
        (put(None, "standardisation", "mean", 5), "at `$.standardisation.mean[5]`"),
        (put([1, 13, 8], "input", "shape"), "input.shape: is (1, 13, 8), the front end makes (1, 10, 8)"),
        (put("uint8", "input", "type"), "at `$.input.type`"),
        (put([2], "output", "shape"), "output.shape: is (2,), 2 labels need (1, 2)"),
        (put("int16", "output", "type"), "at `$.output.type`"),
        (put(0, "temperature"), "at `$.temperature`"),
        (put(-1.0, "temperature"), "at `$.temperature`"),
        (put(1.5, "rejection", "certainty"), "at `$.rejection.certainty`"),
        (put("yes", "rejection"), "at `$.rejection`"),
        (put([], "training", "recipe"), "at `$.training.recipe`"),
        (put(3, "toolchain", "numpy"), "at `$.toolchain[...]`"),
        (put(1.0, "temprature"), "Object contains unknown field `temprature`"),
        (put(38, "front_end", "frame"), "front_end: unknown key 'frame'"),
        (put(0.5, "rejection", "certanty"), "unknown field `certanty` - at `$.rejection`"),
    ],
)
def test_a_field_that_does_not_fit_is_named(folder, change, complaint):
    assert complaint in refusal(edited(folder, change))


@pytest.mark.parametrize("field", [field.name for field in msgspec.structs.fields(Manifest) if field.required])
def test_a_missing_key_is_named(folder, field):
    assert f"`{field}`" in refusal(edited(folder, lambda content: content.pop(field)))


@pytest.mark.parametrize("field", json.loads(manifest_bytes(fixed_manifest()))["front_end"])
def test_a_missing_key_of_the_front_end_is_named(folder, field):
    change = lambda content: content["front_end"].pop(field)  # noqa: E731 - shorter than its name
    assert f"front_end: '{field}' is missing" in refusal(edited(folder, change))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b'"manifest"',
        b"3",
        b"{",
        b"{}",
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'{"format": "\xe9"}',
        b'{"format": 1e999}',
        b'{"format": NaN}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"measured":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"format": ' + b"9" * 900 + b"}",
        b'{"name": "\\ud800"}',
        b"# a card\n",
    ],
    ids=lambda content: repr(content[:20]),
)
def test_what_is_no_manifest_is_refused(folder, content):
    (folder / MANIFEST).write_bytes(content)
    refusal(folder)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("field", ["temperature", "mean", "deviation"])
def test_a_number_that_is_none_is_refused(folder, field, value):
    text = (folder / MANIFEST).read_text()
    marked = json.loads(text)
    if field == "temperature":
        marked["temperature"] = "HERE"
    else:
        marked["standardisation"][field][0] = "HERE"
    (folder / MANIFEST).write_text(json.dumps(marked).replace('"HERE"', value))
    refusal(folder)


@given(data=st.data())
def test_no_damage_to_a_manifest_escapes_as_another_error(bundle, tmp_path_factory, data):
    whole = (bundle / MANIFEST).read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    length = data.draw(st.integers(0, 20))
    folder = tmp_path_factory.mktemp("damaged")
    (folder / MANIFEST).write_bytes(whole[:place] + data.draw(st.binary(max_size=20)) + whole[place + length :])
    try:
        read_manifest(folder)
    except ManifestError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - most examples raise, some need not


@pytest.mark.parametrize("name", [MANIFEST, *HASHED])
def test_an_absent_file_is_named_with_those_of_a_bundle(folder, name):
    manifest = read_manifest(folder)
    (folder / name).unlink()
    with pytest.raises(ManifestError, match=rf"{name}: there is no such file \(a bundle is a folder with ") as caught:
        read_manifest(folder) if name == MANIFEST else read_checked(folder, name, manifest)
    assert str(folder / name) in str(caught.value)


def test_what_is_no_plain_file_is_not_read(folder):
    manifest = read_manifest(folder)
    (folder / MODEL).unlink()
    (folder / MODEL).mkdir()
    (folder / GOLDEN).unlink()
    os.mkfifo(folder / GOLDEN)
    (folder / CARD).unlink()
    (folder / CARD).symlink_to(folder / CARD)
    for name in HASHED:
        with pytest.raises(ManifestError, match=name):
            read_checked(folder, name, manifest)


@pytest.mark.parametrize("name", [MANIFEST, *HASHED])
def test_a_file_of_any_size_costs_no_more_than_it_may(folder, name):
    manifest = read_manifest(folder)
    with (folder / name).open("r+b") as file:
        file.truncate(256 << 20)
    tracemalloc.start()
    with pytest.raises(ManifestError, match=rf"{name}: is larger than \d+ bytes \(this is no headnod bundle\)"):
        read_manifest(folder) if name == MANIFEST else read_checked(folder, name, manifest)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 64 << 20


@pytest.mark.parametrize("place", [0, 1000, -1])
@pytest.mark.parametrize("name", HASHED)
def test_one_changed_byte_is_seen(folder, name, place):
    manifest = read_manifest(folder)
    assert read_checked(folder, name, manifest)
    flipped(folder / name, place)
    with pytest.raises(ManifestError, match=rf"{name}: sha256 is \w{{12}}…, the manifest says \w{{12}}… \(.*reinstall"):
        read_checked(folder, name, manifest)


@pytest.mark.parametrize(
    ("name", "limit"), [(MODEL, 16 << 20), (GOLDEN, 1 << 20), (CARD, 1 << 20), (MANIFEST, 1 << 20)]
)
def test_a_file_may_be_as_large_as_its_limit(folder, name, limit):
    with (folder / name).open("r+b") as file:
        file.truncate(limit)
    assert len(read_part(folder, name)) == limit
    with (folder / name).open("r+b") as file:
        file.truncate(limit + 1)
    with pytest.raises(ManifestError, match=f"{name}: is larger than {limit} bytes"):
        read_part(folder, name)


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        (put(9.9e29, "temperature"), True),
        (put(1e30, "temperature"), False),
        (put(-9.9e29, "standardisation", "mean", 5), True),
        (put(-1e30, "standardisation", "mean", 5), False),
        (put(1.1e-30, "standardisation", "deviation", 5), True),
        (put(1.0 / 1e30, "standardisation", "deviation", 5), False),
        (put(0.0, "rejection", "certainty"), True),
        (put(1.0, "rejection", "certainty"), True),
        (put("a" * 32, "name"), True),
        (put("a" * 33, "name"), False),
        (put("9999.9999.9999", "version"), True),
        (put("10000.0.0", "version"), False),
        (put(1 << 53, "serial"), True),
        (put((1 << 53) + 1, "serial"), False),
        (put(-1, "serial"), False),
        (put(1 << 53, "supersedes"), True),
        (put((1 << 53) + 1, "supersedes"), False),
        (put(-1, "supersedes"), False),
        (put({"entropy_low": 0.0, "entropy_high": 1.0}, "health"), True),
        (put({"entropy_low": -0.1, "entropy_high": 1.0}, "health"), False),
        (put({"entropy_low": 0.0, "entropy_high": 1.1}, "health"), False),
    ],
)
def test_numbers_are_accepted_up_to_their_limits(folder, change, valid):
    edited(folder, change)
    if valid:
        read_manifest(folder)
    else:
        refusal(folder)
