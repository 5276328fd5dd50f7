"""A microphone in a file: writes the samples of a WAV file to stdout, for ever, as fast as they play.

python3 looped_microphone.py FILE
"""

import sys
import time
import wave

with wave.open(sys.argv[1]) as file:
    rate, samples = file.getframerate(), file.readframes(file.getnframes())

began, frames, block = time.monotonic(), 0, rate // 4
while True:
    start = 2 * frames % len(samples)
    sys.stdout.buffer.write((samples + samples)[start : start + 2 * block])
    sys.stdout.buffer.flush()
    frames += block
    time.sleep(max(began + frames / rate - time.monotonic(), 0.0))
