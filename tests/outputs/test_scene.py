import msgspec
import numpy as np
import pytest

from headnod.escaping import UNKNOWN
from headnod.outputs import GENRES, colour, colours
from headnod.outputs.leds import RELEASE, Animation, bars, best, dark, mood, one_each, pattern
from headnod.pipeline.estimate import State
from support.estimates import condition, estimate, silence

LONG = 60.0


def settled(layout, size, *heard):
    scene = Animation(layout, size)
    for each in heard:
        scene.show(each)
        light = scene.frame(LONG)
    return light


def test_a_bar_lights_as_much_of_its_stretch_as_its_genre_is_likely():
    levels = settled(bars, 40, estimate("jazz", jazz=0.625, rock=0.25)).levels.reshape(10, 4)
    assert levels[GENRES.index("jazz")] == pytest.approx([1, 1, 0.5, 0])
    assert levels[GENRES.index("rock")] == pytest.approx([1, 0, 0, 0])
    assert levels.sum() == pytest.approx(3.5)


def test_every_bar_has_the_colour_of_its_genre():
    light = settled(bars, 20, estimate("jazz", jazz=1.0))
    assert (light.colours * 255).round().reshape(10, 2, 3)[:, 1].tolist() == [list(colour(genre)) for genre in GENRES]


def test_lights_that_do_not_divide_evenly_stay_dark():
    assert settled(bars, 25, estimate("rock", **dict.fromkeys(GENRES, 1.0))).levels.tolist() == pytest.approx(
        [1.0] * 20 + [0.0] * 5
    )


@pytest.mark.parametrize("layout", [bars, best])
def test_fewer_lights_than_genres_show_the_likeliest_first(layout):
    light = settled(layout, 3, estimate("metal", metal=0.64, rock=0.25, blues=0.09, pop=0.02))
    assert (light.colours * 255).round().tolist() == [list(colour(genre)) for genre in ("metal", "rock", "blues")]
    assert light.levels == pytest.approx([0.8, 0.5, 0.3])


def test_more_lights_than_genres_leave_the_rest_of_a_bar_of_the_best_dark():
    assert settled(best, 12, estimate("metal", metal=1.0)).levels == pytest.approx([1.0] + [0.0] * 11)


def test_each_genre_lights_its_own_led_whatever_the_order_of_the_model():
    light = settled(one_each(["rock", "jazz", "fado"]), 3, estimate("jazz", jazz=0.81, rock=0.09))
    assert light.levels == pytest.approx([0.3, 0.9, 0.0])


def test_the_mood_is_the_colour_of_the_genre_that_is_heard():
    light = settled(mood, 5, estimate("jazz", jazz=0.81))
    assert light.levels == pytest.approx([0.9] * 5)
    assert (light.colours * 255).round().tolist() == [list(colour("jazz"))] * 5


def test_the_mood_survives_hours_of_silence():
    scene = Animation(mood, 5)
    scene.show(estimate("jazz", jazz=0.8))
    scene.frame(1.0)
    scene.show(silence())
    assert all(np.isfinite(scene.frame(5.0).pixels()).all() for _ in range(300))


@pytest.mark.parametrize("layout", [bars, best, mood, one_each(GENRES)])
def test_silence_is_dark(layout):
    assert settled(layout, 30, estimate("jazz", jazz=1.0), silence()).levels == pytest.approx(np.zeros(30), abs=1e-6)


@pytest.mark.parametrize("layout", [best, mood, one_each(GENRES)])
def test_what_is_not_sure_is_dimmer_but_seen(layout):
    sure = settled(layout, 10, estimate("jazz", jazz=0.4)).levels.max()
    unsure = settled(layout, 10, estimate(UNKNOWN, jazz=0.4)).levels.max()
    assert 0.3 < unsure < 0.8 * sure


def test_bars_move_smoothly_between_estimates():
    scene = Animation(one_each(["jazz"]), 1)
    scene.show(estimate("jazz", jazz=1.0))
    rising = [float(scene.frame(0.03).levels[0]) for _ in range(20)]
    scene.show(silence())
    falling = [float(scene.frame(0.03).levels[0]) for _ in range(20)]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    assert rising[-1] > 0.97
    assert falling[-1] > 0.6


def test_a_lost_microphone_drops_every_bar_at_once():
    scene = Animation(one_each(GENRES), 10)
    scene.show(estimate("jazz", **dict.fromkeys(GENRES, 1.0)))
    scene.frame(LONG)
    scene.show(condition(State.WAITING))
    assert np.array_equal(scene.frame(0.01).levels, pattern(State.WAITING, 10, 0.0).levels)
    scene.show(estimate("jazz", jazz=1.0))
    assert scene.frame(0.0).levels.max() == 0


def test_lights_breathe_before_anything_was_heard():
    scene = Animation(bars, 10)
    seen = [float(scene.frame(0.25).levels.max()) for _ in range(16)]
    assert min(seen) < 0.02
    assert 0.2 < max(seen) < 0.4


def test_while_waiting_one_light_wanders_from_end_to_end():
    brightest = [int(pattern(State.WAITING, 10, seconds).levels.argmax()) for seconds in np.arange(0, 4, 0.05)]
    assert set(brightest) == set(range(10))
    assert max(abs(np.diff(brightest))) <= 1


def test_a_deaf_microphone_does_not_look_like_one_that_is_waited_for():
    for seconds in np.arange(0, 4, 0.1):
        deaf, waiting = pattern(State.DEAF, 10, seconds), pattern(State.WAITING, 10, seconds)
        assert np.abs(deaf.levels - waiting.levels).max() > 0.2
        assert (deaf.levels[:2] + deaf.levels[1:3]) == pytest.approx([0.6, 0.6])


def test_a_condition_that_is_reported_again_does_not_start_its_pattern_anew():
    scene = Animation(bars, 10)
    scene.show(condition(State.WAITING))
    scene.frame(0.0)
    scene.frame(1.0)
    scene.show(condition(State.WAITING))
    assert np.array_equal(scene.frame(0.5).levels, pattern(State.WAITING, 10, 1.5).levels)


def test_stopping_is_dark():
    assert settled(bars, 10, condition(State.STOPPING)).levels.max() == 0


def test_a_new_model_may_have_other_labels():
    light = settled(best, 1, estimate("jazz", jazz=1.0), estimate("fado", fado=0.81))
    assert (light.colours[0] * 255).round().tolist() == list(colours(["fado"])["fado"])


@pytest.mark.parametrize("layout", [bars, best, mood])
@pytest.mark.parametrize("size", [1, 2, 9, 10, 11, 300])
def test_every_layout_fills_any_number_of_lights_within_range(layout, size):
    light = settled(layout, size, estimate("jazz", jazz=0.7, rock=0.3))
    assert light.levels.shape == (size,)
    assert light.pixels().shape == (size, 3)
    assert light.pixels().min() >= 0
    assert light.pixels().max() <= 1


def test_dark_lights_have_room_for_a_colour():
    assert dark(3).pixels().tolist() == [[0, 0, 0]] * 3


@pytest.mark.parametrize(("layout", "size"), [(bars, 6), (best, 2), (mood, 4), (one_each(["punk", "acid"]), 2)])
def test_own_labels_have_the_same_colour_in_every_layout(layout, size):
    labels = ["techno", "punk", "acid"]
    heard = msgspec.structs.replace(estimate("punk"), genre="punk", scores=dict.fromkeys(labels, 0.0) | {"punk": 1.0})
    light = settled(layout, size, heard)
    brightest = light.colours[light.levels.argmax()]
    assert (brightest * 255).round().tolist() == list(colours(labels)["punk"])


@pytest.mark.parametrize("idle", [silence(), condition(State.WAITING)])
@pytest.mark.parametrize(("seconds", "needed"), [(RELEASE - 0.01, True), (RELEASE, False)])
def test_lights_are_needed_for_a_minute_without_music(idle, seconds, needed):
    scene = Animation(bars, 10)
    scene.show(estimate("jazz", jazz=1.0))
    assert scene.frame(LONG).needed
    scene.show(idle)
    assert scene.frame(seconds).needed == needed


def test_mood_mixes_colours_by_the_fourth_power_of_the_scores():
    light = mood({"jazz": 0.64, "rock": 0.32}, 2)
    jazz, rock = np.array(colour("jazz")), np.array(colour("rock"))
    assert light.levels == pytest.approx([0.8, 0.8])
    assert light.colours[0] * 255 == pytest.approx((16 * jazz + rock) / 17)


def test_bars_of_no_named_genre_are_half_as_high():
    assert settled(one_each(["jazz"]), 1, estimate(UNKNOWN, jazz=0.5)).levels == pytest.approx([0.5])


@pytest.mark.parametrize(
    ("state", "seconds", "levels"),
    [
        (State.STARTING, 0.0, [0.0] * 3),
        (State.STARTING, 1.0, [0.15] * 3),
        (State.STARTING, 2.0, [0.3] * 3),
        (State.WAITING, 0.0, [0.7, 0.7 * np.exp(-1.5625), 0.7 * np.exp(-6.25)]),
        (State.WAITING, 1.0, [0.7 * np.exp(-1.5625), 0.7, 0.7 * np.exp(-1.5625)]),
        (State.WAITING, 2.0, [0.7 * np.exp(-6.25), 0.7 * np.exp(-1.5625), 0.7]),
        (State.DEAF, 0.0, [0.3, 0.3, 0.3]),
        (State.DEAF, 0.5, [0.6, 0.0, 0.6]),
        (State.DEAF, 1.5, [0.0, 0.6, 0.0]),
        (State.PAUSED, 1.0, [0.0] * 3),
    ],
)
def test_each_state_has_its_pattern(state, seconds, levels):
    assert pattern(state, 3, seconds).levels == pytest.approx(levels, abs=1e-9)


def test_the_light_of_a_long_strip_is_a_twentieth_of_it_wide():
    levels = pattern(State.WAITING, 61, 1.0).levels
    assert levels[[30, 33, 36]] == pytest.approx(
        [0.7, 0.7 * np.exp(-((3 / 3.05) ** 2)), 0.7 * np.exp(-((6 / 3.05) ** 2))]
    )


@pytest.mark.parametrize(("state", "shown"), [(State.WAITING, [255, 140, 0]), (State.DEAF, [255, 0, 0])])
def test_a_missing_microphone_is_amber_and_a_muted_one_red(state, shown):
    assert (pattern(state, 1, 0.0).colours[0] * 255).round().tolist() == shown


@pytest.mark.parametrize(
    ("latest", "seconds", "needed"),
    [
        (silence(), 59.9, True),
        (silence(), 60.0, False),
        (condition(State.WAITING), 59.9, True),
        (condition(State.WAITING), 60.0, False),
        (condition(State.PAUSED), 2.9, True),
        (condition(State.PAUSED), 3.0, False),
        (condition(State.BEHIND), 3.0, True),
        (estimate("jazz", jazz=0.5), 1e9, True),
    ],
)
def test_lights_are_needed_for_a_minute_after_music_and_for_three_seconds_in_a_pause(latest, seconds, needed):
    scene = Animation(bars, 10)
    scene.show(estimate("jazz", jazz=0.5))
    scene.frame(5.0)
    scene.show(latest)
    scene.frame(0.0)
    assert scene.frame(seconds).needed is needed
