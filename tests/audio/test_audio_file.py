"""Files of any kind are heard alike; damaged ones are refused in one line."""

import contextlib
import os
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headnod.audio.audio_file import audio_file, header_duration, quiet_mpg123
from headnod.audio.containers import READABLE, mp3_frame
from headnod.errors import AudioError
from headnod.features.frontend import FrontEnd
from support.command_line import PATIENCE
from support.signals import FLOAT, RATE, music, wav

SONG = music(3.0)
SONG_16 = (SONG * 32767).astype("<i2").tobytes()


def heard(path, rate=RATE):
    with audio_file(path, rate) as blocks:
        return np.concatenate([np.zeros(0, np.float32), *blocks])


def refusal(path):
    with pytest.raises(AudioError) as caught:
        heard(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1
    return message.removeprefix(f"{path}: ")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "song.wav"


@pytest.mark.parametrize(
    ("name", "subtype", "worst"),
    [
        ("song.wav", "PCM_U8", 1 / 127),
        ("song.wav", "PCM_16", 1 / 32767),
        ("song.wav", "PCM_24", 1e-6),
        ("song.wav", "PCM_32", 1e-6),
        ("song.wav", "FLOAT", 0.0),
        ("song.wav", "DOUBLE", 0.0),
        ("song.flac", "PCM_16", 1 / 32767),
        ("song.flac", "PCM_24", 1e-6),
        ("song.aiff", "PCM_16", 1 / 32767),
    ],
)
def test_every_width_gives_the_samples_that_were_written(tmp_path, name, subtype, worst):
    soundfile.write(tmp_path / name, SONG, RATE, subtype=subtype)
    found = heard(tmp_path / name)
    assert found.dtype == np.float32
    assert found.size == SONG.size
    assert np.abs(found - SONG).max() <= worst


@pytest.mark.parametrize(
    ("container", "subtype", "rate"),
    [("OGG", "VORBIS", RATE), ("OGG", "OPUS", 48_000), ("MP3", "MPEG_LAYER_III", RATE)],
)
def test_lossy_files_sound_alike(path, container, subtype, rate):
    soundfile.write(path, music(3.0, rate=rate), rate, format=container, subtype=subtype)
    found = heard(path)
    soundfile.write(path, music(3.0, rate=rate), rate, format="WAV", subtype="FLOAT")
    meant = heard(path)
    assert abs(found.size - meant.size) < 0.1 * RATE
    front_end = FrontEnd(f_max=5_000.0)
    ours, theirs = (front_end.log_mel(audio)[:36].ravel() for audio in (found, meant))
    assert np.corrcoef(ours, theirs)[0, 1] > 0.93


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000])
def test_a_file_of_any_rate_keeps_its_length_and_its_tone(path, rate):
    tone = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(2 * rate) / rate)
    soundfile.write(path, tone, rate, subtype="FLOAT")
    found = heard(path)
    assert abs(found.size - 2 * RATE) <= 1
    meant = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(found.size) / RATE)
    assert np.abs(found - meant)[2_000:-2_000].max() < 1e-4


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_channels_are_averaged(path, channels):
    frames = np.stack([SONG * (number + 1) / channels for number in range(channels)], axis=1)
    soundfile.write(path, frames, RATE, subtype="FLOAT")
    assert np.allclose(heard(path), SONG * (channels + 1) / (2 * channels), atol=1e-6)


@pytest.mark.parametrize("pair", [(SONG, -SONG), (0.0 * SONG, SONG), (SONG, 0.0 * SONG)])
def test_sound_on_one_channel_and_channels_that_cancel_are_heard(path, pair):
    soundfile.write(path, np.stack(pair, axis=1), RATE, subtype="FLOAT")
    assert np.array_equal(np.abs(heard(path)), np.abs(SONG))


@pytest.mark.parametrize("constant", [0.03, -0.3])
def test_a_constant_is_taken_away(path, constant):
    soundfile.write(path, 0.1 * SONG + constant, RATE, subtype="FLOAT")
    found = heard(path)
    assert abs(found[RATE:].mean()) < 0.002
    assert np.corrcoef(found, SONG)[0, 1] > 0.999


@pytest.mark.parametrize(("share", "kept"), [(0.9, True), (1.1, False)])
def test_a_mean_that_may_be_the_bass_of_the_music_stays(path, share, kept):
    song = SONG - SONG[:16_384].mean()
    shifted = (song + share * 0.1 * song[:16_384].std()).astype(np.float32)
    soundfile.write(path, shifted[:16_384], RATE, subtype="FLOAT")
    assert np.array_equal(heard(path), shifted[:16_384]) == kept


def test_a_file_is_decoded_as_it_is_asked_for(path):
    soundfile.write(path, np.zeros(100 * RATE), RATE)
    with audio_file(path, RATE) as blocks:
        assert next(blocks).size <= RATE


def test_a_file_is_closed_when_nobody_wants_more(path):
    # An open file would raise ResourceWarning, and here warnings are errors.
    soundfile.write(path, SONG, RATE)
    with audio_file(path, RATE) as blocks:
        next(blocks)


def test_the_ending_of_a_name_does_not_matter(tmp_path):
    soundfile.write(tmp_path / "song.flac", SONG, RATE)
    (tmp_path / "song.wav").write_bytes((tmp_path / "song.flac").read_bytes())
    assert heard(tmp_path / "song.wav").size == SONG.size


def test_an_absent_file_is_named(path):
    assert refusal(path) == "no such file or directory"


def test_a_folder_is_named(tmp_path):
    assert refusal(tmp_path) == "is a directory"


def test_an_empty_file_is_named(path):
    path.write_bytes(b"")
    assert "is empty" in refusal(path)


@pytest.mark.parametrize(
    "content", [b"this is no music\n", b"RIFF", b"fLaC", b"OggS", b"ID3", b"\0" * 5_000, "jäzz".encode() * 999]
)
def test_a_text_called_wav_is_no_audio(path, content):
    path.write_bytes(content)
    assert READABLE in refusal(path)


def test_a_wav_without_a_channel_is_refused(path):
    path.write_bytes(wav(SONG_16, channels=0))
    refusal(path)


def test_a_wav_of_a_thousand_channels_is_refused(path):
    path.write_bytes(wav(SONG_16, channels=1_000))
    refusal(path)


@pytest.mark.parametrize("rate", [0, 1, 999, 768_001, 2**31 - 1, 2**32 - 1])
def test_a_rate_that_no_audio_has_is_refused(path, rate):
    path.write_bytes(wav(SONG_16, rate=rate))
    refusal(path)


@pytest.mark.parametrize("more", [b"", b"LIST\x04\0\0\0INFO", b"id3 \x02\0\0\0ab"])
def test_a_wav_of_no_samples_gives_none(path, more):
    path.write_bytes(wav(b"") + more)
    assert heard(path).size == 0


def test_a_wav_whose_recorder_was_interrupted_before_it_wrote_the_length_is_read_to_its_end(path):
    path.write_bytes(wav(SONG_16, promised=0))
    assert np.allclose(heard(path), SONG, atol=2 / 32767)
    assert header_duration(path) == pytest.approx(SONG.size / RATE)


def test_samples_that_are_no_numbers_are_refused(path):
    frames = SONG.copy()
    frames[5_000] = np.nan
    path.write_bytes(wav(frames.tobytes(), bits=32, kind=FLOAT))
    assert "holds samples that are no numbers" in refusal(path)


def test_a_wav_cut_short_is_refused_after_what_there_is(path):
    path.write_bytes(wav(SONG_16[: len(SONG_16) // 2], promised=len(SONG_16)))
    # libsndfile believes the file's size and not the header, as every player does.
    assert heard(path).size == SONG.size // 2


@pytest.mark.parametrize(
    ("extension", "complaint"), [("flac", "is damaged after"), ("mp3", r"ends after .* of 20\.0 s")]
)
def test_a_truncated_file_gives_what_there_is_and_then_an_error(tmp_path, extension, complaint):
    path = tmp_path / f"song.{extension}"
    soundfile.write(path, music(20.0), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    came = []

    def hear():
        with audio_file(path, RATE) as blocks:
            came.extend(blocks)

    with pytest.raises(AudioError, match=rf"song\.{extension}: {complaint}"):
        hear()
    assert sum(block.size for block in came) > 5 * RATE


@settings(
    max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(data=st.data())
def test_no_damage_to_a_header_escapes_as_another_error(path, data):
    content = bytearray(wav(SONG_16[:40_000]))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, 47))
        content[place] = data.draw(st.integers(0, 255))
    kept = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    path.write_bytes(bytes(content[:kept]))
    began = time.process_time()
    try:
        found = heard(path)
    except AudioError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - most examples raise, some need not
    else:
        assert np.isfinite(found).all()
        assert found.size < 40 * len(content)
    # Of the processor, which a busy machine does not shorten.
    assert time.process_time() - began < 1.0


def coded(path, audio, rate=44_100, *, codec):
    """A file that PyAV writes."""
    av = pytest.importorskip("av", reason="PyAV is not installed: scripts/setup formats")
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=rate, layout="stereo")
        samples = np.ascontiguousarray(np.stack([soxr.resample(audio, RATE, rate)] * 2), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate = rate
        stream.bit_rate = 128_000
        fifo = av.AudioFifo()
        resampler = av.AudioResampler(format=stream.format, layout="stereo", rate=rate)
        for even in resampler.resample(frame):
            fifo.write(even)
        size = stream.codec_context.frame_size or 1_024
        while part := fifo.read(size, partial=True):
            part.pts = None
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return path


HUSHED = np.concatenate([np.zeros(3 * RATE, np.float32), music(9.0)])


def without_header(path, audio):
    """An MP3 of variable bit rate whose first frame, which has the length, is taken away."""
    soundfile.write(path, audio, RATE, format="MP3", bitrate_mode="VARIABLE")
    content = path.read_bytes()
    assert b"Xing" in content[:200]
    path.write_bytes(content[mp3_frame(content, 0) :])
    return path


@pytest.mark.parametrize("audio", [HUSHED, HUSHED[::-1].copy()], ids=["begins quietly", "ends quietly"])
def test_an_mp3_that_promises_no_length_is_decoded_to_its_end(tmp_path, audio):
    path = without_header(tmp_path / "song.mp3", audio)
    assert heard(path).size / RATE == pytest.approx(12.0, abs=0.2)
    assert header_duration(path) is None


def test_an_mp3_with_a_header_promises_its_length(tmp_path):
    soundfile.write(tmp_path / "song.mp3", HUSHED, RATE, format="MP3", bitrate_mode="VARIABLE")
    assert header_duration(tmp_path / "song.mp3") == pytest.approx(12.0, abs=0.1)


def test_an_mp3_that_begins_amid_a_frame_is_read(tmp_path):
    path = without_header(tmp_path / "song.mp3", HUSHED)
    path.write_bytes(path.read_bytes()[1_000:])
    (tmp_path / "song").write_bytes(path.read_bytes())
    assert 10.5 < heard(tmp_path / "song").size / RATE < 12.0


def test_joined_mp3s_are_decoded_one_after_the_other(tmp_path):
    soundfile.write(tmp_path / "song.mp3", HUSHED, RATE, format="MP3", bitrate_mode="VARIABLE")
    content = (tmp_path / "song.mp3").read_bytes()
    (tmp_path / "joined.mp3").write_bytes(content + content)
    assert heard(tmp_path / "joined.mp3").size / RATE == pytest.approx(24.0, abs=0.3)


def test_libmpg123_is_quiet_and_others_are_not(tmp_path, capfd):
    path = without_header(tmp_path / "song.mp3", music(20.0))
    content = bytearray(path.read_bytes())
    for place in range(5_000, len(content) - 300, 3_000):
        content[place : place + 200] = bytes(200)
    path.write_bytes(content)
    with contextlib.suppress(AudioError):
        heard(path)
    assert capfd.readouterr().err == ""
    with quiet_mpg123():
        os.write(2, b"[src/libmpg123/layer3.c:1] error: part2_3_length\nheadnod: something else\n")
    assert capfd.readouterr().err == "headnod: something else\n"


KINDS = [("m4a", "aac"), ("aac", "aac"), ("wma", "wmav2"), ("webm", "libopus"), ("mka", "aac")]


def test_an_ogg_with_a_video_is_read_through_pyav(tmp_path):
    av = pytest.importorskip("av", reason="PyAV is not installed: scripts/setup formats")
    with av.open(str(tmp_path / "film.ogv"), "w", format="ogg") as output:
        video = output.add_stream("libvpx", rate=5)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = output.add_stream("libopus", rate=48_000, layout="mono")
        for _ in range(15):
            output.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        output.mux(video.encode(None))
        fifo = av.AudioFifo()
        samples = (soxr.resample(music(3.0), RATE, 48_000) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
        frame.sample_rate = 48_000
        fifo.write(frame)
        while part := fifo.read(960, partial=True):
            part.pts = None
            output.mux(audio.encode(part))
        output.mux(audio.encode(None))
    assert heard(tmp_path / "film.ogv").size / RATE == pytest.approx(3.0, abs=0.15)


@pytest.mark.parametrize(("extension", "codec"), KINDS)
def test_other_formats_are_read_through_pyav(tmp_path, extension, codec):
    song = music(9.0)
    path = coded(tmp_path / f"song.{extension}", song, 48_000, codec=codec)
    found = heard(path)
    assert found.size / RATE == pytest.approx(9.0, abs=0.15)
    front_end = FrontEnd(f_max=5_000.0)
    ours, theirs = (front_end.log_mel(audio)[:36].mean(axis=0) for audio in (found, song))
    assert np.corrcoef(ours, theirs)[0, 1] > 0.95


def test_damage_in_a_format_of_pyav_is_named_whatever_the_name_of_the_file(tmp_path):
    path = coded(tmp_path / "{song}.m4a", music(9.0), codec="aac")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + len(content) // 4] = np.random.default_rng(1).bytes(len(content) // 4)
    path.write_bytes(content)
    assert re.fullmatch(r"is damaged after \d\.\d s: .+ \(copy or record it again\)", refusal(path))


def test_a_playlist_that_calls_itself_m4a_opens_nothing(tmp_path):
    pytest.importorskip("av", reason="PyAV is not installed: scripts/setup formats")
    from headnod.audio.audio_file import open_foreign

    secret = coded(tmp_path / "secret.m4a", music(3.0), codec="aac")
    (tmp_path / "song.m4a").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n")
    with (tmp_path / "song.m4a").open("rb") as raw, pytest.raises(AudioError):
        open_foreign(raw, "song.m4a", "MP4 or M4A")


def test_without_pyav_the_format_and_the_way_to_it_are_named(tmp_path):
    (tmp_path / "song.m4a").write_bytes(b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(100))
    blocked = "import sys; sys.modules['av'] = None; from headnod.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", blocked, "classify", str(tmp_path / "song.m4a")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 1
    assert re.search(r"song\.m4a: is MP4 or M4A, which needs PyAV \(install it with: .*formats", ended.stderr)


@pytest.mark.parametrize("name", ["song.wav", "song.flac", "song.ogg", "song.mp3", "song.aiff"])
def test_a_pipe_is_read_as_the_file_is(tmp_path, name):
    soundfile.write(tmp_path / name, SONG, RATE)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes((tmp_path / name).read_bytes()))
    writer.start()
    found, stored = heard(pipe), heard(tmp_path / name)
    writer.join()
    assert found.size == stored.size
    assert np.abs(found - stored).max() < 1e-4


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"", "ended without any audio"), (b"this is no music\n" * 99, "is not audio that can be read")],
)
def test_a_pipe_without_audio_says_so(tmp_path, content, complaint):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(content))
    writer.start()
    assert complaint in refusal(pipe)
    writer.join()


@pytest.mark.parametrize(("rate", "channels"), [(1_000, 1), (768_000, 1), (RATE, 64)])
def test_a_wav_may_have_the_largest_and_least_rate_and_64_channels(path, rate, channels):
    path.write_bytes(wav(bytes(2 * channels * 1_000), rate=rate, channels=channels))
    assert heard(path, rate).size == 1_000
    path.write_bytes(wav(bytes(2 * 65 * 1_000), channels=65))
    assert "has 65 channels (1 to 64 can be read)" in refusal(path)


@pytest.mark.parametrize(("frames", "cut_off"), [(4, False), (5, True)])
def test_an_mp3_may_be_a_tenth_of_a_second_shorter_than_its_header_says(tmp_path, frames, cut_off):
    """Frames have 576 samples at this sample rate: 26 ms."""
    path = tmp_path / "song.mp3"
    soundfile.write(path, SONG, RATE)
    content = bytearray(path.read_bytes())
    place = content.find(b"Info") if b"Info" in content[:1_000] else content.index(b"Xing")
    # The number of frames follows after four bytes of flags.
    number = int.from_bytes(content[place + 8 : place + 12], "big")
    content[place + 8 : place + 12] = (number + frames).to_bytes(4, "big")
    path.write_bytes(content)
    if cut_off:
        assert refusal(path).startswith("ends after 3.0 s of 3.1 s (it was cut off")
    else:
        assert heard(path).size == pytest.approx(SONG.size, abs=600)


@pytest.mark.parametrize(("rate", "readable"), [(999, False), (1_000, True), (768_000, True), (768_001, False)])
def test_a_file_that_pyav_reads_has_the_same_limits(tmp_path, rate, readable):
    av = pytest.importorskip("av", reason="PyAV is not installed: scripts/setup formats")
    path = tmp_path / "song.mka"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2_000), np.int16), format="s16", layout="mono")
        frame.sample_rate = rate
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    if readable:
        assert heard(path, rate).size == 2_000
    else:
        assert refusal(path) == f"has 1 channels of {rate} Hz, which cannot be"
