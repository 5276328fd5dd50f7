"""The container image, built on a Debian of mmdebstrap, because no registry of images needs to be reached."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.debian_roots import CHECKOUT, as_this_machine_reaches_the_network, kept

NEEDED = ("podman", "runc", "mmdebstrap")
_BASE = "localhost/headnod-test-base:trixie"
IMAGE = "localhost/headnod-test"
_EXCLUDED = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]


def missing() -> str:
    """Why there can be no container here, or nothing."""
    if os.geteuid() != 0:
        return "only root makes a Debian in a folder"
    return ", ".join(program for program in NEEDED if shutil.which(program) is None)


def podman(*words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run podman with a storage of the tests' own."""
    store = kept() / "containers"
    options = [
        f"--root={store / 'storage'}",
        f"--runroot={store / 'run'}",
        "--cgroup-manager=cgroupfs",
        "--runtime=runc",
    ]
    command = ["podman", *options, *map(str, words)]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert not check or ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]
    return ended


def build() -> None:
    """The image of the Dockerfile, on a Debian 13 like debian:trixie-slim."""
    if podman("image", "exists", _BASE, check=False).returncode:
        root = kept() / "trixie-slim"
        shutil.rmtree(root, ignore_errors=True)
        made = ["mmdebstrap", "--variant=minbase", "--include=ca-certificates", *_EXCLUDED, "trixie", str(root)]
        subprocess.run(made, check=True, capture_output=True)
        as_this_machine_reaches_the_network(root)
        packed = subprocess.run(["tar", "-C", root, "-c", "."], check=True, capture_output=True).stdout
        archive = kept() / "trixie-slim.tar"
        archive.write_bytes(packed)
        podman("import", archive, _BASE)
        archive.unlink()
        shutil.rmtree(root)
    options = ["--isolation=chroot", "--network=host", "--format=docker", "--pull=never", f"--build-arg=BASE={_BASE}"]
    podman("build", *options, f"--tag={IMAGE}", CHECKOUT)


# runc cannot raise limits here, and podman's timers need a systemd.
_HERE = ["--network=host", "--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096", "--no-healthcheck"]


def run(*words: object, options: tuple[str, ...] = (), check: bool = True) -> subprocess.CompletedProcess[str]:
    """A command of headnod in a container of its own."""
    return podman("run", "--rm", *_HERE, *options, IMAGE, *words, check=check)


@contextmanager
def running(name: str, *options: str) -> Iterator[None]:
    """The image with its default command; stopped as `podman stop` does."""
    podman("rm", "--force", "--ignore", name)
    podman("run", "--detach", f"--name={name}", *_HERE, *options, IMAGE)
    try:
        yield
    finally:
        podman("rm", "--force", "--time=10", name)


def until_healthy(name: str, test: str, seconds: float = 90.0) -> None:
    """Wait until the health check of the image succeeds."""
    deadline = time.monotonic() + seconds
    while podman("exec", name, "sh", "-c", test, check=False).returncode:
        # Each look starts a process in the container, so the loop is a slow one.
        assert time.monotonic() < deadline, podman("logs", name).stderr


def file(name: str) -> Path:
    """A file of the checkout."""
    return CHECKOUT / name
