"""A bundle says what was measured, of which network, and nothing else."""

import json

import msgspec
import numpy as np
import pytest
from rich.console import Console

from headnod.inference.manifest import CARD, MANIFEST
from headnod.inference.model import GenreModel
from headnod_train.__main__ import main
from headnod_train.dataset.archive import read_archive
from headnod_train.deploy.model_card import write_card
from headnod_train.deploy.pack import PackError, pack
from headnod_train.evaluation.conditions import CONDITIONS
from headnod_train.evaluation.evaluate import SoundFolders, evaluate
from headnod_train.evaluation.results import load
from headnod_train.storage import write_json
from headnod_train.training import run_folder
from headnod_train.training.provenance import DatasetInfo
from headnod_train.training.run_folder import Quantised, Recipe
from support.tones import FRONT_END, SINGLE, tone_arrays, write_run, write_tones

QUIET = Console(quiet=True)
TONES = DatasetInfo("tones", "Made by a formula: nobody's.")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("tones") / "tones.npz", FRONT_END)


@pytest.fixture(scope="module")
def run(tmp_path_factory, archive):
    return write_run(tmp_path_factory.mktemp("run"), archive)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, archive):
    """A run that learned from both sides."""
    return write_run(tmp_path_factory.mktemp("whole"), archive, sides=("train", "valid"))


def packed(run, archive, models, **others):
    return pack(run, archive, models, name="tones", version="1.0.0", collection=TONES, console=QUIET, **others)


@pytest.fixture(scope="module")
def measured(run, archive, tmp_path_factory):
    """A bundle with everything measured, and what was."""
    return packed(
        run, archive, tmp_path_factory.mktemp("models"), conditions=CONDITIONS[:2], sounds=SoundFolders(seconds=7)
    )


@pytest.fixture(scope="module")
def sibling(measured, archive):
    """What `evaluate --json` finds of it."""
    model = GenreModel.load(measured[0])
    return evaluate(
        model,
        read_archive(archive, FRONT_END),
        data="tones.npz",
        split="valid",
        console=QUIET,
        conditions=CONDITIONS[:2],
    )


def test_the_card_shows_the_figures_of_the_evaluation(measured):
    folder, found = measured
    card = (folder / CARD).read_text()
    for share in (found.windows, found.tracks, found.stream.after_12s, found.degraded.tracks):
        assert f"| {share.accuracy:.1%} | {share.ci95[0]:.1%} to {share.ci95[1]:.1%} |" in card
    for condition in found.degraded.conditions:
        assert f"| {condition.name} | {condition.windows.accuracy:.1%} | {condition.loss_points.windows:.1f} |" in card
    assert f"Mean loss: {found.degraded.mean_loss_points.windows:.1f} points of windows" in card
    assert f"expected calibration error: {found.calibration.ece:.3f} of the stream" in card
    assert f"{found.not_music.named:.1%} of windows get a genre" in card
    assert "spurious changes" in card
    assert "int8 loses" in card
    assert "headnod-train fit --data tones.npz --run RUN --epochs 1 --seed 1 --n-mfcc 20" in card
    assert "LEAKY" not in card
    assert "not of this file" not in card


def test_what_was_not_measured_is_not_claimed(run, archive, tmp_path):
    folder, _ = packed(run, archive, tmp_path)
    card = (folder / CARD).read_text()
    assert "## Under acoustic conditions" not in card
    assert "The loss through rooms, loudspeakers and microphones was not measured" in card
    assert "The share of speech and noise that gets a genre was not measured" in card


def test_the_manifest_carries_the_figures_and_no_curve(measured):
    folder, found = measured
    said = GenreModel.load(folder).manifest.measured
    assert said["tracks"]["accuracy"] == found.tracks.accuracy
    assert said["degraded"]["conditions"][1]["loss_points"]["tracks"] == found.degraded.conditions[1].loss_points.tracks
    assert said["of_sibling"] is False
    assert not {"curve", "moments", "recipe"} & set(json.dumps(said).replace('"', " ").split())
    assert len((folder / MANIFEST).read_bytes()) < 64_000


def test_both_calibrations_are_in_the_manifest(measured):
    manifest = GenreModel.load(measured[0]).manifest
    assert (manifest.temperature, manifest.rejection.threshold, manifest.single) == (2.0, 0.4, SINGLE)


def test_a_bundle_is_taken_at_its_word_about_its_float_network(measured, sibling):
    assert measured[1].float_agreement_of == "measured here"
    assert sibling.float_agreement == measured[1].float_agreement
    assert sibling.degraded.float_agreement == measured[1].degraded.float_agreement
    assert "from the manifest of tones-1.0.0" in sibling.float_agreement_of


def test_a_run_is_not_measured_on_what_it_learned_from(whole_run, archive, tmp_path):
    with pytest.raises(PackError, match=r"was trained on 6 tracks of the valid split, such as high\.4.*--measured"):
        packed(whole_run, archive, tmp_path)
    assert not list(tmp_path.iterdir())


def test_figures_of_a_sibling_are_called_so(whole_run, archive, sibling, tmp_path):
    folder, found = packed(whole_run, archive, tmp_path, sibling=sibling)
    assert found == sibling
    manifest, card = GenreModel.load(folder).manifest, (folder / CARD).read_text()
    assert manifest.measured["of_sibling"] is True
    assert manifest.measured["sha256"] == sibling.sha256 != manifest.sha256["model.tflite"]
    assert "These figures are not of this file" in card
    assert "trained on all 18 tracks" in card
    assert "trained on 12 tracks without the" in card
    assert "Its recipe is the same. Temperature" in card
    assert "--sides train,valid" in card
    assert "--measured SIBLING.json" in card


def test_where_a_siblings_recipe_differs_the_card_says_so(whole_run, archive, sibling, tmp_path):
    other = msgspec.structs.replace(sibling, recipe={**sibling.recipe, "epochs": 7, "tags": "tags.npz"})
    folder, _ = packed(whole_run, archive, tmp_path, sibling=other)
    assert "Its recipe is the same except epochs 7, here 1; tags tags.npz, here none." in (folder / CARD).read_text()


def of_other_genres(said):
    return msgspec.structs.replace(said, confusion=msgspec.structs.replace(said.confusion, labels=("a", "b", "c")))


def of_another_network(said):
    return msgspec.structs.replace(said, recipe={**said.recipe, "width": 99})


def of_what_it_learned(said):
    return msgspec.structs.replace(said, recipe={**said.recipe, "sides": "valid"})


def of_another_temperature(said):
    return msgspec.structs.replace(said, temperature=3.0)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (of_another_network, "its 'width' is 99, the run's 24"),
        (of_what_it_learned, "was trained on the valid split"),
        (of_another_temperature, r"temperature 3 .* the run 2 .*--sibling"),
        (of_other_genres, "names other genres"),
    ],
)
def test_a_stranger_is_no_sibling(whole_run, archive, sibling, tmp_path, change, complaint):
    with pytest.raises(PackError, match=complaint):
        packed(whole_run, archive, tmp_path, sibling=change(sibling))
    assert not list(tmp_path.iterdir())


def test_a_bundle_is_not_measured_on_what_it_learned_from_unless_that_is_marked(measured, archive, tmp_path, capsys):
    command = ["evaluate", str(measured[0]), "--data", str(archive), "--split", "train"]
    assert main(command) == 1
    refusal = capsys.readouterr().err
    assert (
        "tones-1.0.0 was trained on the splits train of tones.npz, so it cannot be evaluated on split train" in refusal
    )
    figures, page = tmp_path / "figures.json", tmp_path / "page"
    assert main([*command, "--leaky", "--json", str(figures), "--report", str(page)]) == 0
    assert "LEAKY: the model was trained on these tracks" in capsys.readouterr().out
    assert (load(figures).leaky, load(figures).learned) == (True, True)
    assert "LEAKY: the model was trained on these tracks" in (page / "index.html").read_text("utf-8")


def test_a_bundle_is_not_compared_with_one_that_learned_from_the_tracks(measured, whole_run, archive, tmp_path, capsys):
    quantised = packed(whole_run, archive, tmp_path, sibling=msgspec.structs.replace(measured[1], leaky=False))[0]
    command = ["evaluate", str(measured[0]), "--data", str(archive), "--against", str(quantised)]
    assert main(command) == 1
    assert "was trained on the splits train, valid of tones.npz" in capsys.readouterr().err
    assert main([*command, "--leaky"]) == 0
    assert "LEAKY" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("label", "shown"), [("R|B", r"R\|B"), ("a_b*c", r"a\_b\*c"), ("<b>", r"\<b\>"), ("$x$", r"\$x\$")]
)
def test_a_label_is_no_markup_on_the_card(measured, run, label, shown):
    evaluation = measured[1]
    labels = (label, *evaluation.confusion.labels[1:])
    manifest = msgspec.structs.replace(GenreModel.load(measured[0]).manifest, labels=labels)
    confusion = msgspec.structs.replace(evaluation.confusion, labels=labels)
    card = write_card(
        manifest,
        msgspec.structs.replace(evaluation, confusion=confusion),
        recipe=run_folder.load(run, run_folder.RECIPE, Recipe),
        quantised=run_folder.load(run, run_folder.QUANTISED, Quantised),
        size=1,
        collection=TONES,
        of_sibling=False,
    )
    assert f": {shown}, low, noisy." in card
    assert f"| {shown} | " in card


def test_a_leaky_archive_is_labelled_on_the_card(run, tmp_path):
    arrays = {**tone_arrays(FRONT_END), "leaky": np.array(True)}
    np.savez_compressed(tmp_path / "tones.npz", **arrays)
    folder, found = packed(run, tmp_path / "tones.npz", tmp_path, conditions=CONDITIONS[:1])
    assert found.leaky
    assert (folder / CARD).read_text().count("LEAKY") == 2
    assert GenreModel.load(folder).manifest.measured["leaky"] is True


def test_an_uncalibrated_single_window_needs_no_card_of_its_own(run, archive, tmp_path):
    plain = tmp_path / "run"
    plain.mkdir()
    for path in run.iterdir():
        (plain / path.name).write_bytes(path.read_bytes())
    quantised = run_folder.load(run, run_folder.QUANTISED, Quantised)
    write_json(plain / run_folder.QUANTISED, msgspec.structs.replace(quantised, single=None))
    folder, _ = packed(plain, archive, tmp_path / "models")
    assert "For single windows" not in (folder / CARD).read_text()


def test_a_sealed_archive_of_one_side_elsewhere_is_measured(measured, tmp_path, capsys):
    arrays = tone_arrays(FRONT_END, train=0)
    arrays["split"] = np.full(len(arrays["track"]), "test")
    sealed = tmp_path / "elsewhere" / "sealed.npz"
    sealed.parent.mkdir()
    np.savez_compressed(sealed, **arrays)
    out = tmp_path / "found.json"
    words = ["evaluate", str(measured[0]), "--data", str(sealed), "--split", "test", "--degrade", "--json", str(out)]
    assert main(words) == 0
    found = json.loads(out.read_bytes())
    for part in (found, found["degraded"]):
        for share in (part["windows"], part["tracks"], part["stream"]["after_12s"]):
            assert 0 <= share["ci95"][0] <= share["accuracy"] <= share["ci95"][1] <= 1
        assert 0 <= part["calibration"]["ece"] <= 1
        assert 0 <= part["float_agreement"] <= 1
    assert found["split"] == "test"
    assert len(found["degraded"]["conditions"]) == len(CONDITIONS)
    assert "under acoustic conditions" in capsys.readouterr().out


def test_the_command_packs_by_a_siblings_file(whole_run, archive, sibling, tmp_path, capsys):
    write_json(tmp_path / "sibling.json", sibling)
    words = ["pack", "--data", archive, "--run", whole_run, "--version", "1.0.0", "--models", tmp_path / "models"]
    words += ["--collection", "tones", "--licence", "nobody's", "--measured", tmp_path / "sibling.json"]
    assert main([str(word) for word in words]) == 0
    assert str(tmp_path / "models" / "genre-1.0.0") in capsys.readouterr().out.replace("\n", "")
    assert load(tmp_path / "sibling.json") == sibling


@pytest.mark.parametrize("option", ["--against", "--float", "--rooms", "--not-music", "--audio"])
def test_a_path_that_is_not_there_is_one_line(measured, archive, tmp_path, capsys, option):
    absent = tmp_path / "absent"
    assert main(["evaluate", str(measured[0]), "--data", str(archive), option, str(absent)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "absent" in said[0]
