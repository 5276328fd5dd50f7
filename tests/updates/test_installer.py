"""What is verified, what is remembered, and what a signature is worth."""

import hashlib
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import msgspec
import pytest
from msgspec.structs import replace

from headnod.clock import Clock
from headnod.errors import BundleError, ConfigError, HeadnodError
from headnod.inference.manifest import GOLDEN, MANIFEST, MODEL, SIGNATURE
from headnod.updates.bundle import split, verify
from headnod.updates.installer import Installer
from headnod.updates.state import (
    CLOCK_TOLERANCE,
    STATE_FILE,
    UNSYNCHRONISED_TOLERANCE,
    RollbackProtection,
    Stage,
)
from support import signed_bundles
from support.signed_bundles import KEY, NEXT, STRANGER, good, public


def stages(said):
    return [each.stage for each in said]


def test_a_signed_bundle_is_verified_tried_stored_and_put_on_probation(installer, said, store):
    name = installer.install(good())
    installer.start_probation(name)
    assert stages(said) == [Stage.VERIFIED, Stage.TESTED, Stage.PROBATION]
    assert {(each.model, each.serial) for each in said} == {("fixed-1.0.0", 1)}
    assert said[0].manifest == hashlib.sha256(good()[MANIFEST]).hexdigest()
    assert store.current == name == "fixed-1.0.0.1"
    assert {file.name for file in store.path(name).iterdir()} == good().keys()


def test_a_bundle_that_is_here_already_is_taken_again_without_harm(installer, store):
    installer.start_probation(installer.install(good()))
    installer.start_probation(installer.install(good()))
    assert store.names() == ["fixed-1.0.0.1"]


@pytest.mark.parametrize("key", [KEY, NEXT])
def test_the_present_key_and_the_next_are_accepted(key):
    files = good(key=key)
    verify(files[MANIFEST], files[SIGNATURE], [public(KEY), public(NEXT)])


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (good(key=STRANGER), "by none of the 1 keys"),
        (good(key=None), "is not signed"),
        ({**good(), MANIFEST: good()[MANIFEST] + b" "}, "by none of the 1 keys"),
        ({**good(), SIGNATURE: good(serial=2)[SIGNATURE]}, "by none of the 1 keys"),
        ({**good(), MODEL: good(seed=3)[MODEL]}, "model.tflite: is not what the manifest promises"),
        ({**good(), GOLDEN: b""}, "golden.npz: is not what the manifest promises"),
        (good(serial=0), "has no serial"),
    ],
)
def test_what_is_not_as_it_was_signed_is_refused(installer, store, files, why):
    with pytest.raises(BundleError, match=why):
        installer.install(files)
    assert store.names() == []


def test_nothing_of_an_unsigned_bundle_is_parsed(installer):
    # A manifest that no parser could read is still refused for its signature alone.
    with pytest.raises(BundleError, match="by none of the 1 keys"):
        installer.install({**good(), MANIFEST: b"\xff\xfe[["})


@pytest.mark.parametrize("key", ["", "ed25519:", "ed25519:AAAA", "rsa:" + public()[8:], public() + "\n", public()[:-4]])
def test_a_key_that_is_none_is_a_fault_of_the_configuration(key):
    with pytest.raises(ConfigError, match=r"model\.keys"):
        verify(b"", b"", [key])


def test_verifying_is_all_that_loads_pynacl():
    program = (
        "import sys; import headnod.updates.installer, headnod.runtime; from headnod.updates.bundle import verify;"
        "before = 'nacl' in sys.modules\n"
        "try: verify(b'', b'', ['{}'])\nexcept Exception: pass\n"
        "print(before, 'nacl' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program.format(public())], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True"]


class TestSerials:
    def test_a_hundred_replays_of_older_serials_are_refused(self, installer, store):
        installer.install(good("2.0.0", serial=200))
        for serial in range(1, 101):
            with pytest.raises(BundleError, match=f"serial {serial} is older than 200"):
                installer.install(good(serial=serial))
        assert store.names() == ["fixed-2.0.0.200"]

    def test_also_after_a_restart_and_after_the_models_were_deleted(self, installer, state):
        installer.install(good("2.0.0", serial=9))
        shutil.rmtree(state / "models")
        again = Installer(state, [public()], print, budget=1.0, windows=4)
        with pytest.raises(BundleError, match="serial 8 is older than 9"):
            again.install(good(serial=8))
        assert again.install(good("2.0.0", serial=9)) == "fixed-2.0.0.9", "what was seen last may come again"

    @pytest.mark.parametrize(("kept", "ahead"), [(True, CLOCK_TOLERANCE), (False, UNSYNCHRONISED_TOLERANCE)])
    @pytest.mark.parametrize("beyond", [0, 1])
    def test_a_bundle_that_a_clock_in_the_future_signed_is_refused(self, state, store, kept, ahead, beyond):
        now = datetime(2026, 11, 27, 12, tzinfo=UTC)
        clock = Clock(now=lambda: now, monotonic=lambda: 10.0, kept=lambda: kept)
        installer = Installer(state, [public()], print, budget=1.0, windows=4, clock=clock)
        serial = int(now.timestamp()) + ahead + beyond
        if beyond:
            with pytest.raises(BundleError, match=f"serial {serial} was made in the future: 202[67]-.*set the clock"):
                installer.install(good(serial=serial))
            assert not store.names()
            assert installer.install(good(serial=5)) == "fixed-1.0.0.5", "it has left nothing behind"
        else:
            assert installer.install(good(serial=serial)) == store.names()[0]

    def test_one_that_was_taken_is_declared_void_by_a_later_signature(self, installer):
        void = 2_182_464_000
        installer.store.change(lambda each: replace(each, protection=RollbackProtection(void, "0" * 64)))
        with pytest.raises(BundleError, match=f"older than {void}.*if 2039-02-28 .*--anew --supersede {void}"):
            installer.install(good(serial=7))
        assert installer.install(good(serial=7, supersedes=void)) == "fixed-1.0.0.7"
        assert installer.install(good("1.1.0", serial=8)) == "fixed-1.1.0.8", "from then on as ever"
        with pytest.raises(BundleError, match="serial 7 is older than 8"):
            installer.install(good(serial=7, supersedes=void))

    @pytest.mark.parametrize("supersedes", [199, 201])
    def test_only_the_very_serial_that_is_the_greatest_can_be_declared_void(self, installer, supersedes):
        installer.install(good("2.0.0", serial=200))
        with pytest.raises(BundleError, match="serial 7 is older than 200"):
            installer.install(good(serial=7, supersedes=supersedes))

    def test_two_bundles_with_one_serial_are_not_both_taken(self, installer):
        installer.install(good(serial=5))
        with pytest.raises(BundleError, match="serial 5 belongs to another bundle"):
            installer.install(good("1.1.0", serial=5))

    def test_an_older_model_comes_back_when_it_is_signed_anew(self, installer, store):
        installer.install(good("2.0.0", serial=5))
        assert installer.install(good("1.0.0", serial=6)) == "fixed-1.0.0.6"
        assert store.find("fixed-1.0.0") == "fixed-1.0.0.6"

    def test_a_bundle_that_failed_is_not_tried_for_ever(self, installer):
        with pytest.raises(BundleError):
            installer.install(signed_bundles.bad("labels", serial=3))
        with pytest.raises(BundleError, match="it was installed before and failed"):
            installer.install(signed_bundles.bad("labels", serial=3))


REASONS = {
    "labels": r"output is \(1, 2\), the manifest says \(1, 3\)",
    "shape": r"input is \(1, 10, 9\)",
    "type": "input is int8, the manifest says float32",
    "nan": "differs by nan",
    "huge numbers": "not finite",
    "slow": "s a window here",
    # Which of them it runs into first is the runtime's to say.
    "hungry": "the runtime refuses it|needs more than|crashes the runtime",
    "other answers": "this machine differs by",
    "no network": "the runtime refuses it",
    "no golden numbers": r"golden\.npz: cannot be read",
}


@pytest.mark.parametrize(("fault", "why"), REASONS.items())
def test_a_validly_signed_bundle_that_does_not_work_is_never_put_to_use(state, said, fault, why):
    installer = Installer(state, [public()], said.append, budget=0.25, windows=4)
    installer.start_probation(installer.install(good()))
    if fault == "slow":  # By no machine in this time, however busy or quick it is.
        installer = Installer(state, [public()], said.append, budget=1e-6, windows=4)
    with pytest.raises(BundleError, match=why):
        installer.install(signed_bundles.bad(fault, serial=2))
    assert installer.store.current == "fixed-1.0.0.1"
    assert installer.store.names() == ["fixed-1.0.0.1"], "and nothing of it stays"


def test_models_are_bounded_in_number_and_the_way_back_stays(installer, store, activation):
    first = installer.install(good("0.0.1", serial=1))
    installer.start_probation(first)
    activation.keep()
    installer.start_probation(installer.install(good("0.0.2", serial=2)))
    for serial in range(3, 12):
        files = good(f"0.0.{serial}", serial=serial)
        with store.lock():
            store.add(files, msgspec.json.decode(files[MANIFEST], type=type(signed_bundles.promise())))
    assert len(store.names()) == 8
    assert {first, "fixed-0.0.2.2"} <= set(store.names())


def test_a_disk_that_takes_no_more_leaves_what_was_there(installer, store):
    installer.start_probation(installer.install(good()))
    before = sorted(store.folder.rglob("*"))
    full = ["bash", "-c", 'ulimit -f 1; exec "$0" -m headnod.updates.installer', sys.executable]
    ran = subprocess.run(
        full,
        input=order(store.state_folder) + signed_bundles.sent(version="2.0.0", serial=2),
        capture_output=True,
        check=False,
    )
    assert json.loads(ran.stdout.splitlines()[-1])["stage"] == "refused"
    assert b"file too large" in ran.stdout
    assert sorted(store.folder.rglob("*")) == before
    assert installer.install(good("2.0.0", serial=2)), "and it may come again when there is room"


def order(state):
    told = {"state": str(state), "keys": [public()], "budget": 1.0, "windows": 4}
    return json.dumps(told).encode() + b"\n"


def test_an_intake_of_its_own_tells_each_step_on_a_line(state):
    ran = subprocess.run(
        [sys.executable, "-m", "headnod.updates.installer"],
        input=order(state) + signed_bundles.sent(),
        capture_output=True,
        check=True,
    )
    assert [json.loads(line)["stage"] for line in ran.stdout.splitlines()] == ["verified", "tested", "probation"]


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.long)])
def test_no_mutation_of_manifest_signature_model_or_archive_is_taken(installer, store, count):
    tried = 0
    for damaged in signed_bundles.mutations(signed_bundles.sent(), count, seed=count):
        with pytest.raises(HeadnodError):
            installer.install(split(damaged))
        tried += 1
    assert tried > 0.95 * count
    assert store.names() == []
    assert not (store.state_folder / STATE_FILE).exists(), "and nothing of it is remembered"


@pytest.mark.parametrize("count", [4, pytest.param(200, marks=pytest.mark.long)])
def test_a_validly_signed_network_with_a_damaged_file_is_refused_or_answers_as_it_was_measured(state, count):
    """The runtime crashes or hangs on some of these: in a process that nobody misses."""
    network = good()[MODEL]
    golden = good()[GOLDEN]
    refused = 0
    for serial, damaged in enumerate(signed_bundles.mutations(network, count, seed=7), 1):
        installer = Installer(state / str(serial), [public()], lambda _: None, budget=1.0, windows=4)
        (state / str(serial)).mkdir()
        try:
            installer.install(signed_bundles.files_of(signed_bundles.promise(serial=serial), damaged, golden))
        except BundleError:
            refused += 1
            assert installer.store.names() == []
    assert refused > count // 3
