"""Does something to copies of a state folder, each time killed just before another of its changes on the disk.

python killed_at.py install|back|migrate STATE KEY BUNDLE TIMES

Every change of names and every file opened for writing counts, as Python's own
audit events tell them. Prints a line for each copy: its folder, and `killed` or
`done`. The self-test is left out: it changes nothing.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

from headnod.updates.bundle import read
from headnod.updates.installer import Installer

NAMES = {"os.rename", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.chown", "os.truncate"}
DONE = 0


class TrustingInstaller(Installer):
    """An intake that believes."""

    def _test(self, name):
        """Nothing is on the disk for it."""


def killed_before(number, folder):
    """Kill this process before that change under a folder."""
    seen = 0

    def look(event, details):
        nonlocal seen
        if event == "open":
            path, mode, flags = details
            changes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or any(
                each in (mode or "") for each in "wxa+"
            )
        else:
            path, changes = (details[event == "os.symlink"] if details else ""), event in NAMES
        if changes and str(path).startswith(folder):
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

    sys.addaudithook(look)


what, state, key, bundle, times = sys.argv[1:]
number, done = 0, False
while not done:
    for turn in range(int(times)):
        copy = f"{state}-{number}-{turn}"
        shutil.copytree(state, copy, symlinks=True)
        child = os.fork()
        if not child:
            killed_before(number, copy)
            installer = TrustingInstaller(Path(copy), [key], lambda _: None, budget=1.0, windows=4)
            if what == "install":
                installer.start_probation(installer.install(read(Path(bundle))))
            elif what == "migrate":
                installer.store.change(lambda state: state)
            else:
                installer.store.roll_back("its answers have collapsed")
            os._exit(DONE)
        _, status = os.waitpid(child, 0)
        done = os.waitstatus_to_exitcode(status) == DONE
        print(copy, "done" if done else "killed", flush=True)  # noqa: T201 - a program's answer
    number += 1
