"""What stands in for PyAudio: hardware that the environment variable STAND_IN describes, as JSON.

A device has a `name`, a `rate` that it prefers and the number of its `channels`;
it `takes` certain rates and `opens` with certain numbers of channels, or fails
with an `error`, and breaks after so many `blocks`, or `hangs` at the first. Each frame is its own number.
"""

import json
import os
import signal
import struct

paInt16 = 8  # noqa: N816 - PyAudio's own name


class PyAudio:
    def __init__(self):
        # What ALSA and JACK print at every start, below Python.
        os.write(2, b"ALSA lib pcm.c:2664:(snd_pcm_open_noupdate) Unknown PCM cards.pcm.rear\n" * 30)
        self._devices = json.loads(os.environ["STAND_IN"])

    def get_device_count(self):
        return len(self._devices)

    def get_device_info_by_index(self, index):
        device = self._devices[index]
        return {
            "index": index,
            "name": device["name"],
            "defaultSampleRate": float(device["rate"]),
            "maxInputChannels": device["channels"],
        }

    def open(self, *, format, channels, rate, input, input_device_index, frames_per_buffer):  # noqa: A002
        assert (format, input) == (paInt16, True)
        device = self._devices[input_device_index]
        if "error" in device:
            raise OSError(-9985, device["error"])
        if rate not in device["takes"]:
            raise OSError(-9997, "Invalid sample rate")
        if channels not in device.get("opens", [1, 2]):
            raise OSError(-9998, "Invalid number of channels")
        assert 0 < frames_per_buffer <= rate
        return _Stream(channels, device.get("blocks", 4), hangs=device.get("hangs", False))


class _Stream:
    def __init__(self, channels, blocks, *, hangs):
        self._hangs = hangs
        self._channels, self._blocks, self._count = channels, blocks, 0

    def read(self, frames, *, exception_on_overflow):
        assert not exception_on_overflow
        if self._hangs:
            signal.pause()
        if not self._blocks:
            raise OSError(-9999, "Unanticipated host error")
        self._blocks -= 1
        numbers = [number % 1_000 for number in range(self._count, self._count + frames)]
        self._count += frames
        return struct.pack(f"<{frames * self._channels}h", *(each for each in numbers for _ in range(self._channels)))
