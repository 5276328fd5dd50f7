"""A state folder, and an intake into it that trusts the test's key."""

import shutil

import pytest

import signing
from headnod.bundles.intake import Intake

EVERY = 0.5


@pytest.fixture
def state(tmp_path):
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """A state folder with one model that has stood its probation; copied, not used."""
    state = tmp_path_factory.mktemp("kept")
    intake = Intake(state, [signing.public()], lambda _: None, budget=1.0, windows=4)
    intake.put_to_use(intake.take(signing.good("1.0.0", serial=1)))
    intake.activation.keep()
    return state


@pytest.fixture(scope="session")
def tried(kept, tmp_path_factory):
    """The same with another on probation."""
    state = tmp_path_factory.mktemp("tried") / "state"
    shutil.copytree(kept, state, symlinks=True)
    intake = Intake(state, [signing.public()], lambda _: None, budget=1.0, windows=4)
    intake.put_to_use(intake.take(signing.good("2.0.0", serial=2)))
    return state


@pytest.fixture
def said():
    """Every step that was told."""
    return []


@pytest.fixture
def intake(state, said):
    return Intake(state, [signing.public()], said.append, budget=EVERY / 2, windows=4)


@pytest.fixture
def activation(intake):
    return intake.activation


@pytest.fixture
def store(intake):
    return intake.store
