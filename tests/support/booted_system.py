"""A booted system in a folder, and the service in it."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from support.command_line import PATIENCE
from support.debian_roots import NSPAWN

Answer = TypeVar("Answer")
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_TICK = 0.05


class Machine:
    """A booted system."""

    def __init__(self, root: Path, console: Path) -> None:
        """Boot it; what it prints goes into the file `console`."""
        self.root, self._console = root, console
        # systemd of Trixie wants to be asked before it starts on the cgroups of an older kernel's set-up.
        command = [*NSPAWN, "--private-network", "-D", str(root), "-b", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"]
        with console.open("wb") as output:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self._init = ""
        try:
            self.until(self._started)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def _started(self) -> bool:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._init = children[0] if children else ""
        return bool(children) and self.run("systemctl", "is-system-running").strip() in {"running", "degraded"}

    def run(self, *words: str, check: bool = False) -> str:
        """What a command in it says."""
        enter = ["nsenter", f"--target={self._init}", "-m", "-u", "-i", "-n", "-p", "-r", "-w"]
        ended = subprocess.run([*enter, *words], env=ENVIRONMENT, text=True, capture_output=True, check=False)
        if check and ended.returncode != 0:
            message = f"{' '.join(words)}: {ended.stdout}{ended.stderr}"
            raise AssertionError(message)
        return ended.stdout

    def beside(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a program of this computer in the machine's network, which has no way out."""
        return subprocess.Popen(["nsenter", f"--target={self._init}", "-n", *words], stdin=subprocess.DEVNULL)

    def status(self, *words: str) -> tuple[int, str]:
        """The exit status of a command in it, and what it says."""
        said = self.run("bash", "-c", '"$@" 2>&1; echo "status $?"', "bash", *words)
        text, _, status = said.rpartition("status ")
        return int(status), text

    def until(self, asked: Callable[[], Answer], seconds: float = PATIENCE) -> Answer:
        """The first answer that is true; an error if none is in so many seconds."""
        deadline = time.monotonic() + seconds
        while not (answer := asked()):
            if time.monotonic() > deadline:
                message = f"not so after {seconds:.0f} s"
                raise AssertionError(message)
            self._wait(_TICK)
        return answer

    def throughout(self, asked: Callable[[], Answer], seconds: float) -> list[Answer]:
        """Every answer in so many seconds."""
        answers, deadline = [], time.monotonic() + seconds
        while time.monotonic() < deadline:
            answers.append(asked())
            self._wait(_TICK)
        return answers

    def _wait(self, seconds: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
            message = f"the machine ended:\n{self._console.read_text(errors='replace')[-2000:]}"
            raise AssertionError(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Switch it off."""
        self.run("systemctl", "poweroff")
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Service:
    """One of headnod's services in a machine."""

    def __init__(self, machine: Machine, name: str = "headnod.service") -> None:
        self.machine, self._name = machine, name
        self._drop_in = machine.root / f"etc/systemd/system/{name}.d/test.conf"
        self._configuration = machine.root / "etc/headnod/headnod.toml"

    def configure(self, text: str) -> None:
        """Write the configuration."""
        self._configuration.write_text(text)

    def override(self, text: str) -> None:
        """Let the unit differ in a few lines; nothing takes them away again."""
        self._drop_in.parent.mkdir(exist_ok=True)
        self._drop_in.write_text(f"[Service]\n{text}\n")
        self.machine.run("systemctl", "daemon-reload", check=True)

    def control(self, *words: str) -> float:
        """Tell systemctl something, and how many seconds it took."""
        began = time.monotonic()
        self.machine.run("systemctl", *words, self._name, check=True)
        return time.monotonic() - began

    def said(self, name: str) -> str:
        """What systemd knows of it."""
        return self.machine.run("systemctl", "show", "--property", name, "--value", self._name).strip()

    def status(self, begins: str, seconds: float = PATIENCE) -> str:
        """Its line for a person, as soon as it begins like this."""
        return self.machine.until(lambda: (now := self.said("StatusText")).startswith(begins) and now, seconds)

    def journal(self, *words: str) -> list[str]:
        """What it logged since it was last started."""
        since = f"_SYSTEMD_INVOCATION_ID={self.said('InvocationID')}"
        return self.machine.run("journalctl", "-o", "cat", *words, since).splitlines()
