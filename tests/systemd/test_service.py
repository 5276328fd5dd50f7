"""headnod.service in a booted Debian: systemd's word for it, and the clock's."""

import json
import re

import pytest

from support import debian_roots as roots
from support.booted_system import Service

pytestmark = pytest.mark.long

PLAYING = """
[microphone]
command = ["/usr/bin/python3", "/usr/local/lib/looped_microphone.py", "/usr/local/lib/demo.wav"]
"""
HUNG = """
[microphone]
command = ["/usr/bin/sleep", "infinity"]
"""
WRITABLE = {"/dev/shm", "/run/headnod", "/tmp", "/var/lib/headnod", "/var/tmp"}  # noqa: S108 - what the unit names
PASSWORD = "etc/headnod/mqtt_password"  # noqa: S105 - a path


@pytest.fixture
def service(machine):
    """The service with nothing configured and as it was shipped, not running."""
    made = Service(machine)
    made.control("stop")
    made.configure("")
    made.override("")
    made.control("reset-failed")
    return made


@pytest.fixture
def playing(service):
    """The service while it hears music."""
    service.configure(PLAYING)
    service.control("start")
    service.status("listening: ")
    return service


def test_it_is_ready_also_without_a_microphone(service):
    service.control("start")
    assert service.status("waiting for microphone: no microphone is plugged in")


def test_it_came_up_at_boot(machine):
    assert machine.run("systemctl", "is-enabled", "headnod.service").strip() == "enabled"
    assert "Started headnod.service" in machine.run("journalctl", "-b", "-u", "headnod.service", "-o", "cat")


def test_an_estimate_is_made_inside_the_sandbox(playing):
    assert re.fullmatch(r"listening: \w+( \(\d+%\))? at -\d+ dBFS", playing.status("listening: "))
    assert any(re.search(r"\w+ \(0\.\d\d\) at -\d+ dBFS$", line) for line in playing.journal())


def test_what_was_heard_is_remembered_in_the_state_directory(playing):
    history = playing.machine.root / "var/lib/private/headnod/history.sqlite"
    playing.machine.until(history.exists)


def test_it_runs_as_a_user_that_is_nobody_else(playing):
    ids = playing.machine.run(
        "grep", "-E", "^(Uid|CapEff|NoNewPrivs|Seccomp):", f"/proc/{playing.said('MainPID')}/status"
    )
    told = dict(line.split(":", 1) for line in ids.splitlines())
    uids = {int(uid) for uid in told["Uid"].split()}
    assert len(uids) == 1
    assert 61_184 <= uids.pop() <= 65_519
    assert (int(told["CapEff"], 16), told["NoNewPrivs"].strip(), told["Seccomp"].strip()) == (0, "1", "2")


@pytest.fixture
def probed(service):
    """What a process of the service found that it may do."""
    found = service.machine.root / "var/lib/private/headnod/probe.json"
    found.unlink(missing_ok=True)

    def probe():
        service.override("ExecStartPre=/usr/bin/python3 /usr/local/lib/sandbox_probe.py /var/lib/headnod/probe.json")
        service.control("restart")
        return json.loads(found.read_text())

    return probe


def test_only_its_state_its_runtime_directory_and_tmp_can_be_written(probed):
    assert set(probed()["writable"]) == WRITABLE


def test_what_it_does_not_need_is_refused(probed):
    found = probed()
    assert found["uid"] != 0
    assert found["readable"] == []
    refused = ("packets", "executable memory", "namespaces", "others", "password")
    assert {name: found[name] for name in refused} == dict.fromkeys(refused, 0)


def test_a_password_that_is_there_can_be_read_by_it_and_by_nobody_else(service, probed):
    password = service.machine.root / PASSWORD
    password.write_text("secret")
    password.chmod(0o600)
    try:
        assert probed()["password"]
    finally:
        password.unlink()


def test_a_frozen_listener_is_found_by_the_watchdog_and_replaced(playing):
    playing.override("WatchdogSec=5")
    playing.control("restart")
    frozen = playing.said("MainPID")
    playing.control("kill", "--kill-whom=main", "--signal=STOP")
    playing.machine.until(lambda: playing.said("MainPID") not in {frozen, "0"})
    assert playing.status("listening: ")
    assert "Watchdog timeout" in playing.machine.run("journalctl", "-u", "headnod.service", "-o", "cat")


def test_a_killed_listener_is_back(playing):
    killed = playing.said("MainPID")
    playing.control("kill", "--kill-whom=main", "--signal=KILL")
    playing.machine.until(lambda: is_back(playing, killed))
    assert playing.status("listening: ")


def test_a_killed_listener_leaves_no_microphone_running(playing):
    playing.override("RestartSec=60")
    playing.control("kill", "--kill-whom=main", "--signal=KILL")
    playing.machine.until(lambda: playing.said("MainPID") == "0")
    assert "looped_microphone" not in playing.machine.run("ps", "-eo", "args")


def is_back(service, former):
    return service.said("ActiveState") == "active" and service.said("MainPID") not in {former, "0"}


def test_a_configuration_that_cannot_be_used_is_78_and_not_tried_again(service):
    service.configure("[listen]\nevry = 3\n")
    with pytest.raises(AssertionError):
        service.control("start")
    states = service.machine.throughout(lambda: service.said("ActiveState"), 4.0)
    assert set(states) == {"failed"}
    assert (service.said("ExecMainStatus"), service.said("NRestarts")) == ("78", "0")
    assert any("headnod.toml:2: listen.evry" in line and "did you mean 'every'?" in line for line in service.journal())


def test_the_journal_knows_how_grave_a_line_is_and_whose_without_being_told_twice(service):
    service.configure("[listen]\nevry = 3\n")
    with pytest.raises(AssertionError):
        service.control("start")
    (grave,) = service.journal("--priority=3")
    assert grave.startswith("/etc/headnod/headnod.toml:2: listen.evry")


def test_a_listener_that_crashes_again_and_again_is_never_given_up(service):
    service.override("ExecStart=\nExecStart=/usr/bin/false\nRestartSec=100ms")
    with pytest.raises(AssertionError):
        service.control("start")
    # systemd gives up after five in ten seconds where nobody tells it not to.
    states = {service.said("ActiveState")}
    service.machine.until(lambda: states.add(service.said("ActiveState")) or int(service.said("NRestarts")) > 10)
    assert "failed" not in states


def test_a_reload_applies_the_new_configuration(service):
    service.control("start")
    service.status("waiting for microphone")
    process = service.said("MainPID")
    service.configure(PLAYING)
    service.control("reload")
    assert service.status("listening: ")
    assert service.said("MainPID") == process
    assert service.machine.until(lambda: service.said("ActiveState") == "active")


def test_a_reload_of_a_wrong_configuration_keeps_the_old_one(playing):
    process = playing.said("MainPID")
    playing.configure("[listen]\nevry = 3\n")
    playing.control("reload")
    playing.machine.until(
        lambda: any("the old configuration stays in force" in line for line in playing.journal()), 10.0
    )
    assert playing.machine.until(lambda: playing.said("ActiveState") == "active")
    assert playing.status("listening: ")
    assert playing.said("MainPID") == process


@pytest.mark.parametrize(
    "configuration", [PLAYING, HUNG, ""], ids=["while it hears", "while it hangs", "while it waits"]
)
def test_a_stop_needs_no_kill(service, configuration):
    service.configure(configuration)
    service.control("start")
    # After TimeoutStopSec, 5 s, systemd kills it, and the result is "timeout".
    service.control("stop")
    assert (service.said("Result"), service.said("ExecMainStatus")) == ("success", "0")


def test_installing_again_leaves_the_running_service_alone(service):
    service.override("")
    service.control("start")
    process = service.said("MainPID")
    service.machine.run(f"{roots.INSIDE}/scripts/install", check=True)
    assert service.said("MainPID") == process
