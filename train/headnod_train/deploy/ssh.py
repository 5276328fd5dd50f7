"""Installation on one listener by SSH: the bundle is piped to `headnod models install -`.

Passwords and options of ssh belong into ~/.ssh/config.
"""

from __future__ import annotations

import re
import subprocess

from headnod.errors import ConfigError
from headnod_train.deploy.rollout import RolloutError

_HOST = re.compile(r"\A[A-Za-z0-9_.@:\[\]%][A-Za-z0-9_.@:\[\]%-]{0,253}\Z")


def install(host: str, bundle: bytes, *, timeout: float, program: str = "ssh") -> str:
    """Install and activate a bundle on one machine.

    Args:
        host: As ssh takes it: a name of ~/.ssh/config, or user@host.
        bundle: The signed file.
        timeout: Time limit in seconds.
        program: Program to run instead of ssh.

    Returns:
        Output of headnod on that machine.

    Raises:
        ConfigError: The host is malformed.
        RolloutError: ssh or the remote headnod failed.
    """
    if not _HOST.match(host):
        message = f"--ssh: {host[:60]!a} is no host (user@host, or a name of ~/.ssh/config)"
        raise ConfigError(message)
    command = [program, host, "sudo -n headnod models install -"]
    try:
        ended = subprocess.run(command, input=bundle, capture_output=True, timeout=timeout, check=False)  # noqa: S603 - the host was checked
    except FileNotFoundError:
        message = f"{program}: there is no such program (install openssh-client)"
        raise RolloutError(message) from None
    except subprocess.TimeoutExpired:
        message = f"{host}: no end within {timeout:g} s"
        raise RolloutError(message) from None
    if ended.returncode:
        last = (ended.stderr.decode(errors="replace").strip().splitlines() or [f"status {ended.returncode}"])[-1]
        message = f"{host}: {last[:300]}"
        raise RolloutError(message)
    return ended.stdout.decode(errors="replace").strip()
