"""What quantising loses is told by form and by layer; a run that learned from everything borrows its calibration."""

import msgspec
import pytest
from rich.console import Console

from headnod.features.frontend import FrontEnd
from headnod_train.storage import write_json
from headnod_train.training import run_folder
from headnod_train.training.augment import MelAugmentation
from headnod_train.training.run_folder import Quantised, RunError, TrainingSettings
from support.tones import write_tones

pytest.importorskip("tensorflow", reason="training needs tensorflow: scripts/setup train")
from headnod_train.training.fit import fit
from headnod_train.training.quantise import quantisation_report, quantisation_tables, quantise

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FRONT_END = FrontEnd(n_mfcc=20)
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("tones") / "tones.npz", FRONT_END)


def trained(archive, run, **settings):
    how = TrainingSettings(epochs=1, batch=8, width=4, **settings)
    fit(archive, run, how, front_end=FRONT_END, augmentation=MelAugmentation(), console=QUIET)
    return run


@pytest.mark.long
def test_losses_are_reported_for_every_form_and_every_layer(archive, tmp_path):
    found = quantisation_report(trained(archive, tmp_path), archive, console=QUIET)
    sizes = {form.form: form.size for form in found.forms}
    assert list(sizes) == ["float32", "float16", "dynamic", "int8"]
    assert sizes["float32"] > sizes["float16"] > sizes["int8"]
    assert found.forms[0].agreement == 1.0
    assert [layer.operation for layer in found.layers][-1] == "FULLY_CONNECTED"
    assert all(0.0 <= layer.error < 3.0 for layer in found.layers)
    assert (tmp_path / "losses.json").is_file()
    console = Console(record=True, width=100)
    for table in quantisation_tables(found):
        console.print(table)
    assert "float16" in console.export_text()


def test_a_run_that_learned_from_every_track_needs_a_sibling_for_its_calibration(archive, tmp_path):
    greedy = trained(archive, tmp_path, sides=("train", "valid"))
    with pytest.raises(RunError, match=r"was trained on every track.*--sibling"):
        quantise(greedy, archive, console=QUIET)


@pytest.mark.long
def test_a_run_that_learned_from_every_track_borrows_its_sibling_s_calibration(archive, tmp_path):
    greedy = trained(archive, tmp_path / "greedy", sides=("train", "valid"))
    frugal = trained(archive, tmp_path / "frugal")
    lent = msgspec.structs.replace(quantise(frugal, archive, console=QUIET), temperature=1.25)
    write_json(frugal / run_folder.QUANTISED, lent)
    assert quantise(greedy, archive, sibling=frugal, console=QUIET).temperature == 1.25
    assert run_folder.load(greedy, run_folder.QUANTISED, Quantised).single == lent.single
