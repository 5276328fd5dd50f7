"""The listener that runs: another model by command line or by the state folder, while it hears music."""

import time

import pytest
from msgspec.structs import replace

from headnod.updates.state import ActiveModel
from headnod.updates.store import Store
from support.listener_process import held, is_estimate
from support.model_changes import decoded, of_model
from support.mqtt_broker import missing
from support.signed_bundles import sent
from support.sound_loss import goes_on

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")


@pytest.mark.long
def test_a_command_beside_it_changes_the_model_of_the_listener_that_runs(listening, headnod, tmp_path):
    (tmp_path / "two.bundle").write_bytes(sent(version="2.0.0", serial=7))
    listener = listening()
    listener.until(is_estimate)
    assert "probation" in headnod("install", tmp_path / "two.bundle")
    listener.until(of_model("2.0.0"))
    listener.logged("has passed its probation")
    headnod("rollback")
    listener.until(of_model("0.1.0"))


@pytest.mark.long
def test_a_shadow_hears_along_and_tells_how_it_agrees(subscriber, listening, headnod, tmp_path):
    (tmp_path / "two.bundle").write_bytes(sent(version="2.0.0", serial=7, labels=("calm", "loud")))
    listener = listening()
    listener.until(is_estimate)
    assert "no shadow was compared on music yet" in headnod("shadow", status=1)
    headnod("install", tmp_path / "two.bundle", "--keep-current")
    headnod("shadow", "fixed-2.0.0", "--every", "1")
    said = decoded(subscriber.until(lambda message: message.topic == "headnod/kitchen/shadow"))
    assert (said["shadow"], said["model"], said["windows"]) == ("fixed-2.0.0", "fixed-0.1.0", 1)
    assert "fixed-2.0.0 agrees with fixed-0.1.0 on" in headnod("shadow")
    assert listener.until(is_estimate)["model"] == "fixed-0.1.0"
    headnod("shadow", "--stop")


@pytest.mark.parametrize(("swaps", "seconds"), [(6, 4.0), pytest.param(100, 300.0, marks=pytest.mark.long)])
def test_swaps_while_listening_lose_no_window_and_leak_nothing(listening, headnod, state, tmp_path, swaps, seconds):
    listener = listening()
    for version, serial, labels in (("2.0.0", 7, ("jazz", "metal")), ("3.0.0", 8, ("high", "low", "noisy"))):
        (tmp_path / "bundle").write_bytes(sent(version=version, serial=serial, labels=labels))
        headnod("install", tmp_path / "bundle", "--keep-current")
    said = [listener.until(is_estimate)]
    store, sizes, began = Store(state), [], time.monotonic()
    for turn in range(swaps):
        name = ("fixed-2.0.0.7", "fixed-3.0.0.8")[turn % 2]
        active = ActiveModel(name)
        store.change(lambda state, active=active: replace(state, active=active))
        said += filter(is_estimate, listener.everything_until(of_model(name.partition("-")[2][:5])))
        if turn >= 4:
            sizes.append(held(listener.pid))
        pause = began + (turn + 1) * seconds / swaps
        while time.monotonic() < pause:
            said.append(listener.until(is_estimate))
    labels = {"fixed-0.1.0": 2, "fixed-2.0.0": 2, "fixed-3.0.0": 3}
    assert [each["sequence"] for each in said] == list(range(said[0]["sequence"], said[0]["sequence"] + len(said)))
    assert goes_on(said)
    assert all(len(each["scores"]) == labels[each["model"]] for each in said)
    assert sizes[-1].mebibytes - sizes[0].mebibytes < 10.0
    # Outputs open a file for a moment.
    assert listener.settled().files <= sizes[0].files
    assert sizes[-1].threads <= sizes[0].threads
    print(f"{swaps} swaps: {len(said)} windows, RSS {sizes[0].mebibytes:.1f} to {sizes[-1].mebibytes:.1f} MiB")  # noqa: T201
