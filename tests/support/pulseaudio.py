"""A microphone that PyAudio really opens, on a machine without sound hardware.

A headless PulseAudio with a null sink: what is played into the sink is what the
microphone hears. Each one lives in a folder of its own, so tests do not meet.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from support.command_line import PATIENCE

NAME = "pcm:vmic"
_SINK = "module-null-sink sink_name=vmic rate=48000 channels=1 format=s16le"
NEEDED = ("pulseaudio", "pactl", "pacat", "paplay")


def missing() -> str:
    """What is not installed, or nothing."""
    return ", ".join(program for program in NEEDED if shutil.which(program) is None)


class VirtualMicrophone:
    def __init__(self, folder: Path):
        self.folder = folder
        self._run, self._home = folder / "run", folder / "home"
        for made in (self._run, self._home):
            made.mkdir(mode=0o700, parents=True)
        self.socket = self._run / "native"
        # The hint makes PortAudio list it.
        (self._home / ".asoundrc").write_text(
            f'pcm.vmic {{ type pulse server "unix:{self.socket}" device "vmic.monitor" '
            f'hint {{ show on description "virtual microphone" }} }}\n'
        )
        self.environment = {
            **os.environ,
            "HOME": str(self._home),
            "PULSE_RUNTIME_PATH": str(self._run),
            "PULSE_SERVER": f"unix:{self.socket}",
            # Another test's listener has another microphone of the same name.
            "RUNTIME_DIRECTORY": str(self._run),
        }
        self._server: subprocess.Popen | None = None
        self._hush: subprocess.Popen | None = None
        self._players: list[subprocess.Popen] = []

    def start(self, *modules: str):
        """Start the sound server, with further modules, and keep its sink awake with silence."""
        self.socket.unlink(missing_ok=True)
        self._server = subprocess.Popen(
            [
                *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"),
                *("-L", f"module-native-protocol-unix socket={self.socket} auth-anonymous=1"),
                *("-L", _SINK),
                *(word for module in modules for word in ("-L", module)),
            ],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE
        while subprocess.run(["pactl", "info"], env=self.environment, capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, "the sound server did not start"
        self._keep_awake()
        return self

    def _keep_awake(self):
        # Without it the null sink's latency is seconds, and the start of a sound is lost.
        self._hush = subprocess.Popen(
            ["pacat", "--playback", "--raw", "--format=s16le", "--rate=48000", "--channels=1", "--latency-msec=20",
             "-d", "vmic", "/dev/zero"],
            env=self.environment,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def play(self, wav: Path, sink: str = "vmic", *, ahead: int = 50) -> subprocess.Popen:
        """Play a file into the microphone; the player is so many milliseconds ahead, if the machine is not too busy."""
        command = ["paplay", "-d", sink, f"--latency-msec={ahead}", str(wav)]
        player = subprocess.Popen(command, env=self.environment, stderr=subprocess.DEVNULL)
        self._players.append(player)
        return player

    def mute(self):
        """End all that is played."""
        for player in self._players:
            player.kill()
            player.wait()
        self._players.clear()

    def kill_server(self):
        """What a crash of the sound server does."""
        self._server.kill()
        self._server.wait()
        self._hush.kill()
        self._hush.wait()

    def freeze_server(self):
        """What a hung driver does."""
        self._server.send_signal(signal.SIGSTOP)

    def thaw_server(self):
        """The end of the hang."""
        self._server.send_signal(signal.SIGCONT)

    def unplug(self):
        """Take the device away while the server lives."""
        subprocess.run(["pactl", "unload-module", "module-null-sink"], env=self.environment, check=True)
        self._hush.kill()
        self._hush.wait()

    def plug(self):
        """Put it back."""
        command = ["pactl", "load-module", *_SINK.split()]
        subprocess.run(command, env=self.environment, check=True, stdout=subprocess.DEVNULL)
        self._keep_awake()

    def close(self):
        self.mute()
        for process in (self._hush, self._server):
            if process is not None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
