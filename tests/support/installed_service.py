"""A machine with the service installed, as a mount namespace of its own: nothing outside a test changes.

/etc and /var/lib are the real ones with a layer over them, so that headnod finds /etc/headnod and /var/lib/headnod
where scripts/install and systemd put them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from support.command_line import PATIENCE

CHECKOUT = Path(__file__).parents[2]
WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Makes root a user whom modes of files bind."""

_LAYERS = """
for folder in etc var/lib; do
    mount -t overlay overlay -o "lowerdir=/$folder,upperdir=$0/$folder,workdir=$0/work/$folder" "/$folder" || exit 99
done
exec "$@"
"""


def headnod(*words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """`headnod` on a machine where nothing is configured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADNOD_")}
    return subprocess.run(
        [sys.executable, "-m", "headnod", *map(str, words)],
        env=kept | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def missing() -> str:
    """Why there can be no such machine here, or nothing."""
    if os.geteuid() != 0:
        return "only root can mount"
    return ", ".join(program for program in ("unshare", "setpriv") if shutil.which(program) is None)


class Installed:
    """What scripts/install and a first start leave behind, and headnod run beside it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("etc/headnod", "var/lib/private/headnod", "work/etc", "work/var/lib"):
            (folder / name).mkdir(parents=True)
        self.configuration = folder / "etc/headnod/headnod.toml"
        self.configuration.write_text("")
        # As systemd makes the state folder of a user that it made up.
        self.state = folder / "var/lib/private/headnod"
        self.state.parent.chmod(0o700)
        os.chown(self.state.parent, 65_534, 65_534)
        (folder / "var/lib/headnod").symlink_to("private/headnod")

    def install(self, *units: str) -> None:
        """The units as scripts/install leaves them, these enabled."""
        folder = self._folder / "etc/systemd/system"
        (folder / "multi-user.target.wants").mkdir(parents=True)
        for unit in (CHECKOUT / "systemd").glob("*.service"):
            shutil.copy(unit, folder)
        for unit in units:
            (folder / "multi-user.target.wants" / unit).symlink_to(folder / unit)

    def secret(self, name: str, text: str) -> Path:
        """A file of /etc/headnod that only root may read."""
        path = self.configuration.parent / name
        path.write_text(text)
        path.chmod(0o600)
        os.chown(path, 65_534, 65_534)  # root without its rights is not to be its owner
        return Path("/etc/headnod") / name

    def run(self, *words: object, root: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """`headnod` with these words, by root or by another user."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADNOD_")}
        who = () if root else WITHOUT_RIGHTS
        inside = ("unshare", "--mount", "bash", "-c", _LAYERS, str(self._folder), *who)
        ended = subprocess.run(
            [*inside, sys.executable, "-m", "headnod", *map(str, words)],
            env=kept | variables,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert "Traceback" not in ended.stderr, ended.stderr
        return ended
