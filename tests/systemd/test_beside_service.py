"""A booted Debian with the service, a broker that wants a login, and the people who look after both."""

import json
from contextlib import suppress
from pathlib import Path

import pytest

from support.booted_system import Service
from support.mqtt_broker import Broker
from support.mqtt_broker import missing as no_broker

pytestmark = [pytest.mark.long, pytest.mark.skipif(bool(no_broker()), reason=f"not installed: {no_broker()}")]

SECRET = "a secret of the kitchen"  # noqa: S105 - of this test's broker alone
WRITE = "install -D -m 600 /dev/stdin /etc/headnod/mqtt_password"
"""As the documents have it."""

MICROPHONE = """
[microphone]
command = ["/usr/bin/python3", "/usr/local/lib/looped_microphone.py", "/usr/local/lib/demo.wav"]
"""


@pytest.fixture(scope="module")
def broker(machine, tmp_path_factory):
    """A broker in the machine, which any user but those of the listeners cannot enter."""
    users = {"kitchen": SECRET, "porch": "another"}
    folder = tmp_path_factory.mktemp("broker")
    made = Broker(
        folder, users=users, acl="pattern readwrite headnod/%u/#", wait=True, settings=f"log_dest file {folder}/seen"
    )
    log = folder / "seen"
    process = machine.beside("mosquitto", "-c", str(made.folder / "mosquitto.conf"))
    yield made, lambda: log.read_text() if log.exists() else ""
    process.terminate()
    process.wait()


@pytest.fixture
def service(machine):
    made = Service(machine)
    made.control("stop")
    made.override("")
    made.control("reset-failed")
    yield made
    made.configure("")
    for name in ("mqtt_password", "other_password"):
        (machine.root / "etc/headnod" / name).unlink(missing_ok=True)
    made.override("")


def settings(broker, node="kitchen", more=""):
    return f'{MICROPHONE}[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\nnode = "{node}"\nusername = "{node}"\n{more}'


@pytest.mark.parametrize("more", ["", 'password_file = "/etc/headnod/mqtt_password"\n'], ids=["by its place", "named"])
def test_the_documented_password_logs_root_and_the_service_in(service, broker, more):
    machine = service.machine
    where, log = broker
    machine.run("bash", "-c", f"{WRITE} <<< '{SECRET}'", check=True)
    service.configure(settings(where, more=more))
    assert machine.status("/usr/local/bin/headnod", "config", "check")[0] == 0
    status, said = machine.status("/usr/local/bin/headnod", "mqtt", "test")
    assert (status, SECRET in said) == (0, False), said
    before = log().count("u'kitchen'")
    service.control("restart")
    assert service.status("listening: ")
    machine.until(lambda: log().count("u'kitchen'") > before)
    assert service.said("ActiveState") == "active"


def test_a_password_that_the_service_may_not_read_is_refused_by_the_check_of_root_too(service, broker):
    machine = service.machine
    path = machine.root / "etc/headnod/other_password"
    path.write_text(SECRET)
    path.chmod(0o600)
    service.configure(settings(broker[0], more='password_file = "/etc/headnod/other_password"\n'))
    line = "LoadCredential=other_password:/etc/headnod/other_password"
    status, said = machine.status("/usr/local/bin/headnod", "config", "check")
    assert status == 78
    assert line in said
    with suppress(AssertionError):
        service.control("start")
    machine.until(lambda: service.said("ActiveState") == "failed")
    assert any(line in each for each in service.journal())
    # The way out, as both say it.
    service.override(line)
    assert machine.status("/usr/local/bin/headnod", "config", "check")[0] == 0
    service.control("start")
    assert service.status("listening: ")


def test_a_configuration_of_root_alone_is_refused_by_the_check_of_root_too(service):
    machine = service.machine
    file = machine.root / "etc/headnod/headnod.toml"
    file.chmod(0o600)
    try:
        status, said = machine.status("/usr/local/bin/headnod", "config", "check")
        assert status == 78
        assert "sudo chmod a+rX /etc/headnod/headnod.toml" in said
    finally:
        file.chmod(0o644)


def test_root_sees_what_the_service_has_and_another_user_is_sent_to_sudo(service, broker):
    machine = service.machine
    machine.run("bash", "-c", f"{WRITE} <<< '{SECRET}'", check=True)
    service.configure(settings(broker[0]))
    service.control("start")
    service.status("listening: ")
    machine.until((machine.root / "var/lib/private/headnod/history.sqlite").exists)
    found = {each["part"]: each for each in map(json.loads, machine.run("headnod", "check", "--json").splitlines())}
    assert "at /var/lib/headnod" in found["disk"]["message"]
    assert found["broker"]["verdict"] == "well", found["broker"]
    assert machine.status("/usr/local/bin/headnod", "history")[0] == 0
    for words in (("history",), ("mqtt", "test"), ("config", "check"), ("models", "list")):
        status, said = machine.status("runuser", "-u", "games", "--", "/usr/local/bin/headnod", *words)
        assert status in {1, 78}
        # `models list` shows the shipped models all the same.
        (line,) = [each for each in said.splitlines() if each.startswith("headnod: ")]
        assert f"(sudo headnod {' '.join(words)})" in line
    _, said = machine.status("runuser", "-u", "games", "--", "/usr/local/bin/headnod", "check")
    assert "Traceback" not in said
    assert said.count("sudo headnod check") == 1
    assert "(as for the model)" in said, "the password"


def test_a_second_listener_runs_beside_the_first_with_its_own_state_and_login(service, broker):
    machine = service.machine
    where, log = broker
    install = "/usr/local/src/headnod/scripts/install"
    service.configure(MICROPHONE)
    service.control("start")
    status, said = machine.status(install, "--listener", "porch")
    own = machine.root / "etc/headnod/porch.toml"
    assert status == 0, said
    assert "headnod@porch.service is not started yet: set microphone.device in /etc/headnod/porch.toml" in said
    assert '\nnode = "porch"\n' in own.read_text()
    own.write_text(settings(where, node="porch"))
    password = own.with_name("porch.mqtt_password")
    password.write_text("another")
    password.chmod(0o600)
    second = Service(machine, "headnod@porch.service")
    status, said = machine.status(install, "--listener", "porch")
    assert status == 0, said
    try:
        assert second.status("listening: ")
        machine.until(lambda: "u'porch'" in log())
        assert service.status("listening: ")
        folder = machine.root / "var/lib/private/headnod-porch"
        machine.until((folder / "history.sqlite").exists)
        assert machine.run("systemctl", "is-enabled", "headnod@porch.service").strip() == "enabled"
        config = ("--config", "/etc/headnod/porch.toml")
        assert machine.status("/usr/local/bin/headnod", "history", *config)[0] == 0
        assert machine.status("/usr/local/bin/headnod", "mqtt", "test", *config)[0] == 0
        for wrong in ("headnod", "a b", "../x"):
            assert machine.status(install, "--listener", wrong)[0] == 1
    finally:
        machine.run("systemctl", "disable", "--now", "headnod@porch.service")
        for file in (own, password):
            Path(file).unlink()
