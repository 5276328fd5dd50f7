"""A microphone that was lost for a while, or many times: nothing stale is heard, nothing leaks, no frame is lost."""

import signal
import time

import pytest

from headnod.resources import DEFAULT_MODEL
from support.listener_process import STARTING, held, is_estimate, is_waiting, waits_until
from support.pulseaudio import missing
from support.sound_loss import FOUND, LONG_WINDOW, LOST, MACHINE, find, hears_loud, lag, lose, measured

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")


def test_m10_a_stalled_listener_drops_what_is_stale_and_says_so(microphone, start):
    seconds = 3.5
    listening = start(microphone.environment)
    before = listening.until(hears_loud, STARTING)
    listening.send(signal.SIGSTOP)
    waits_until(lambda: False, seconds)
    listening.send(signal.SIGCONT)
    back = time.monotonic()
    behind = listening.until(lambda said: said["state"] == "behind", 5.0)
    assert "lost" in behind["message"]
    after = listening.until(is_estimate, FOUND)
    later = listening.until(lambda said: is_estimate(said) and said["monotonic"] > back + 2.0, 5.0)
    dropped = after["dropped"] - before["dropped"]
    # All the sound since the last estimate was either dropped or heard, and the newest is at most a hop old.
    lags = [lag(each) - lag(before) for each in (after, later)]
    measured("lag at once and later", lags)
    measured("dropped", dropped)
    measured("found", after["monotonic"] - back)
    # At once it may hear what is a second old, and the block that a window ends in.
    assert abs(lags[0]) < 1.5
    assert abs(lags[1]) < 1.0
    assert seconds - 2.0 < dropped < seconds + 1.5


def test_m11_plugging_and_unplugging_leaks_nothing(microphone, start):
    listening = start(microphone.environment)
    listening.until(hears_loud, STARTING)

    def cycle():
        microphone.unplug()
        listening.until(is_waiting, LOST + MACHINE)
        microphone.plug()
        listening.until(is_estimate, FOUND + MACHINE)

    cycle()
    first = held(listening.pid)
    cycle()
    grew_no_larger(listening.pid, first)


@pytest.mark.long
def test_m12_thirty_times_unplugged_and_thirty_times_back(microphone, start):
    listening = start(microphone.environment, model=DEFAULT_MODEL, every=1.0)
    before, _ = lose(listening, microphone.unplug)
    before, _ = find(listening, before, microphone.plug, LONG_WINDOW)
    first, slowest = held(listening.pid), [0.0, 0.0]
    for _ in range(30):
        began = time.monotonic()
        microphone.unplug()
        said = listening.everything_until(is_waiting, LOST + MACHINE)
        before = [before, *filter(is_estimate, said)][-1]
        before, found = find(listening, before, microphone.plug, LONG_WINDOW)
        slowest = [max(slowest[0], said[-1]["at"] - began), max(slowest[1], found)]
    measured("slowest lost and found", slowest)
    grew_no_larger(listening.pid, first)


def grew_no_larger(pid, first):
    last = held(pid)
    measured("held", (first, last))
    assert last.files == first.files
    assert last.threads == first.threads
    assert last.mebibytes - first.mebibytes < 5.0


@pytest.mark.parametrize("seconds", [2.0, pytest.param(600.0, marks=pytest.mark.long)])
def test_m13_every_frame_is_accounted_for(microphone, start, seconds):
    listening = start(microphone.environment)
    first = listening.until(hears_loud, STARTING)

    def done(said):
        return is_estimate(said) and said["monotonic"] > first["monotonic"] + seconds

    estimates = [first, *filter(is_estimate, listening.everything_until(done, 2 * seconds))]
    # A window ends within a block, so an estimate is up to a block late: the promptest ones are compared.
    half = min(len(estimates) // 2, 20)
    drift = min(map(lag, estimates[-half:])) - min(map(lag, estimates[:half]))
    measured("drift", drift)
    assert abs(drift) < 0.2
