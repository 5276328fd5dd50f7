"""The two halves joined: what training writes, the device reads and answers alike."""

import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from headnod.features.frontend import FrontEnd
from headnod.inference.manifest import CARD
from headnod.inference.model import GenreModel, chirp, load_checked
from headnod_train.dataset.archive import ArchiveError, read_archive, window_features
from headnod_train.deploy.pack import PackError, pack
from headnod_train.evaluation.evaluate import evaluate
from headnod_train.training import run_folder
from headnod_train.training.augment import MelAugmentation
from headnod_train.training.provenance import DatasetInfo
from headnod_train.training.run_folder import Quantised, Recipe, RunError, TrainingSettings, draft, runnable
from support.command_line import PATIENCE
from support.tones import GENRES, write_tones

pytest.importorskip("tensorflow", reason="training needs tensorflow: scripts/setup train")
from headnod_train.backend import keras
from headnod_train.training.fit import fit
from headnod_train.training.quantise import quantise

# Keras 3.15 under numpy 2.4, while it saves a network.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FRONT_END = FrontEnd(n_mfcc=20)
QUIET = Console(quiet=True)
TONES = DatasetInfo("tones", "Made by a formula: nobody's.")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("tones") / "tones.npz", FRONT_END)


@pytest.fixture(scope="module")
def run(tmp_path_factory, archive):
    run = tmp_path_factory.mktemp("run")
    fit(
        archive, run, TrainingSettings(epochs=6, batch=4, width=8),
        front_end=FRONT_END, augmentation=MelAugmentation(), console=QUIET,
    )  # fmt: skip
    quantise(run, archive, console=QUIET)
    return run


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, run, archive):
    folder, _ = packed(run, archive, tmp_path_factory.mktemp("models"))
    return folder


def packed(run, archive, models, **others):
    return pack(run, archive, models, name="tones", version="1.0.0", collection=TONES, console=QUIET, **others)


def test_the_device_loads_the_bundle_and_proves_its_golden_numbers(bundle):
    model = load_checked(bundle)
    assert model.labels == GENRES
    assert model.front_end == FRONT_END
    assert model.manifest.id == bundle.name == "tones-1.0.0"
    assert model.manifest.training.licence == "Made by a formula: nobody's."


def test_the_device_gives_the_scores_that_training_gave(bundle, run, archive):
    recipe = run_folder.load(run, run_folder.RECIPE, Recipe)
    features, _ = window_features(read_archive(archive, FRONT_END).subset("valid"), FRONT_END)
    network = keras.models.load_model(run / run_folder.WEIGHTS, compile=False)
    standard = (features - np.array(recipe.mean, np.float32)) / np.array(recipe.deviation, np.float32)
    trained = network.predict(standard, verbose=0)
    exact = runnable(run, run_folder.FLOAT, draft(recipe, "float32"))
    assert np.allclose([exact.logits(window) for window in features], trained, atol=1e-3)
    device = GenreModel.load(bundle)
    answers = np.array([device.logits(window) for window in features])
    # Against how far windows differ, or a network that hears nothing would pass.
    off = np.abs(answers - trained).mean() / trained.std(axis=0).mean()
    assert off < 0.2


def test_what_the_bundle_says_of_itself_is_what_it_measures(bundle, archive):
    model = GenreModel.load(bundle)
    again = evaluate(model, read_archive(archive, FRONT_END), data="tones.npz", split="valid", console=QUIET)
    said = model.manifest.measured
    for name in ("windows", "tracks"):
        assert said[name]["accuracy"] == getattr(again, name).accuracy
    assert said["calibration"]["ece"] == again.calibration.ece
    assert f"{again.tracks.accuracy:.1%}" in (bundle / CARD).read_text()


def test_the_int8_file_runs_as_one_partition_of_the_delegate(bundle):
    library = pytest.importorskip("ai_edge_litert.interpreter", reason="only LiteRT tells its partitions")
    interpreter = library.Interpreter(model_path=str(bundle / "model.tflite"), num_threads=1)
    interpreter.allocate_tensors()
    steps = interpreter._get_ops_details()  # noqa: SLF001 - the runtime tells it nowhere else
    delegates = [step for step in steps if step["op_name"] == "DELEGATE"]
    assert len(delegates) == 1
    assert delegates[0]["outputs"].tolist() == [interpreter.get_output_details()[0]["index"]]
    assert interpreter.get_input_details()[0]["index"] in delegates[0]["inputs"]


def test_the_same_bundle_measured_from_the_command_line_needs_no_tensorflow(bundle, archive, tmp_path):
    program = (
        "import sys; from headnod_train.__main__ import main; status = main(sys.argv[1:]); "
        "sys.exit(', '.join({'tensorflow', 'keras'} & set(sys.modules)) or status)"
    )
    arguments = (
        "evaluate",
        bundle,
        "--data",
        archive,
        "--json",
        tmp_path / "found.json",
        "--report",
        tmp_path / "report",
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "whole tracks" in ended.stdout
    found = (tmp_path / "found.json").read_bytes()
    assert (tmp_path / "report" / "evaluation.json").read_bytes() == found
    assert "whole tracks" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_nothing_of_the_collection_is_in_the_bundle(bundle, archive):
    with np.load(bundle / "golden.npz") as golden:
        windows, heard = golden["features"], golden["chirp_features"]
    features, _ = window_features(read_archive(archive, FRONT_END), FRONT_END)
    nearest = min(np.abs(window - feature).mean() for window in windows for feature in features)
    assert nearest > 1.0
    assert np.allclose(heard, FRONT_END.mfcc(chirp(FRONT_END)), atol=1e-3)


def test_a_bundle_is_not_overwritten_unless_asked(bundle, run, archive):
    before = (bundle / "manifest.json").read_bytes()
    with pytest.raises(PackError, match=r"tones-1\.0\.0: exists already .*--replace"):
        packed(run, archive, bundle.parent)
    assert (bundle / "manifest.json").read_bytes() == before
    packed(run, archive, bundle.parent, replace=True)
    assert load_checked(bundle).labels == GENRES
    assert [path.name for path in bundle.parent.iterdir()] == [bundle.name]


def test_a_bundle_that_does_not_load_never_gets_its_name(run, archive, tmp_path):
    broken = tmp_path / "run"
    broken.mkdir()
    for path in run.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    quantised = run_folder.load(run, run_folder.QUANTISED, Quantised)
    (broken / run_folder.QUANTISED).write_text(
        (run / run_folder.QUANTISED).read_text().replace(f'"certainty": {quantised.certainty}', '"certainty": 7.0')
    )
    models = tmp_path / "models"
    with pytest.raises(ValueError, match="certainty"):
        packed(broken, archive, models)
    assert not models.exists() or not list(models.iterdir())


def test_quantising_wants_the_archive_of_the_run(run, tmp_path):
    from support.tones import tone_arrays

    arrays = tone_arrays(FRONT_END, train=2, valid=1)
    np.savez_compressed(tmp_path / "other.npz", **arrays)
    with pytest.raises(ArchiveError, match="has 9 of the 12 training tracks of the run"):
        quantise(run, tmp_path / "other.npz", console=QUIET)


def test_damaged_weights_are_named(run, archive, tmp_path):
    for name in (run_folder.RECIPE, run_folder.TRACKS):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    with pytest.raises(RunError, match=r"weights\.keras: there is no such file .*headnod-train fit"):
        quantise(tmp_path, archive, console=QUIET)
    (tmp_path / run_folder.WEIGHTS).write_bytes(b"no network")
    with pytest.raises(RunError, match=r"weights\.keras: .*headnod-train fit"):
        quantise(tmp_path, archive, console=QUIET)
