"""The process of the microphone: writes samples from PyAudio to stdout.

A read of PortAudio may never return after the sound server ends; then this process is
killed. It is started by path and imports nothing of headnod, so that it stays small. Its
first line of output is a JSON object with the opened device, or an error; little-endian
16-bit samples follow.

    python capture.py list
    python capture.py read NAME SECONDS RATE...

SECONDS is the duration of a block: with longer blocks, the processor sleeps longer.
"""

import contextlib
import ctypes
import errno
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
_LEAST_RATE = 16_000
_MOST_CHANNELS = 8
_ABSENT = "absent"
_DEVICES = Path("/dev/snd")
_CLOSED = {errno.EBUSY, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOSPC, errno.EPROTO, errno.ETIMEDOUT}
"""Errors of devices that are there."""
_CAPTURE_STREAM, _NONBLOCK, _MOST_HINTS = 1, 1, 1_000


def main(words: list[str]) -> int:
    """Run a command line; see the docstring of the module. Returns the exit status."""
    # A process that hangs in PortAudio must end with its parent.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        import pyaudio  # noqa: PLC0415 - its absence is reported as an error
    except ImportError:
        return _answer(error="PyAudio is not installed", extra="device")
    with os.fdopen(os.memfd_create("stderr"), "rb") as written:
        try:
            with _quiet_stderr(written.fileno()):
                audio = pyaudio.PyAudio()
        except OSError as error:
            written.seek(0)
            return _answer(error=_why_no_sound_system(written.read().decode(errors="replace"), error))
    if words[0] == "list":
        devices = _inputs(audio)
        with _quiet_stderr():
            closed = [*_closed_cards(devices), *_closed_pcms(devices)]
        return _answer(devices=devices, **({"closed": closed} if closed else {}))
    return _read(pyaudio, audio, words[1], float(words[2]), [int(rate) for rate in words[3:]])


def _why_no_sound_system(written: str, error: OSError) -> str:
    """The reason for an error of PortAudio's start, from what ALSA wrote to stderr."""
    broken = re.search(r"\) (/.+) may be old or corrupted", written)
    if broken is None:
        return f"the sound system cannot be used: {error.args[-1]} (see /etc/asound.conf and ~/.asoundrc)"
    place = re.search(r"\) (?:_toplevel_)?:(\d+):\d+:(.+)", written)
    reason = f": line {place[1]}: {place[2]}" if place else ""
    return f"{broken[1]} cannot be read by ALSA{reason} (correct it, or move it away)"


def _inputs(audio: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - pyaudio has no types
    found = (audio.get_device_info_by_index(index) for index in range(audio.get_device_count()))
    return [
        {
            "index": device["index"],
            "name": device["name"],
            "rate": int(device["defaultSampleRate"]),
            "channels": device["maxInputChannels"],
        }
        for device in found
        if device["maxInputChannels"] > 0
    ]


def _closed_cards(listed: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Inputs of sound cards that are not in the list of PortAudio because it could not open them."""
    for node in sorted(_DEVICES.glob("pcmC*D*c")):
        card, _, device = node.name.removeprefix("pcmC").removesuffix("c").partition("D")
        if any(f"(hw:{card},{device})" in each["name"] for each in listed):
            continue
        try:
            os.close(os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as error:
            if error.errno in _CLOSED:
                yield {"name": f"(hw:{card},{device})", "errno": error.errno}


def _closed_pcms(listed: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Inputs of the ALSA configuration that are missing for the same reason."""
    try:
        alsa = ctypes.CDLL("libasound.so.2")
    except OSError:
        return
    alsa.snd_device_name_get_hint.restype = ctypes.c_void_p
    hints = ctypes.POINTER(ctypes.c_void_p)()
    if alsa.snd_device_name_hint(-1, b"pcm", ctypes.byref(hints)) < 0:
        return
    known = {each["name"] for each in listed}
    for place in range(_MOST_HINTS):
        if not hints[place]:
            return
        name = _hint(alsa, hints[place], b"NAME")
        # Names with a colon refer to the cards, which were checked before.
        if not name or ":" in name or name in known or _hint(alsa, hints[place], b"IOID") == "Output":
            continue
        opened = ctypes.c_void_p()
        failed = alsa.snd_pcm_open(ctypes.byref(opened), name.encode(), _CAPTURE_STREAM, _NONBLOCK)
        if failed >= 0:
            alsa.snd_pcm_close(opened)
        elif -failed in _CLOSED:
            yield {"name": name, "errno": -failed}


def _hint(alsa: Any, hint: int, key: bytes) -> str:  # noqa: ANN401 - ctypes has no types
    given = alsa.snd_device_name_get_hint(ctypes.c_void_p(hint), key)
    return (ctypes.string_at(given) if given else b"").decode(errors="replace")


def _read(pyaudio: Any, audio: Any, name: str, seconds: float, rates: list[int]) -> int:  # noqa: ANN401
    """Open an input by name and write its samples."""
    devices = _inputs(audio)
    chosen = next((device for device in devices if device["name"] == name), None)
    if chosen is None:
        return _answer(error=_ABSENT)
    reason = "no sample rate suits it"
    # Lower rates lack the frequencies above 8 kHz, which genres need.
    for rate in (rate for rate in [chosen["rate"], *rates] if rate >= _LEAST_RATE):
        frames = round(seconds * rate)
        for channels in _channel_counts(chosen):
            try:
                with _quiet_stderr():
                    stream = audio.open(
                        format=pyaudio.paInt16,
                        channels=channels,
                        rate=rate,
                        input=True,
                        input_device_index=chosen["index"],
                        frames_per_buffer=frames,
                    )
            except (OSError, ValueError) as error:
                reason = str(error.args[-1] if error.args else error)
                continue
            _answer(device=chosen["name"], rate=rate, channels=channels)
            with _quiet_stderr():
                _pump(stream, frames)
    return _answer(error=reason)


def _channel_counts(device: dict[str, Any]) -> list[int]:
    # All channels of a sound card, because any may have the sound. A sound server offers more than exist.
    offered = device["channels"] if "(hw:" in device["name"] else min(device["channels"], 2)
    return sorted({min(offered, count) for count in (_MOST_CHANNELS, 2, 1)}, reverse=True)


def _pump(stream: Any, frames: int) -> NoReturn:  # noqa: ANN401
    with contextlib.suppress(OSError):
        while True:
            samples = memoryview(stream.read(frames, exception_on_overflow=False))
            while samples:
                samples = samples[os.write(1, samples) :]
    # Closing a broken stream may hang or crash, and is not necessary.
    os._exit(1)


def _answer(**content: object) -> int:
    os.write(1, json.dumps(content).encode() + b"\n")
    return 1 if "error" in content else 0


@contextlib.contextmanager
def _quiet_stderr(instead: int | None = None) -> Iterator[None]:
    # ALSA and JACK print some 65 lines about other devices.
    saved, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing if instead is None else instead, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nothing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
