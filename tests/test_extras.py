"""The command that installs what is missing: one that a person can follow where headnod runs from."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from headnod.system import from_checkout, how_to_install, how_to_install_package

ROOT = Path(__file__).parents[1]
NOTHING = Path("/nowhere")


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "my music"
    (folder / "scripts").mkdir(parents=True)
    for name in ("scripts/setup", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def test_in_a_checkout_it_is_the_script_of_that_checkout(checkout):
    assert how_to_install("train", checkout=checkout) == f"'{checkout}/scripts/setup' train"


def test_the_headnod_of_the_tests_is_a_checkout():
    ended = subprocess.run(
        [sys.executable, "-c", "from headnod.system import how_to_install; print(how_to_install('dask'))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "scripts/setup dask\n"


def test_elsewhere_it_is_pip_of_the_environment_that_runs():
    said = how_to_install("train", prefix="/home/pi/my env", checkout=NOTHING)
    assert said.startswith("'/home/pi/my env/bin/python' -m pip install ")
    assert " 'headnod[train] @ file://" in said


def test_what_scripts_install_made_is_brought_up_to_date_by_it():
    # The copy under test was installed from its checkout, as pip notes beside it.
    by_script = how_to_install("dashboard", prefix="/opt/headnod-0123456789ab", checkout=NOTHING)
    sudo, script, option = shlex.split(by_script)
    assert (sudo, Path(script).parts[-2:], option) == ("sudo", ("scripts", "install"), "--dashboard")
    other = how_to_install("train", prefix="/opt/headnod-0123456789ab", checkout=NOTHING)
    assert "'headnod[train] @ file://" in other


@pytest.fixture
def installed(tmp_path):
    """An installed copy as pip notes it, with the requirements of the project and the file that it came from."""
    folder = tmp_path / "headnod-1.0.dist-info"
    folder.mkdir()
    requires = [f"Requires-Dist: {line}\n" for line in metadata.distribution("headnod").requires]
    (folder / "METADATA").write_text(f"Name: headnod\nVersion: 1.0\n{''.join(requires)}")
    wheel = tmp_path / "my music.whl"
    wheel.touch()
    (folder / "direct_url.json").write_text(json.dumps({"url": wheel.as_uri(), "archive_info": {}}))
    return metadata.Distribution.at(folder), wheel


def command(extra, distribution):
    return shlex.split(how_to_install(extra, prefix="/opt/music", checkout=NOTHING, distribution=distribution))


def test_a_copy_of_a_file_is_extended_from_that_file(installed):
    distribution, wheel = installed
    *pip, wanted = command("train", distribution)
    assert pip == ["/opt/music/bin/python", "-m", "pip", "install"]
    assert wanted == f"headnod[train] @ {wheel.as_uri()}"


def test_without_the_file_the_packages_are_named(installed):
    distribution, wheel = installed
    wheel.unlink()
    wanted = command("train", distribution)[4:]
    names = {re.match(r"[\w-]+", each)[0].lower() for each in wanted}
    assert {"keras", "matplotlib", "ai-edge-litert", "numpy"} <= names
    assert "headnod" not in names
    assert any(each.startswith("tensorflow-cpu") and "x86_64" in each for each in wanted)
    for each in wanted:
        assert "extra" not in Requirement(each).name + str(Requirement(each).marker)
    assert {Requirement(each).name for each in command("formats", distribution)[4:]} == {"av"}


def test_a_copy_of_an_index_is_extended_from_it(installed):
    distribution, _ = installed
    distribution.locate_file("headnod-1.0.dist-info/direct_url.json").unlink()
    assert command("train", distribution)[4:] == ["headnod[train]"]


def test_advice_for_the_system_depends_on_the_scripts_that_are_there(checkout):
    assert from_checkout("sudo scripts/install", "sudo groupadd gpio", checkout=checkout) == "sudo scripts/install"
    assert from_checkout("sudo scripts/install", "sudo groupadd gpio", checkout=NOTHING) == "sudo groupadd gpio"


def test_a_package_that_no_extra_names_comes_by_pip():
    said = how_to_install_package("umap-learn", prefix="/opt/music")
    assert said == "/opt/music/bin/python -m pip install umap-learn"


@pytest.mark.parametrize(("module", "words"), [("paho", ["mqtt", "test"]), ("uvicorn", ["dashboard"])])
def test_a_program_without_a_library_names_the_command(tmp_path, module, words):
    (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError('no such module', name='{module}')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "HEADNOD_MQTT__HOST": "127.0.0.1"}
    ended = subprocess.run(
        [sys.executable, "-m", "headnod", *words],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    extra = "dashboard" if module == "uvicorn" else "device"
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert f"scripts/setup {extra}" in ended.stderr
