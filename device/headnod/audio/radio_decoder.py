"""The process of a web radio: fetches and decodes it, and writes raw samples to stdout, as `decoder` does.

    python -m headnod.audio.radio_decoder

A JSON object on stdin gives the address and the seconds that each step of the connection may take.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from headnod.audio import http_stream
from headnod.audio.containers import FOREIGN, kind_of
from headnod.audio.decoder import open_stream, run
from headnod.audio.decoding import open_foreign
from headnod.audio.forward import head_of, preceded
from headnod.audio.http_stream import HttpStream
from headnod.audio.sound import Sound
from headnod.audio.web_address import RefusedError
from headnod.errors import AudioError


def radio_sound(address: str, timeout: float) -> Sound:
    """Connect to a web radio and begin to decode it.

    Args:
        address: Its address, of http or https.
        timeout: Seconds that each step of the connection may take.

    Raises:
        RefusedError: The server refuses it, or what it gives is not audio.
        AudioError: The server cannot be reached.
    """
    stream = http_stream.open_stream(address, timeout)
    begins = head_of(stream.read)
    kind, read = kind_of(begins), preceded(begins, stream.read)
    try:
        if kind in FOREIGN or (kind is None and "aac" in stream.content_type):
            sound = open_foreign(SimpleNamespace(read=read), stream.name, kind or "AAC")
        else:
            sound = open_stream(read, kind, stream.name)
    except AudioError as error:
        if stream.failure or not begins:
            message = f"{stream.name}: {stream.failure or 'the stream ended before any sound came'}"
            raise AudioError(message) from error
        raise RefusedError(str(error)) from error
    return dataclasses.replace(sound, frames=None, blocks=_until_end(sound, stream))


def _until_end(sound: Sound, stream: HttpStream) -> Iterator[NDArray[np.float32]]:
    try:
        yield from sound.blocks
    except AudioError:
        # A connection that ends cuts a frame.
        if not stream.ended:
            raise
    if stream.failure:
        message = f"{stream.name}: {stream.failure}"
        raise AudioError(message)


if __name__ == "__main__":
    request = json.load(sys.stdin)
    os._exit(run(lambda: radio_sound(request["address"], request["timeout"])))
