"""The command that brings a bundle to listeners, through a broker or by ssh."""

import os
import shlex
import subprocess
import sys

import pytest

from support import signed_bundles
from support.command_line import PATIENCE
from support.mqtt_broker import ReservedPort, missing
from support.rollout_listeners import there

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")


def deploy(*words, broker=None, **environment):
    command = [sys.executable, "-m", "headnod_train", "deploy", *map(str, words)]
    if broker is not None:
        command += ["--broker", f"{broker.host}:{broker.port}"]
    surroundings = {"HEADNOD_CONFIG": os.devnull, **os.environ, **environment}
    return subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False, timeout=PATIENCE)


def test_the_command_sums_up_and_its_exit_status_says_how_it_went(broker, listener, signed):
    there(listener("first", channel_="canary", fails="it runs behind"), listener("room"))
    ended = deploy(signed.path, broker=broker)
    assert ended.returncode == 1
    assert "1 were not sent the model and keep theirs: room" in ended.stdout
    assert ended.stderr.splitlines()[-1].startswith("headnod-train: the rollout was stopped: first: it runs behind")
    assert "first: rolled back: it runs behind" in ended.stderr
    well = deploy(signed.path, "--node", "room", broker=broker)
    assert (well.returncode, well.stdout.count("\n")) == (0, 1)
    assert "1 have it" in well.stdout


@pytest.mark.long
def test_the_command_signs_a_folder_with_the_key(broker, listener, tmp_path):
    made = subprocess.run(
        [sys.executable, "-m", "headnod_train", "keygen", "--key", tmp_path / "k"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout.startswith('keys = ["ed25519:')
    there(listener("room"))
    folder = signed_bundles.write(signed_bundles.good("3.0.0", serial=0, key=None), tmp_path / "fixed-3.0.0")
    ended = deploy(folder, "--key", tmp_path / "k", broker=broker)
    assert ended.returncode == 1
    assert "its signature is by none of the 1 keys" in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("/nowhere/genre-1.0.0",), "/nowhere/genre-1.0.0"),
        ((os.devnull,), "is not a regular file"),
    ],
)
def test_what_cannot_be_deployed_is_one_line(words, why):
    port = ReservedPort()
    ended = deploy(*words, "--broker", f"127.0.0.1:{port.number}")
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert why in ended.stderr


def test_no_broker_is_one_line(signed):
    port = ReservedPort()
    ended = deploy(signed.path, "--broker", f"127.0.0.1:{port.number}")
    assert ended.returncode == 1
    assert "connection refused" in ended.stderr.splitlines()[-1]


@pytest.fixture
def ssh(tmp_path):
    """A stand-in for ssh that runs on this machine what it was told to run on another."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sudo").write_text('#!/bin/sh\nshift\nexec "$@"\n')
    (tmp_path / "bin" / "headnod").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m headnod "$@"\n')
    (tmp_path / "bin" / "ssh").write_text('#!/bin/sh\n[ "$1" = pi@kitchen ] || exit 255\nshift\nexec sh -c "$*"\n')
    for each in (tmp_path / "bin").iterdir():
        each.chmod(0o755)
    (tmp_path / "state").mkdir()
    (tmp_path / "headnod.toml").write_text(f'[model]\nkeys = ["{signed_bundles.public()}"]\n')
    return {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "STATE_DIRECTORY": str(tmp_path / "state"),
        "HEADNOD_CONFIG": str(tmp_path / "headnod.toml"),
    }


def test_by_ssh_one_machine_installs_and_activates_it(signed, ssh, tmp_path):
    ended = deploy(signed.path, "--ssh", "pi@kitchen", **ssh)
    assert ended.returncode == 0, ended.stderr
    assert "fixed-2.0.0: probation" in ended.stdout
    assert (tmp_path / "state" / "models" / "current").is_dir()


def test_by_ssh_a_refusal_there_is_a_fault_here(tmp_path, ssh):
    (tmp_path / "other.bundle").write_bytes(signed_bundles.sent(key=signed_bundles.STRANGER))
    ended = deploy(tmp_path / "other.bundle", "--ssh", "pi@kitchen", **ssh)
    assert ended.returncode == 1
    assert "by none of the 1 keys" in ended.stderr


@pytest.mark.parametrize("host", ["-oProxyCommand=evil", "a b", "$(evil)", ""])
def test_a_host_that_ssh_would_take_for_an_option_is_refused(signed, host, ssh):
    assert "is not a host" in deploy(signed.path, f"--ssh={host}", **ssh).stderr
