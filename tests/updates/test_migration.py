"""The files of headnod 0.1: each is read, moved into one file once, and cannot undo rollback protection afterwards."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from headnod.errors import BundleError
from headnod.updates.state import STATE_FILE, ActiveModel, Agreement, RollbackProtection, ShadowRequest, UpdateState
from headnod.updates.store import Store
from support import signed_bundles
from support.signed_bundles import good

KILLED_AT = Path(__file__).with_name("killed_at.py")
ACTIVATION = {
    "model": "fixed-2.0.0.2",
    "former": "fixed-1.0.0.1",
    "manifest": "ab" * 32,
    "left": 3,
    "crashes": 1,
    "running": True,
}
SERIAL = {"serial": 7, "manifest": "cd" * 32, "verdict": "its answers have collapsed"}
SHADOW = {"model": "fixed-1.0.0.1", "every": 5}
AGREEMENT = {
    "model": "fixed-1.0.0",
    "beside": "fixed-2.0.0",
    "windows": 40,
    "agreed": 30,
    "surer": -0.02,
    "last": ["jazz", "metal"],
}
MIGRATED = UpdateState(
    ActiveModel("fixed-2.0.0.2", "fixed-1.0.0.1", "ab" * 32, windows_left=3, crashes=1, running=True),
    RollbackProtection(7, "cd" * 32, "its answers have collapsed"),
    ShadowRequest("fixed-1.0.0.1", 5),
    Agreement("fixed-1.0.0", "fixed-2.0.0", 40, 30, -0.02, ("jazz", "metal")),
)


class OldSerial(msgspec.Struct, forbid_unknown_fields=True):
    """`serial.json` as headnod 0.1 reads it."""

    serial: int = 0
    manifest: str = ""
    verdict: str = ""


@pytest.fixture
def write(state):
    """Writes one of the old files."""

    def write(name, content):
        (state / name).write_text(content if isinstance(content, str) else json.dumps(content))

    return write


@pytest.fixture
def link(state):
    """Writes the old link."""

    def link(target):
        (state / "models").mkdir(exist_ok=True)
        (state / "models" / "current").symlink_to(target)

    return link


@pytest.fixture
def old(state, tried, write, link):
    """A state folder of headnod 0.1 with everything in it."""
    shutil.copytree(tried / "models", state / "models", symlinks=True, ignore=shutil.ignore_patterns("current"))
    link("fixed-2.0.0.2")
    write("activation.json", ACTIVATION)
    write("serial.json", SERIAL)
    write("shadow.json", SHADOW)
    write("agreement.json", AGREEMENT)
    return state


def migrate(store):
    return store.change(lambda state: state)


def files(state):
    return {path.name for path in state.iterdir() if path.is_file()}


@pytest.mark.usefixtures("old")
def test_everything_is_read_before_and_after_it_was_moved_into_one_file(state, store):
    assert store.read() == MIGRATED
    assert STATE_FILE not in files(state), "reading writes nothing"
    assert migrate(store) == store.read() == MIGRATED
    assert files(state) == {STATE_FILE, "serial.json"}
    assert str((state / "models" / "current").readlink()) == "fixed-2.0.0.2"


def test_the_link_alone_is_an_active_model_without_a_way_back(store, link):
    link("fixed-2.0.0.2")
    assert migrate(store).active == ActiveModel("fixed-2.0.0.2")


@pytest.mark.parametrize("target", ["../../etc", "/etc", "fixed-2.0.0", "nowhere", ".new-fixed-2.0.0.2"])
def test_a_link_to_anything_else_is_no_model(store, link, target):
    link(target)
    assert store.current is None


@pytest.mark.parametrize(
    "record", ["", "{", '{"model": 1}', "\0\0", json.dumps({**ACTIVATION, "model": "fixed-3.0.0.3"})]
)
def test_a_damaged_activation_or_one_of_another_model_leaves_the_model_in_use(store, link, write, record):
    link("fixed-2.0.0.2")
    write("activation.json", record)
    assert migrate(store).active == ActiveModel("fixed-2.0.0.2")


@pytest.mark.parametrize("content", ["", "{", '{"serial": -1, "x": 1}', '{"serial": "9"}', "\0" * 64])
def test_a_damaged_serial_keeps_the_model_in_use_and_installs_nothing(state, store, installer, link, write, content):
    link("fixed-2.0.0.2")
    write("serial.json", content)
    assert migrate(store).active == ActiveModel("fixed-2.0.0.2")
    with pytest.raises(BundleError, match=rf"the newest serial is not known.*delete {STATE_FILE}"):
        installer.install(good(serial=1_000))
    (state / STATE_FILE).unlink()
    assert installer.install(good(serial=1_000)), "a person decided so"


@pytest.mark.parametrize("name", ["shadow.json", "agreement.json"])
def test_a_damaged_file_of_the_shadow_is_left_out(store, write, name):
    write("serial.json", SERIAL)
    write(name, '{"model": 3}')
    assert migrate(store) == UpdateState(protection=MIGRATED.protection)


@pytest.mark.parametrize(
    ("name", "content"),
    [("activation.json", ACTIVATION), ("serial.json", SERIAL), ("shadow.json", SHADOW), ("agreement.json", AGREEMENT)],
)
@pytest.mark.usefixtures("old")
def test_each_file_is_moved_once_and_what_comes_later_is_not_read(store, state, write, name, content):
    store.change(lambda _: UpdateState(protection=RollbackProtection(9)))
    write(name, content)
    assert migrate(store) == UpdateState(protection=RollbackProtection(9))
    assert files(state) == {STATE_FILE, "serial.json"}


def old_reads(state):
    return msgspec.json.decode((state / "serial.json").read_bytes(), type=OldSerial)


@pytest.mark.parametrize("before", ["old", "new"])
def test_an_older_headnod_installs_nothing_afterwards_and_says_why(request, state, store, installer, before):
    if before == "old":
        request.getfixturevalue("old")
        migrate(store)
    else:
        installer.install(good(serial=5))
    with pytest.raises(msgspec.ValidationError, match=f"unknown field `a newer headnod .* {STATE_FILE}`"):
        old_reads(state)


@pytest.mark.parametrize(("serial", "counts"), [(6, False), (7, False), (8, True)])
@pytest.mark.usefixtures("old")
def test_an_older_headnod_that_was_made_to_forget_cannot_lower_the_serial(store, write, caplog, serial, counts):
    migrate(store)
    # Somebody deleted what the older one could not read, and let it install.
    write("serial.json", {"serial": serial, "manifest": "ef" * 32})
    state = migrate(store)
    assert state.protection == (RollbackProtection(serial, "ef" * 32) if counts else MIGRATED.protection)
    assert ("an older headnod installed serial 8" in caplog.text) is counts
    assert replace(state, protection=None) == replace(MIGRATED, protection=None)


def test_after_a_kill_at_any_step_the_state_is_the_same(old, tmp_path):
    bundle = tmp_path / "none"
    command = [sys.executable, KILLED_AT, "migrate", old, signed_bundles.public(), bundle, "1"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    copies = [line.split() for line in ran.stdout.splitlines()]
    assert [end for _, end in copies] == ["killed"] * (len(copies) - 1) + ["done"]
    assert len(copies) > 8, "there are as many steps as changes on the disk"
    for folder, _ in copies:
        store = Store(Path(folder))
        assert store.read() == MIGRATED
        assert migrate(store) == MIGRATED
        assert files(Path(folder)) == {STATE_FILE, "serial.json"}
        with pytest.raises(msgspec.ValidationError):
            old_reads(Path(folder))
