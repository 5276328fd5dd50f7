"""A shadow: a second model that is compared, and changes nothing."""

import numpy as np
import pytest

from doubles import SMALL, FixedModel
from headnod.bundles.shadow import Shadow, ShadowOrder, read_order, report, write_order
from headnod.errors import BundleError
from headnod.frontend import FrontEnd

WINDOW = np.zeros(SMALL.window_samples, np.float32)


class Longer(FixedModel):
    @property
    def front_end(self):
        return FrontEnd()


def test_it_tells_how_often_both_had_the_same_likeliest_label():
    shadow = Shadow(FixedModel([0.9, 0.1], [0.2, 0.8]), FixedModel([1.0, 0.0]), name="fixed-2.0.0", every=1)
    for _ in range(2):
        assert shadow.hear(WINDOW, "jazz", 0.6)
    agreement = shadow.agreement
    assert (agreement.windows, agreement.agreed, agreement.share) == (2, 1, 0.5)
    assert agreement.surer == pytest.approx((0.3 + 0.2) / 2)
    assert agreement.last == ("jazz", "metal")


def test_it_hears_each_so_many_windows():
    model = FixedModel([0.9, 0.1])
    shadow = Shadow(model, FixedModel([1.0, 0.0]), name="x", every=5)
    turns = [shadow.hear(WINDOW, "jazz", 0.6) for _ in range(12)]
    assert [number for number, turn in enumerate(turns, 1) if turn] == [5, 10]
    assert len(model.heard) == 2


def test_a_model_that_hears_other_windows_cannot_be_a_shadow():
    with pytest.raises(BundleError, match="it cannot be its shadow"):
        Shadow(Longer([0.5, 0.5]), FixedModel([0.5, 0.5]), name="x", every=1)


def test_an_order_is_written_read_and_ended(state):
    assert read_order(state) is None
    write_order(state, ShadowOrder("fixed-2.0.0.7", 3))
    assert read_order(state) == ShadowOrder("fixed-2.0.0.7", 3)
    write_order(state, None)
    assert read_order(state) is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"model": 3}'])
def test_a_damaged_order_is_none(state, content):
    (state / "shadow.json").write_bytes(content)
    assert read_order(state) is None


def test_before_anything_was_heard_there_is_nothing_to_report(state):
    with pytest.raises(BundleError, match="no shadow has heard music here yet"):
        report(state)
