"""A training goes on after an interruption as if there had been none, and learns from who knows better."""

import io
import json
import re
import shutil

import numpy as np
import pytest
from rich.console import Console

from headnod.features.frontend import FrontEnd
from headnod.inference.model import GenreModel
from headnod.resources import find_model
from headnod_train.__main__ import main
from headnod_train.dataset.archive import ArchiveError, read_archive
from headnod_train.deploy.pack import golden_features
from headnod_train.training import run_folder
from headnod_train.training.augment import MelAugmentation
from headnod_train.training.provenance import RecipeFile, read_recipe
from headnod_train.training.run_folder import RunError, TrainingSettings
from support.tones import tone_arrays, write_tones

pytest.importorskip("tensorflow", reason="training needs tensorflow: scripts/setup train")
from headnod_train.training.archive_batches import ExtraTargets, teacher_scores
from headnod_train.training.fit import apply, fit, read_start
from headnod_train.training.genre_network import build, load

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FRONT_END = FrontEnd(n_mfcc=20)
SETTINGS = TrainingSettings(epochs=3, batch=8, width=4)


class StoppedConsole(Console):
    """A person who presses Ctrl-C when an epoch has been told."""

    def print(self, *told, **how):
        if str(told[0]).startswith("epoch 2"):
            raise KeyboardInterrupt
        super().print(*told, **how)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("tones") / "tones.npz", FRONT_END)


def train(archive, run, settings=SETTINGS, console=None, **more):
    quiet = console or Console(quiet=True)
    return fit(archive, run, settings, front_end=FRONT_END, augmentation=MelAugmentation(), console=quiet, **more)


@pytest.fixture(scope="module")
def whole(archive, tmp_path_factory):
    run = tmp_path_factory.mktemp("whole")
    train(archive, run)
    return run


def weights(run):
    return load(run / run_folder.WEIGHTS).get_weights()


def test_an_interrupted_training_goes_on_to_the_very_same_weights(archive, whole, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(archive, tmp_path, console=StoppedConsole(file=io.StringIO()))
    assert len(json.loads((tmp_path / run_folder.HISTORY).read_text())) == 2
    train(archive, tmp_path, resume=True)
    assert all(map(np.array_equal, weights(tmp_path), weights(whole)))
    assert (tmp_path / run_folder.HISTORY).read_text() == (whole / run_folder.HISTORY).read_text()


def test_a_run_of_another_recipe_is_not_gone_on_with(archive, whole):
    for other in (TrainingSettings(epochs=2, batch=8, width=4), TrainingSettings(epochs=3, batch=8, width=5)):
        with pytest.raises(RunError, match="was begun with another recipe"):
            train(archive, whole, other, resume=True)


def test_a_finished_run_is_extended_by_more_epochs(archive, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "longer")
    train(archive, tmp_path / "longer", TrainingSettings(epochs=5, batch=8, width=4), resume=True)
    before, after = (json.loads((run / run_folder.HISTORY).read_text()) for run in (whole, tmp_path / "longer"))
    assert after[:3] == before
    assert [epoch["epoch"] for epoch in after] == [1, 2, 3, 4, 5]
    assert run_folder.load(tmp_path / "longer", run_folder.RECIPE, run_folder.Recipe).settings.epochs == 5
    assert not all(map(np.array_equal, weights(tmp_path / "longer"), weights(whole)))


def test_a_network_starts_from_a_bundle_and_answers_like_it():
    bundle = find_model("genre-small")
    model, begun = GenreModel.load(bundle), read_start(bundle)
    manifest = begun.manifest
    shown = np.stack(golden_features(model.front_end, 24, seed=4))
    spread = tuple(
        np.array(part, np.float32) for part in (manifest.standardisation.mean, manifest.standardisation.deviation)
    )
    standard = ((shown - spread[0]) / spread[1]).astype(np.float32)
    labels = ("own", *manifest.labels[::-1])
    network = build(model.front_end, len(labels), spread, begun.width)
    apply(begun, network, standard, labels)
    found = network(standard, training=False).numpy()[:, :0:-1]
    wanted = np.stack([model.logits(features) for features in shown])[:, : len(manifest.labels)]
    # The file rounds to int8.
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.99
    assert np.abs(found - wanted).max() < 0.1 * np.ptp(wanted)


def test_a_training_starts_from_a_bundle_of_the_same_front_end_only(archive, tmp_path):
    settings = TrainingSettings(epochs=1, batch=8, start="genre-small")
    with pytest.raises(RunError, match="--n-mfcc is 20, its 64"):
        train(archive, tmp_path, settings)
    recipe = fit(
        archive,
        tmp_path,
        settings,
        front_end=FrontEnd(n_mfcc=64),
        augmentation=MelAugmentation(),
        console=Console(quiet=True),
    )
    manifest = read_start(find_model("genre-small")).manifest
    assert (recipe.mean, recipe.settings.width) == (manifest.standardisation.mean, 12)
    assert read_recipe(tmp_path / "recipe.toml") == RecipeFile(recipe.settings, MelAugmentation(), 64)


def test_a_network_of_another_kind_cannot_be_started_from():
    with pytest.raises(RunError, match="is not of the kind that fit trains"):
        read_start(find_model("genre"))


def test_every_fold_is_trained_and_the_mean_is_printed(archive, tmp_path, capsys):
    words = ("--epochs", "1", "--batch", "8", "--width", "4", "--n-mfcc", "20")
    assert main(["fit", "--data", str(archive), "--run", str(tmp_path / "runs"), "--folds", "2", *words]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"2 folds: .* % of windows \(95 % interval .*single runs .*\), .* % of tracks .*", last)
    one, other = (run_folder.training_tracks(tmp_path / "runs" / f"fold-{place}") for place in (1, 2))
    assert not set(one) & set(other)


def test_settings_of_a_file_are_used_and_options_go_first(archive, tmp_path):
    (tmp_path / "recipe.toml").write_text(
        "n_mfcc = 20\n[settings]\nepochs = 1\nbatch = 8\nwidth = 4\nbalance = true\n[augmentation]\nmixup = 0.0\n"
    )
    words = ("--recipe", str(tmp_path / "recipe.toml"), "--width", "5", "--augment", "masks=1")
    assert main(["fit", "--data", str(archive), "--run", str(tmp_path / "run"), *words]) == 0
    found = read_recipe(tmp_path / "run" / "recipe.toml")
    assert found.settings == TrainingSettings(epochs=1, batch=8, width=5, balance=True)
    assert (found.augmentation, found.n_mfcc) == (MelAugmentation(mixup=0.0, masks=1), 20)


@pytest.mark.parametrize("line", ["wdth = 3", "epochs = 'many'", "epochs ="])
def test_a_file_of_settings_with_a_mistake_is_refused_with_its_name(tmp_path, line):
    (tmp_path / "mine.toml").write_text(f"[settings]\n{line}\n")
    with pytest.raises(RunError, match=r"mine\.toml: .*\(recipe\.toml of a run has all settings\)"):
        read_recipe(tmp_path / "mine.toml")


def test_a_pupil_learns_from_a_former_run_and_says_so(archive, whole, tmp_path):
    recipe = train(
        archive,
        tmp_path,
        TrainingSettings(epochs=1, batch=8, width=4),
        lessons=ExtraTargets(teachers=(whole,)),
        tensorboard=True,
    )
    assert recipe.teachers == (whole.name,)
    assert list((tmp_path / "tensorboard").iterdir())


@pytest.mark.long
def test_a_teacher_is_not_asked_about_tracks_it_learned_from_where_another_can_answer(archive, whole, tmp_path):
    settings = TrainingSettings(epochs=1, batch=8, width=4, fold=(1, 2))
    train(archive, tmp_path, settings)
    learned = run_folder.training_tracks(tmp_path)
    music = read_archive(archive, FRONT_END).subset("train")
    assert set(learned) < set(music.tracks)
    alone = teacher_scores([tmp_path], music, music.labels, 10)
    both = teacher_scores([whole, tmp_path], music, music.labels, 10)
    strange = ~np.isin(music.tracks, learned)
    assert strange.any()
    assert np.allclose(both[strange], alone[strange])
    assert not np.allclose(both[~strange], alone[~strange])
    assert np.allclose(both.sum(axis=2), 1.0, atol=1e-4)


def test_a_teacher_of_other_genres_is_refused(archive, whole):
    music = read_archive(archive, FRONT_END)
    with pytest.raises(RunError, match="its genres are high, low, noisy, the student's high, low"):
        teacher_scores([whole], music, ("high", "low"), 10)


def test_what_is_no_music_gets_an_answer_of_its_own(archive, tmp_path):
    train(archive, tmp_path, TrainingSettings(epochs=1, batch=8, width=4), lessons=ExtraTargets(other=archive))
    assert load(tmp_path / run_folder.WEIGHTS).output_shape == (None, 4)


@pytest.mark.long
def test_patience_stops_a_training_that_no_longer_rises_and_keeps_its_best(archive, tmp_path):
    train(archive, tmp_path, TrainingSettings(epochs=40, batch=8, width=4, patience=2))
    reached = [epoch["windows"] for epoch in json.loads((tmp_path / run_folder.HISTORY).read_text())]
    assert len(reached) < 40
    assert max(reached[-2:]) <= max(reached[:-2])


def part_of(tmp_path, chosen):
    """An archive of some of the tones."""
    arrays = tone_arrays(FRONT_END)
    rows = chosen(arrays["genre"], arrays["split"])
    path = tmp_path / "part.npz"
    np.savez(path, **{name: array[rows] for name, array in arrays.items()})
    return path


def test_a_training_may_watch_fewer_windows_than_it_judges_batches(tmp_path):
    data = part_of(tmp_path, lambda _genre, split: (split == "train") | (np.cumsum(split == "valid") == 1))
    told = io.StringIO()
    train(data, tmp_path / "run", TrainingSettings(epochs=1, batch=64, width=4), console=Console(file=told, width=200))
    (epoch,) = json.loads((tmp_path / "run" / run_folder.HISTORY).read_text())
    assert 0.0 <= epoch["windows"] <= 1.0
    assert "48 windows of 3 s for training, fewer than a batch (64)" in told.getvalue()
    assert "no track of the valid split is low or noisy" in told.getvalue()


def test_what_quantise_will_lack_is_reported_before_training(tmp_path):
    data, told = part_of(tmp_path, lambda _genre, split: split == "train"), io.StringIO()
    train(data, tmp_path / "run", TrainingSettings(epochs=1, batch=48, width=4), console=Console(file=told, width=200))
    assert "there is no valid split: quantise will need --sibling" in told.getvalue()
    assert "fewer than" not in told.getvalue()


def test_one_genre_is_refused(tmp_path):
    data = part_of(tmp_path, lambda genre, _split: genre == "low")
    with pytest.raises(ArchiveError, match="its sides train have one genre, low: a model needs two"):
        train(data, tmp_path / "run")


def test_a_genre_that_pack_would_refuse_is_refused_first(tmp_path):
    arrays = tone_arrays(FRONT_END)
    arrays["genre"] = np.where(arrays["genre"] == "low", "Unknown", arrays["genre"])
    np.savez(tmp_path / "made.npz", **arrays)
    with pytest.raises(ArchiveError, match=r"genre 'Unknown' is reserved.*\(import .*made.npz again with --rename\)"):
        train(tmp_path / "made.npz", tmp_path / "run")


def test_a_run_is_replaced_only_when_asked(archive, tmp_path):
    (tmp_path / run_folder.WEIGHTS).write_bytes(b"former")
    with pytest.raises(RunError, match=r"holds a run already \(--resume continues it, --replace replaces it"):
        train(archive, tmp_path)
    assert (tmp_path / run_folder.WEIGHTS).read_bytes() == b"former"
    train(archive, tmp_path, TrainingSettings(epochs=1, batch=64, width=4), force=True)
    assert (tmp_path / run_folder.WEIGHTS).read_bytes() != b"former"


def test_nobody_writes_to_a_run_that_another_command_writes_to(archive, tmp_path):
    with run_folder.locked(tmp_path), pytest.raises(RunError, match="another headnod-train writes to it"):
        train(archive, tmp_path, force=True)
    assert {path.name for path in tmp_path.iterdir()} == {run_folder.LOCK}
