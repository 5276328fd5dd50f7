"""A listener that is switched to a model of another sample rate loses no window and no sample."""

import itertools

import numpy as np
import pytest
import soxr

from headnod.audio.blocks import Gap, RateChange, real_time
from headnod.audio.processing import OutputRate, Resampler, remove_dc
from headnod.features.frontend import FrontEnd
from headnod.features.windows import RecentAudio, Window, windows
from headnod.inference.model import load_checked
from headnod.pipeline.estimate import Estimate, State
from headnod.pipeline.listener import ListenerSettings, listen
from headnod.testing import FixedModel, ManualClock
from support.bundles import TAGGER
from support.signals import RATE, music, song

OLD, NEW = 22_050, 16_000
ALIKE = 2e-4
"""soxr's own noise, and what its filter makes of an edge 50 ms away."""


def delivered(sound, rate, output, *, size=4_000, before=lambda _: None):
    """Blocks of a stream whose output rate may change before each piece."""
    resampler = Resampler(rate, output)
    for number, start in enumerate(range(0, sound.size, size)):
        before(number)
        yield from resampler.blocks(sound[start : start + size])
    yield resampler.finish()


@pytest.mark.parametrize("rate", [48_000, 44_100, 22_050, 16_000])
@pytest.mark.parametrize("changes", [{30: NEW}, {30: NEW, 50: OLD}, {3: NEW}, {0: NEW}, {30: NEW, 31: OLD, 32: NEW}])
def test_after_a_change_the_stream_is_the_one_that_always_had_that_rate(rate, changes):
    sound, output = song(9.0, rate), OutputRate(OLD)

    def before(number):
        output.wanted = changes.get(number, output.wanted)

    whole = {each: sound if each == rate else soxr.resample(sound, rate, each) for each in (OLD, NEW)}
    place, now, changed = 0, OLD, 0
    for block in delivered(sound, rate, output, size=rate // 12, before=before):
        if isinstance(block, RateChange):
            assert block.former == now
            place, now, changed = block.place(place) - block.repeated, block.rate, changed + 1
            # At least a window of what was there is repeated.
            assert block.repeated <= 4.5 * now
            continue
        expected = whole[now][place : place + block.size]
        # The very end is cut off when the resampler of the reference is flushed.
        assert np.abs(block[: expected.size] - expected).max(initial=0.0) < ALIKE
        place += block.size
    assert changed == len(changes)
    assert place == pytest.approx(whole[now].size, abs=2)


def test_a_change_repeats_more_than_a_window():
    output = OutputRate(OLD)

    def before(number):
        output.wanted = NEW if number >= 80 else OLD

    (change,) = (
        block for block in delivered(song(12.0, 48_000), 48_000, output, before=before) if isinstance(block, RateChange)
    )
    assert change.repeated >= TAGGER.window_samples


def test_a_change_near_the_start_repeats_the_stream_from_its_first_sample():
    output, given = OutputRate(OLD), 0

    def before(number):
        output.wanted = NEW if number >= 20 else OLD

    for block in delivered(song(3.0, 48_000), 48_000, output, before=before):
        if isinstance(block, RateChange):
            assert block.repeated == round(given * NEW / OLD)
            return
        given += block.size
    pytest.fail("the rate did not change")


def test_a_stream_that_begins_anew_after_a_change_says_so_before_any_sound():
    output = OutputRate(OLD)
    output.wanted = NEW
    first, second = itertools.islice(Resampler(48_000, output).blocks(song(1.0, 48_000)), 2)
    assert first == RateChange(OLD, NEW, 0)
    assert second.size == 0
    assert output.delivered == NEW


class Model(FixedModel):
    """A model of a front end that keeps its name for its label."""

    def __init__(self, label, front_end):
        super().__init__((1.0, 0.0), labels=(label, "other"), front_end=front_end)
        self.heard = []


EVERY = 0.5
SETTINGS = ListenerSettings(every=EVERY, silence=-120.0, above_noise=0.0)


@pytest.mark.parametrize("block", [1_000, 4_096, 48_000])
def test_a_switch_in_the_midst_of_a_stream_loses_no_window_and_no_sample(block):
    """The windows of the second model are those of the sound at its own rate, from the very next one on."""
    old, new = FrontEnd(n_fft=1024, hop=512, frames=60, n_mels=16, n_mfcc=8), TAGGER
    first, second = Model("first", old), Model("second", new)
    sound, output, current = song(14.0, 48_000), OutputRate(OLD), [first]
    said = []
    for each in listen(
        delivered(sound, 48_000, output, size=block),
        first,
        SETTINGS,
        now=ManualClock().now,
        current_model=lambda: current[0],
    ):
        said.append(each)
        if each.sequence == 12:
            current[0] = second
            output.wanted = NEW
    ends = np.array([each.seconds for each in said])
    assert [each.sequence for each in said] == list(range(len(said)))
    assert np.diff(ends).max() <= EVERY + old.hop / OLD + 1e-3, "no window is lost"
    assert np.diff(ends).min() >= EVERY - old.hop / OLD - 1e-3, "none is heard twice"
    whole = {OLD: soxr.resample(sound, 48_000, OLD), NEW: soxr.resample(sound, 48_000, NEW)}
    names = [next(iter(each.scores)) for each in said]
    turned = names.index("second")
    assert names == ["first"] * turned + ["second"] * (len(names) - turned)
    # What a block holds beside the window is still at the former rate.
    assert turned <= 13 + block / 48_000 / EVERY
    for each, features in zip(said, [*first.received, *second.received], strict=True):
        front_end = (first if "first" in each.scores else second).front_end
        rate = front_end.sample_rate
        # Three decimals of a second do not name a sample, so the neighbours are tried.
        end = round(each.seconds * rate)
        places = range(max(end - 12, front_end.window_samples), min(end + 12, whole[rate].size))
        found = [whole[rate][place - front_end.window_samples : place] for place in places]
        assert min(np.abs(front_end.mfcc(window) - features).max() for window in found) < 0.02


def test_a_window_after_a_change_holds_the_sound_of_its_place():
    output, sizes = OutputRate(OLD), {OLD: (20_000, 500), NEW: (48_000, 256)}
    sound = song(14.0, 44_100)
    whole = {OLD: soxr.resample(sound, 44_100, OLD), NEW: soxr.resample(sound, 44_100, NEW)}
    rate, seen = OLD, []
    cut = windows(
        delivered(sound, 44_100, output), 20_000, 5_000, grid=500, rate=OLD, recut=lambda: sizes[output.delivered]
    )
    for each in cut:
        if isinstance(each, RateChange):
            rate = each.rate
            continue
        assert (each.rate, each.samples.size) == (rate, sizes[rate][0])
        assert np.abs(each.samples - whole[rate][each.start : each.end]).max() < ALIKE
        seen.append(each.end / rate)
        output.wanted = NEW if 20 <= len(seen) < 30 else OLD
    steps = np.diff(seen)
    assert steps.max() <= 5_000 / OLD + 500 / OLD + 1e-3
    assert steps.min() > 0
    assert len(seen) > 50


def test_a_hole_while_the_rate_changes_is_reported_and_the_change_comes_with_the_next_sound():
    first, second = (
        Model("first", FrontEnd(n_fft=1024, hop=1024, frames=10, n_mels=16, n_mfcc=8)),
        Model("second", TAGGER),
    )
    output, current = OutputRate(OLD), [first]

    def stream():
        yield from Resampler(48_000, output).blocks(song(2.0, 48_000))
        current[0], output.wanted = second, NEW
        yield Gap(State.WAITING, "the microphone went away", 1.0)
        yield from Resampler(48_000, output).blocks(song(4.0, 48_000))

    said = list(listen(stream(), first, SETTINGS, now=ManualClock().now, current_model=lambda: current[0]))
    assert [type(each) for each in said].count(Estimate) == len(said) - 1
    assert next(iter(said[-1].scores)) == "second"
    assert said[-1].dropped == 1.0


def test_a_listener_that_begins_while_the_rate_changes_hears_with_the_new_model_alone():
    second, output = Model("second", TAGGER), OutputRate(OLD)
    output.wanted = NEW
    said = list(
        listen(
            delivered(song(8.0, 48_000), 48_000, output), second, SETTINGS, now=ManualClock().now, rate=output.delivered
        )
    )
    assert {next(iter(each.scores)) for each in said} == {"second"}
    assert np.diff([each.seconds for each in said]) == pytest.approx(EVERY, abs=TAGGER.hop / NEW + 1e-3)


def test_real_models_of_both_rates_take_turns(model, tmp_path):
    pytest.importorskip("ai_edge_litert.schema_py_generated", reason="only LiteRT brings the format's own writer")
    from support.multi_output_bundle import write

    other = load_checked(write(tmp_path / "fixed-1.0.0", TAGGER, labels=("calm", "loud")))
    models, output, turns = [model, other], OutputRate(OLD), itertools.count()
    current = [model]
    sound, said = np.tile(music(20.0), 2), []
    settings = ListenerSettings(every=EVERY)
    for each in listen(
        delivered(sound, RATE, output), model, settings, now=ManualClock().now, current_model=lambda: current[0]
    ):
        said.append(each)
        if each.sequence % 5 == 4:
            current[0] = models[next(turns) % 2 ^ 1]
            output.wanted = current[0].front_end.sample_rate
    assert [each.sequence for each in said] == list(range(len(said)))
    # The front ends have frames of 77 and of 16 ms.
    assert np.diff([each.seconds for each in said]).max() <= EVERY + model.front_end.hop / OLD + 2e-3
    assert len({each.model for each in said}) == 2
    assert {tuple(each.scores) for each in said} == {model.labels, other.labels}
    assert all(bool(each.tags) == (each.model == other.manifest.id) for each in said if each.genre != "silence")


def test_sound_about_zero_stays_so_over_a_change():
    output = OutputRate(OLD)

    def before(number):
        output.wanted = NEW if number >= 40 else OLD

    shifted = song(8.0, 48_000) + np.float32(0.1)
    blocks = [
        each
        for each in remove_dc(delivered(shifted, 48_000, output, before=before), OLD)
        if not isinstance(each, RateChange)
    ]
    assert abs(np.concatenate(blocks[-20:]).mean()) < 0.005


def test_the_pace_is_that_of_the_sound_and_not_of_what_is_repeated():
    clock, output = ManualClock(), OutputRate(OLD)

    def before(number):
        output.wanted = NEW if number >= 40 else OLD

    sound = song(8.0, 48_000)
    for _ in real_time(
        delivered(sound, 48_000, output, before=before), OLD, monotonic=clock.monotonic, sleep=clock.sleep
    ):
        pass
    assert clock.seconds == pytest.approx(8.0, abs=0.01)


def test_the_recent_seconds_are_kept_when_asked_for_and_end_where_they_are_asked_to():
    sound, recent = song(6.0, OLD), RecentAudio()
    recent.add(sound[:1000], 0, OLD)
    assert recent.until(1000, 100, OLD) is None
    recent.seconds = 4.0
    for start in range(0, sound.size, 3_000):
        recent.add(sound[start : start + 3_000], start, OLD)
    assert np.array_equal(recent.until(120_000, 70_000, OLD), sound[50_000:120_000])
    assert recent.until(120_000, 110_000, OLD) is None
    resampled, count = soxr.resample(sound, OLD, NEW), 48_128
    found = recent.until(120_000, count, NEW)
    end = round(120_000 * NEW / OLD - 0.05 * NEW)
    near = [resampled[place - count : place] for place in range(end - 3, end + 4)]
    assert found.size == count
    assert min(np.abs(found - each).max() for each in near) < 0.01
    recent.clear()
    assert recent.until(120_000, 100, OLD) is None
    assert isinstance(Window(found, 0), Window)


def test_four_seconds_and_the_block_before_them_are_repeated_without_the_first_50_milliseconds():
    sound, output, given = song(10.2, 48_000), OutputRate(OLD), 0

    def before(number):
        output.wanted = NEW if number >= 100 else OLD

    for block in delivered(sound, 48_000, output, size=4_800, before=before):
        if isinstance(block, RateChange):
            break
        given += block.size
    # 10 s were taken, and 4.1 s of them kept.
    assert block.repeated == round(given * NEW / OLD) - (round(5.9 * NEW) + round(0.05 * NEW))
