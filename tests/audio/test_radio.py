"""Web radios from a real server: what plays, what is lost, and how it ends."""

import itertools
import json
import random
import re
import signal
import subprocess
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from headnod.audio.audio_process import RadioLimits, open_radio, radio_blocks
from headnod.audio.blocks import Gap, real_time
from headnod.pipeline.estimate import State
from headnod.testing import ManualClock
from support.command_line import HEADNOD, PATIENCE, PROMPT, fault, run, surroundings
from support.radio_server import answer, radio_server, redirect
from support.signals import RATE, pitch, tone

LOW, HIGH = 440.0, 1_760.0
PATIENT = RadioLimits(opening=PATIENCE, answer=PATIENCE, silent=PATIENCE)


@pytest.fixture
def server():
    with radio_server() as running:
        yield running


class Waits(list):
    """Seconds that were asked for, none of which pass."""

    def __call__(self, seconds):
        self.append(seconds)


def blocks(address, count=10_000, *, limits=PATIENT, waits=None):
    """The first so many blocks and holes, up to and with the first hole after sound."""
    found = []
    sleep = Waits() if waits is None else waits
    with closing(radio_blocks(address, RATE, limits=limits, rng=random.Random(0), sleep=sleep)) as coming:
        for block in itertools.islice(coming, count):
            found.append(block)
            if isinstance(block, Gap) and any(not isinstance(each, Gap) for each in found[:-1]):
                break
    return found


def sound(found):
    return np.concatenate([np.zeros(0, np.float32), *(block for block in found if not isinstance(block, Gap))])


def reasons(found):
    return [block.message for block in found if isinstance(block, Gap)]


@pytest.mark.parametrize("kind", ["MP3", "OGG", "FLAC", "WAV"])
def test_a_stream_is_played(server, kind):
    address = server.on("/live", answer(tone(LOW, 6.0, kind), kind="application/octet-stream"))
    found = blocks(address)
    assert sound(found).size / RATE == pytest.approx(6.0, abs=0.2)
    assert pitch(sound(found)) == pytest.approx(LOW, abs=2.0)
    assert reasons(found) == [f"{address}: the stream ended"]
    assert {block.state for block in found if isinstance(block, Gap)} == {State.WAITING}


def test_the_end_of_a_radio_that_replaces_a_microphone_is_reported(server):
    song = tone(LOW, 2.0, "WAV")
    address = server.on("/live", answer(song, kind="audio/wav", head=f"Content-Length: {len(song)}\r\n"))
    with open_radio(address, PATIENT) as capture:
        while capture.read(PATIENCE):
            pass
        assert capture.end_reason == f"{address}: the stream ended"


@pytest.mark.parametrize(("codec", "form"), [("aac", "adts"), ("libopus", "webm")])
def test_a_stream_that_only_pyav_reads_is_played(server, tmp_path, codec, form):
    av = pytest.importorskip("av", reason="PyAV is not installed: scripts/setup formats")
    with av.open(str(tmp_path / "song"), "w", format=form) as output, av.open(_written(tmp_path)) as song:
        stream = output.add_stream(codec, rate=48_000, layout="mono")
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=48_000, frame_size=960)
        for frame in song.decode(audio=0):
            for even in resampler.resample(frame):
                output.mux(stream.encode(even))
        output.mux(stream.encode(None))
    content = (tmp_path / "song").read_bytes()
    if form == "adts":
        # As a radio is joined: amid a frame.
        content = content[100:]
    found = blocks(server.on("/live", answer(content, kind="audio/aac")))
    assert sound(found).size / RATE == pytest.approx(6.0, abs=0.3)
    assert pitch(sound(found)[RATE:]) == pytest.approx(LOW, abs=2.0)


def _written(folder: Path) -> str:
    (folder / "song.wav").write_bytes(tone(LOW, 6.0, "WAV"))
    return str(folder / "song.wav")


def test_an_mp3_stream_that_is_joined_amid_a_frame_is_played(server):
    found = blocks(server.on("/live", answer(tone(LOW, 6.0)[1_000:])))
    assert sound(found).size / RATE > 5.0


def test_each_song_of_an_icecast_stream_is_played(server):
    songs = tone(LOW, 3.0, "OGG") + tone(HIGH, 3.0, "OGG", rate=32_000)
    found = sound(blocks(server.on("/live", answer(songs, kind="application/ogg"))))
    assert pitch(found[: 2 * RATE]) == pytest.approx(LOW, abs=2.0)
    assert pitch(found[-2 * RATE :]) == pytest.approx(HIGH, abs=2.0)


def test_a_lost_connection_is_a_gap_and_then_the_stream_goes_on(server):
    low = answer(tone(LOW, 8.0))
    address = server.on("/live", low[: len(low) // 2], answer(tone(HIGH, 4.0)))
    waits = Waits()
    with closing(radio_blocks(address, RATE, limits=PATIENT, rng=random.Random(0), sleep=waits)) as coming:
        found = list(itertools.takewhile(lambda block: not isinstance(block, Gap), coming))
        again = list(itertools.takewhile(lambda block: not isinstance(block, Gap), _after_holes(coming)))
    assert sound(found).size / RATE == pytest.approx(4.0, abs=0.5)
    assert pitch(sound(found)) == pytest.approx(LOW, abs=2.0)
    assert pitch(sound(again)) == pytest.approx(HIGH, abs=2.0)
    assert 1.0 <= sum(waits) <= 1.3


def _after_holes(coming):
    first = next(block for block in coming if not isinstance(block, Gap))
    return itertools.chain([first], coming)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (answer(status="404 Not Found"), "the server answers 404 Not Found"),
        (answer(b"<html>", kind="text/html"), "is a web page"),
        (answer(b"no music at all\n" * 9_000), "is not audio that can be read"),
        (answer(b'{"error": "not in your country"}', kind="application/json"), "the server sends application/json ("),
        (answer(b"<playlist/>" * 9_000, kind="application/xspf+xml"), "the server sends application/xspf+xml ("),
        (redirect("/live"), "more than 5 redirects"),
        (redirect("file:///etc/passwd"), "only http:// and https:// can be played"),
    ],
)
def test_what_is_no_stream_is_reported_and_asked_for_again_after_ten_seconds(server, sent, told):
    waits = Waits()
    found = blocks(server.on("/live", sent), 10, waits=waits)
    assert told in reasons(found)[0]
    assert len(set(reasons(found))) == 1
    # A hole each second, for 10 to 12 s.
    assert set(waits) == {1.0}


def test_an_answer_that_stalls_is_given_up(server):
    address = server.on("/live", answer(), stalled=True)
    assert reasons(blocks(address, 1, limits=RadioLimits(answer=1.0))) == [f"{address}: no answer"]
    assert "did not open" in reasons(blocks(address, 1, limits=RadioLimits(opening=0.5)))[0]


def test_sound_that_stops_without_an_end_is_given_up(server):
    address = server.on("/live", answer(tone(LOW, 6.0)), stalled=True)
    found = blocks(address, limits=RadioLimits(answer=PATIENCE, silent=3.0))
    assert reasons(found) == [f"{address}: no sound came for 3 s"]
    assert sound(found).size / RATE > 4.0


def test_a_file_is_held_back_to_the_pace_of_music(server):
    waits = Waits()
    address = server.on("/song.mp3", answer(tone(LOW, 60.0)))
    limits = RadioLimits(opening=PATIENCE, answer=PATIENCE)
    with closing(radio_blocks(address, RATE, limits=limits, monotonic=lambda: 0.0, sleep=waits)) as coming:
        list(itertools.takewhile(lambda block: not isinstance(block, Gap), coming))
    # With a clock that stands still the last block waits for its end, less the lead.
    assert max(waits) == pytest.approx(30.0, abs=1.5)


def test_sound_within_the_lead_is_not_held_back():
    waits = Waits()
    second = np.zeros(RATE, np.float32)
    list(real_time([second] * 4, RATE, monotonic=lambda: 0.0, sleep=waits, lead=3.0))
    assert waits == [0.0, 0.0, 0.0, 1.0]


def test_a_login_is_on_no_command_line_but_the_persons_own(server):
    address = server.on("/live", answer(tone(LOW, 6.0)), stalled=True).replace("://", "://me:secret@")
    with closing(radio_blocks(address, RATE, limits=PATIENT, sleep=Waits())) as coming:
        assert not isinstance(next(coming), Gap)
        lines = [_text(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert any("headnod.audio.decoder" in line for line in lines)
    assert not [line for line in lines if "headnod.audio.decoder" in line and "secret" in line]


def _text(path):
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def test_listen_plays_a_radio_and_says_when_it_ends(server, tmp_path):
    address = server.on("/live", answer(tone(LOW, 9.0))).replace("://", "://me:secret@")
    with _listening(address, tmp_path) as listener:
        try:
            lines = list(itertools.takewhile(lambda line: "the stream ended" not in line, listener.stdout))
            listener.send_signal(signal.SIGINT)
            rest, _ = listener.communicate(timeout=PATIENCE)
        finally:
            listener.kill()
    assert sum("dBFS" in line for line in lines) >= 2
    assert "secret" not in "".join([*lines, rest])


def _listening(address, folder):
    command = [*HEADNOD, "listen", "--audio", address, "--plain"]
    environment = surroundings(folder)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", ["connecting", "waiting"])
def test_a_listener_ends_at_once_while_there_is_no_stream(server, tmp_path, when, number):
    sent = b"" if when == "connecting" else answer(status="404 Not Found")
    address = server.on("/live", sent, stalled=when == "connecting")
    with _listening(address, tmp_path) as listener:
        try:
            assert server.asked.wait(PATIENCE)
            if when == "waiting":
                assert "404" in listener.stdout.readline()
            listener.send_signal(number)
            listener.wait(PROMPT)
        finally:
            listener.kill()


def test_the_command_of_the_readme_plays_a_radio(server, tmp_path):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    words = re.search(r"headnod (listen --audio http\S+)", readme)[1].split()
    server.on("/live.mp3", answer(tone(LOW, 9.0)))
    words[-1] = words[-1].replace("http://radio.example:8000", server.url)
    command = [*HEADNOD, *words, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=surroundings(tmp_path), text=True) as listener:
        try:
            assert json.loads(listener.stdout.readline())["genre"]
        finally:
            listener.kill()


@pytest.mark.parametrize("address", ["rtmp://x.example/", "file:///etc/passwd", "http://"])
def test_listen_refuses_what_is_no_web_address(tmp_path, address):
    assert "http://" in fault(run("listen", "--audio", address, environment=surroundings(tmp_path)))


@pytest.mark.parametrize(("seconds", "least", "most"), [(60.0, 2.0, 2.4), (60.1, 1.0, 1.2)])
def test_a_stream_that_was_played_for_more_than_a_minute_is_soon_asked_for_again(server, seconds, least, most):
    address = server.on("/live", answer(tone(LOW, 3.0)))
    clock, waits = ManualClock(), Waits()
    with closing(
        radio_blocks(address, RATE, limits=PATIENT, rng=random.Random(0), monotonic=clock.monotonic, sleep=waits)
    ) as coming:
        list(itertools.takewhile(lambda block: not isinstance(block, Gap), coming))
        next(block for block in coming if not isinstance(block, Gap))
        clock.seconds += seconds
        waits.clear()
        list(itertools.takewhile(lambda block: not isinstance(block, Gap), coming))
        next(block for block in coming if not isinstance(block, Gap))
    assert least <= sum(waits) <= most
