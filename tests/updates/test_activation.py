"""Which model listens: put to use, kept, sent back, and whole after a kill at every step."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from headnod.config import Config
from headnod.errors import BundleError
from headnod.inference.model import load_checked
from headnod.updates.bundle import read
from headnod.updates.installer import Installer
from headnod.updates.manager import ModelManager
from headnod.updates.state import STATE_FILE, ActiveModel, RollbackProtection, Stage
from headnod.updates.store import Store
from support import signed_bundles, taught_bundles
from support.command_line import PATIENCE
from support.signed_bundles import good

KILLED_AT = Path(__file__).with_name("killed_at.py")


@pytest.fixture
def one(state, kept):
    """One model that was kept."""
    shutil.copytree(kept, state, symlinks=True, dirs_exist_ok=True)
    return "fixed-1.0.0.1"


@pytest.fixture
def two(state, tried):
    """The same, and another on probation."""
    shutil.copytree(tried, state, symlinks=True, dirs_exist_ok=True)
    return "fixed-1.0.0.1", "fixed-2.0.0.2"


def test_a_model_that_fails_gives_way_to_the_one_before_it_and_is_gone(two, activation, store, said):
    assert activation.roll_back("its answers have collapsed") == two[0] == store.current
    assert store.names() == [two[0]]
    assert said[-1].stage is Stage.ROLLED_BACK
    assert said[-1].message == "its answers have collapsed; fixed-1.0.0 listens"


@pytest.mark.usefixtures("two")
def test_a_model_that_was_sent_back_is_not_taken_again(activation, installer):
    activation.roll_back("its answers have collapsed")
    with pytest.raises(BundleError, match="it was installed before and failed: its answers have collapsed"):
        installer.install(good("2.0.0", serial=2))


def test_a_person_goes_back_and_the_model_stays_to_be_chosen(two, activation, store, installer):
    assert activation.roll_back("") == two[0]
    assert store.names() == list(two)
    installer.activate(two[1])
    assert store.current == two[1]


def test_the_first_model_gives_way_to_the_one_of_the_configuration(installer, activation, store):
    installer.start_probation(installer.install(good()))
    assert activation.roll_back("it runs behind") is None
    assert store.current is None


def test_there_is_no_way_back_from_the_model_of_the_configuration(activation):
    with pytest.raises(BundleError, match="the previous model is not known"):
        activation.roll_back("")


def test_the_way_back_leads_past_a_model_that_never_stood_its_probation(two, installer, activation):
    installer.start_probation(installer.install(good("3.0.0", serial=3)))
    assert activation.roll_back("it is no good either") == two[0]


def test_a_listener_that_ends_badly_twice_is_given_the_former_model(two, activation, store):
    activation.record_start()
    activation.record_start()
    assert store.current == two[1], "once may be the power"
    activation.record_start()
    assert store.current == two[0]


def test_a_listener_that_ends_as_it_should_counts_nothing(two, activation, store):
    for _ in range(5):
        activation.record_start()
        activation.record_stop()
    assert store.current == two[1]


def test_a_model_that_was_kept_is_not_taken_back_for_crashes(two, activation, store):
    activation.keep()
    for _ in range(5):
        activation.record_start()
    assert store.current == two[1]


def test_pruning_keeps_what_listens_and_the_way_back(two, installer, store):
    for serial in (3, 4):
        installer.install(good(f"{serial}.0.0", serial=serial))
    assert store.prune(0) == ["fixed-3.0.0.3", "fixed-4.0.0.4"]
    assert store.names() == list(two)


@pytest.mark.parametrize("content", [b"", b"{", b'{"active": 1}', b'{"later": {}}', b"\0\0"])
@pytest.mark.usefixtures("two", "damaged")
class TestDamage:
    @pytest.fixture
    def damaged(self, two, state, content):  # noqa: ARG002 - the models come first
        (state / STATE_FILE).write_bytes(content)

    def test_the_active_model_goes_on_listening_and_the_damage_is_logged_once(self, state, caplog):
        config = Config()
        with ModelManager(state, Config) as manager:
            caplog.clear()
            manager.load(config)
            assert manager.model.manifest.id == "fixed-2.0.0"
            assert not any(manager.poll(config) for _ in range(5))
            (record,) = caplog.records
            assert STATE_FILE in record.message
            assert "delete it to start again" in record.message
            assert manager.snapshot()[1:4] == (2, ("fixed-1.0.0.1", "fixed-2.0.0.2"), None)

    def test_nothing_is_installed_rolled_back_or_written(self, state, installer, activation, content):
        for change in (lambda: installer.install(good("3.0.0", serial=3)), lambda: activation.roll_back("fails")):
            with pytest.raises(BundleError, match=rf"{STATE_FILE}: .*no model is installed"):
                change()
        assert (state / STATE_FILE).read_bytes() == content

    def test_once_it_is_deleted_the_active_model_stays(self, state, store):
        (state / STATE_FILE).unlink()
        assert store.current == "fixed-2.0.0.2"
        store.change(lambda each: each)
        assert store.current == "fixed-2.0.0.2"


def test_every_change_of_another_process_is_read(two, state, store):
    other = Store(state)
    for turn in range(60):
        active = ActiveModel(two[turn % 2])
        other.change(lambda each, active=active: replace(each, active=active))
        assert store.read() == other.read()
        assert store.current == active.name


@pytest.mark.usefixtures("two")
def test_the_link_follows_the_active_model(activation, state):
    link = state / "models" / "current"
    assert str(link.readlink()) == "fixed-2.0.0.2"
    activation.roll_back("")
    assert str(link.readlink()) == "fixed-1.0.0.1"


def ends(what, state, bundle, times=1):
    """Copies of a state folder after a kill at every step, in order, the last after no kill."""
    command = [sys.executable, KILLED_AT, what, state, signed_bundles.public(), bundle, str(times)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    told = [line.split() for line in ran.stdout.splitlines()]
    assert [how for _, how in told] == ["killed"] * (len(told) - times) + ["done"] * times
    return [Path(folder) for folder, _ in told]


def listens(state):
    """The model that a listener would begin with, proven once more."""
    store = Store(state)
    store.record_start()
    return load_checked(store.path(store.current)).manifest


@pytest.fixture
def bundle(tmp_path):
    path = tmp_path / "two.bundle"
    path.write_bytes(signed_bundles.sent(version="2.0.0", serial=2, seed=2))
    return path


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.long)])
@pytest.mark.usefixtures("one")
def test_after_a_kill_at_any_step_the_old_model_or_the_new_one_is_whole(state, bundle, times):
    found = []
    for copy in ends("install", state, bundle, times):
        manifest = listens(copy)
        assert Store(copy).read().protection.serial in {1, 2}
        found.append(manifest.version)
        # What was begun is swept away.
        with Store(copy).lock():
            assert not [left for left in (copy / "models").iterdir() if left.name.startswith((".new", ".old"))]
    assert len(found) > 12 * times, "there are as many steps as changes on the disk"
    assert found == sorted(found), "the old one until the link is replaced, and then the new one"
    assert {found[0], found[-1]} == {"1.0.0", "2.0.0"}


@pytest.mark.usefixtures("one")
def test_after_a_kill_at_any_step_a_taught_head_or_the_old_model_is_whole(state, tmp_path):
    path = tmp_path / "taught.bundle"
    path.write_bytes(taught_bundles.sent())
    found = [listens(copy).labels for copy in ends("install", state, path)]
    assert len(found) > 12
    first = found.index(taught_bundles.LABELS)
    assert set(found[:first]) == {signed_bundles.LABELS}
    assert set(found[first:]) == {taught_bundles.LABELS}


@pytest.mark.usefixtures("two")
def test_after_a_kill_at_any_step_of_going_back_one_of_both_listens(state, bundle):
    found = [listens(copy).version for copy in ends("back", state, bundle)]
    assert len(found) > 3
    assert found == sorted(found, reverse=True)
    assert {found[0], found[-1]} == {"1.0.0", "2.0.0"}


@pytest.mark.usefixtures("one")
def test_what_was_interrupted_goes_through_when_it_comes_again(state, bundle):
    middle = ends("install", state, bundle)[9]
    again = Installer(middle, [signed_bundles.public()], lambda _: None, budget=1.0, windows=4)
    again.start_probation(again.install(read(bundle)))
    assert listens(middle).version == "2.0.0"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write for somebody else")
def test_what_root_installs_belongs_to_the_owner_of_the_state_folder(installer, state):
    os.chown(state, 1234, 1234)
    installer.start_probation(installer.install(good()))
    owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in state.rglob("*")}
    assert owners == {(1234, 1234)}


def test_two_processes_do_not_change_the_models_at_once(state):
    first, second = Store(state), Store(state, lock_timeout=0.05)
    busy = pytest.raises(BundleError, match="another headnod is changing the models")
    with first.lock(), busy, second.lock():
        pass
    with second.lock():
        assert (state / "models").is_dir()


def test_the_end_of_a_probation_waits_for_an_activation_and_leaves_the_new_model_alone(two, state, store):
    """What was checked was the model before."""
    listener = Store(state)
    other, kept = ActiveModel(two[0], two[1], windows_left=4), []
    with store.lock():
        waiting = threading.Thread(target=lambda: kept.append(listener.keep(two[1])))
        waiting.start()
        waiting.join(0.2)
        assert not kept, "it waits"
        store.write(replace(store.read(), active=other))
    waiting.join(PATIENCE)
    assert kept == [False]
    assert store.read().active == other


def test_a_verdict_on_a_model_that_no_longer_listens_sends_nothing_back(two, activation, store, said):
    activation.roll_back("")
    said.clear()
    assert activation.roll_back("its answers have collapsed", model=two[1]) == two[0] == store.current
    assert (said, store.names()) == ([], list(two))


def test_a_probation_that_is_passed_is_kept(two, activation, store):
    assert activation.keep(two[1])
    assert store.read().active.windows_left == 0


class TestOffered:
    @pytest.mark.usefixtures("one")
    def test_what_was_signed_later_is_offered_whatever_its_version_or_name(self, installer, store):
        for files in (good("1.0.0", serial=3, seed=3), good("0.9.0", serial=4)):
            name = installer.install(files)
            assert store.offered(store.read()) == name

    @pytest.mark.usefixtures("one")
    def test_what_listens_is_no_offer_and_nor_is_what_came_before_it(self, installer, store):
        assert store.offered(store.read()) is None
        installer.start_probation(installer.install(good("2.0.0", serial=2)))
        assert store.offered(store.read()) is None

    @pytest.mark.usefixtures("two")
    def test_what_was_sent_back_by_hand_is_not_offered_again(self, activation, store):
        activation.roll_back("")
        assert store.offered(store.read()) is None

    @pytest.mark.usefixtures("one")
    def test_what_was_declared_void_is_not_offered(self, installer, store):
        installer.install(good("3.0.0", serial=9))
        store.change(lambda each: replace(each, protection=RollbackProtection(5)))
        assert store.offered(store.read()) is None


class TestRecovery:
    @pytest.fixture
    def stuck(self, state, two, store):
        """A damaged model listens, and its folder cannot be written."""
        (store.path(two[1]) / "model.tflite").write_bytes(b"damaged")
        (state / "models" / ".lock").unlink(missing_ok=True)
        (state / "models" / ".lock").mkdir()
        return two

    @pytest.mark.usefixtures("stuck")
    def test_one_that_fails_is_tried_once_and_not_with_each_estimate(self, state, caplog):
        manager, config = ModelManager(state, Config), Config()
        manager.load(config)
        first = manager.model
        told = len(caplog.records)
        assert not any(manager.poll(config) for _ in range(5))
        assert manager.snapshot().manifest is first.manifest
        assert len(caplog.records) == told

    @pytest.mark.usefixtures("two")
    def test_where_the_models_were_deleted_that_of_the_configuration_listens(self, state, store):
        shutil.rmtree(state / "models")
        manager = ModelManager(state, Config)
        manager.load(Config())
        assert manager.snapshot()[1:4] == (0, (), None)
        assert store.current is None
        assert store.read().protection.serial == 2, "no older one is installed"

    def test_it_is_tried_again_with_a_reload_and_with_another_model(self, state, stuck, store):
        manager, config = ModelManager(state, Config), Config()
        manager.load(config)
        (state / "models" / ".lock").rmdir()
        assert not manager.poll(config)
        manager.load(config)
        assert manager.model.manifest.id == "fixed-1.0.0"
        assert store.current == stuck[0]
