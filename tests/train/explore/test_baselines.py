"""The classical methods learn what can be learned, on the train side alone, and are shown as they are."""

import dataclasses
import io

import msgspec
import numpy as np
import pytest
from rich.console import Console

from headnod.features.frontend import FrontEnd
from headnod_train.__main__ import main
from headnod_train.dataset.archive import Archive
from headnod_train.explore.classical import FRONT_END, summaries, track_summaries, window_summaries
from support.tones import GENRES

pytest.importorskip("sklearn", reason="baselines need scikit-learn: scripts/setup train")
from headnod_train.explore import classical
from headnod_train.explore.baselines import Comparison, ComparisonError, Scorer, compare, tables

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def archive():
    """Three genres, each with a spectrum of its own: 12 tracks of 11 s each."""
    rng = np.random.default_rng(5)
    genres = np.repeat(GENRES, 12)
    spectra = np.repeat(rng.normal(128, 25, (3, 1, 128)), 12, axis=0) + rng.normal(0, 5, (36, 1, 128))
    levels = np.clip(spectra + rng.normal(0, 15, (36, 140, 128)), 0, 255).astype(np.uint8)
    return Archive(
        levels, np.full(36, -60, np.float32), np.full(36, 80, np.float32),
        np.array([f"{genre}.{place}" for place, genre in enumerate(genres)]), genres,
        np.tile(np.repeat(["train", "valid"], (8, 4)), 3), np.arange(36, dtype=np.int32),
    )  # fmt: skip


def compared(archive, **others):
    settings = {"bundles": [], "epochs": 0, "seed": 1, "jobs": 1, "split": "valid"} | others
    return compare(archive, data="tones.npz", console=QUIET, **settings)


@pytest.fixture(scope="module")
def comparison(archive):
    return compared(archive)


def test_a_summary_is_the_mean_and_the_covariance(rng):
    features = rng.normal(size=(3, 38, 4)).astype(np.float32)
    found = summaries(features)
    assert found.shape == (3, 4 + 10)
    assert np.allclose(found[1, :4], features[1].mean(axis=0), atol=1e-6)
    covariance = np.cov(features[1].T, bias=True)
    assert np.allclose(found[1, 4:], covariance[np.triu_indices(4)], atol=1e-5)


def test_a_track_is_the_mean_of_its_windows(archive):
    windows, tracks = window_summaries(archive)
    assert np.allclose(track_summaries(archive)[5], windows[tracks == 5].mean(axis=0), rtol=1e-4, atol=1e-4)


def test_every_method_tells_spectra_apart(comparison):
    assert [row.method for row in comparison.rows] == [method.name for method in classical.METHODS]
    for row in comparison.rows:
        assert row.tracks.accuracy == 1.0
        assert (row.windows.count, row.tracks.count) == (36, 12)
        assert "pca" in row.settings


def test_what_is_measured_is_never_learned_from(archive):
    # Valid tracks under wrong names: who learned from them would be right.
    renamed = np.where(archive.splits == "valid", np.roll(archive.genres, 12), archive.genres)
    for row in compared(dataclasses.replace(archive, genres=renamed)).rows:
        assert row.tracks.accuracy == 0.0


@pytest.mark.parametrize("method", classical.METHODS, ids=lambda method: method.name)
def test_chances_sum_to_one_and_none_is_impossible_for_neighbours(archive, method):
    windows, tracks = window_summaries(archive.subset("train"))
    targets = archive.subset("train").targets(GENRES)[tracks]
    half = np.arange(len(windows)) % 2 == 0
    grid = {name: values[:1] for name, values in method.grid.items()}
    told = classical.fit_method(
        dataclasses.replace(method, grid=grid), windows, targets, [(half, ~half)], labels=4, jobs=1
    )
    probabilities = told.probabilities(windows)
    assert probabilities.shape == (len(windows), 4)
    assert np.allclose(probabilities.sum(axis=1), 1.0, atol=0.06)
    assert (probabilities[:, :3] > 0).all()
    assert (probabilities.argmax(axis=1) == targets).mean() > 0.9


def test_the_better_setting_is_chosen():
    rng = np.random.default_rng(1)
    targets = np.arange(200) % 2
    points = rng.normal(size=(200, 6)).astype(np.float32)
    points[:, 0] += 1.2 * targets
    half = np.arange(200) < 100
    method = dataclasses.replace(classical.NEAREST_NEIGHBOURS, grid={"pca": (5,), "last__n_neighbors": (1, 25)})
    told = classical.fit_method(method, points, targets, [(half, ~half), (~half, half)], labels=2, jobs=1)
    assert told.settings["last__n_neighbors"] == 25


def test_progress_counts_every_fit(archive):
    windows, tracks = window_summaries(archive.subset("train"))
    targets = archive.subset("train").targets(GENRES)[tracks]
    half = np.arange(len(windows)) % 2 == 0
    totals = []
    classical.fit_method(
        classical.REGRESSION, windows, targets, [(half, ~half), (~half, half)], labels=3, jobs=1, advance=totals.append
    )
    # Only one size of PCA fits into half of 72 windows; three strengths, two folds.
    assert totals == [6] * 6


def test_tracks_are_judged_by_all_their_windows(archive):
    heard = archive.subset("valid")
    said = np.tile(np.array([0.1, 0.5, 0.4], np.float32), (2 * len(heard), 1))
    said[::2] = (0.1, 0.05, 0.85)
    row = Scorer(heard, GENRES).result("some", {}, said, np.repeat(np.arange(len(heard)), 2), 1.0)
    # Half the windows of every track say noisy, the others say low; all in all each track is called noisy.
    assert row.windows.accuracy == pytest.approx(1 / 3, abs=1e-3)
    assert row.tracks.accuracy == pytest.approx(1 / 3, abs=1e-3)
    assert row.tracks.count == len(heard)


def test_the_json_can_be_read_again(comparison):
    found = msgspec.json.decode(msgspec.json.encode(comparison), type=Comparison)
    assert found == comparison
    assert found.rows[0].windows.ci95 == (1.0, 1.0)


def printed(comparison):
    console = Console(file=io.StringIO(), width=160)
    console.print(*tables(comparison))
    return console.file.getvalue()


def test_a_leaky_archive_is_labelled_and_others_are_not(archive, comparison):
    assert "LEAKY" not in printed(comparison)
    assert "LEAKY" in printed(compared(dataclasses.replace(archive, leaky=True)))


def test_one_genre_is_refused(archive):
    with pytest.raises(ComparisonError, match=r"tones\.npz: the train split has one genre, low"):
        compared(archive.chosen(archive.genres == "low"))


def test_the_command_writes_figures_and_pictures(path, tmp_path, capsys):
    status = main(["baselines", "--data", str(path), "--out", str(tmp_path / "out"), "--epochs", "0"])
    said = capsys.readouterr()
    assert status == 0
    assert "logistic regression" in said.out
    # The shipped models know other genres.
    assert "is left out: genre 'high' of the archive is not one of" in said.err.replace("\n", " ")
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {"baselines.json", "baselines.png", "baselines-dark.png"}


def test_a_bundle_of_other_genres_that_was_asked_for_is_refused(path, bundle, capsys):
    status = main(["baselines", "--data", str(path), "--bundle", str(bundle), "--epochs", "0"])
    assert status == 1
    assert "genre 'high' of the archive is not one of" in capsys.readouterr().err.replace("\n", " ")


def test_the_scripts_network_has_the_published_size():
    pytest.importorskip("tensorflow", reason="the script's network needs tensorflow: scripts/setup train")
    from headnod_train.explore.script_network import PARAMETERS, build

    assert build(10).count_params() == PARAMETERS == 104_294


def test_the_script_sees_what_the_archive_has_and_lines_between():
    pytest.importorskip("tensorflow", reason="the script's network needs tensorflow: scripts/setup train")
    from headnod_train.explore.script_network import FRAMES, HOP, images

    front_end = FrontEnd()
    rising = np.broadcast_to(np.arange(38, dtype=np.float32)[:, None], (38, 128))[None]
    seen = images(rising - 37, front_end)[0, 0, :, 0]
    wanted = np.minimum(np.arange(FRAMES) * HOP / front_end.hop, 37)
    assert np.allclose(seen, 1 + (wanted - 37) / 80, atol=1e-5)
    louder = images(rising + 20, front_end)[0, 0, :, 0]
    assert np.allclose(seen, louder, atol=1e-5)


def test_the_scripts_network_learns_and_answers(archive):
    pytest.importorskip("tensorflow", reason="the script's network needs tensorflow: scripts/setup train")
    from headnod_train.explore.script_network import probabilities, train

    some = archive.chosen(np.arange(0, len(archive), 4))
    learned, passes = some.subset("train"), []
    network, accuracies = train(
        learned, learned.targets(GENRES), FRONT_END, labels=3, epochs=2, seed=1,
        held_out=(learned, learned.targets(GENRES)), advance=lambda: passes.append(1),
    )  # fmt: skip
    said = probabilities(network, some.subset("valid"), FRONT_END)
    assert len(passes) == len(accuracies) == 2
    assert said.shape == (3 * len(some.subset("valid")), 3)
    assert np.allclose(said.sum(axis=1), 1.0, atol=1e-5)


def test_the_number_of_epochs_is_the_best_on_average_of_three():
    pytest.importorskip("tensorflow", reason="the script's network needs tensorflow: scripts/setup train")
    from headnod_train.explore.script_network import best_epochs

    assert best_epochs([0.1, 0.3, 0.9, 0.2, 0.6, 0.6, 0.6, 0.5]) == 6
    assert best_epochs([0.1, 0.2, 0.3]) == 3
    assert best_epochs([0.4]) == 1
