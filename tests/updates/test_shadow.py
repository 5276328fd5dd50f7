"""A shadow: a second model that is compared, and changes nothing."""

import shutil

import numpy as np
import pytest
import soxr
from msgspec.structs import replace

from headnod.errors import BundleError
from headnod.features.frontend import FrontEnd
from headnod.features.windows import RecentAudio, Window, windows
from headnod.inference.manifest import CARD
from headnod.testing import SMALL_FRONT_END, FixedModel
from headnod.updates.shadow import Shadow, ShadowRunner, agreement_text, offer_text
from headnod.updates.state import Agreement, ShadowRequest
from headnod.updates.store import Store
from support.bundles import TAGGER
from support.estimates import estimate
from support.signals import song

WINDOW = np.zeros(SMALL_FRONT_END.window_samples, np.float32)


def test_it_tells_how_often_both_had_the_same_likeliest_label():
    shadow = Shadow(FixedModel([0.9, 0.1], [0.2, 0.8]), FixedModel([1.0, 0.0]), name="fixed-2.0.0", every=1)
    for _ in range(2):
        assert shadow.compare(WINDOW, "jazz", 0.6)
    agreement = shadow.agreement
    assert (agreement.windows, agreement.agreed, agreement.share) == (2, 1, 0.5)
    assert agreement.gain == pytest.approx((0.3 + 0.2) / 2)
    assert agreement.last == ("jazz", "metal")


def test_it_hears_each_so_many_windows():
    model = FixedModel([0.9, 0.1])
    shadow = Shadow(model, FixedModel([1.0, 0.0]), name="x", every=5)
    turns = [shadow.compare(WINDOW, "jazz", 0.6) for _ in range(12)]
    assert [number for number, turn in enumerate(turns, 1) if turn] == [5, 10]
    assert len(model.received) == 2


@pytest.mark.parametrize("front_end", [FrontEnd(), TAGGER])
def test_a_shadow_of_another_rate_or_length_hears_a_whole_window_of_its_own(front_end):
    model, recent = FixedModel([0.5, 0.5], front_end=front_end), RecentAudio()
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


def test_before_anything_was_compared_there_is_nothing_to_report(state):
    with pytest.raises(BundleError, match="no shadow was compared on music yet"):
        agreement_text(Store(state))


def test_the_stored_agreement_is_one_line(store):
    agreement = Agreement("fixed-2.0.0", "fixed-1.0.0", windows=40, agreed=30, gain=-0.021)
    store.change(lambda state: replace(state, agreement=agreement))
    assert agreement_text(store) == (
        "fixed-2.0.0 agrees with fixed-1.0.0 on 30 of 40 windows (75%), its top probability differs by -2.1 points"
    )


class TestRunner:
    @pytest.fixture
    def reported(self):
        return []

    @pytest.fixture
    def runner(self, store, kept, state, reported):
        shutil.copytree(kept, state, symlinks=True, dirs_exist_ok=True)
        active = FixedModel([0.9, 0.1])
        return ShadowRunner(store, lambda: active, reported.append)

    def test_a_request_is_followed_while_the_listener_runs_until_it_is_withdrawn(self, runner, store, reported):
        window, given = Window(WINDOW, 0, SMALL_FRONT_END.sample_rate), estimate("jazz", jazz=0.6, metal=0.4)
        runner.compare(window, given)
        assert not reported
        store.change(lambda state: replace(state, shadow=ShadowRequest("fixed-1.0.0.1", 1)))
        runner.compare(window, given)
        runner.compare(window, given)
        (agreement,) = reported
        assert (agreement.model, agreement.windows) == ("fixed-1.0.0", 1)
        assert store.read().agreement == agreement
        store.change(lambda state: replace(state, shadow=None, agreement=None))
        runner.compare(window, given)
        assert store.read().agreement is None

    def test_a_shadow_that_cannot_be_loaded_is_one_warning(self, runner, store, reported, caplog):
        store.change(lambda state: replace(state, shadow=ShadowRequest("fixed-9.0.0.9", 1)))
        for _ in range(3):
            runner.compare(Window(WINDOW, 0, SMALL_FRONT_END.sample_rate), estimate("jazz", jazz=0.6, metal=0.4))
        (record,) = caplog.records
        assert "no shadow runs" in record.message
        assert not reported


CARD_TEXT = "# mine-2.0.0\n\nNames one of ten genres.\n\nMore.\n"
SEEN = Agreement("mine-2.0.0", "mine-1.0.0", windows=800, agreed=744, differences={"disco": {"rock": 40, "pop": 3}})


def test_an_offered_model_is_described_by_its_card_and_by_what_its_shadow_saw_here(tmp_path):
    (tmp_path / CARD).write_text(CARD_TEXT)
    assert offer_text(tmp_path, "mine-2.0.0", SEEN) == (
        "Names one of ten genres. As a shadow here it agrees on 93% of 800 windows, "
        "and most often names rock where the active model names disco."
    )
    assert offer_text(tmp_path, "other-1.0.0", SEEN) == "Names one of ten genres."
    assert offer_text(tmp_path, "mine-2.0.0", replace(SEEN, differences={})).endswith("agrees on 93% of 800 windows.")


@pytest.mark.parametrize("content", [None, b"", b"# only a title\n", b"\xff\xfe"])
def test_a_model_without_a_usable_card_has_no_description(tmp_path, content):
    if content is not None:
        (tmp_path / CARD).write_bytes(content)
    assert offer_text(tmp_path, "mine-2.0.0", None) == ""


def test_a_long_card_is_cut_at_a_word_so_that_home_assistant_accepts_it(tmp_path):
    (tmp_path / CARD).write_text("# t\n\n" + "word " * 1000)
    for agreement in (None, SEEN):
        text = offer_text(tmp_path, "mine-2.0.0", agreement)
        assert 200 < len(text) <= 255
        assert "word…" in text


def test_which_labels_differ_is_counted_and_stored(store):
    shadow = Shadow(FixedModel([0.2, 0.8]), FixedModel([0.7, 0.3]), name="fixed-2.0.0", every=1)
    for label in ("jazz", "jazz", "metal"):
        shadow.compare(WINDOW, label, 0.5)
    assert shadow.agreement.differences == {"jazz": {"metal": 2}}
    store.change(lambda state: replace(state, agreement=shadow.agreement))
    assert store.read().agreement == shadow.agreement
