"""A run folder holds one training, never parts of two."""

import msgspec
import pytest

from headnod.frontend import FrontEnd
from headnod_train.learn import run_folder
from headnod_train.learn.augment import Augmentation
from headnod_train.learn.run_folder import Recipe, RunError

RECIPE = Recipe(
    "tones.npz", 12, ("high", "low"), FrontEnd(n_mfcc=2), (0.0, 1.0), (1.0, 2.0), Augmentation(), 3, 4, 0.002, 1
)


def test_a_recipe_is_read_as_it_was_written(tmp_path):
    run_folder.save(tmp_path, run_folder.RECIPE, RECIPE)
    assert run_folder.load(tmp_path, run_folder.RECIPE, Recipe) == RECIPE


def test_a_new_run_takes_away_what_a_former_one_left_and_nothing_else(tmp_path):
    for name in ("weights.keras", "history.json", "model.tflite", "float.tflite", "quantised.json", "notes.txt"):
        (tmp_path / name).write_text("former")
    run_folder.start(tmp_path, RECIPE)
    assert {path.name for path in tmp_path.iterdir()} == {"recipe.json", "notes.txt"}


def test_a_missing_recipe_names_the_command_that_writes_it(tmp_path):
    with pytest.raises(RunError, match=r"recipe\.json: No such file or directory \(run 'headnod-train fit' first\)"):
        run_folder.load(tmp_path, run_folder.RECIPE, Recipe)


def test_a_misspelt_key_is_named(tmp_path):
    written = msgspec.json.encode(RECIPE).replace(b'"epochs"', b'"epoch"')
    (tmp_path / run_folder.RECIPE).write_bytes(written)
    with pytest.raises(RunError, match="unknown field `epoch`"):
        run_folder.load(tmp_path, run_folder.RECIPE, Recipe)
