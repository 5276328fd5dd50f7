"""Commands beside the installed service: its state folder, its model and its password, or one line with `sudo`."""

import json
import os
import shutil

import pytest

from headnod.outputs.history import HistoryFile
from headnod.service import service_of
from support import installed_service
from support.bundles import copied
from support.mqtt_broker import HOST, Broker
from support.mqtt_broker import missing as no_broker

pytestmark = pytest.mark.skipif(bool(installed_service.missing()), reason=f"not here: {installed_service.missing()}")

SECRET = "a-secret-of-the-kitchen"  # noqa: S105 - of this test's broker alone


@pytest.fixture
def machine(tmp_path):
    # Another user must get as far as the folder that is closed to him.
    return installed_service.Installed(tmp_path / "machine")


@pytest.fixture
def history(machine):
    HistoryFile(machine.state / "history.sqlite").close()


@pytest.fixture
def model(machine, bundle):
    """A model that was installed and activated."""
    folder = machine.state / "models" / f"{bundle.name}.7"
    folder.parent.mkdir()
    shutil.copytree(bundle, folder)
    (folder.parent / "current").symlink_to(folder.name)
    return folder.name


def by_part(ended):
    return {found["part"]: found for found in map(json.loads, ended.stdout.splitlines())}


@pytest.mark.usefixtures("history")
def test_root_reads_the_history_of_the_service(machine):
    ended = machine.run("history", "--json")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_check_looks_at_the_model_and_the_disk_of_the_service(machine, model):
    found = by_part(machine.run("check", "--json", PULSE_SERVER="unix:/nowhere"))
    listed = machine.run("models", "list", "--json")
    assert "MiB free at /var/lib/headnod" in found["disk"]["message"]
    assert found["model"]["verdict"] == "well"
    (listens,) = [row for row in map(json.loads, listed.stdout.splitlines()) if row["listens"]]
    assert listens["folder"] == f"/var/lib/headnod/models/{model}"
    # The proof that this one is looked at, and no shipped one: it is damaged.
    (machine.state / "models" / model / "manifest.json").write_text("{}")
    assert f"/var/lib/headnod/models/{model}" in by_part(machine.run("check", "--json"))["model"]["message"]


def test_the_history_of_a_configuration_elsewhere_is_not_taken_for_the_state_folder(machine, model):
    machine.configuration.write_text('[history]\npath = "/var/tmp/headnod-elsewhere.sqlite"\n')
    listed = machine.run("models", "list")
    assert f"* {model.rpartition('.')[0]}" in listed.stdout


@pytest.mark.usefixtures("history", "model")
@pytest.mark.parametrize(
    "words",
    [("history",), ("models", "rollback"), ("models", "prune")],
)
def test_another_user_is_advised_to_use_sudo_in_one_line(machine, words):
    ended = machine.run(*words, root=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert "/var/lib/headnod" in line
    assert "permission denied (sudo " in line
    assert line.endswith(f"headnod {' '.join(words)})")


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize("closed", ["/var/lib/headnod", "/var/lib/headnod/models"])
def test_another_user_sees_the_shipped_models_and_one_line_with_sudo(machine, closed):
    if closed.endswith("models"):
        machine.state.parent.chmod(0o755)
        machine.state.chmod(0o755)
        (machine.state / "models").chmod(0o700)
        os.chown(machine.state / "models", 65_534, 65_534)
    ended = machine.run("models", "list", "--json", root=False)
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    assert {(row["origin"], row["listens"]) for row in rows} == {("shipped", None)}
    assert "genre-2.2.0" in {row["model"] for row in rows}
    plain, verified = machine.run("models", "list", root=False), machine.run("models", "verify", "genre", root=False)
    assert "*" not in plain.stdout
    assert [line.split()[:2] for line in verified.stdout.splitlines()] == [
        ["ok", "signature"], ["ok", "files"], ["ok", "network"],
    ]  # fmt: skip
    for each, words in ((plain, "list"), (verified, "verify genre")):
        assert each.returncode == 1
        (line,) = each.stderr.splitlines()
        assert f"installed models are left out: {closed}: permission denied (sudo " in line
        assert line.endswith(f"headnod models {words})")


@pytest.mark.usefixtures("history", "model")
def test_check_by_another_user_has_one_line_with_sudo_and_goes_on(machine):
    ended = machine.run("check", "--json", root=False, PULSE_SERVER="unix:/nowhere")
    found = by_part(ended)
    told = [part for part, each in found.items() if "(sudo " in each["message"]]
    assert told == ["model"]
    assert "sudo " not in "".join(each["message"] for part, each in found.items() if part != "model")
    assert found["disk"]["verdict"] == "well"
    assert "clock" in found


@pytest.mark.parametrize("words", [("config", "check"), ("check",), ("models", "list"), ("history",), ("listen",)])
def test_a_configuration_that_only_root_may_read_is_one_line_with_sudo(machine, words):
    machine.configuration.chmod(0o000)
    ended = machine.run(*words, root=False)
    assert (ended.returncode, ended.stdout) == (78, "")
    assert ended.stderr.count("\n") == 1
    assert "/etc/headnod/headnod.toml: permission denied (sudo " in ended.stderr


@pytest.fixture
def broker(tmp_path):
    if no_broker():
        pytest.skip(f"not installed: {no_broker()}")
    with Broker(tmp_path / "broker", users={"kitchen": SECRET}, acl="pattern readwrite headnod/%u/#") as running:
        yield running


@pytest.mark.parametrize("named", [False, True], ids=["by its place", "by password_file"])
def test_mqtt_test_logs_in_with_the_password_of_the_service(machine, broker, named):
    path = machine.secret("mqtt_password", f"{SECRET}\n")
    line = f'password_file = "{path}"\n' if named else ""
    machine.configuration.write_text(
        f'[mqtt]\nhost = "{HOST}"\nport = {broker.port}\nnode = "kitchen"\nusername = "kitchen"\n{line}'
    )
    ended = machine.run("mqtt", "test")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    shown = machine.run("config", "show").stdout
    assert 'mqtt.password_file = "/etc/headnod/mqtt_password"' in shown
    ended = machine.run("mqtt", "test", root=False)
    assert (ended.returncode, ended.stdout) == (78, "")
    assert ended.stderr.count("\n") == 1
    assert f"mqtt.password_file: {path}: permission denied (sudo " in ended.stderr


def test_a_password_beside_a_configuration_without_a_user_is_no_fault(machine):
    machine.secret("mqtt_password", f"{SECRET}\n")
    machine.configuration.write_text(f'[mqtt]\nhost = "{HOST}"\nnode = "kitchen"\n')
    assert 'mqtt.password_file = "" ' in machine.run("config", "show").stdout


def test_a_second_listener_has_a_state_folder_and_a_password_of_its_own(machine):
    machine.secret("mqtt_password", "for both")
    own = machine.secret("porch.mqtt_password", "for this one")
    porch = machine.configuration.with_name("porch.toml")
    porch.write_text(f'[mqtt]\nhost = "{HOST}"\nnode = "porch"\nusername = "porch"\n')
    shown = machine.run("config", "show", "--config", "/etc/headnod/porch.toml").stdout
    assert f'mqtt.password_file = "{own}"' in shown
    service = service_of(machine.configuration.with_name("porch.toml"), folder=porch.parent)
    assert (service.unit, str(service.state)) == ("headnod@porch.service", "/var/lib/headnod-porch")


@pytest.mark.parametrize(
    "words",
    [
        ("models", "install", "{bundle}", "--unsigned"),
        ("models", "rollback"),
        ("models", "prune"),
        ("models", "install", "{closed}/no.bundle", "--unsigned"),
        ("leds", "preview", "{closed}/leds.png"),
        ("mqtt", "docs", "{closed}/mqtt.md"),
        ("classify", "{closed}/a.wav"),
        ("listen", "--audio", "{closed}/a.wav"),
        ("calibrate", "--audio", "{closed}/a.wav"),
    ],
)
def test_a_file_or_folder_that_may_not_be_used_is_one_line_with_sudo(machine, bundle, tmp_path, words):
    closed, state = tmp_path / "closed", tmp_path / "state"
    for folder in (closed, state):
        folder.mkdir()
        os.chown(folder, 65_534, 65_534)
    closed.chmod(0o700)
    words = [word.format(bundle=bundle, closed=closed) for word in words]
    ended = machine.run(*words, root=False, HEADNOD_HISTORY__PATH=str(state / "history.sqlite"))
    assert ended.returncode in {1, 78}
    (line,) = ended.stderr.splitlines()
    assert "ermission denied" in line
    assert "(sudo --preserve-env=HEADNOD_HISTORY__PATH " in line


def test_a_folder_of_models_that_is_closed_is_one_line_with_sudo(machine, bundle, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    folder = copied(bundle, closed)
    closed.chmod(0o000)
    ended = machine.run("classify", "--model", folder, "nothing.wav", root=False)
    assert ended.returncode == 2
    assert f"{folder}: permission denied (sudo " in ended.stderr


def test_mqtt_test_by_root_says_what_the_service_may_not_read(machine, broker):
    machine.install()
    path = machine.secret("other_password", f"{SECRET}\n")
    machine.configuration.write_text(
        f'[mqtt]\nhost = "{HOST}"\nport = {broker.port}\nnode = "kitchen"\nusername = "kitchen"\n'
        f'password_file = "{path}"\n'
    )
    ended = machine.run("mqtt", "test")
    assert ended.returncode == 1
    assert ended.stdout.splitlines()[-2].startswith("ok       round trip")
    assert ended.stdout.splitlines()[-1].startswith(
        f"FAULT    service      /etc/headnod/headnod.toml:6: mqtt.password_file: {path}: headnod.service"
    )
    found = [
        each
        for each in map(json.loads, machine.run("check", "--json").stdout.splitlines())
        if each["part"] == "service"
    ]
    assert [each["verdict"] for each in found] == ["fault"]
    assert f"LoadCredential=other_password:{path}" in found[0]["message"]


def test_two_listeners_that_share_a_microphone_or_a_name_are_refused(machine):
    machine.install("headnod.service", "headnod@porch.service")
    text = f'[microphone]\ndevice = "usb:1"\n[mqtt]\nhost = "{HOST}"\nnode = "kitchen"\n'
    machine.configuration.write_text(text)
    porch = machine.configuration.with_name("porch.toml")
    porch.write_text(text)
    for configuration, other in (("headnod", "porch"), ("porch", "headnod")):
        ended = machine.run("config", "check", "--config", f"/etc/headnod/{configuration}.toml")
        assert ended.returncode == 78
        assert f"microphone.device: 'usb:1' is the microphone of /etc/headnod/{other}.toml, too" in ended.stderr
        assert f"mqtt.node: 'kitchen' is the name of the listener of /etc/headnod/{other}.toml, too" in ended.stderr
    porch.write_text(text.replace("usb:1", "usb:2").replace("kitchen", "porch"))
    assert machine.run("config", "check").returncode == 0


def as_service(machine, credentials, *words):
    """Run by a user that may not read root's files, with what systemd hands over."""
    return machine.run(*words, root=False, CREDENTIALS_DIRECTORY=str(credentials), STATE_DIRECTORY="/var/lib/headnod")


def test_the_service_reads_a_named_file_of_root_as_the_credential_of_its_name(machine, broker, tmp_path):
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for name in ("kitchen.password", "mqtt_password"):
        path = machine.secret(name, f"{SECRET}\n")
        machine.configuration.write_text(
            f'[mqtt]\nhost = "{HOST}"\nport = {broker.port}\nnode = "kitchen"\nusername = "kitchen"\n'
            f'password_file = "{path}"\n'
        )
        refused = as_service(machine, credentials, "mqtt", "test")
        assert refused.returncode == 78
        assert f"mqtt.password_file: {path}: the service's user may not read it" in refused.stderr
        assert f"LoadCredential={name}:{path}" in refused.stderr
        (credentials / name).write_text(f"{SECRET}\n")
        assert as_service(machine, credentials, "mqtt", "test").returncode == 0


def test_an_empty_credential_is_no_password(machine, tmp_path):
    (tmp_path / "mqtt_password").write_text("\n")
    machine.configuration.write_text(f'[mqtt]\nhost = "{HOST}"\nport = 1\nnode = "kitchen"\n')
    ended = as_service(machine, tmp_path, "mqtt", "test", "--json")
    assert ended.returncode == 1, "a password without a user would be refused with 78"
    (tmp_path / "mqtt_password").write_text("secret\n")
    assert "a password needs mqtt.username too" in as_service(machine, tmp_path, "mqtt", "test").stderr
