"""Conditions are the same for everybody, and what they cost is counted."""

import dataclasses

import numpy as np
import pytest
import soundfile
from rich.console import Console

from headnod.errors import AudioError
from headnod_train.acoustics import Bands, Noise
from headnod_train.dataset.archive import read_archive
from headnod_train.evaluation import calibration
from headnod_train.evaluation.conditions import CONDITIONS, SEED, AcousticCondition, recorded_rooms
from headnod_train.evaluation.evaluate import evaluate
from headnod_train.evaluation.predictions import predict
from support.signals import noise
from support.tones import FRONT_END, Nearest, write_tones

QUIET = Console(quiet=True)
BANDS = Bands(FRONT_END)
BURIED = AcousticCondition("buried", (Noise("white", (-30.0, -30.0)),))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return read_archive(write_tones(tmp_path_factory.mktemp("tones") / "tones.npz", FRONT_END), FRONT_END)


def measured(archive, conditions, **others):
    return evaluate(
        Nearest(archive), archive, data="tones", split="valid", console=QUIET, conditions=conditions, **others
    )


def test_a_track_arrives_the_same_in_any_archive(archive):
    alone = archive.chosen(np.array([7]))
    name = str(alone.tracks[0])
    for condition in CONDITIONS:
        one, other = (condition.apply(held.log_mel(row), name, BANDS) for held, row in ((archive, 7), (alone, 0)))
        assert np.array_equal(one, other)


def test_every_condition_changes_what_arrives(archive):
    dry = archive.log_mel(0)
    for condition in CONDITIONS:
        assert np.abs(condition.apply(dry, "a", BANDS) - dry).mean() > 0.01, condition.name


def test_tracks_and_conditions_draw_apart(archive):
    condition, dry = CONDITIONS[0], archive.log_mel(0)
    assert not np.array_equal(condition.apply(dry, "a", BANDS), condition.apply(dry, "b", BANDS))
    renamed = dataclasses.replace(condition, name="another")
    assert not np.array_equal(condition.apply(dry, "a", BANDS), renamed.apply(dry, "a", BANDS))


def test_no_seed_is_shared_with_training_or_calibration():
    arrivals = (*calibration._ARRIVALS, *calibration._NOISY)  # noqa: SLF001 - what must never coincide
    assert len({condition.name for condition in CONDITIONS}) == len(CONDITIONS)
    assert {condition.seed for condition in CONDITIONS} == {SEED}
    assert SEED not in {condition.seed for condition in arrivals}
    assert not {condition.steps for condition in CONDITIONS if len(condition.steps) > 1} & {
        each.steps for each in arrivals
    }


def test_each_condition_has_its_row_and_its_loss(archive):
    found = measured(archive, [BURIED, CONDITIONS[0]])
    buried, room = found.degraded.conditions
    assert found.windows.accuracy == 1.0
    assert (buried.name, buried.windows.accuracy) == ("buried", 0.3333)
    assert buried.loss_points.windows == pytest.approx(66.67)
    assert room.loss_points.windows == pytest.approx(100 * (1 - room.windows.accuracy), abs=0.01)
    assert found.degraded.worst == "buried"
    assert found.degraded.worst_loss_points == buried.loss_points


def test_all_conditions_together_are_their_mean(archive):
    degraded = measured(archive, [BURIED, CONDITIONS[0]]).degraded
    rows = degraded.conditions
    assert degraded.windows.accuracy == pytest.approx(np.mean([row.windows.accuracy for row in rows]), abs=1e-3)
    assert degraded.mean_loss_points.tracks == pytest.approx(
        np.mean([row.loss_points.tracks for row in rows]), abs=0.01
    )
    assert degraded.windows.count == sum(row.windows.count for row in rows)
    assert degraded.stream.after_12s.count == sum(row.stream.after_12s.count for row in rows)


def test_the_float_network_hears_the_same_conditions(archive):
    found = measured(archive, [BURIED], float_model=Nearest(archive))
    assert (found.float_agreement, found.degraded.float_agreement, found.floating.lost_points) == (1.0, 1.0, 0.0)


def test_rooms_of_a_folder_are_one_condition(archive, tmp_path):
    response = noise(0.4, dbfs=-30) * np.linspace(1, 0, 8820, dtype=np.float32) ** 4
    response[0] = 1.0
    soundfile.write(tmp_path / "hall.wav", response, 22050)
    condition = recorded_rooms(tmp_path, BANDS)
    assert condition.name == "1 recorded rooms"
    heard = predict(Nearest(archive), archive.subset("valid"), through=condition, console=QUIET)
    assert len(heard.logits) == 24


def test_a_folder_without_rooms_is_named(tmp_path):
    with pytest.raises(AudioError, match=r"contains no impulse response"):
        recorded_rooms(tmp_path, BANDS)
    soundfile.write(tmp_path / "hush.wav", np.zeros(1000), 22050)
    with pytest.raises(AudioError, match=r"hush\.wav: is silent"):
        recorded_rooms(tmp_path, BANDS)
