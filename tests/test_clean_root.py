"""The wheel and the source archive in a Debian without headnod: pipx installs them from a file, and advice works."""

import json
import shlex
import shutil
import subprocess
import sys

import pytest

from support import debian_roots

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(debian_roots.missing()), reason=f"not here: {debian_roots.missing()}"),
]
PACKAGES = "pipx gcc libc6-dev python3-dev portaudio19-dev"
"""Those of README.md."""

DEMO = "$(find /root -name war-of-freedom.ogg -path '*site-packages*' | head -1)"


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    pytest.importorskip("build", reason="scripts/setup release")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, debian_roots.CHECKOUT]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_the_packages_are_those_of_the_readme():
    assert f"sudo apt install {PACKAGES} " in (debian_roots.CHECKOUT / "README.md").read_text()


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_pipx_installs_from_a_file_and_what_is_missing_can_be_added(archives, release):
    with debian_roots.copy(debian_roots.bare(release), "pipx") as root:
        shutil.copytree(archives, root / "root" / "in")

        def bash(script, status=0):
            ended = debian_roots.run(root, "bash", "-c", f"export PATH=$PATH:/root/.local/bin; cd /root; {script}")
            assert ended.returncode == status, ended.stdout + ended.stderr
            return ended

        bash(f"apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -yqq {PACKAGES}")
        # The library alone, from the source archive: each missing part is named with a command that brings it.
        bash("pipx install in/*.tar.gz")
        advice = bash(f"headnod listen --audio {DEMO}", status=1).stderr
        assert advice.count("\n") == 1
        command = shlex.split(advice.partition(": ")[2].partition(": ")[2].strip())
        assert command[1:4] == ["-m", "pip", "install"], advice
        bash(shlex.join(command))
        listen = f"headnod listen --audio {DEMO} --pace fast --json"
        assert json.loads(bash(listen).stdout.splitlines()[-1])["genre"] == "metal"
        bash('pipx uninstall headnod; rm in/*.tar.gz; pipx install "$(echo in/*.whl)[device]"')
        assert json.loads(bash(listen).stdout.splitlines()[-1])["genre"] == "metal"
        found = [json.loads(line) for line in bash("headnod check --json", status=1).stdout.splitlines()]
        assert {each["part"] for each in found if each["verdict"] == "fault"} == {"microphone"}
        assert not list(root.rglob("pyproject.toml"))
