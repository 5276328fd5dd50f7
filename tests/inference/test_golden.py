"""Golden numbers: a bundle whose answers come out otherwise here never goes live."""

import dataclasses
import io
import zipfile

import msgspec
import numpy as np
import pytest

from headnod.errors import ManifestError
from headnod.features.frontend import FrontEnd
from headnod.inference.manifest import GOLDEN, HASHED, Standardisation
from headnod.inference.model import (
    FEATURES_TOLERANCE,
    SCORES_TOLERANCE,
    GenreModel,
    check_golden,
    chirp,
    load_checked,
    write_golden,
)
from support.bundles import copied, flipped, replaced


@pytest.fixture(scope="module")
def golden(bundle):
    return (bundle / GOLDEN).read_bytes()


def arrays_of(golden):
    with np.load(io.BytesIO(golden)) as arrays:
        return dict(arrays)


def stored(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def test_the_shipped_bundle_is_proven(bundle):
    assert load_checked(bundle).manifest.id == bundle.name


def test_what_is_written_is_proven(model, rng):
    windows = rng.normal(0.0, 30.0, (3, model.front_end.frames, model.front_end.n_mfcc))
    check_golden(model, write_golden(model, windows))


def test_the_chirp_sweeps_the_hearing_range():
    front_end = FrontEnd()
    audio = chirp(front_end)
    assert audio.shape == (front_end.window_samples,)
    assert np.abs(audio).max() == pytest.approx(0.5, abs=1e-3)
    loudest = front_end.log_mel(audio).argmax(axis=1)
    assert (np.diff(loudest) >= 0).all()
    assert loudest[0] < 15
    assert loudest[-1] > 120


@pytest.mark.parametrize(("name", "tolerance"), [("chirp_features", FEATURES_TOLERANCE), ("scores", SCORES_TOLERANCE)])
def test_numbers_that_come_out_otherwise_are_refused(model, golden, name, tolerance):
    arrays = arrays_of(golden)
    arrays[name].flat[7] += 3 * tolerance
    with pytest.raises(ManifestError, match=rf"golden\.npz: {name}: this machine differs by .*do not use it"):
        check_golden(model, stored(**arrays))


@pytest.mark.parametrize("name", ["chirp_features", "features", "scores"])
def test_a_number_that_is_none_is_refused(model, golden, name):
    arrays = arrays_of(golden)
    arrays[name].flat[7] = np.nan
    with pytest.raises(ManifestError, match=rf"golden\.npz: {name}: holds a number that is not finite"):
        check_golden(model, stored(**arrays))


@pytest.mark.parametrize("name", ["chirp_features", "features", "scores"])
def test_other_shapes_are_refused(model, golden, name):
    arrays = arrays_of(golden)
    arrays[name] = arrays[name][..., :-1]
    with pytest.raises(ManifestError, match=rf"golden\.npz: {name}: shape is .*, the manifest makes it"):
        check_golden(model, stored(**arrays))


def test_a_golden_file_without_a_window_proves_nothing(model, golden):
    arrays = {name: array if name == "chirp_features" else array[:0] for name, array in arrays_of(golden).items()}
    with pytest.raises(ManifestError, match="holds no window"):
        check_golden(model, stored(**arrays))


@pytest.mark.parametrize("left_out", ["chirp_features", "features", "scores"])
def test_a_missing_array_is_refused(model, golden, left_out):
    arrays = {name: array for name, array in arrays_of(golden).items() if name != left_out}
    with pytest.raises(ManifestError, match=rf"golden\.npz: cannot be read: .*{left_out}"):
        check_golden(model, stored(**arrays))


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + b"\0" * 18, b"no zip at all"])
def test_what_is_no_golden_file_is_refused(model, content):
    with pytest.raises(ManifestError, match=r"golden\.npz: cannot be read: .*reinstall"):
        check_golden(model, content)


class Harm:
    """What does something when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_pickled_objects_are_never_unpacked(model, golden, tmp_path):
    harm = tmp_path / "harm"
    arrays = arrays_of(golden) | {"features": np.array([Harm(harm)], dtype=object)}
    with pytest.raises(ManifestError, match=r"golden\.npz: cannot be read"):
        check_golden(model, stored(**arrays))
    assert not harm.exists()


def test_a_file_that_unpacks_without_end_is_refused(model, golden):
    arrays = arrays_of(golden) | {"more": np.zeros(1 << 22)}
    assert len(stored(**arrays)) < 1 << 20
    with pytest.raises(ManifestError, match=r"golden\.npz: unpacks to \d+ bytes, \d+ are allowed"):
        check_golden(model, stored(**arrays))


def test_damage_is_refused_or_harmless_and_never_another_error(model, golden, rng):
    refused = 0
    for place in rng.integers(len(golden), size=100):
        damaged = bytearray(golden)
        damaged[place] ^= 0xFF
        try:
            check_golden(model, bytes(damaged))
        except ManifestError:
            refused += 1
    assert refused > 90


def test_a_front_end_that_drifted_is_found_by_the_chirp(model, golden, bundle):
    other = dataclasses.replace(model.front_end, range_db=55.0)
    drifted = msgspec.structs.replace(model.manifest, front_end=other)
    changed = GenreModel(drifted, (bundle / "model.tflite").read_bytes())
    with pytest.raises(ManifestError, match="chirp_features: this machine differs"):
        check_golden(changed, golden)


def test_standardisation_that_drifted_is_found_by_the_scores(model, golden, bundle):
    said = model.manifest.standardisation
    drifted = msgspec.structs.replace(
        model.manifest, standardisation=Standardisation(said.mean, tuple(1.5 * value for value in said.deviation))
    )
    with pytest.raises(ManifestError, match="scores: this machine differs"):
        check_golden(GenreModel(drifted, (bundle / "model.tflite").read_bytes()), golden)


def test_loading_with_golden_numbers_wants_their_hash_and_their_truth(bundle, tmp_path, golden):
    folder = copied(bundle, tmp_path)
    flipped(folder / GOLDEN, 100)
    assert GenreModel.load(folder)
    with pytest.raises(ManifestError, match=r"golden\.npz: sha256"):
        load_checked(folder)
    arrays = arrays_of(golden)
    replaced(folder, GOLDEN, stored(**arrays | {"scores": arrays["scores"][:, ::-1]}))
    with pytest.raises(ManifestError, match=r"golden\.npz: scores: this machine differs") as caught:
        load_checked(folder)
    assert str(caught.value).startswith(f"{folder / GOLDEN}: ")


@pytest.mark.parametrize("name", HASHED)
def test_loading_with_golden_numbers_checks_every_file(bundle, tmp_path, name):
    folder = copied(bundle, tmp_path)
    flipped(folder / name, -1)
    with pytest.raises(ManifestError, match=rf"{name}: sha256 is"):
        load_checked(folder)
    (folder / name).unlink()
    with pytest.raises(ManifestError, match=rf"{name}: there is no such file"):
        load_checked(folder)


@pytest.mark.parametrize(
    ("name", "difference", "allowed"),
    [
        ("chirp_features", 0.049, True),
        ("chirp_features", 0.051, False),
        ("scores", 0.019, True),
        ("scores", 0.021, False),
    ],
)
def test_features_may_differ_by_a_twentieth_of_a_decibel_and_scores_by_two_hundredths(model, name, difference, allowed):
    windows = np.zeros((1, model.front_end.frames, model.front_end.n_mfcc), np.float32)
    arrays = arrays_of(write_golden(model, windows))
    arrays[name].flat[7] += np.float32(difference)
    if allowed:
        check_golden(model, stored(**arrays))
    else:
        with pytest.raises(ManifestError, match=rf"{name}: this machine differs by"):
            check_golden(model, stored(**arrays))


@pytest.mark.parametrize(("size", "allowed"), [(8 << 20, True), ((8 << 20) + 1, False)])
def test_a_golden_file_unpacks_to_8_mebibytes_at_most(model, golden, size, allowed):
    file = io.BytesIO(golden)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("more", bytes(size - sum(part.file_size for part in archive.infolist())))
    if allowed:
        check_golden(model, file.getvalue())
    else:
        with pytest.raises(ManifestError, match=f"unpacks to {size} bytes, {8 << 20} are allowed"):
            check_golden(model, file.getvalue())
