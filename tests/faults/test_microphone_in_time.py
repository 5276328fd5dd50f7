"""A microphone that was lost for a while, or many times: nothing stale is heard, nothing leaks, no frame is lost."""

import signal
import time

import pytest

from headnod.resources import DEFAULT_MODEL
from support.command_line import PATIENCE
from support.listener_process import is_estimate, is_waiting, waits_until
from support.pulseaudio import missing
from support.sound_loss import LONG_WINDOW, find, is_loud, lag, lose, measured

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")


def test_m10_a_stalled_listener_drops_what_is_stale_and_says_so(microphone, start):
    seconds = 3.5
    listening = start(microphone.environment)
    before, prompt = prompt_estimates(listening)
    listening.send(signal.SIGSTOP)
    waits_until(lambda: False, seconds)
    listening.send(signal.SIGCONT)
    back = time.monotonic()
    behind = listening.until(lambda said: said["state"] == "behind")
    assert "lost" in behind["message"]
    # All the sound since the last estimate was either dropped or heard: the newest estimates are as prompt as before.
    after = listening.until(lambda said: is_estimate(said) and abs(lag(said) - prompt) < 1.0)
    dropped = after["dropped"] - before["dropped"]
    measured("dropped", dropped)
    measured("found", after["monotonic"] - back)
    assert seconds - 2.0 < dropped < after["monotonic"] - before["monotonic"]


def prompt_estimates(listening):
    """An estimate of loud sound, and the least lag of it and of ten before it: a busy machine delays some."""
    first = listening.until(is_loud)
    said = listening.everything_until(lambda said: is_estimate(said) and said["sequence"] >= first["sequence"] + 10)
    return said[-1], min(map(lag, filter(is_estimate, [first, *said])))


def test_m11_plugging_and_unplugging_leaks_nothing(microphone, start):
    listening = start(microphone.environment)
    listening.until(is_loud)

    def cycle():
        microphone.unplug()
        listening.until(is_waiting)
        microphone.plug()
        listening.until(is_estimate)

    cycle()
    first = listening.settled()
    cycle()
    grew_no_larger(listening, first)


@pytest.mark.long
def test_m12_thirty_times_unplugged_and_thirty_times_back(microphone, start):
    listening = start(microphone.environment, model=DEFAULT_MODEL, every=1.0)
    before, _ = lose(listening, microphone.unplug)
    before, _ = find(listening, before, microphone.plug, LONG_WINDOW)
    first, before, slowest = listening.settled(), listening.until(is_estimate), [0.0, 0.0]
    for _ in range(30):
        began = time.monotonic()
        microphone.unplug()
        said = listening.everything_until(is_waiting)
        before = [before, *filter(is_estimate, said)][-1]
        before, found = find(listening, before, microphone.plug, LONG_WINDOW)
        slowest = [max(slowest[0], said[-1]["at"] - began), max(slowest[1], found)]
    measured("slowest lost and found", slowest)
    grew_no_larger(listening, first)


def grew_no_larger(listening, first):
    last = listening.settled()
    measured("held", (first, last))
    assert last.files == first.files
    assert last.threads == first.threads
    assert last.mebibytes - first.mebibytes < 5.0


@pytest.mark.parametrize("seconds", [2.0, pytest.param(600.0, marks=pytest.mark.long)])
def test_m13_every_frame_is_accounted_for(microphone, start, seconds):
    listening = start(microphone.environment)
    first, prompt = prompt_estimates(listening)
    listening.until(
        lambda said: is_estimate(said) and said["monotonic"] > first["monotonic"] + seconds, 2 * seconds + PATIENCE
    )
    # A window ends within a block and a busy machine delays estimates: the promptest ones are compared.
    later = listening.until(lambda said: is_estimate(said) and lag(said) - prompt < 0.2)
    measured("drift", lag(later) - prompt)
    assert lag(later) - prompt > -0.2
