"""WAV files written byte by byte, the wrong ones too."""

import struct

PCM, FLOAT = 1, 3


def wav(
    data: bytes,
    *,
    rate: int = 22_050,
    channels: int = 1,
    bits: int = 16,
    kind: int = PCM,
    promised: int | None = None,
) -> bytes:
    """A WAV file.

    Args:
        data: The samples.
        rate: What the header says.
        channels: What the header says.
        bits: What the header says.
        kind: Format tag.
        promised: Bytes of samples that the header promises; as many as there are where None.
    """
    width = channels * bits // 8
    size = len(data) if promised is None else promised
    header = struct.pack("<4sIHHIIHH", b"fmt ", 16, kind, channels, rate, rate * width % 2**32, width, bits)
    return (
        struct.pack("<4sI4s", b"RIFF", 20 + len(header) - 8 + size, b"WAVE")
        + header
        + struct.pack("<4sI", b"data", size)
        + data
    )
