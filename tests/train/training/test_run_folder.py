"""A run folder holds one training, never parts of two."""

import msgspec
import pytest

from headnod.features.frontend import FrontEnd
from headnod_train.storage import write_json
from headnod_train.training import run_folder
from headnod_train.training.augment import MelAugmentation
from headnod_train.training.run_folder import Recipe, RunError, TrainingSettings

RECIPE = Recipe(
    "tones.npz",
    12,
    ("high", "low"),
    FrontEnd(n_mfcc=2),
    (0.0, 1.0),
    (1.0, 2.0),
    MelAugmentation(),
    TrainingSettings(epochs=3),
)


def test_a_recipe_is_read_as_it_was_written(tmp_path):
    write_json(tmp_path / run_folder.RECIPE, RECIPE)
    assert run_folder.load(tmp_path, run_folder.RECIPE, Recipe) == RECIPE


def test_a_new_run_takes_away_what_a_former_one_left_and_nothing_else(tmp_path):
    for name in (
        "weights.keras",
        "state.npz",
        "history.json",
        "model.tflite",
        "float.tflite",
        "quantised.json",
        "notes.txt",
    ):
        (tmp_path / name).write_text("former")
    run_folder.start(tmp_path, RECIPE, ["low.0", "high.1"])
    assert {path.name for path in tmp_path.iterdir()} == {"recipe.json", "tracks.txt", "notes.txt"}
    assert run_folder.training_tracks(tmp_path) == ["low.0", "high.1"]


def test_tracks_with_separators_of_lines_in_their_names_are_read_as_they_were_written(tmp_path):
    run_folder.start(tmp_path, RECIPE, ["日本/é.wav", "a\u2028b", "c\x85d"])
    assert run_folder.training_tracks(tmp_path) == ["日本/é.wav", "a\u2028b", "c\x85d"]


def test_a_folder_is_locked_by_one_at_a_time_and_free_again_afterwards(tmp_path):
    with (
        run_folder.locked(tmp_path / "run"),
        pytest.raises(RunError, match="another headnod-train writes to it"),
        run_folder.locked(tmp_path / "run"),
    ):
        pass
    with run_folder.locked(tmp_path / "run"):
        pass


@pytest.mark.parametrize("name", [run_folder.WEIGHTS, run_folder.STATE, run_folder.QUANTISED])
def test_a_folder_with_a_run_is_refused_and_one_that_never_got_so_far_is_not(tmp_path, name):
    run_folder.start(tmp_path, RECIPE, ["low.0"])
    run_folder.refuse_former(tmp_path)
    run_folder.refuse_former(tmp_path / "absent")
    (tmp_path / name).touch()
    with pytest.raises(RunError, match="holds a run already"):
        run_folder.refuse_former(tmp_path)


def test_a_missing_recipe_names_the_command_that_writes_it(tmp_path):
    with pytest.raises(RunError, match=r"recipe\.json: No such file or directory \(run 'headnod-train fit' first\)"):
        run_folder.load(tmp_path, run_folder.RECIPE, Recipe)


def test_a_misspelt_key_is_named(tmp_path):
    written = msgspec.json.encode(RECIPE).replace(b'"epochs"', b'"epoch"')
    (tmp_path / run_folder.RECIPE).write_bytes(written)
    with pytest.raises(RunError, match="unknown field `epoch`"):
        run_folder.load(tmp_path, run_folder.RECIPE, Recipe)


def test_seeds_are_summed_up_in_one_line(tmp_path):
    for seed, windows in ((1, 0.5), (2, 0.6), (3, 0.55)):
        (tmp_path / str(seed)).mkdir()
        (tmp_path / str(seed) / "history.json").write_text(f'[{{"epoch": 1, "windows": {windows}, "tracks": 0.7}}]')
    told = run_folder.spread([tmp_path / "1", tmp_path / "2", tmp_path / "3"])
    # Student's t of two degrees of freedom is 4.303: 4.303 * 0.05 / sqrt(3) = 0.124.
    assert told == (
        "3 seeds: 55.0 % of windows (95 % interval 42.6 to 67.4; single runs 50.0 to 60.0), "
        "70.0 % of tracks (95 % interval 70.0 to 70.0; single runs 70.0 to 70.0)"
    )
