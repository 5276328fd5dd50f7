"""Faults of the microphone that take its sound away, each made to happen for real: sound comes back by itself.

The microphone is a virtual one; PulseAudio, ALSA, PortAudio and the listener are the real ones. Windows are short
here, so that the tests are, too. How soon a loss is found is tested in virtual time (tests/audio/test_microphone.py);
here it is measured: `--log-cli-level=info` shows it.
"""

import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.listener_process import is_estimate, is_waiting, waits_until
from support.pulseaudio import VirtualMicrophone, missing
from support.sound_loss import BETWEEN, LOUD, SOFT, find, is_loud, lose, measured, tone

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")


def test_m1_absent_at_boot(tmp_path, start):
    microphone = VirtualMicrophone(tmp_path / "sound")
    listening = start(microphone.environment)
    waiting = listening.until(is_waiting)
    assert "microphone" in waiting["message"]
    try:
        microphone.start()
        began = time.monotonic()
        first = listening.until(is_estimate)
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
        assert waits_until(lambda: "pipe_write" in Path(f"/proc/{capture}/wchan").read_text())
        microphone.kill_server()
        listening.send(signal.SIGCONT)

    if not Path("/proc/self/wchan").exists():
        pytest.skip("this kernel does not tell what a process waits in")
    before = listening.until(is_loud)
    kill()
    began = time.monotonic()
    said = listening.everything_until(is_waiting)
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
        listening.until(lambda said: is_estimate(said) and said["peak"] > SOFT - 3)
        microphone.unplug()
        microphone.play(tone(tmp_path, LOUD), "auto_null")
        said = listening.everything_until(is_waiting)
        said += listening.everything_until(is_waiting)
        assert not [each for each in said if is_estimate(each) and each["peak"] > BETWEEN]
        microphone.mute()
        microphone.plug()
        microphone.play(tone(tmp_path, SOFT))
        heard = listening.until(lambda said: is_estimate(said) and said["peak"] > SOFT - 3)
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
    before = listening.until(is_loud)
    switch.write_text("x")
    assert waits_until(lambda: not switch.read_text()), "nobody looked for samples"
    after = listening.until(lambda said: is_estimate(said) and said["sequence"] >= before["sequence"] + 10)
    assert after["peak"] > BETWEEN


@pytest.mark.long
def test_m9_capture_process_stalls(microphone, start):
    listening = start(microphone.environment)
    frozen = []

    def stall():
        frozen.append(listening.capture)
        subprocess.run(["kill", "-STOP", str(frozen[0])], check=True)

    before, lost = lose(listening, stall)
    assert waits_until(lambda: not Path(f"/proc/{frozen[0]}").exists()), "the stalled process was left behind"
    _, found = find(listening, before, lambda: None)
    measured("lost", lost)
    measured("found", found)
