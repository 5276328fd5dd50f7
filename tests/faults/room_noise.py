"""A microphone's program: noise of a level in dBFS, as fast as it would be heard, until nobody listens.

python room_noise.py DBFS [RATE]
"""

import os
import sys
import threading
import time

import numpy as np

LEVEL = 10.0 ** (float(sys.argv[1]) / 20.0)
RATE = int(sys.argv[2]) if len(sys.argv) > 2 else 22_050
BLOCK = RATE // 20

KEPT = 0.5

rng, pause = np.random.default_rng(0), threading.Event()
due = time.monotonic()
while True:
    samples = np.clip(32767.0 * LEVEL * rng.standard_normal(BLOCK), -32768, 32767)
    os.write(1, samples.astype("<i2").tobytes())
    due = max(due + BLOCK / RATE, time.monotonic() - KEPT)
    pause.wait(max(due - time.monotonic(), 0.0))
