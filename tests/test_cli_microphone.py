"""The microphone, from the air to the line: it names what the file names."""

import logging

import numpy as np
import pytest
import soundfile

from headnod.shipped import demo_clip
from listening import STARTING, Listening, is_estimate
from program import run, said, surroundings
from signals import RATE
from virtual_microphone import NAME, VirtualMicrophone, missing

pytest.importorskip("pyaudio", reason="PyAudio is not installed: pip install 'headnod[device]'")
pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")

SECONDS = 12
WINDOW = 2.96


@pytest.fixture
def microphone(tmp_path):
    made = VirtualMicrophone(tmp_path / "sound")
    try:
        yield made.start()
    finally:
        made.close()


def test_the_microphone_and_the_file_give_the_same_genres(microphone, demo, tmp_path):
    song = demo[: SECONDS * RATE]
    soundfile.write(tmp_path / "song.wav", song, RATE)
    words = ("--audio", "mic", "--device", NAME, "--every", "1")
    with Listening(*words, environment=microphone.environment, log=tmp_path / "log") as listening:
        listening.until(is_estimate, STARTING)
        microphone.play(tmp_path / "song.wav")
        loud = listening.until(lambda each: is_estimate(each) and each["level"] > -30, STARTING)
        ends = loud["seconds"] + SECONDS
        heard = listening.everything_until(lambda each: each["seconds"] > ends, 2 * SECONDS)
    heard = [each for each in heard if loud["seconds"] + WINDOW < each["seconds"] < ends - WINDOW]
    stored = said(
        run("listen", "--audio", tmp_path / "song.wav", "--every", "1", "--json", environment=surroundings(tmp_path))
    )
    assert len(heard) >= 5
    assert all(is_estimate(each) for each in heard)
    assert {each["genre"] for each in heard} == {each["genre"] for each in stored} == {"metal"}
    assert all(each["dropped"] == 0.0 for each in heard)
    scores = [np.mean([list(each["scores"].values()) for each in said], axis=0) for said in (heard, stored)]
    logging.getLogger(__name__).info("scores differ by %.3f at most", np.abs(scores[0] - scores[1]).max())
    assert np.abs(scores[0] - scores[1]).max() < 0.1


def test_without_a_microphone_the_demo_clip_plays_and_says_so(tmp_path):
    words = ("listen", "--device", "usb:none", "--json", "--pace", "fast")
    ended = run(*words, environment=surroundings(tmp_path))
    assert ended.returncode == 0
    assert ended.stderr.count("\n") == 1
    assert "the demo clip plays instead" in ended.stderr
    assert [each["genre"] for each in said(ended)] == ["metal"] * 9
    assert demo_clip().is_file()
