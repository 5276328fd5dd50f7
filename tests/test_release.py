"""A release is refused where something is missing, and its wheel works without a checkout."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from headnod import __version__

ROOT = Path(__file__).parents[1]
VERSION = "1.2.3"
CHANGES = "# Changelog\n\n## Unreleased\n\n## 1.2.3 - 2026-11-27\n\n### Added\n\n- A thing.\n"


NAMES = {f"GIT_{role}_{what}": "a@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(folder, *words):
    signed = ("-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false")
    environment = {**os.environ, **NAMES}
    ended = subprocess.run(
        ["git", *signed, *words], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    return ended.stdout


def release(folder, *words):
    script = folder / "scripts" / "release"
    return subprocess.run([script, *words], env={**os.environ, **NAMES}, check=False, capture_output=True, text=True)


@pytest.fixture
def project(tmp_path):
    """A repository with the script, a version and a changelog, all committed."""
    folder = tmp_path / "project"
    (folder / "scripts").mkdir(parents=True)
    (folder / "device" / "headnod").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "release", folder / "scripts")
    (folder / "device" / "headnod" / "__init__.py").write_text(f'__version__ = "{VERSION}"\n')
    (folder / "CHANGELOG.md").write_text(CHANGES)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Begin")
    return folder


@pytest.mark.parametrize(
    ("changelog", "message"),
    [
        (CHANGES.replace("- 2026-11-27", ""), "no section '## 1.2.3 - YYYY-MM-DD'"),
        (CHANGES.replace("1.2.3", "1.2.4"), "no section '## 1.2.3 - YYYY-MM-DD'"),
        (CHANGES.replace("1.2.3", "1x2.3"), "no section '## 1.2.3 - YYYY-MM-DD'"),
        (CHANGES.replace("- A thing.\n", ""), "the section of 1.2.3 is empty"),
        (CHANGES.replace("Unreleased\n", "Unreleased\n\n- A later thing.\n"), "'Unreleased' has entries"),
    ],
)
def test_a_release_needs_a_dated_section_with_all_entries(project, changelog, message):
    (project / "CHANGELOG.md").write_text(changelog)
    git(project, "commit", "--quiet", "--all", "--message", "Change")
    ended = release(project)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert message in ended.stderr


def test_a_release_is_of_a_commit(project):
    (project / "new").touch()
    ended = release(project)
    assert ended.returncode == 1
    assert "uncommitted changes" in ended.stderr


def test_a_version_is_released_once(project):
    git(project, "tag", f"v{VERSION}")
    git(project, "commit", "--quiet", "--allow-empty", "--message", "Later")
    ended = release(project)
    assert ended.returncode == 1
    assert f"tag v{VERSION} exists on another commit" in ended.stderr


@pytest.mark.parametrize("version", ["", "1.2", "1.2.3.dev0"])
def test_a_version_has_three_numbers(project, version):
    (project / "device" / "headnod" / "__init__.py").write_text(f'__version__ = "{version}"\n')
    assert f"'{version}' is not a version" in release(project).stderr


def test_an_unknown_option_builds_nothing(project):
    assert "unknown argument '--chekc'" in release(project, "--chekc").stderr


def test_the_version_has_a_dated_section_in_the_changelog():
    titles = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert titles[0] == "Unreleased"
    assert re.fullmatch(re.escape(__version__) + r" - \d{4}-\d\d-\d\d", titles[1])


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_the_address_of_the_project_stands_in_one_place():
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    assert all(address.startswith(urls["Source"]) for address in urls.values())
    tracked = git(ROOT, "grep", "--files-with-matches", "--fixed-strings", urls["Source"]).split()
    assert tracked == ["pyproject.toml"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A checkout of the last commit, released."""
    for tool in ("build", "hatchling", "twine", "check_wheel_contents", "cyclonedx_py", "pip_audit"):
        pytest.importorskip(tool, reason="scripts/setup release")
    folder = tmp_path_factory.mktemp("release") / "project"
    git(ROOT, "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder))
    changes = CHANGES.replace(VERSION, __version__)
    (folder / "CHANGELOG.md").write_text(changes)
    # The environment of the tests has what the script would set up.
    (folder / "scripts" / "setup").write_text("#!/bin/sh\n")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / ".gitignore").write_text("/.venv\ndist/\n__pycache__/\n")
    for tag in git(folder, "tag").split():
        git(folder, "tag", "--delete", tag)
    git(folder, "commit", "--quiet", "--all", "--message", f"Release {__version__}")
    ended = release(folder, "--without-audit")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


@pytest.mark.long
def test_a_release_is_an_archive_a_wheel_their_sums_and_a_tag(built):
    names = {path.name for path in (built / "dist").iterdir()}
    files = {f"headnod-{__version__}{ending}" for ending in (".tar.gz", "-py3-none-any.whl", ".cdx.json")}
    assert names == files | {"SHA256SUMS"}
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=built / "dist", check=True)
    assert {line.split()[1] for line in (built / "dist" / "SHA256SUMS").read_text().splitlines()} == files
    assert git(built, "describe", "--exact-match") == f"v{__version__}\n"
    sums = (built / "dist" / "SHA256SUMS").read_text()
    assert release(built, "--without-audit").returncode == 0
    assert (built / "dist" / "SHA256SUMS").read_text() == sums


@pytest.mark.long
def test_the_bill_of_materials_names_what_a_pi_installs(built):
    (path,) = (built / "dist").glob("*.cdx.json")
    bill = json.loads(path.read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "headnod"
    versions = {each["name"].lower(): each["version"] for each in bill["components"]}
    assert {"numpy", "ai-edge-litert", "paho-mqtt", "uvicorn"} <= versions.keys()
    assert not {"pytest", "keras", "twine"} & versions.keys()


@pytest.mark.long
def test_a_package_that_cannot_be_looked_up_stops_the_release(built):
    ended = release(built, "--check")
    if ended.returncode == 0:
        pytest.skip("this index answers questions about vulnerabilities, and there are none")
    assert "has a known vulnerability, or could not be looked up" in ended.stderr.splitlines()[-1]


@pytest.mark.long
def test_the_wheel_classifies_a_recording_without_a_checkout(built, tmp_path, demo):
    import soundfile

    plain = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    python = tmp_path / "venv" / "bin" / "python"

    def run(*words):
        return subprocess.run(
            list(map(str, words)), env=plain | {"HEADNOD_CONFIG": "/dev/null"}, cwd=tmp_path, check=True,
            capture_output=True, text=True,
        ).stdout  # fmt: skip

    run(Path(sys.base_prefix) / "bin" / "python3", "-m", "venv", tmp_path / "venv")
    try:
        run(python, "-m", "pip", "download", "--no-deps", "--dest", tmp_path / "reached", "hatchling")
    except subprocess.CalledProcessError:
        pytest.skip("pip reaches no package index")
    (wheel,) = (built / "dist").glob("*.whl")
    run(python, "-m", "pip", "install", "--quiet", f"headnod[device] @ {wheel.as_uri()}")
    soundfile.write(tmp_path / "clip.wav", demo, 22_050)
    assert json.loads(run(python.with_name("headnod"), "classify", "--json", "clip.wav"))["genre"] == "metal"
    assert Path(run(python, "-c", "import headnod; print(headnod.__file__)")).is_relative_to(tmp_path)
