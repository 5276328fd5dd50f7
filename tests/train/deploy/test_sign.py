"""Signing: one file that listeners trust, made again only when something changed."""

import json

import pytest

from headnod.errors import BundleError, ManifestError
from headnod.features.frontend import FrontEnd
from headnod.inference.manifest import MANIFEST, SIGNATURE, Health
from headnod.updates.bundle import read, verify
from headnod_train.__main__ import main
from headnod_train.deploy.signing import generate, opened, sign
from headnod_train.evaluation.calibration import bounds
from support import signed_bundles
from support.signed_bundles import KEY, STRANGER, good, public
from support.tones import GENRES, write_tones

NOON = 1_800_000_000


@pytest.fixture
def folder(tmp_path):
    return signed_bundles.write(good("1.2.3", serial=0, key=None), tmp_path / "fixed-1.2.3")


def test_the_file_has_everything_of_the_folder_a_serial_and_a_signature(folder):
    before = read(folder)
    signed = sign(folder, KEY, now=lambda: NOON)
    after = read(signed.path)
    assert signed.path == folder.with_name("fixed-1.2.3.bundle")
    verify(after[MANIFEST], after[SIGNATURE], [public()])
    assert json.loads(after[MANIFEST])["serial"] == signed.manifest.serial == NOON
    assert {**after, MANIFEST: b"", SIGNATURE: b""} == {**before, MANIFEST: b"", SIGNATURE: b""}
    assert read(folder) == before, "the folder stays as it is"


def test_signing_again_gives_the_same_file(folder):
    first = sign(folder, KEY, now=lambda: NOON)
    assert sign(folder, KEY, now=lambda: NOON + 60) == first


def test_anew_it_has_a_greater_serial_also_when_the_clock_stands_still(folder):
    sign(folder, KEY, now=lambda: NOON)
    assert sign(folder, KEY, anew=True, now=lambda: NOON).manifest.serial == NOON + 1
    assert sign(folder, KEY, anew=True, now=lambda: 0).manifest.serial == NOON + 2


def test_a_serial_that_a_wrong_clock_made_is_superseded_by_a_smaller_one(folder):
    void = sign(folder, KEY, now=lambda: 2 * NOON).manifest.serial
    signed = sign(folder, KEY, supersede=void, now=lambda: NOON).manifest
    assert (signed.serial, signed.supersedes) == (NOON, void)
    later = sign(folder, KEY, anew=True, now=lambda: NOON + 5).manifest
    assert (later.serial, later.supersedes) == (NOON + 5, 0)


@pytest.mark.parametrize(("serial", "fits"), [(NOON, False), (NOON + 1, True)])
def test_only_a_serial_of_the_future_can_be_superseded(folder, serial, fits):
    if fits:
        assert sign(folder, KEY, supersede=serial, now=lambda: NOON).manifest.serial == NOON
    else:
        with pytest.raises(BundleError, match="is not greater than the new serial"):
            sign(folder, KEY, supersede=serial, now=lambda: NOON)


def test_a_bundle_that_supersedes_nothing_can_be_read_by_an_older_headnod(folder):
    assert b"supersedes" not in read(sign(folder, KEY, now=lambda: NOON).path)[MANIFEST]


def test_what_was_measured_of_its_answers_stays_with_it(folder):
    sign(folder, KEY, now=lambda: NOON)
    measured = sign(folder, KEY, health=lambda _: Health(0.1, 0.9), now=lambda: NOON)
    assert measured.manifest.health == Health(0.1, 0.9)
    assert sign(folder, KEY, now=lambda: NOON + 9) == measured
    assert sign(folder, KEY, anew=True, now=lambda: NOON + 9).manifest.health == Health(0.1, 0.9)


def test_the_bounds_of_health_leave_room_on_either_side():
    assert bounds([0.2, 0.4, 0.8]) == Health(0.05, 0.95)
    assert bounds([0.0, 1.0]) == Health(0.0, 1.0)


def test_health_is_measured_on_an_archive(tmp_path, monkeypatch, capsys):
    archive = write_tones(tmp_path / "tones.npz", FrontEnd())
    monkeypatch.chdir(tmp_path)
    generate(tmp_path / "key", None)
    bundle = good("1.0.0", serial=0, key=None, labels=GENRES, front_end=FrontEnd())
    folder = signed_bundles.write(bundle, tmp_path / "fixed-1.0.0")
    assert main(["sign", str(folder), "--key", "key", "--data", str(archive)]) == 0, capsys.readouterr().err
    health = opened(tmp_path / "fixed-1.0.0.bundle").manifest.health
    assert 0.0 <= health.entropy_low < health.entropy_high <= 1.0
    assert health != Health(0.0, 1.0)


def test_what_has_changed_is_signed_again(folder):
    first = sign(folder, KEY, now=lambda: NOON)
    for name, content in good("1.2.3", serial=0, key=None, seed=4).items():
        (folder / name).write_bytes(content)
    assert sign(folder, KEY, now=lambda: NOON).digest != first.digest


def test_what_does_not_answer_as_it_was_measured_is_not_signed(folder):
    (folder / "model.tflite").write_bytes(good(seed=5)["model.tflite"])
    with pytest.raises(ManifestError):
        sign(folder, KEY)
    assert not folder.with_name("fixed-1.2.3.bundle").exists()


def test_what_no_bundle_has_is_not_signed(folder):
    (folder / "notes.txt").write_text("")
    with pytest.raises(BundleError, match=r"notes\.txt"):
        sign(folder, KEY)


def test_a_file_of_somebody_else_is_not_replaced(folder):
    sign(folder, STRANGER)
    with pytest.raises(BundleError, match="was signed by another key"):
        sign(folder, KEY)


def test_a_file_without_signature_is_not_deployed(tmp_path):
    (tmp_path / "plain.bundle").write_bytes(signed_bundles.sent(key=None))
    with pytest.raises(BundleError, match="is not signed"):
        opened(tmp_path / "plain.bundle")
