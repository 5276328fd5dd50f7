"""A window that is heard alone has a temperature and a threshold of its own."""

import msgspec
import numpy as np
import pytest

from headnod.features.frontend import Features
from headnod.inference.manifest import Calibration, Prediction
from headnod.pipeline.listener import ListenerSettings, classify, listen
from headnod.testing import FixedModel, ManualClock
from support.signals import music

JAZZ, DOUBTFUL = (0.9, 0.1), (0.6, 0.4)
SINGLE = Calibration(2.0, 0.7)
ONE_WINDOW, MANY = 0.47, 5.0


def genres(model, settings):
    said = listen([music(MANY)], model, settings, now=ManualClock().now)
    return {each.genre for each in said}


class Alone(FixedModel):
    """A model with a calibration for single windows, which answers otherwise by it."""

    def __init__(self, *, single: Calibration | None):
        super().__init__(JAZZ, threshold=0.5)
        self.manifest = msgspec.structs.replace(self.manifest, single=single)

    def predict(self, features: Features, *, single: bool = False) -> Prediction:
        assert features.shape == (self.front_end.frames, self.front_end.n_mfcc)
        return Prediction(np.array(DOUBTFUL, np.float32)) if single else super().predict(features)


@pytest.mark.parametrize(
    ("seconds", "single", "confidence"),
    [(ONE_WINDOW, SINGLE, 0.6), (ONE_WINDOW, None, 0.9), (MANY, SINGLE, 0.9), (0.2, SINGLE, 0.6)],
)
def test_a_clip_of_one_window_is_judged_as_one(seconds, single, confidence):
    verdict = classify("clip", [music(6.0)[: round(seconds * 22_050)]], Alone(single=single))
    assert verdict.confidence == pytest.approx(confidence, abs=1e-3)


@pytest.mark.parametrize(
    ("smoothing", "single", "genre"),
    [(0.0, SINGLE, "unknown"), (0.0, None, "jazz"), (12.0, SINGLE, "jazz")],
)
def test_a_listener_that_does_not_smooth_hears_each_window_alone(smoothing, single, genre):
    assert genres(Alone(single=single), ListenerSettings(smoothing=smoothing)) == {genre}


def test_a_configured_certainty_is_stronger_than_that_of_single_windows():
    settings = ListenerSettings(smoothing=0.0, threshold=0.55)
    assert genres(Alone(single=SINGLE), settings) == {"jazz"}


def test_a_model_divides_its_logits_by_the_temperature_of_single_windows(model):
    features = model.front_end.mfcc(music(4.0)[: model.front_end.window_samples])
    former, plain = model.manifest, model.scores(features)
    try:
        model.manifest = msgspec.structs.replace(former, single=None)
        assert np.array_equal(model.predict(features, single=True).scores, plain)
        model.manifest = msgspec.structs.replace(former, single=Calibration(4 * former.temperature, 0.1))
        assert model.predict(features, single=True).scores.max() < plain.max()
        assert model.predict(features, single=True).scores.argmax() == plain.argmax()
        assert np.array_equal(model.scores(features), plain)
    finally:
        model.manifest = former


@pytest.mark.parametrize(
    "single", [{"temperature": 0, "certainty": 0.5}, {"temperature": 1, "certainty": 2}, {"certainty": 1}]
)
def test_a_calibration_that_is_none_is_refused(single):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(single, Calibration)
