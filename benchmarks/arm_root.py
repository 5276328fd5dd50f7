"""A Debian for AArch64 in a folder, with the real wheels, emulated by QEMU: made once and kept.

Needs root, debootstrap, and Debian's qemu-user (for the counting plugin) and
qemu-user-static with binfmt-support (for debootstrap's second half).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import ROOT, Ended, run

CPU = "cortex-a53"
"""The core of a Pi 3 and a Pi Zero 2 W."""

_NEEDED = ("debootstrap", "qemu-aarch64", "unshare", "cc")
_DEBIAN = "python3,python3-venv,ca-certificates,libportaudio2,procps"
_WHEELS = ("numpy>=2", "msgspec", "soxr", "soundfile", "ai-edge-litert", "rich", "paho-mqtt", "gpiozero")
_TESTING = ("pytest", "hypothesis", "jinja2", "jsonschema", "pyyaml")
_PLATFORMS = ("manylinux2014", *(f"manylinux_2_{minor}" for minor in (17, 24, 27, 28, 31, 34, 35, 36)))
_CPUINFO = "".join(
    f"processor\t: {core}\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
    "CPU variant\t: 0x0\nCPU part\t: 0xd03\nCPU revision\t: 4\n\n"
    for core in range(4)
)
# XNNPACK looks here for its cores: among an x86-64's it crashes, and where there are none LiteRT leaves it out and
# computes by kernels of its own, with other last steps and other counts than on a Pi.
_CORES_OF_A_PI = (
    'mount -t tmpfs tmpfs "$ROOT/sys"; cpus="$ROOT/sys/devices/system/cpu"; mkdir -p "$cpus"; '
    'for name in possible present; do echo 0-3 >"$cpus/$name"; done; '
    'printf %s "$CPUINFO" >"$ROOT/sys/cpuinfo"; mount --bind "$ROOT/sys/cpuinfo" "$ROOT/proc/cpuinfo"; '
)
RELEASES = {"bookworm": "3.11", "trixie": "3.13"}
"""Debian releases, and the Python of each."""


class CannotEmulateError(RuntimeError):
    """This machine has not what emulation needs."""


@dataclass(frozen=True)
class ArmRoot:
    """One emulated system."""

    release: str
    """Debian's name for it."""

    root: Path
    """Where it stands."""

    wheels: Path
    """Folder of the wheels, unpacked."""

    def python(self, *words: str | Path, plugin: Path | None = None, count: Path | None = None) -> Ended:
        """Run its Python on this checkout; without a plugin as any program of the system, so that it may start others.

        It sees the cores of a Pi 3 instead of the host's.
        """
        told = {
            "QEMU_CPU": CPU,
            "PYTHONPATH": os.pathsep.join(map(str, (self.wheels, ROOT / "device", ROOT / "train"))),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            **({"INSTRUCTION_COUNT_FILE": str(count)} if count else {}),
        }
        counting = ["-plugin", str(plugin)] if plugin else []
        emulator = ["qemu-aarch64", *counting, "-L", str(self.root), str(self.root / "usr/bin/python3")]
        return _unshared(_CORES_OF_A_PI + 'exec "$@"', [*emulator, *map(str, words)], told)

    def inside(self, *words: str) -> Ended:
        """Run its Python within it, where a program finds nothing of the host but the checkout."""
        path = os.pathsep.join(("/wheels", "/checkout/device", "/checkout/train"))
        script = (
            'mount --bind "$CHECKOUT" "$ROOT/checkout"; mount --bind "$WHEELS" "$ROOT/wheels"; '
            'mount -t proc proc "$ROOT/proc"; mount --bind /dev "$ROOT/dev"; '
            f'{_CORES_OF_A_PI}exec chroot "$ROOT" /usr/bin/env -C /checkout "$@"'
        )
        for name in ("checkout", "wheels"):
            (self.root / name).mkdir(exist_ok=True)
        told = {
            "ROOT": str(self.root),
            "CHECKOUT": str(ROOT),
            "WHEELS": str(self.wheels),
            "QEMU_CPU": CPU,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return _unshared(script, ("env", f"PYTHONPATH={path}", "HOME=/root", "/usr/bin/python3", *words), told)


def _unshared(script: str, words: Sequence[str], told: Mapping[str, str]) -> Ended:
    """A shell script in mounts of its own, with these words as its arguments."""
    return run(["unshare", "-m", "bash", "-ec", script, "bash", *words], more={"ROOT": "", "CPUINFO": _CPUINFO, **told})


def kept() -> Path:
    """Where emulated systems are kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "headnod" / "arm64"


def there(release: str) -> bool:
    """It was made before."""
    return (kept() / release).is_dir() and (kept() / f"site-{RELEASES[release]}").is_dir()


def arm_root(release: str) -> ArmRoot:
    """That system, made if need be: minutes.

    Raises:
        CannotEmulateError: A program is missing, or the rights of root are.
    """
    missing = [program for program in _NEEDED if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if missing:
        message = f"{', '.join(missing)} is not installed (apt-get install qemu-user qemu-user-static binfmt-support)"
        raise CannotEmulateError(message)
    if os.geteuid() != 0:
        message = "only root can show an emulated program the cores of a Pi"
        raise CannotEmulateError(message)
    root, wheels = kept() / release, kept() / f"site-{RELEASES[release]}"
    if not root.is_dir():
        unfinished = root.with_name(f"{release}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        run(["debootstrap", "--arch=arm64", "--variant=minbase", f"--include={_DEBIAN}", release, unfinished])
        unfinished.rename(root)
    if not wheels.is_dir():
        unfinished = wheels.with_name(f"{wheels.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        platforms = [word for name in _PLATFORMS for word in ("--platform", f"{name}_aarch64")]
        chosen = ["--only-binary=:all:", "--python-version", RELEASES[release], "--implementation", "cp", *platforms]
        run([sys.executable, "-m", "pip", "install", "--target", unfinished, *chosen, *_WHEELS, *_TESTING])
        unfinished.rename(wheels)
    return ArmRoot(release, root, wheels)


def plugin(folder: Path) -> Path:
    """The counting plugin, built there."""
    made = folder / "count_instructions.so"
    run(["cc", "-shared", "-fPIC", "-O2", "-o", made, Path(__file__).with_name("count_instructions.c")])
    return made
