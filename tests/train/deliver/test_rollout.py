"""A rollout through a real broker: some first, the others after, and nobody if those fail."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack

import pytest

import signing
from broker import Broker, Heard, free_port, missing
from headnod.mqtt.link import Broker as Where
from headnod_train.deliver.rollout import LARGEST, Plan, RolloutError, roll_out
from headnod_train.deliver.sign import sign
from takers import Listener

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with Broker(tmp_path_factory.mktemp("broker"), durable=False) as started:
        yield started


@pytest.fixture
def broker(running):
    """A broker that remembers nothing of the test before."""
    yield running
    running.restart(by=Broker.kill)


@pytest.fixture
def signed(tmp_path):
    folder = signing.write(signing.good("2.0.0", serial=0, key=None), tmp_path / "fixed-2.0.0")
    return sign(folder, signing.KEY)


@pytest.fixture
def listener(broker, tmp_path):
    """Makes listeners that are there when they are given."""
    with ExitStack() as stack:

        def make(node, **how):
            made = Listener(broker, tmp_path / "states" / node, node, **how)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def rolled_out(broker, signed):
    def run(**plan):
        shown = []
        outcome = roll_out(
            signed.content,
            signed.digest,
            Where(broker.host, broker.port, "deploy"),
            "headnod",
            Plan(**{"channel": "stable", "timeout": 30.0, "quiet": 0.3, **plan}),
            lambda members, summary: shown.append((len(members), summary)),
        )
        return outcome, shown

    return run


def nodes(members):
    return [member.node for member in members]


def there(*listeners):
    for each in listeners:
        assert each.there.wait(10.0)
    return listeners


def retained(broker):
    """What the broker keeps of models."""
    with Heard(broker, "headnod/deploy/+", "headnod/+/deploy", "headnod/end", name="late") as late:
        late.publish("headnod/end", b"x")
        late.until(lambda message: message.topic == "headnod/end", 10.0)
        return {message.topic for message in late.messages if message.retain and message.payload}


def test_of_three_canaries_one_fails_and_the_other_forty_seven_keep_the_old_model(broker, listener, rolled_out):
    canaries = [
        listener(f"canary-{number}", channel_="canary", tried=True, fails="its answers have collapsed" * (number == 1))
        for number in range(3)
    ]
    others = [listener(f"room-{number:02}") for number in range(47)]
    there(*canaries, *others)
    outcome, shown = rolled_out()
    assert nodes(outcome.failed) == ["canary-1"]
    assert sorted(nodes(outcome.took)) == ["canary-0", "canary-2"]
    assert "its answers have collapsed" in outcome.stopped
    assert len(outcome.spared) == 47
    assert [each.current for each in others] == [None] * 47
    assert [each.heard for each in others] == [[]] * 47, "it was never even sent to them"
    assert canaries[1].current is None
    assert retained(broker) == set(), "and who comes back later does not find it"
    assert shown[0][0] == 3
    assert shown[0][1].endswith("of 3 under way")


def test_when_the_canaries_are_well_everybody_has_it(listener, rolled_out, signed):
    everybody = there(*(listener(f"room-{number}") for number in range(8)), listener("first", channel_="canary"))
    outcome, _ = rolled_out(canaries=3)
    assert sorted(nodes(outcome.took)) == sorted(each.node for each in everybody)
    assert {each.current for each in everybody} == {f"fixed-2.0.0.{signed.manifest.serial}"}
    assert not outcome.stopped
    alone = [each.node for each in everybody if each.topics.deploy in each.heard]
    assert alone == ["room-0", "room-1"], "two of the others made up the three"


def test_a_canary_that_gives_no_answer_stops_it(listener, rolled_out):
    there(listener("first", channel_="canary", deaf=True), room := listener("room"))
    outcome, _ = rolled_out(timeout=1.0)
    assert nodes(outcome.silent) == ["first"]
    assert outcome.stopped == "first: signature and hashes are good"
    assert room.heard == []


def test_only_the_nodes_that_are_named(broker, listener, rolled_out):
    there(*(rooms := [listener(name) for name in ("attic", "bath", "kitchen")]))
    outcome, _ = rolled_out(nodes=("attic", "kitchen", "shed"))
    assert nodes(outcome.took) == ["attic", "kitchen"]
    assert nodes(outcome.away) == ["shed"]
    assert [each.current is None for each in rooms] == [False, True, False]
    assert "headnod/shed/deploy" in retained(broker), "it finds it when it comes"


def test_who_was_away_takes_it_when_it_comes_back(broker, listener, rolled_out, signed):
    there(listener("room"))
    rolled_out()
    late = listener("late")
    there(late)
    with Heard(broker, "headnod/late/model", name="watch") as watch:
        watch.until(lambda message: json.loads(message.payload)["stage"] == "kept", 10.0)
    assert late.current == f"fixed-2.0.0.{signed.manifest.serial}"


@pytest.mark.long
def test_a_second_rollout_of_the_same_bundle_changes_nothing(listener, rolled_out):
    there(room := listener("room"))
    rolled_out()
    outcome, _ = rolled_out()
    assert nodes(outcome.took) == ["room"]
    assert room.intake.store.names() == [room.current]


def test_a_channel_that_nobody_hears_is_a_fault(rolled_out):
    with pytest.raises(RolloutError, match="no listener takes models of channel 'canary'"):
        rolled_out(channel="canary")


def test_a_bundle_of_more_than_a_mebibyte_is_refused_before_anything_is_sent():
    with pytest.raises(RolloutError, match="listeners take 1048576 by MQTT"):
        roll_out(bytes(LARGEST + 1), "", Where("nowhere.invalid", 1, "x"), "headnod", Plan("stable"), print)


def test_a_broker_that_refuses_it_is_named(tmp_path, signed):
    acl = "topic read #\ntopic write headnod/+/status\n"
    with Broker(tmp_path / "strict", acl=acl) as strict:
        with Heard(strict) as all_of_it:
            all_of_it.publish("headnod/room/status", b"online")
        with pytest.raises(RolloutError, match=r"the broker did not take \d+ bytes: not authorized"):
            roll_out(
                signed.content,
                signed.digest,
                Where(strict.host, strict.port, "deploy"),
                "headnod",
                Plan("stable", ("room",), quiet=0.3),
                lambda *_: None,
            )


def deploy(*words, broker=None, **environment):
    command = [sys.executable, "-m", "headnod_train", "deploy", *map(str, words)]
    if broker is not None:
        command += ["--broker", f"{broker.host}:{broker.port}"]
    surroundings = {"HEADNOD_CONFIG": os.devnull, **os.environ, **environment}
    return subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False, timeout=120)


def test_the_command_sums_up_and_its_exit_status_says_how_it_went(broker, listener, signed):
    there(listener("first", channel_="canary", fails="it runs behind"), listener("room"))
    ended = deploy(signed.path, broker=broker)
    assert ended.returncode == 1
    assert "1 were spared and keep what they have: room" in ended.stdout
    assert ended.stderr.splitlines()[-1].startswith("headnod-train: the rollout was stopped: first: it runs behind")
    assert "first: rolled back: it runs behind" in ended.stderr
    well = deploy(signed.path, "--node", "room", broker=broker)
    assert (well.returncode, well.stdout.count("\n")) == (0, 1)
    assert "1 have it" in well.stdout


@pytest.mark.long
def test_the_command_signs_a_folder_with_the_key(broker, listener, tmp_path):
    made = subprocess.run(
        [sys.executable, "-m", "headnod_train", "keygen", "--key", tmp_path / "k"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout.startswith('keys = ["ed25519:')
    there(listener("room"))
    folder = signing.write(signing.good("3.0.0", serial=0, key=None), tmp_path / "fixed-3.0.0")
    ended = deploy(folder, "--key", tmp_path / "k", broker=broker)
    assert ended.returncode == 1
    assert "its signature is by none of the 1 keys" in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("/nowhere/genre-1.0.0",), "/nowhere/genre-1.0.0"),
        ((os.devnull,), "is no plain file"),
    ],
)
def test_what_cannot_be_deployed_is_one_line(words, why):
    ended = deploy(*words, "--broker", f"127.0.0.1:{free_port()}")
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert why in ended.stderr


def test_no_broker_is_one_line(signed):
    ended = deploy(signed.path, "--broker", f"127.0.0.1:{free_port()}")
    assert ended.returncode == 1
    assert "connection refused" in ended.stderr.splitlines()[-1]


@pytest.fixture
def ssh(tmp_path):
    """A stand-in for ssh that runs on this machine what it was told to run on another."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sudo").write_text('#!/bin/sh\nshift\nexec "$@"\n')
    (tmp_path / "bin" / "headnod").write_text(f'#!/bin/sh\nexec {sys.executable} -m headnod "$@"\n')
    (tmp_path / "bin" / "ssh").write_text('#!/bin/sh\n[ "$1" = pi@kitchen ] || exit 255\nshift\nexec sh -c "$*"\n')
    for each in (tmp_path / "bin").iterdir():
        each.chmod(0o755)
    (tmp_path / "state").mkdir()
    (tmp_path / "headnod.toml").write_text(f'[model]\nkeys = ["{signing.public()}"]\n')
    return {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "STATE_DIRECTORY": str(tmp_path / "state"),
        "HEADNOD_CONFIG": str(tmp_path / "headnod.toml"),
    }


def test_by_ssh_one_machine_installs_and_activates_it(signed, ssh, tmp_path):
    ended = deploy(signed.path, "--ssh", "pi@kitchen", **ssh)
    assert ended.returncode == 0, ended.stderr
    assert "fixed-2.0.0: probation" in ended.stdout
    assert (tmp_path / "state" / "models" / "current").is_dir()


def test_by_ssh_a_refusal_there_is_a_fault_here(tmp_path, ssh):
    (tmp_path / "other.bundle").write_bytes(signing.sent(key=signing.STRANGER))
    ended = deploy(tmp_path / "other.bundle", "--ssh", "pi@kitchen", **ssh)
    assert ended.returncode == 1
    assert "by none of the 1 keys" in ended.stderr


@pytest.mark.parametrize("host", ["-oProxyCommand=evil", "a b", "$(evil)", ""])
def test_a_host_that_ssh_would_take_for_an_option_is_refused(signed, host, ssh):
    assert "is no host" in deploy(signed.path, f"--ssh={host}", **ssh).stderr
