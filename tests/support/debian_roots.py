"""Debian systems in folders, for tests that need a whole one.

The bare systems are made once and kept, in $HEADNOD_TEST_ROOTS or the user's cache.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
INSIDE = "/usr/local/src/headnod"
"""Where the checkout stands inside."""

PACKAGES = "systemd,systemd-sysv,dbus,udev,ca-certificates,procps"
NEEDED = ("debootstrap", "systemd-nspawn", "nsenter")
NSPAWN = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit")
_CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")


def missing() -> str:
    """Why there can be no such systems here, or nothing."""
    if os.geteuid() != 0:
        return "only root can boot a system in a folder"
    return ", ".join(program for program in NEEDED if shutil.which(program) is None)


def kept() -> Path:
    """Where systems are kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("HEADNOD_TEST_ROOTS") or cache / "headnod" / "test-roots")


def bare(release: str) -> Path:
    """A Debian with systemd and nothing more; minutes when it is made, and then kept."""
    root = kept() / release
    if not root.exists():
        unfinished = root.with_name(f"{release}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        wanted = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", release, str(unfinished)]
        subprocess.run(wanted, check=True, stdout=subprocess.DEVNULL)
        as_this_machine_reaches_the_network(unfinished)
        unfinished.rename(root)
    return root


def as_this_machine_reaches_the_network(root: Path) -> None:
    """Give a Debian the proxy and the certificates of this machine."""
    settings = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout
    lines = [line for line in settings.splitlines() if line.startswith("Acquire::")]
    (root / "etc/apt/apt.conf.d/90host").write_text("\n".join(lines) + "\n")
    shutil.copy(Path("/") / _CERTIFICATES, root / _CERTIFICATES)
    (root / "etc/pip.conf").write_text(f"[global]\ncert = /{_CERTIFICATES}\ntimeout = 180\n")


@contextlib.contextmanager
def copy(root: Path, name: str, *, shared: str = "") -> Iterator[Path]:
    """A system of its own, like that one, for a while.

    Args:
        root: The system to copy.
        name: What is added to its name.
        shared: A folder of it whose files nobody will write to: it is quickly linked, not copied.
    """
    target = kept() / f"{root.name}.{name}"
    remove = ["rm", "-rf", "--one-file-system", str(target)]
    subprocess.run(remove, check=True)
    try:
        target.mkdir()
        for entry in root.iterdir():
            how = "--link" if entry.name == shared else "--reflink=auto"
            subprocess.run(["cp", "-a", how, str(entry), str(target)], check=True)
        yield target
    finally:
        subprocess.run(remove, check=True)


def run(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a system that is not booted, with the network of this machine."""
    inside = [*NSPAWN, "--pipe", "-D", str(root), *words]
    ended = subprocess.run(inside, stdin=subprocess.DEVNULL, text=True, capture_output=True, check=False)
    # What nspawn remarks when it cleans up is not the command's.
    ended.stderr = re.sub(r"(?m)^ ?Attempted to remove disk file system .*\n+", "", ended.stderr)
    return ended


def take_in(root: Path) -> None:
    """Put the checkout into a system, as a clone would, whatever happens to it outside from now on."""
    listed = ["git", "-C", str(CHECKOUT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        source, target = CHECKOUT / name, root / INSIDE[1:] / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


Tree = dict[str, tuple[object, ...]]
"""What stands where: mode, owner, size and time of change by path; or where a link leads."""


def tree(root: Path) -> Tree:
    """All that a system keeps when it is off."""
    found: Tree = {}
    for folder, folders, files in os.walk(root):
        inside = Path(folder).relative_to(root)
        if inside == Path():
            folders[:] = [name for name in folders if name not in {"dev", "proc", "run", "sys", "tmp"}]
        for name in (*folders, *files):
            path = Path(folder, name)
            status = path.lstat()
            link = str(path.readlink()) if path.is_symlink() else ""
            # A folder's time changes with what is put into it for a moment.
            when = 0 if path.is_dir() else status.st_mtime_ns
            found[str(inside / name)] = (status.st_mode, status.st_uid, status.st_size, when, link)
    return found
