"""The self-test: a model shows that it works here, in a process that may crash, hang or eat memory.

    python -m headnod.updates.selftest FOLDER SECONDS

loads the bundle, recomputes its golden numbers, asks it of sounds that no training
had, measures it, and prints a JSON object. `self_test` starts that process and
judges what became of it. Alone because a TFLite file is a program: the process
that runs it first must be one that nobody misses.
"""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from headnod.errors import BundleError, HeadnodError

SECONDS = 5
"""Processor time that it may take, once Python's libraries are loaded."""

PATIENCE = 60.0
"""Seconds by the clock, libraries and a busy board included."""

MEMORY = 128 << 20
"""Bytes of memory of its own: twice what the shipped model takes, and a listener's MemoryMax holds both."""

_TIMED = 5


class SelfTestResult(msgspec.Struct, frozen=True):
    """What the process says of itself."""

    milliseconds: float = 0.0
    """What a window takes here, features and network: the middle one of five."""

    fault: str = ""
    """Why it is not to be used; empty if it may be."""


def self_test(folder: Path, *, budget: float, patience: float = PATIENCE) -> SelfTestResult:
    """Try a bundle.

    Args:
        folder: The bundle, whose signature was verified.
        budget: Seconds that a window may take.
        patience: Seconds that the whole may take.

    Raises:
        BundleError: It is not to be used; the message says why.
    """
    command = [sys.executable, "-m", "headnod.updates.selftest", str(folder), str(budget)]
    try:
        ended = subprocess.run(  # noqa: S603 - it is our own
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=patience, check=False
        )
    except subprocess.TimeoutExpired:
        message = f"the self-test did not end within {patience:g} s"
        raise BundleError(message) from None
    if ended.returncode:
        raise BundleError(_epitaph(ended.returncode, ended.stderr))
    try:
        outcome = msgspec.json.decode(ended.stdout, type=SelfTestResult)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        outcome = SelfTestResult(fault="the self-test answered nonsense")
    if outcome.fault:
        raise BundleError(outcome.fault)
    return outcome


def _epitaph(status: int, log: bytes) -> str:
    if status == -signal.SIGXCPU:
        return f"the self-test took more than {SECONDS} s of processor time"
    if status < 0:
        return f"the self-test was ended by {signal.Signals(-status).name} (the model crashes the runtime)"
    last = (log.decode(errors="replace").strip().splitlines() or [f"status {status}"])[-1]
    return f"the self-test failed: {last[:200]}"


def _bounded() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    # The hard limit a second later, for who ignores the signal.
    seconds = int(used.ru_utime + used.ru_stime) + SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _try(folder: Path, budget: float) -> SelfTestResult:
    import numpy as np  # noqa: PLC0415 - loaded before the limits count, and in this process alone

    from headnod.inference.golden import chirp, load_checked  # noqa: PLC0415

    _bounded()
    model = load_checked(folder)
    front_end = model.front_end
    size = front_end.window_samples
    noise = np.random.default_rng(0).uniform(-1.0, 1.0, size).astype(np.float32)
    for sound in (np.zeros(size, np.float32), noise, np.sign(noise), chirp(front_end)):
        for name, values in model.predict(front_end.mfcc(sound))._asdict().items():
            if values is not None and not np.isfinite(values).all():
                return SelfTestResult(fault=f"it gives {name} that are not finite")
    took = []
    for _ in range(_TIMED):
        began = time.perf_counter()
        model.predict(front_end.mfcc(noise))
        took.append(time.perf_counter() - began)
    middle = sorted(took)[_TIMED // 2]
    if middle > budget:
        return SelfTestResult(1e3 * middle, f"it takes {middle:.2f} s a window here, {budget:.2f} s are allowed")
    return SelfTestResult(round(1e3 * middle, 2))


def _main(folder: str, budget: str) -> None:
    try:
        outcome = _try(Path(folder), float(budget))
    except HeadnodError as error:
        outcome = SelfTestResult(fault=str(error).removeprefix(f"{folder}/"))
    except MemoryError:
        outcome = SelfTestResult(fault=f"it needs more than {MEMORY >> 20} MiB of memory")
    sys.stdout.buffer.write(msgspec.json.encode(outcome))


if __name__ == "__main__":
    _main(*sys.argv[1:])
