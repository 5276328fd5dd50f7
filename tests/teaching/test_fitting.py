"""The regression of the last layer, compared with scikit-learn's, and with a layer to stay close to."""

import numpy as np
import pytest

from headnod.teaching.fitting import INVERSE_STRENGTHS, Features, fit
from headnod.teaching.last_layer import Layer

LABELS, WIDTH = 3, 6


def music(seed, labels=LABELS, groups=12, apart=1.5):
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), 8)
    label = group % labels
    centres = np.random.default_rng(99).standard_normal((LABELS, WIDTH)) * apart
    spread = np.array([1.0, 2.0, 0.5, 1.0, 3.0, 0.0])
    values = (centres[label] + rng.standard_normal((group.size, WIDTH)) * spread).astype(np.float32)
    values[:, -1] = 7.0
    return Features(values, label, group, group)


def test_the_layer_is_the_one_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    given = music(0)
    fitted = fit(given, LABELS)
    deviation = given.values.std(axis=0)
    standard = (given.values - given.values.mean(axis=0)) / np.where(deviation < 1e-6, np.inf, deviation)
    other = linear_model.LogisticRegression(C=fitted.inverse_strength, tol=1e-8, max_iter=10_000)
    other.fit(standard, given.labels, np.full(given.labels.size, 1 / 8))
    expected = standard @ other.coef_.T + other.intercept_
    found = fitted.layer.logits(given.values)
    centred = [logits - logits.mean(axis=1, keepdims=True) for logits in (found, expected)]
    np.testing.assert_allclose(*centred, atol=2e-3)
    assert np.abs(centred[1]).max() > 0.1


def test_a_constant_feature_gets_no_weight():
    assert not fit(music(1), LABELS).layer.kernel[:, -1].any()


def test_with_a_prior_a_few_windows_change_it_little_and_many_change_it_much():
    prior = Layer(np.random.default_rng(3).standard_normal((LABELS, WIDTH)) * 0.3, np.zeros(LABELS))
    given = music(2, apart=3.0)

    def change(scale):
        weighted = Features(
            given.values, given.labels, given.tracks, given.groups, np.full(given.labels.size, scale / 8)
        )
        return np.abs(fit(weighted, LABELS, prior=prior).layer.kernel - prior.kernel).max()

    assert change(1e-6) < 1e-3
    assert change(1.0) > 0.05


def test_a_label_without_a_window_keeps_what_the_prior_gives_it_and_is_absent_without_one():
    given = music(4, labels=2)
    prior = Layer(np.ones((LABELS, WIDTH)), np.array([0.0, 0.0, 5.0]))
    weighted = Features(given.values, given.labels, given.tracks, given.groups, np.full(given.labels.size, 1e-9))
    np.testing.assert_allclose(
        fit(weighted, LABELS, prior=prior).layer.logits(given.values), prior.logits(given.values), atol=1e-4
    )
    assert fit(given, LABELS).layer.logits(given.values).argmax(axis=1).max() == 1
    assert fit(given, LABELS).inverse_strength in INVERSE_STRENGTHS
