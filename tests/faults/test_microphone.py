"""Faults of the microphone that take its sound away, each made to happen for real: sound comes back by itself.

The microphone is a virtual one; PulseAudio, ALSA, PortAudio and the listener are the real ones. Sound is lost
within 2 s and one read of 0.25 s, and an estimate is made within a window and 5 s of its return. Windows are short
here, so that the tests are, too: `--log-cli-level=info` tells what was measured.
"""

import logging
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import soundfile

import brief_bundle
import signals
from brief_bundle import WINDOW
from headnod.shipped import DEFAULT_MODEL
from listening import STARTING, Listening, held, is_estimate, is_waiting, waits_until
from virtual_microphone import NAME, VirtualMicrophone, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")

LOST, RETURN = 2.25, 5.0
FOUND = WINDOW + RETURN
MACHINE = 0.75
"""Seconds that a busy machine may take on top of it until a line is written."""
LONG_WINDOW = 2.96
"""Seconds that the shipped model hears at once."""
LOUD, SOFT = -6.0, -30.0
BETWEEN = -18.0


@pytest.fixture
def microphone(tmp_path):
    """A microphone that hears a loud tone."""
    microphone = VirtualMicrophone(tmp_path / "sound")
    with ExitStack() as stack:
        stack.callback(microphone.close)
        microphone.start()
        microphone.play(tone(tmp_path, LOUD))
        yield microphone


@pytest.fixture
def start(tmp_path):
    """Starts listeners to the virtual microphone."""
    with ExitStack() as stack:

        def start(environment, *, model=None, every=0.2):
            model = model or brief_bundle.write(tmp_path / "model")
            listening = Listening(
                *("--audio", "mic", "--device", NAME, "--model", str(model), "--every", str(every)),
                environment=environment,
                log=tmp_path / "log",
            )
            return stack.enter_context(listening)

        yield start


def tone(folder: Path, peak: float) -> Path:
    path = folder / f"tone{peak:.0f}.wav"
    soundfile.write(path, signals.sine(440.0, 120.0, amplitude=10.0 ** (peak / 20.0), rate=48_000), 48_000)
    return path


def measured(what: str, value: object) -> None:
    logging.getLogger(__name__).info("%s: %s", what, value)


def lag(estimate):
    """How old its sound was when it was made, but for a constant."""
    return estimate["monotonic"] - estimate["seconds"] - estimate["dropped"]


def hears_loud(said):
    return is_estimate(said) and said["peak"] > BETWEEN


def lose(listening, fault) -> tuple[dict, float]:
    """The last estimate before a fault, and how many seconds it took until the sound counted as lost."""
    before = listening.until(hears_loud, STARTING)
    began = time.monotonic()
    fault()
    said = listening.everything_until(is_waiting, LOST + MACHINE)
    return [before, *filter(is_estimate, said)][-1], said[-1]["at"] - began


def find(listening, before, cure, window=WINDOW) -> tuple[dict, float]:
    """The first estimate after a cure, which shares no sound with the last before, and how long it took."""
    listening.forget()
    cure()
    began = time.monotonic()
    after = listening.until(is_estimate, window + RETURN + MACHINE)
    assert after["sequence"] == before["sequence"] + 1
    assert after["seconds"] - before["seconds"] > window - 0.01, "the window holds sound from before"
    return after, after["monotonic"] - began


def test_m1_absent_at_boot(tmp_path, start):
    microphone = VirtualMicrophone(tmp_path / "sound")
    listening = start(microphone.environment)
    waiting = listening.until(is_waiting, STARTING)
    assert "microphone" in waiting["message"]
    try:
        microphone.start()
        began = time.monotonic()
        first = listening.until(is_estimate, FOUND + MACHINE)
        measured("found", first["monotonic"] - began)
        assert first["sequence"] == 0
    finally:
        microphone.close()


def test_m2_unplugged(microphone, tmp_path, start):
    listening = start(microphone.environment)
    before, lost = lose(listening, microphone.unplug)

    def plug():
        microphone.plug()
        microphone.play(tone(tmp_path, SOFT))

    after, found = find(listening, before, plug)
    assert after["peak"] < BETWEEN, "the window holds the loud tone from before"
    measured("lost", lost)
    measured("found", found)


@pytest.mark.long
def test_m3_sound_server_killed_inside_a_read(microphone, tmp_path, start):
    listening = start(microphone.environment)
    before, lost = lose(listening, microphone.kill_server)

    def restart():
        microphone.start()
        microphone.play(tone(tmp_path, SOFT))

    after, found = find(listening, before, restart)
    assert after["peak"] < BETWEEN, "the window holds the loud tone from before"
    measured("lost", lost)
    measured("found", found)


@pytest.mark.long
def test_m4_sound_server_killed_between_two_reads(microphone, start):
    # PortAudio's next read never returns then, so only the age of the last frame tells.
    listening = start(microphone.environment)

    def kill():
        capture = listening.capture
        listening.send(signal.SIGSTOP)
        assert waits_until(lambda: "pipe_write" in Path(f"/proc/{capture}/wchan").read_text(), 10.0)
        microphone.kill_server()
        listening.send(signal.SIGCONT)

    if not Path("/proc/self/wchan").exists():
        pytest.skip("this kernel does not tell what a process waits in")
    before = listening.until(hears_loud, STARTING)
    kill()
    began = time.monotonic()
    said = listening.everything_until(is_waiting, LOST + MACHINE)
    before = [before, *filter(is_estimate, said)][-1]
    measured("lost", said[-1]["at"] - began)
    _, found = find(listening, before, microphone.start)
    measured("found", found)


@pytest.mark.long
def test_m5_hung_and_thawed(microphone, start):
    listening = start(microphone.environment)
    before, lost = lose(listening, microphone.freeze_server)
    _, found = find(listening, before, microphone.thaw_server)
    measured("lost", lost)
    measured("found", found)


@pytest.mark.long
def test_m6_another_source_is_never_taken_for_the_microphone(tmp_path, start):
    # A sound server that has nothing else moves its clients to a source that it makes up.
    microphone = VirtualMicrophone(tmp_path / "sound")
    with ExitStack() as stack:
        stack.callback(microphone.close)
        microphone.start("module-always-sink")
        microphone.play(tone(tmp_path, SOFT))
        listening = start(microphone.environment)
        listening.until(lambda said: is_estimate(said) and said["peak"] > SOFT - 3, STARTING)
        microphone.unplug()
        microphone.play(tone(tmp_path, LOUD), "auto_null")
        said = listening.everything_until(is_waiting, 10.0)
        said += listening.everything_until(is_waiting, 10.0)
        assert not [each for each in said if is_estimate(each) and each["peak"] > BETWEEN]
        microphone.hush()
        microphone.plug()
        microphone.play(tone(tmp_path, SOFT))
        heard = listening.until(lambda said: is_estimate(said) and said["peak"] > SOFT - 3, FOUND + MACHINE)
        assert heard["peak"] < BETWEEN


@pytest.fixture
def shim(tmp_path):
    """What is preloaded so that ALSA fails, and the file that says how."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to build the shim with")
    library, switch = tmp_path / "alsa_faults.so", tmp_path / "fault"
    source = Path(__file__).with_name("alsa_faults.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    switch.write_text("")
    return {"LD_PRELOAD": f"{library} libasound.so.2", "ALSA_FAULT_FILE": str(switch)}, switch


@pytest.mark.long
def test_m7_unplugged_as_usb_is(microphone, start, shim):
    preloaded, switch = shim
    listening = start({**microphone.environment, **preloaded})
    before, lost = lose(listening, lambda: switch.write_text("n"))
    _, found = find(listening, before, lambda: switch.write_text(""))
    measured("lost", lost)
    measured("found", found)


def test_m8_an_overrun_is_survived(microphone, start, shim):
    preloaded, switch = shim
    listening = start({**microphone.environment, **preloaded})
    before = listening.until(hears_loud, STARTING)
    switch.write_text("x")
    assert waits_until(lambda: not switch.read_text(), 5.0), "nobody looked for samples"
    after = listening.until(lambda said: is_estimate(said) and said["sequence"] >= before["sequence"] + 10, 10.0)
    assert after["peak"] > BETWEEN


@pytest.mark.long
def test_m9_capture_process_stalls(microphone, start):
    listening = start(microphone.environment)
    frozen = []

    def stall():
        frozen.append(listening.capture)
        subprocess.run(["kill", "-STOP", str(frozen[0])], check=True)

    before, lost = lose(listening, stall)
    assert waits_until(lambda: not Path(f"/proc/{frozen[0]}").exists(), 5.0), "the stalled process was left behind"
    _, found = find(listening, before, lambda: None)
    measured("lost", lost)
    measured("found", found)


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
