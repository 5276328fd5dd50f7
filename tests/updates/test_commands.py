"""`headnod models` as a person types it."""

import json
import sys

import pytest

from headnod.resources import models
from support import signed_bundles
from support.command_line import fault, run, surroundings
from support.signed_bundles import good, public, sent


@pytest.fixture
def surrounded(tmp_path, state):
    (tmp_path / "headnod.toml").write_text(f'[model]\nkeys = ["{public()}"]\n')
    return surroundings(tmp_path, STATE_DIRECTORY=str(state), PYTHONPATH=":".join(sys.path))


@pytest.fixture
def headnod(surrounded):
    return lambda *words, stdin=b"": run("models", *words, environment=surrounded, stdin=stdin)


@pytest.fixture
def bundle(tmp_path):
    path = tmp_path / "two.bundle"
    path.write_bytes(sent(version="2.0.0", serial=7))
    return path


def listed(headnod):
    return [json.loads(line) for line in headnod("list", "--json").stdout.splitlines()]


def test_before_anything_is_installed_the_shipped_model_listens(headnod):
    rows = listed(headnod)
    assert [row["model"] for row in rows] == [folder.name for folder in models()]
    assert [row["origin"] for row in rows if row["listens"]] == ["shipped"]


def test_without_a_state_folder_there_are_the_shipped_models(tmp_path):
    def headnod(*words):
        return run("models", *words, environment=surroundings(tmp_path))

    assert {row["origin"] for row in listed(headnod)} == {"shipped"}
    assert "no/where: is not a folder" in fault(headnod("list", "--state", "no/where"), 78)


@pytest.mark.parametrize("name", [models()[-1].name, models()[-1].name.rpartition("-")[0]])
def test_a_shipped_model_is_verified_by_its_whole_and_by_its_bare_name(tmp_path, name):
    said = run("models", "verify", name, environment=surroundings(tmp_path)).stdout
    assert models()[-1].name in said


def test_a_file_is_installed_listed_and_sent_back(headnod, bundle):
    installed = headnod("install", bundle)
    assert [line.split(": ")[1] for line in installed.stdout.splitlines()] == ["verified", "tested", "probation"]
    assert [(row["model"], row["serial"]) for row in listed(headnod) if row["listens"]] == [("fixed-2.0.0", 7)]
    assert "the model of the configuration listens" in headnod("rollback").stdout
    assert [row["model"] for row in listed(headnod) if row["listens"]] != ["fixed-2.0.0"]
    assert "removed fixed-2.0.0.7" in headnod("prune", "--keep", "0").stdout


def test_a_bundle_comes_from_a_folder_or_from_stdin_as_well(headnod, bundle, tmp_path):
    folder = signed_bundles.write(good("3.0.0", serial=8), tmp_path / "fixed-3.0.0")
    assert headnod("install", "-", "--keep-current", stdin=bundle.read_bytes()).returncode == 0
    assert headnod("install", folder).returncode == 0
    assert [row["model"] for row in listed(headnod) if row["origin"] == "installed"] == ["fixed-2.0.0", "fixed-3.0.0"]


@pytest.mark.parametrize("what", ["shipped", "file"])
def test_a_bundle_is_examined_without_being_stored(headnod, bundle, state, what):
    name = {"shipped": models()[-1].name, "file": bundle}[what]
    told = headnod("verify", name).stdout.splitlines()
    assert [line.split()[1] for line in told] == ["signature", "files", "network"]
    assert not (state / "models").exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (sent(key=signed_bundles.STRANGER), "by none of the 1 keys"),
        (sent(key=None), "is not signed"),
        (sent()[:-1], "bytes are missing"),
        (b"", "is not a headnod bundle"),
    ],
)
@pytest.mark.parametrize("verb", ["install", "verify"])
def test_what_is_not_trusted_is_refused_in_one_line(headnod, tmp_path, state, verb, content, why):
    (tmp_path / "bad.bundle").write_bytes(content)
    assert why in fault(headnod(verb, tmp_path / "bad.bundle"))
    assert not (state / "models" / "current").exists()


def test_without_a_key_only_a_person_who_says_so_installs_anything(headnod, bundle, tmp_path):
    (tmp_path / "plain.bundle").write_bytes(sent(key=None, serial=0))
    assert "model.keys is set, so a signature is needed" in fault(headnod("install", bundle, "--unsigned"), 78)
    (tmp_path / "headnod.toml").write_text("")
    assert "model.keys: is empty" in fault(headnod("install", bundle), 78)
    assert headnod("install", tmp_path / "plain.bundle", "--unsigned").returncode == 0


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        (("activate", "nothing"), 78, "there is no model 'nothing'"),
        (("activate", "../etc"), 78, "there is no model '../etc'"),
        (("rollback",), 1, "the previous model is not known"),
        (("shadow", "nothing"), 78, "there is no installed model 'nothing'"),
        (("shadow",), 1, "no shadow was compared on music yet"),
        (("install", "/nowhere"), 1, "/nowhere: no such file or directory"),
        (("list", "--state", "/nowhere"), 78, "/nowhere: is not a folder"),
    ],
)
def test_what_cannot_be_done_is_reported_in_one_line(headnod, words, status, why):
    assert why in fault(headnod(*words), status)


def test_a_key_that_is_none_is_a_fault_of_the_configuration(headnod, bundle, tmp_path):
    (tmp_path / "headnod.toml").write_text('[model]\nkeys = ["ssh-ed25519 AAAA"]\n')
    assert "is not a public key" in fault(headnod("install", bundle), 78)


def test_three_keys_are_one_too_many(headnod, tmp_path):
    (tmp_path / "headnod.toml").write_text(f"[model]\nkeys = {[public()] * 3}\n")
    assert "model.keys" in fault(headnod("list"), 78)
