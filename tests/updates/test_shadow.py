"""A shadow: a second model that is compared, and changes nothing."""

import numpy as np
import pytest
import soxr

from headnod.errors import BundleError
from headnod.features.frontend import FrontEnd
from headnod.features.windows import RecentAudio, Window, windows
from headnod.testing import SMALL_FRONT_END, FixedModel
from headnod.updates.shadow import Shadow, ShadowRequest, read_request, report, write_request
from support.front_ends import TAGGER
from support.signals import song

WINDOW = np.zeros(SMALL_FRONT_END.window_samples, np.float32)


class Longer(FixedModel):
    def __init__(self, *answers, front_end):
        super().__init__(*answers)
        self._front_end = front_end

    @property
    def front_end(self):
        return self._front_end


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
    assert len(model.received) == 2


@pytest.mark.parametrize("front_end", [FrontEnd(), TAGGER])
def test_a_shadow_of_another_rate_or_length_hears_a_whole_window_of_its_own(front_end):
    model, recent = Longer([0.5, 0.5], front_end=front_end), RecentAudio()
    shadow = Shadow(model, FixedModel([0.5, 0.5]), name="x", every=1)
    sound = song(8.0, 22_050)
    cut = windows([sound[:100_000], sound[100_000:]], 10_240, 11_025, rate=22_050, recent=recent)
    given = [(window.end, shadow.audio_of(window, recent)) for window in cut]
    assert recent.seconds > front_end.window_samples / front_end.sample_rate
    # Nothing was kept before the first window with music asked for it.
    assert given[0][1] is None
    whole = sound if front_end.sample_rate == 22_050 else soxr.resample(sound, 22_050, front_end.sample_rate)
    end, audio = given[-1]
    assert audio.shape == (front_end.window_samples,)
    end = round(end * front_end.sample_rate / 22_050 - (0.05 * 16_000 if front_end is TAGGER else 0))
    found = [
        np.abs(whole[place - audio.size : place] - audio).max() for place in range(end - 2, min(end + 3, whole.size))
    ]
    assert min(found) < 1e-3


def test_a_shadow_of_the_same_windows_is_given_those_and_nothing_is_kept():
    shadow, recent = Shadow(FixedModel([0.5, 0.5]), FixedModel([0.5, 0.5]), name="x", every=1), RecentAudio()
    assert shadow.audio_of(Window(WINDOW, 0, SMALL_FRONT_END.sample_rate), recent) is WINDOW
    assert recent.seconds == 0.0


def test_an_order_is_written_read_and_ended(state):
    assert read_request(state) is None
    write_request(state, ShadowRequest("fixed-2.0.0.7", 3))
    assert read_request(state) == ShadowRequest("fixed-2.0.0.7", 3)
    write_request(state, None)
    assert read_request(state) is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"model": 3}'])
def test_a_damaged_order_is_none(state, content):
    (state / "shadow.json").write_bytes(content)
    assert read_request(state) is None


def test_before_anything_was_heard_there_is_nothing_to_report(state):
    with pytest.raises(BundleError, match="no shadow has heard music here yet"):
        report(state)
