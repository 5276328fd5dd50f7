"""The self-test of a model, in a process with limits, because it may crash, hang or exhaust the memory.

    python -m headnod.updates.selftest FOLDER SECONDS

loads the bundle, recomputes its golden numbers, checks its outputs for extreme sounds, measures its time, and prints a
JSON object. `self_test` starts that process and evaluates its result.
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
"""Limit of processor time in seconds, after the libraries are loaded."""

TIMEOUT = 60.0
"""Limit of wall-clock time in seconds; it includes the libraries and a busy board."""

MEMORY = 128 << 20
"""Limit of private memory in bytes: twice what the shipped model takes; the MemoryMax of the service holds both."""

_RUNS = 5


class SelfTestResult(msgspec.Struct, frozen=True):
    """Output of the process."""

    milliseconds: float = 0.0
    """Time per window here, features and network: the median of five."""

    fault: str = ""
    """Why the model cannot be used; empty if it can."""


def self_test(folder: Path, *, budget: float) -> SelfTestResult:
    """Test a bundle whose signature was verified; a window may take `budget` seconds.

    Raises:
        BundleError: It cannot be used; the message gives the reason.
    """
    command = [sys.executable, "-m", "headnod.updates.selftest", str(folder), str(budget)]
    try:
        process = subprocess.run(  # noqa: S603 - our own program
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise BundleError(f"the self-test did not end within {TIMEOUT:g} s") from None
    if process.returncode:
        raise BundleError(_exit_reason(process.returncode, process.stderr))
    try:
        result = msgspec.json.decode(process.stdout, type=SelfTestResult)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        result = SelfTestResult(fault="the self-test printed no result")
    if result.fault:
        raise BundleError(result.fault)
    return result


def _exit_reason(status: int, log: bytes) -> str:
    if status == -signal.SIGXCPU:
        return f"the self-test took more than {SECONDS} s of processor time"
    if status < 0:
        return f"the self-test was ended by {signal.Signals(-status).name} (the model crashes the runtime)"
    last = (log.decode(errors="replace").strip().splitlines() or [f"status {status}"])[-1]
    return f"the self-test failed: {last[:200]}"


def _set_limits() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    # The hard limit is a second later, in case the signal is ignored.
    seconds = int(used.ru_utime + used.ru_stime) + SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _run(folder: Path, budget: float) -> SelfTestResult:
    import numpy as np  # noqa: PLC0415 - loaded before the limits are set

    from headnod.inference.model import chirp, load_checked  # noqa: PLC0415

    _set_limits()
    model = load_checked(folder)
    front_end = model.front_end
    size = front_end.window_samples
    noise = np.random.default_rng(0).uniform(-1.0, 1.0, size).astype(np.float32)
    for sound in (np.zeros(size, np.float32), noise, np.sign(noise), chirp(front_end)):
        for name, values in model.predict(front_end.mfcc(sound))._asdict().items():
            if values is not None and not np.isfinite(values).all():
                return SelfTestResult(fault=f"it gives {name} that are not finite")
    seconds = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        model.predict(front_end.mfcc(noise))
        seconds.append(time.perf_counter() - began)
    median = sorted(seconds)[_RUNS // 2]
    if median > budget:
        return SelfTestResult(1e3 * median, f"it takes {median:.2f} s a window here, {budget:.2f} s are allowed")
    return SelfTestResult(round(1e3 * median, 2))


def _main(folder: str, budget: str) -> None:
    try:
        result = _run(Path(folder), float(budget))
    except HeadnodError as error:
        result = SelfTestResult(fault=str(error).removeprefix(f"{folder}/"))
    except MemoryError:
        result = SelfTestResult(fault=f"it needs more than {MEMORY >> 20} MiB of memory")
    sys.stdout.buffer.write(msgspec.json.encode(result))


if __name__ == "__main__":
    _main(*sys.argv[1:])
