"""The scripts of the checkout, without the network that they need when something is missing."""

import os
import pty
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOBODY = 65_534


@pytest.fixture
def setup():
    """A copy of scripts/setup that every user may read, in a folder whose name has a space."""
    folder = Path(tempfile.mkdtemp(prefix="headnod setup "))
    try:
        (folder / "scripts").mkdir()
        for name in ("scripts/setup", "pyproject.toml"):
            shutil.copy(ROOT / name, folder / name)
        folder.chmod(0o755)
        yield folder / "scripts" / "setup"
    finally:
        shutil.rmtree(folder)


def bash(script, *words, **how):
    # A name of its own: the script acts only where it is not read by another one.
    return subprocess.run(["bash", "-c", script, "test", *map(str, words)], text=True, check=False, **how)


def test_setup_offers_every_extra_of_the_project(setup):
    ended = bash('source "$1"; echo "$extras" >&2', setup, capture_output=True)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert ended.stderr.split() == list(declared)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_setup_writes_to_a_terminal_that_belongs_to_another_user(setup):
    # As after `su - pi` on root's terminal: the descriptors are open, the device may not be opened again.
    terminal, device = pty.openpty()
    become = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    script = '"${@:2}" bash -c \'source "$1"; printf "output of pip\\n" >&4\' test "$1"'
    try:
        ended = bash(script, setup, *become, stdin=device, stdout=device, stderr=device)
        os.set_blocking(terminal, False)
        said = os.read(terminal, 1000).decode()
    finally:
        os.close(terminal)
        os.close(device)
    assert (ended.returncode, said) == (0, "output of pip\r\n")


def test_setup_keeps_the_output_of_pip_out_of_a_log(setup):
    ended = bash('source "$1"; echo "output of pip" >&4', setup, capture_output=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.fixture
def in_the_addon(setup):
    """The part of scripts/setup that scripts/addon puts beside the Dockerfile of the add-on."""
    (command,) = (line for line in (ROOT / "scripts" / "addon").read_text().splitlines() if "declare -f" in line)
    folder = setup.parents[1]
    (folder / "homeassistant-addon").mkdir()
    assert bash(command, cwd=folder).returncode == 0
    return folder / "homeassistant-addon" / "remove_unused"


@pytest.mark.parametrize("source", ["setup", "in_the_addon"])
def test_files_of_wheels_that_nothing_loads_are_removed(request, source, tmp_path):
    packages = tmp_path / "lib" / "python3.13" / "site-packages"
    kept = ["ai_edge_litert/libLiteRt.so", "ai_edge_litert/interpreter.py", "ai_edge_litert/vendors/__init__.py"]
    kept += ["numpy/__init__.py", "numpy/testing/__init__.py", "scipy/tests/test_it.py"]
    unused = ["ai_edge_litert/libLiteRtWebGpuAccelerator.so", "ai_edge_litert/tools/apply_plugin_main"]
    unused += [
        "ai_edge_litert/vendors/qualcomm/compiler/libLiteRtCompilerPlugin_Qualcomm.so",
        "numpy/_core/tests/test_it.py",
    ]
    for name in (*kept, *unused):
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).touch()
    ended = bash('source "$1"; remove_unused "$2"', request.getfixturevalue(source), tmp_path, capture_output=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    there = {str(path.relative_to(packages)) for path in packages.rglob("*") if path.is_file()}
    assert there == set(kept)


def test_the_image_of_the_addon_removes_them_as_well():
    assert "source /tmp/remove_unused && remove_unused /opt/headnod" in (
        ROOT / "homeassistant-addon" / "Dockerfile"
    ).read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize(
    "script", sorted(each for each in (ROOT / "scripts").iterdir() if not each.suffix), ids=lambda path: path.name
)
def test_shellcheck_finds_nothing(script):
    ended = subprocess.run(
        ["shellcheck", "--external-sources", "--severity=style", str(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout == ""


COMPLETIONS = """
cd "$1" && mkdir "$2/environment" "$2/environment/bin" "$2/bash" "$2/fish"
ln -s "$3" "$2/environment/bin/headnod"
source scripts/install --help 3>/dev/null
environment=$2/environment
completions=("bash:$2/bash/headnod" "zsh:$2/zsh/_headnod" "fish:$2/fish/headnod.fish")
install_completions; changed=; install_completions; echo "changed: '$changed'"
"""


def test_completions_are_installed_once_and_only_where_the_folder_of_their_shell_exists(tmp_path):
    pytest.importorskip("shtab")
    headnod = tmp_path / "headnod"
    headnod.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m headnod "$@"\n')
    headnod.chmod(0o755)
    ended = bash(COMPLETIONS, ROOT, tmp_path, headnod, capture_output=True)
    assert ended.stderr.count("install: wrote") == 2
    assert ended.stderr.endswith("changed: ''\n")
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.glob("*sh/*")}
    assert made == {"bash/headnod", "fish/headnod.fish"}
    assert all("classify" in (tmp_path / name).read_text() for name in made)
