"""headnod-dashboard.service in a booted Debian: who may look, and what becomes of it."""

import pytest

from support.booted_system import Service

pytestmark = pytest.mark.long

RESTART = 2.0
"""RestartSec of the unit, in seconds."""

BROKER = '[mqtt]\nhost = "127.0.0.1"\n'
"""One that is away: the page says so, and is served all the same."""

OPEN = f'{BROKER}[dashboard]\nhost = "0.0.0.0"\n'
PASSWORD = "open, please"  # noqa: S105 - it lives as long as the test
CREDENTIAL = "etc/credstore/headnod.dashboard_password"
FETCH = """
import base64, sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1])
if sys.argv[2:]:
    request.add_header("Authorization", "Basic " + base64.b64encode(f"me:{sys.argv[2]}".encode()).decode())
try:
    with urllib.request.urlopen(request, timeout=5) as answer:
        print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code)
except OSError as error:
    print(0, error)
"""


@pytest.fixture
def service(machine):
    """The dashboard with nothing configured, not running."""
    made = Service(machine, "headnod-dashboard.service")
    made.control("stop")
    made.configure("")
    made.control("reset-failed")
    return made


@pytest.fixture
def password(machine):
    """A password where systemd looks for it."""
    file = machine.root / CREDENTIAL
    file.parent.mkdir(mode=0o700, exist_ok=True)
    file.write_text(PASSWORD)
    file.chmod(0o600)
    yield PASSWORD
    file.unlink()


def answered(machine, *words, path="", port=8137):
    """Status and content, as soon as somebody answers."""
    command = ("python3", "-c", FETCH, f"http://127.0.0.1:{port}/{path}", *words)
    said = machine.until(lambda: (now := machine.run(*command)) and now[0] != "0" and now)
    status, _, page = said.partition(" ")
    return int(status), page


def test_it_came_up_at_boot_and_says_what_it_lacks(machine):
    assert machine.run("systemctl", "is-enabled", "headnod-dashboard.service").strip() == "enabled"
    assert "mqtt.host: no broker is set" in machine.run("journalctl", "-b", "-u", "headnod-dashboard.service")


def test_a_configuration_that_cannot_be_used_is_78_and_not_tried_again(service):
    service.control("start")
    service.machine.until(lambda: service.said("ActiveState") == "failed")
    states = service.machine.throughout(lambda: service.said("ActiveState"), RESTART + 2.0)
    assert set(states) == {"failed"}
    assert (service.said("ExecMainStatus"), service.said("NRestarts")) == ("78", "0")


def test_the_page_is_served_inside_the_sandbox_by_a_user_that_is_nobody_else(service):
    service.configure(BROKER)
    service.control("start")
    status, page = answered(service.machine)
    assert (status, "headnod" in page) == (200, True)
    told = service.machine.run("grep", "-E", "^(Uid|CapEff|Seccomp):", f"/proc/{service.said('MainPID')}/status")
    uid, powers, filtered = (line.split()[1] for line in told.splitlines())
    assert 61_184 <= int(uid) <= 65_519
    assert (int(powers, 16), filtered) == (0, "2")


def test_open_to_others_without_a_password_it_refuses_to_start(service):
    service.configure(OPEN)
    service.control("start")
    service.machine.until(lambda: service.said("ActiveState") == "failed")
    assert any("dashboard.password_file is empty" in line for line in service.journal("--priority=3"))


def test_the_password_in_the_credential_store_opens_it(service, password):
    service.configure(OPEN)
    service.control("start")
    assert answered(service.machine, path="api/v1/listeners")[0] == 401
    assert answered(service.machine, password, path="api/v1/listeners")[0] == 200


def test_a_killed_dashboard_is_back(service):
    service.configure(BROKER)
    service.control("start")
    assert answered(service.machine)[0] == 200
    killed = service.said("MainPID")
    service.control("kill", "--kill-whom=main", "--signal=KILL")
    service.machine.until(lambda: service.said("MainPID") not in {killed, "0"})
    assert answered(service.machine)[0] == 200


def test_a_stop_needs_no_kill_and_is_no_failure(service):
    service.configure(BROKER)
    service.control("start")
    answered(service.machine)
    service.control("stop")
    assert (service.said("Result"), service.said("ExecMainStatus")) == ("success", "0")


def test_the_page_of_the_listener_is_served_inside_its_sandbox_and_a_killed_one_is_back(machine, password):
    listener = Service(machine)
    listener.configure('[web]\nenabled = true\naddress = "0.0.0.0"\n')
    listener.control("restart")
    assert answered(machine, path="api/v1/listeners", port=8080)[0] == 401
    status, content = answered(machine, password, path="api/v1/listeners", port=8080)
    assert (status, '"online":true' in content) == (200, True)
    main = listener.said("MainPID")
    kill = "pkill -9 -f 'headnod[.]dashboard'"
    machine.run("sh", "-c", kill, check=True)
    assert answered(machine, password, path="api/v1/listeners", port=8080)[0] == 200
    assert listener.said("MainPID") == main
    listener.control("stop")
