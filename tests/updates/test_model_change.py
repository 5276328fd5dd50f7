"""One model after another in one stream: no window is lost, and none is heard by both."""

import numpy as np
import pytest

from headnod.audio.blocks import Gap
from headnod.features.frontend import FrontEnd
from headnod.features.windows import Window, windows
from headnod.pipeline.estimate import Estimate, State, StatusEvent
from headnod.pipeline.listener import ListenerSettings, listen
from headnod.testing import SMALL_FRONT_END, FixedModel
from support.signals import RATE

LONG = FrontEnd(n_fft=1024, hop=512, frames=60, n_mels=16, n_mfcc=8)
SHORT = FrontEnd(n_fft=512, hop=512, frames=4, n_mels=16, n_mfcc=8)
EVERY = 0.5


class Model(FixedModel):
    """A model of its own front end that always says the same."""

    def __init__(self, *labels, front_end=SMALL_FRONT_END):
        super().__init__(np.eye(len(labels))[0], labels=labels, front_end=front_end)


def music(seconds, rng):
    beat = np.sin(np.arange(int(seconds * RATE)) * 0.2) * np.sin(np.arange(int(seconds * RATE)) * 0.0007)
    return (0.4 * beat + 0.01 * rng.standard_normal(beat.size)).astype(np.float32)


@pytest.fixture
def clock():
    from headnod.testing import ManualClock

    return ManualClock()


def heard(blocks, models, clock, beside=None):
    """What is said when the model changes after every estimate, round and round."""
    turn, said = 0, []
    stream = listen(
        blocks,
        models[0],
        ListenerSettings(every=EVERY),
        now=clock.now,
        current_model=lambda: models[turn % len(models)],
        after_estimate=beside,
    )
    for each in stream:
        said.append(each)
        turn += 1
    return said


def test_a_hundred_swaps_lose_no_window_and_mix_no_labels(rng, clock):
    models = Model("jazz", "metal"), Model("high", "low", "noisy")
    said = heard([music(52.0, rng)], models, clock)
    assert len(said) > 100
    assert [each.sequence for each in said] == list(range(len(said)))
    steps = np.diff([each.seconds for each in said])
    assert steps.max() <= EVERY + SMALL_FRONT_END.hop / RATE + 1e-3
    assert {tuple(each.scores) for each in said[::2]} == {("jazz", "metal")}
    assert {tuple(each.scores) for each in said[1::2]} == {("high", "low", "noisy")}
    assert {each.genre for each in said} <= {"jazz", "high", "silence"}


def test_each_estimate_names_the_model_that_made_it(rng, clock):
    from msgspec.structs import replace

    models = Model("jazz", "metal"), Model("high", "low")
    models[1].manifest = replace(models[1].manifest, version="2.0.0")
    said = heard([music(8.0, rng)], models, clock)
    for each in said:
        assert each.model == ("fixed-1.0.0" if "jazz" in each.scores else "fixed-2.0.0")


@pytest.mark.parametrize("other", [LONG, SHORT])
def test_another_length_of_window_goes_on_where_the_first_ended(rng, clock, other):
    first, second = Model("jazz", "metal"), Model("high", "low", front_end=other)
    audio = music(12.0, rng)
    current = [first]
    ends = []
    for each in listen([audio], first, ListenerSettings(every=EVERY), now=clock.now, current_model=lambda: current[0]):
        ends.append(each.seconds)
        if each.sequence == 6:
            current[0] = second
    assert second.received
    steps = np.diff(ends)
    # A longer window is full as soon as there is sound enough; a shorter one at once.
    late = max((other.window_samples - SMALL_FRONT_END.window_samples) / RATE - EVERY, 0.0)
    assert steps[6] <= EVERY + late + SMALL_FRONT_END.hop / RATE
    assert steps[7:].max() <= EVERY + other.hop / RATE + 1e-3
    assert second.received[0].shape == (other.frames, other.n_mfcc)


@pytest.mark.parametrize("cuts", [(1, 7), (512,), (4000, 11)])
def test_a_window_after_a_change_holds_the_sound_of_its_place(cuts):
    sound = np.arange(20_000, dtype=np.float32)
    edges = np.cumsum(np.resize(cuts, 20_000))
    blocks = np.split(sound, edges[edges < sound.size])
    sizes = iter([(100, 1), (100, 1), (300, 10), (300, 10), (40, 5), (40, 5), (40, 5), (1000, 1), (1000, 1)])
    wanted = [(100, 1)]

    def recut():
        return wanted[0]

    for window in windows(blocks, 100, 90, recut=recut):
        assert window.samples.tolist() == list(range(window.start, window.end))
        wanted[0] = next(sizes, wanted[0])


def test_a_change_while_nothing_is_heard_counts_from_the_next_sound():
    sound = np.arange(1000, dtype=np.float32)
    hole = Gap(State.WAITING, "away", 0.0)
    wanted = [(100, 1)]
    said = []
    for each in windows([sound[:150], hole, sound[150:500]], 100, 100, recut=lambda: wanted[0]):
        said.append((each.start, each.end) if isinstance(each, Window) else "hole")
        if each is hole:
            pass
        wanted[0] = (50, 1)
    assert said[0] == (0, 100)
    assert "hole" in said
    assert said[said.index("hole") + 1] == (150, 200)


def test_what_hears_along_is_given_every_window_with_music_and_no_silence(rng, clock):
    given = []
    blocks = [np.zeros(2 * RATE, np.float32), music(4.0, rng)]
    said = heard(blocks, [Model("jazz", "metal")], clock, beside=lambda _, estimate: given.append(estimate))
    assert given == [each for each in said if each.genre != "silence"]
    assert given
    assert len(given) < len(said)


def test_a_condition_is_passed_on_as_before(rng, clock):
    hole = Gap(State.WAITING, "away", 0.5)
    said = heard([music(2.0, rng), hole, music(2.0, rng)], [Model("a", "b"), Model("c", "d")], clock)
    assert [type(each) for each in said].count(StatusEvent) == 1
    assert [each.sequence for each in said if isinstance(each, Estimate)] == list(range(len(said) - 1))
