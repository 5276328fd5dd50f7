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
_BROKER = "docker.io/library/eclipse-mosquitto:2"
_BROKER_FILE = f"""\
FROM {_BASE}
RUN apt-get update && apt-get install --yes --no-install-recommends mosquitto && rm -rf /var/lib/apt/lists/*
RUN printf 'listener 1883\\nallow_anonymous true\\n' >/mosquitto-no-auth.conf
"""
"""Debian's mosquitto, with the file of the official image that compose.yaml uses."""

_NETWORK = ("/usr/lib/podman/netavark", "/usr/lib/podman/aardvark-dns")
_CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
[network]
network_backend = "netavark"
"""
_EXCLUDED = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]


def missing() -> str:
    """Why there can be no container here, or nothing."""
    if os.geteuid() != 0:
        return "only root makes a Debian in a folder"
    return ", ".join(program for program in NEEDED if shutil.which(program) is None)


def compose_missing() -> str:
    """Why compose.yaml cannot be run here, or nothing."""
    programs = [missing(), *([] if shutil.which("podman-compose") else ["podman-compose"])]
    return ", ".join(filter(None, [*programs, *(path for path in _NETWORK if not Path(path).exists())]))


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


@contextmanager
def composed(folder: Path, changes: str) -> Iterator[str]:
    """The services of compose.yaml with these changes, built before; yields the first part of the containers' names."""
    store, project = kept() / "containers", "headnod-compose-test"
    storage = f'[storage]\ndriver = "overlay"\ngraphroot = "{store / "storage"}"\nrunroot = "{store / "run"}"\n'
    paths = {"CONTAINERS_CONF": _CONFIGURATION, "CONTAINERS_STORAGE_CONF": storage, "changes.yaml": changes}
    for name, text in paths.items():
        (folder / name).write_text(text)
    if podman("image", "exists", _BROKER, check=False).returncode:
        (folder / "Dockerfile").write_text(_BROKER_FILE)
        podman("build", "--isolation=chroot", "--network=host", "--pull=never", f"--tag={_BROKER}", folder)
    podman("tag", IMAGE, "localhost/headnod")
    names = ["--file", CHECKOUT / "compose.yaml", "--file", folder / "changes.yaml", "--project-name", project]
    environment = os.environ | {name: str(folder / name) for name in paths if name.isupper()}

    def compose(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["podman-compose", *map(str, names), *words]
        return subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    compose("down", "--volumes")
    try:
        ended = compose("up", "--detach", "--no-build")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        yield project
    finally:
        compose("down", "--volumes")


def until_healthy(name: str, test: str, seconds: float = 90.0) -> None:
    """Wait until the health check of the image succeeds."""
    deadline = time.monotonic() + seconds
    while podman("exec", name, "sh", "-c", test, check=False).returncode:
        # Each look starts a process in the container, so the loop is a slow one.
        assert time.monotonic() < deadline, podman("logs", name).stderr


def file(name: str) -> Path:
    """A file of the checkout."""
    return CHECKOUT / name
