"""`headnod config check` refuses what the listener, the dashboard or the service would refuse, with a way out."""

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from headnod.config import (
    Config,
    DashboardSection,
    HistorySection,
    LedsSection,
    MicrophoneSection,
    ModelSection,
    MqttSection,
    WebSection,
)
from headnod.config.validation import _shared_settings, config_errors, ineffective_settings, service_errors
from headnod.inference.manifest import MODEL
from headnod.service import Sandbox, service_of
from support import installed_service
from support.bundles import copied, flipped
from support.certificates import Authority
from support.history_database import remember
from support.unprivileged import as_nobody

BROKER = MqttSection(host="127.0.0.1", node="kitchen")
BAD_CONFIGURATION = 78


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"mqtt": replace(BROKER, node="K\u00fcche")}, "mqtt.node: 'K\u00fcche' (up to 64 letters"),
        ({"mqtt": replace(BROKER, base="headnod/")}, "mqtt.base: 'headnod/' (letters"),
        ({"mqtt": replace(BROKER, discovery_prefix="home #")}, "mqtt.discovery_prefix: 'home #'"),
        ({"mqtt": replace(BROKER, discovery_prefix="headnod")}, "mqtt.base: 'headnod' lies inside"),
        ({"mqtt": replace(BROKER, username="a", password_file="/nowhere/pw")}, "mqtt.password_file: /nowhere/pw"),
        ({"mqtt": replace(BROKER, tls=True, ca_file="/nowhere/ca")}, "mqtt.ca_file: /nowhere/ca"),
        (
            {"mqtt": replace(BROKER, tls=True, cert_file="/etc/passwd")},
            "mqtt.cert_file: /etc/passwd: is not a matching PEM file",
        ),
        ({"model": ModelSection(name="gener")}, "model.name: there is no model 'gener' (shipped are"),
        ({"model": ModelSection(name="/etc/passwd")}, "model.name: /etc/passwd: is a file, not a bundle"),
        ({"history": HistorySection(path="/nope/x")}, "history.path: /nope/x: there is no folder /nope (make it"),
        ({"history": HistorySection(path="/etc/passwd/x")}, "history.path: /etc/passwd/x: /etc/passwd is not a folder"),
        ({"model": ModelSection(keys=("ed25519:short",))}, "model.keys: 'ed25519:short' is not a public key"),
        ({"microphone": MicrophoneSection(command=("arekord",))}, "microphone.command: 'arekord' is not a program"),
        ({"leds": (LedsSection(kind="wled"),)}, "leds.host: is empty"),
        ({"leds": (LedsSection(), LedsSection(kind="wled"))}, "leds.2.host: is empty"),
        ({"leds": (LedsSection(), LedsSection(kind="ws2812", spi="a"))}, "leds.2.spi: 'a' is not an SPI bus"),
        ({"leds": (LedsSection(), LedsSection(kind="pins", pins={"techno": 4}))}, "leds.2.pins: 'techno' is not"),
        ({"leds": (LedsSection(kind="ws2812", spi="/0.0"),)}, "leds.spi: '/0.0' is not an SPI bus and device"),
        (
            {"leds": (LedsSection(kind="pins", pins={"jazz": 4, "pop": 4}),)},
            "GPIO 4 is named more than once, by",
        ),
        ({"leds": (LedsSection(kind="pins", pins={"jazz": 4, "1": 5}),)}, "leds.pins: LEDs: the pins must be named by"),
        ({"leds": (LedsSection(kind="pins", pins={"techno": 4}),)}, "leds.pins: 'techno' is not a genre of genre-"),
        ({"leds": (LedsSection(kind="pins", pins={"1990": 4, "jazz": 5}),)}, "leds.pins: '1990' is not a genre"),
        ({"dashboard": DashboardSection(host="0.0.0.0")}, "dashboard.host: '0.0.0.0' is open to others"),  # noqa: S104 - to be refused
        ({"dashboard": DashboardSection(host="no.such.host.invalid")}, "dashboard.host: 'no.such.host.invalid'"),
        ({"dashboard": DashboardSection(password_file="/nowhere/pw")}, "dashboard.password_file: /nowhere/pw"),
        # What is switched off.
        ({"web": WebSection(address="0.0.0.0")}, "web.address: '0.0.0.0' is open to others"),  # noqa: S104 - to be refused
        ({"web": WebSection(certificate="/nowhere/web.pem")}, "web.certificate: /nowhere/web.pem: "),
        ({"web": WebSection(key="/etc/passwd")}, "web.key: has no effect without web.certificate"),
        ({"web": WebSection(frame_ancestors=("a b",))}, "web.frame_ancestors: 'a b' is not the origin of a page"),
        ({"web": WebSection(webhooks=("ftp://lan/x",))}, "web.webhooks: 'ftp://lan/x...' is not an address"),
        ({"web": WebSection(reader_password_file="/nowhere/pw")}, "web.reader_password_file: /nowhere/pw"),
        ({"web": WebSection(webhook_key_file="/nowhere/k")}, "web.webhook_key_file: /nowhere/k"),
        ({"mqtt": MqttSection(node="K\u00fcche")}, "mqtt.node: 'K\u00fcche' (up to 64 letters"),
        ({"mqtt": MqttSection(base="/a")}, "mqtt.base: '/a' (letters"),
        ({"mqtt": MqttSection(discovery_prefix="home #")}, "mqtt.discovery_prefix: 'home #'"),
        ({"mqtt": MqttSection(transport="unix", node="a b")}, "mqtt.node: 'a b' (up to 64 letters"),
        ({"mqtt": MqttSection(username="a", password_file="/nowhere/pw")}, "mqtt.password_file: /nowhere/pw"),
        ({"mqtt": MqttSection(tls=True, ca_file="/nowhere/ca")}, "mqtt.ca_file: /nowhere/ca"),
        ({"leds": (LedsSection(pins={"techno": 4}),)}, "leds.pins: 'techno' is not a genre of genre-"),
        ({"leds": (LedsSection(), LedsSection(spi="a"))}, "leds.2.spi: 'a' is not an SPI bus and device"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_key_and_value(changed, refusal):
    found = [str(error) for error in config_errors(replace(Config(), **changed))]
    assert any(refusal in each for each in found), found
    assert all("\n" not in each for each in found)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"mqtt": BROKER},
        {"mqtt": MqttSection(node="kitchen", username="k", discovery_prefix="ha")},
        {"mqtt": MqttSection(transport="unix")},
        {"leds": (LedsSection(kind="pins", pins={"jazz": 4, "pop": 5}),)},
        {"leds": (LedsSection(kind="pins", pins={"1": 4, "2": 5}),)},
        {"leds": (LedsSection(kind="apa102", spi="1.0"),)},
        {"leds": (LedsSection(pins={"jazz": 4}, spi="1.1"),)},
        {"web": WebSection(port=8081, frame_ancestors=("http://pi.lan:8123",))},
        {"microphone": MicrophoneSection(command=("sleep", "1"))},
        {"dashboard": DashboardSection(host="localhost")},
    ],
    ids=str,
)
def test_what_can_be_used_is_not_refused(changed):
    assert config_errors(replace(Config(), **changed)) == []


def test_a_password_that_never_ends_is_refused_at_once():
    (refusal,) = config_errors(Config(mqtt=replace(BROKER, username="kitchen", password_file="/dev/zero")))
    assert str(refusal).startswith("mqtt.password_file: /dev/zero: is longer than 4096 bytes")


@pytest.mark.parametrize("key", ["ca_file", "cert_file"])
def test_a_certificate_that_never_ends_is_refused_at_once(key):
    (refusal,) = config_errors(Config(mqtt=replace(BROKER, tls=True, **{key: "/dev/zero"})))
    assert str(refusal).startswith(f"mqtt.{key}: /dev/zero: is not a matching PEM file")


@pytest.mark.parametrize("key", ["password_file", "ca_file", "cert_file", "key_file"])
def test_a_home_folder_is_to_be_written_out(key):
    (refusal,) = config_errors(Config(mqtt=replace(BROKER, username="k", tls=True, **{key: "~/headnod/file"})))
    assert str(refusal).startswith(f"mqtt.{key}: ~/headnod/file: '~' does not stand for a home folder here")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_key_that_is_missing_encrypted_or_another_s_is_named(tmp_path):
    authority = Authority(tmp_path / "ca")
    ours, other = authority.issue("kitchen"), authority.issue("bath")
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkey", "-in", ours.key, "-aes128", "-passout", "pass:secret", "-out", locked]
    subprocess.run(command, check=True)

    def refused(key):
        section = replace(BROKER, tls=True, cert_file=str(ours.file), key_file=str(key))
        return [str(each) for each in config_errors(Config(mqtt=section))]

    assert refused(ours.key) == []
    assert refused("")[0].startswith(f"mqtt.key_file: {ours.file}: holds no private key")
    assert refused(locked)[0].startswith(f"mqtt.key_file: {locked}: is encrypted")
    assert refused(other.key)[0].startswith(f"mqtt.cert_file: {ours.file}: is not a matching PEM file")


def of_history(path, **options):
    return [str(error) for error in config_errors(Config(history=HistorySection(path=str(path))), **options)]


@pytest.mark.parametrize("content", [None, b"", b"SQLite for", b"SQLite format 3\0", bytes(3 * 4096)])
def test_a_history_that_is_absent_begun_or_damaged_is_not_refused_and_not_touched(tmp_path, content):
    path = tmp_path / "history.sqlite"
    if content is not None:
        path.write_bytes(content)
    assert of_history(path) == []
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([] if content is None else [content])


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda path: path.write_text("root:x:0:0:root:/root:/bin/bash"), "is not an SQLite database (set"),
        (Path.mkdir, "is not a regular file (set another"),
        (os.mkfifo, "is not a regular file (set another"),
    ],
)
def test_another_kind_of_file_is_refused_as_a_history(tmp_path, make, fault):
    path = tmp_path / "passwd"
    make(path)
    (refusal,) = of_history(path)
    assert refusal.startswith(f"history.path: {path}: {fault}")


def test_the_history_of_another_program_or_of_a_newer_headnod_is_refused(tmp_path):
    path = tmp_path / "history.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE recipes (name TEXT)")
    assert of_history(path) == [f"history.path: {path}: is another program's database (set another history.path)"]
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 9")
    assert of_history(path)[0].startswith(f"history.path: {path}: is of version 9, this headnod supports 1 (upgrade")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_or_file_that_this_user_may_not_write_is_refused_unless_a_service_writes_it(open_folder):
    path = open_folder / "history.sqlite"
    with as_nobody():
        (in_folder,) = of_history(path)
        assert of_history(path, of_service=True) == []
    assert in_folder.startswith(f"history.path: {path}: this user may not write into {open_folder} (change its owner")
    open_folder.chmod(0o777)
    remember(path, range(3))
    path.chmod(0o644)
    with as_nobody():
        (in_file,) = of_history(path)
    assert in_file.startswith(f"history.path: {path}: this user may not write to it (change its owner")
    path.chmod(0o600)
    with as_nobody():
        (unread,) = of_history(path)
    assert unread == f"history.path: {path}: permission denied"


@pytest.mark.parametrize("content", [b"root:x:0:0:root:/root:/bin/bash\n", b"SQLit\n", bytes(4097), b"x" * 4096])
def test_a_listener_leaves_a_file_that_is_not_a_history_alone(tmp_path, content):
    path = tmp_path / "passwd"
    path.write_bytes(content)
    listened = installed_service.headnod(
        "listen", "--config", "/dev/null", "--audio", "-", "--plain", HEADNOD_HISTORY__PATH=str(path)
    )
    assert listened.returncode == 78
    assert f"{path}: is not an SQLite database (set another history.path)" in listened.stderr
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("passwd", content)]


def test_a_damaged_model_is_refused(bundle, tmp_path):
    folder = copied(bundle, tmp_path)
    flipped(folder / MODEL, 1000)
    (refusal,) = config_errors(replace(Config(), model=ModelSection(name=str(folder))))
    assert MODEL in str(refusal)


@pytest.mark.parametrize(
    ("changed", "doubt"),
    [
        ({"mqtt": replace(BROKER, ca_file="/etc/ca.crt")}, "mqtt.ca_file: has no effect, and nothing is encrypted"),
        ({"mqtt": replace(BROKER, insecure=True)}, "mqtt.insecure: has no effect"),
        ({"mqtt": replace(BROKER, tls=True, key_file="/etc/key")}, "mqtt.key_file: has no effect without"),
        ({"microphone": MicrophoneSection(device="usb", command=("a",))}, "microphone.device: has no effect beside"),
        ({"dashboard": DashboardSection(port=9000)}, "dashboard: is served only where a broker is set"),
    ],
)
def test_a_setting_without_effect_is_mentioned(changed, doubt):
    (found,) = ineffective_settings(replace(Config(), **changed))
    assert found.startswith(doubt)
    assert ineffective_settings(Config()) == []


@pytest.mark.parametrize(
    ("address", "refusal"),
    [
        ("[::1]", "web.address: '[::1]' is not a host alone (write ::1)"),
        ("localhost:80", "web.address: 'localhost:80' is not a host alone (write localhost, and web.port = 80)"),
        ("..", "web.address: '..' is not a host name or address"),
    ],
)
def test_an_address_of_the_page_that_is_no_host_has_the_right_spelling(address, refusal):
    (found,) = config_errors(replace(Config(), web=WebSection(address=address)))
    assert str(found).startswith(refusal)


CASES = [
    ({"HEADNOD_MQTT__NODE": "living room"}, 78),
    ({"HEADNOD_MQTT__BASE": "/headnod"}, 78),
    ({"HEADNOD_MQTT__DISCOVERY_PREFIX": "headnod"}, 78),
    ({"HEADNOD_MODEL__KEYS": '["ed25519:short"]'}, 78),
    ({"HEADNOD_LEDS__KIND": "wled"}, 78),
    ({}, 0),
]


def run(*words, **variables):
    return installed_service.headnod(*words, HEADNOD_MQTT__HOST="127.0.0.1", HEADNOD_MQTT__PORT="1", **variables)


@pytest.mark.parametrize(("variables", "status"), CASES, ids=str)
def test_config_check_ends_as_the_listener_does(variables, status):
    checked = run("config", "check", "--config", "/dev/null", **variables)
    listened = run("listen", "--config", "/dev/null", "--audio", "-", "--plain", **variables)
    assert (checked.returncode, listened.returncode) == (status, status), checked.stderr + listened.stderr
    # The same words; the check may name the place of the value before them.
    if status:
        (line,) = listened.stderr.splitlines()
        assert line.removeprefix("headnod: ") in checked.stderr


@pytest.mark.parametrize(
    ("words", "lines", "line", "fault"),
    [
        (["listen"], '[model]\nname = "gener"', 2, "model.name: there is no model 'gener'"),
        (["classify", "x.wav"], '[model]\nname = "gener"', 2, "model.name: there is no model 'gener'"),
        (["models", "list"], '[model]\nname = "gener"', 2, "model.name: there is no model 'gener'"),
        (["leds", "preview"], '[model]\nname = "gener"', 2, "model.name: there is no model 'gener'"),
        (["config", "check"], '[listen]\n[model]\nname = "/etc"', 3, "model.name: there is no model '/etc'"),
        (["config", "check"], '[leds]\nkind = "wled"', 2, "leds.host: is empty"),
        (["config", "check"], '[[leds]]\nkind="none"\n[[leds]]\nkind = "wled"', 4, "leds.2.host: is empty"),
        (["listen"], '[leds]\nkind = "wled"', 2, "leds.host: is empty"),
        (["listen"], '[mqtt]\nhost = "127.0.0.1"\nnode = "a b"', 3, "mqtt.node: 'a b'"),
        (["dashboard"], '[mqtt]\nhost = "127.0.0.1"\n[dashboard]\nhost = "0.0.0.0"', 4, "dashboard.host: '0.0.0.0'"),
        (["mqtt", "test"], '[mqtt]\nhost = "127.0.0.1"\nbase = "/a"', 3, "mqtt.base: '/a'"),
        (["config", "check"], '[history]\n\npath = "/nope/x"', 3, "history.path: /nope/x: there is no folder"),
    ],
)
def test_a_refused_value_has_its_file_and_line(tmp_path, words, lines, line, fault):
    path = tmp_path / "headnod.toml"
    path.write_text(lines + "\n")
    ended = installed_service.headnod(*words, "--config", path)
    assert ended.returncode == BAD_CONFIGURATION, ended.stderr
    assert f"{path}:{line}: {fault}" in ended.stderr


def test_config_check_counts_in_plain_words():
    for variables, words in (({}, "0 values set"), ({"HEADNOD_LOG__LEVEL": "info"}, "1 value set")):
        ended = installed_service.headnod("config", "check", "--config", "/dev/null", **variables)
        assert re.fullmatch(rf"ok       configuration  valid \({words}, \d+ defaults\)\n", ended.stdout)


def test_config_check_ends_as_the_dashboard_does():
    open_to_all = {"HEADNOD_DASHBOARD__HOST": "0.0.0.0"}  # noqa: S104 - to be refused
    checked, served = run("config", "check", "--config", "/dev/null", **open_to_all), run("dashboard", **open_to_all)
    assert (checked.returncode, served.returncode) == (BAD_CONFIGURATION, BAD_CONFIGURATION)
    assert served.stderr.strip().removeprefix("headnod: ") in checked.stderr


def test_config_check_shows_every_refusal_with_its_line(tmp_path):
    path = tmp_path / "headnod.toml"
    path.write_text('[mqtt]\nhost = "broker.lan"\nnode = "a b"\n[leds]\nkind = "wled"\n[model]\nname = "gener"\n')
    ended = installed_service.headnod("config", "check", "--config", path)
    assert ended.returncode == BAD_CONFIGURATION
    assert [line.split(": ")[1:3] for line in ended.stderr.splitlines()] == [
        [f"{path}:7", "model.name"],
        [f"{path}:5", "leds.host"],
        [f"{path}:3", "mqtt.node"],
    ]
    assert ended.stdout == ""


@pytest.fixture
def units(tmp_path):
    """The units as they are shipped, where scripts/install puts them."""
    folder = tmp_path / "units"
    folder.mkdir()
    for unit in (installed_service.CHECKOUT / "systemd").glob("*.service"):
        (folder / unit.name).write_text(unit.read_text())
    return folder


@pytest.fixture
def secret(open_folder):
    path = open_folder / "kitchen.key"
    path.write_text("key")
    path.chmod(0o600)
    return path


def of_service(config, units, name="headnod"):
    return [str(each) for each in service_errors(config, service_of(Path(f"/etc/headnod/{name}.toml")), units=units)]


@pytest.mark.parametrize(
    ("section", "setting"),
    [
        ({"mqtt": replace(BROKER, username="k", password_file="pw")}, "mqtt.password_file: pw"),
        ({"mqtt": replace(BROKER, tls=True, ca_file="certs/ca.crt")}, "mqtt.ca_file: certs/ca.crt"),
        ({"model": ModelSection(name="models/mine")}, "model.name: models/mine"),
        ({"microphone": MicrophoneSection(command=("./record", "-q"))}, "microphone.command: ./record"),
        ({"dashboard": DashboardSection(password_file="page")}, "dashboard.password_file: page"),
    ],
    ids=str,
)
def test_a_path_that_depends_on_where_a_program_starts_is_refused_for_a_service(units, section, setting):
    (refusal,) = of_service(replace(Config(), **section), units)
    assert refusal.startswith(f"{setting}: depends on the folder that a program starts in")
    assert "write the whole path" in refusal


def test_names_of_programs_and_shipped_models_are_no_paths(units):
    config = Config(model=ModelSection(name="genre"), microphone=MicrophoneSection(command=("arecord", "-q")))
    assert of_service(config, units) == []


def test_a_file_of_root_is_refused_until_systemd_hands_it_over(units, secret):
    config = replace(Config(), mqtt=replace(BROKER, tls=True, key_file=str(secret)))
    (refusal,) = of_service(config, units)
    assert refusal.startswith(f"mqtt.key_file: {secret}: headnod.service may not read it")
    handed = f"LoadCredential=kitchen.key:{secret}"
    assert handed in refusal
    changes = units / "headnod.service.d"
    changes.mkdir()
    (changes / "override.conf").write_text(f"[Service]\n{handed}\n")
    assert of_service(config, units) == []
    (changes / "override.conf").unlink()
    secret.chmod(0o644)
    assert of_service(config, units) == []
    secret.parent.chmod(0o700)
    assert len(of_service(config, units)) == 1


def test_the_shipped_units_are_handed_their_passwords(units):
    for unit, name in (
        ("headnod.service", "mqtt_password"),
        ("headnod@porch.service", "mqtt_password"),
        ("headnod@porch.service", "porch.mqtt_password"),
        ("headnod-dashboard.service", "dashboard_password"),
        ("headnod.service", "dashboard_password"),
        ("headnod@porch.service", "dashboard_password"),
    ):
        assert Sandbox(unit, units=units).unreadable(Path("/etc/headnod") / name) == ""


def test_what_the_service_may_not_see_or_do_is_refused(units, tmp_path):
    sandbox = Sandbox("headnod.service", units=units)
    in_tmp = tmp_path / "ca.crt"
    in_tmp.write_text("")
    config = Config(
        mqtt=MqttSection(host="203.0.113.7", node="kitchen", tls=True, ca_file=str(in_tmp)),
        history=HistorySection(path="/srv/history.sqlite"),
        dashboard=DashboardSection(port=80),
    )
    found = of_service(config, units)
    assert [each.partition(": ")[0] for each in found] == [
        "history.path",
        "mqtt.host",
        "mqtt.ca_file",
        *(["dashboard.port"] if sandbox.refused_port(80) else []),
    ]
    assert "IPAddressAllow=203.0.113.7" in found[1]
    assert "ReadWritePaths=/srv" in found[0]
    for address in ("192.168.1.2", "127.0.0.1", "10.0.0.1", "fd00::1", "fe80::1", "::1", "broker.lan"):
        assert sandbox.unreachable(address) == ""
    assert sandbox.unwritable(Path("/var/lib/headnod/history.sqlite"), Path("/var/lib/headnod")) == ""
    assert sandbox.refused_port(8137) == ""


def test_the_page_of_the_service_has_the_rights_of_its_listener(units, secret):
    sandbox = Sandbox("headnod.service", units=units)
    hooks = ("http://203.0.113.9/hook?token=t", "http://192.168.1.7/hook")
    files = {"key": str(secret), "reader_password_file": "reader"}
    web = WebSection(enabled=True, port=80, certificate=str(secret), webhooks=hooks, **files)
    found = of_service(Config(web=web), units)
    assert [each.partition(": ")[0] for each in found] == [
        "web.reader_password_file",
        "web.certificate",
        "web.key",
        *(["web.port"] if sandbox.refused_port(80) else []),
        "web.webhooks",
    ]
    assert "token" not in "".join(found)
    assert of_service(Config(web=replace(web, enabled=False)), units) == []


def test_two_pages_of_one_machine_have_two_ports(tmp_path):
    other = tmp_path / "porch.toml"
    other.write_text("[web]\nenabled = true\n")
    (refusal,) = _shared_settings(Config(web=WebSection(enabled=True)), other)
    assert str(refusal).startswith(f"web.port: 8080 is the port of the listener of {other}, too")
    assert list(_shared_settings(Config(web=WebSection(enabled=True, port=8081)), other)) == []
    assert list(_shared_settings(Config(), other)) == []


@pytest.mark.parametrize(
    ("web", "warning"),
    [
        (WebSection(port=9000), "web: the page is served only with web.enabled"),
        (WebSection(enabled=True, webhook_key_file="k"), "web.webhook_key_file: has no effect without web.webhooks"),
        (WebSection(enabled=True, open=True, reader_password_file="r"), "web.reader_password_file: has no effect"),
    ],
)
def test_settings_of_the_page_without_an_effect_are_warnings(web, warning):
    (found,) = ineffective_settings(Config(web=web))
    assert found.startswith(warning)
    assert ineffective_settings(Config(web=WebSection(enabled=True))) == []


@pytest.mark.parametrize(
    ("address", "more", "told"),
    [
        ("http://203.0.113.9:8000/live.mp3", "", "203.0.113.9 is outside of the local network"),
        ("https://me:secret@203.0.113.9/live", "", "203.0.113.9 is outside of the local network"),
        ("http://203.0.113.9/live", "IPAddressAllow=any\n", ""),
        ("http://192.168.1.7/live", "", ""),
        ("http://localhost/live", "", ""),
        ("http://radio.invalid/live", "", ""),
        ("rtsp://192.168.1.7/live", "", ""),
        ("rtsp://203.0.113.9/live", "", "203.0.113.9 is outside of the local network"),
        ("rtmp://192.168.1.7/live", "", "only http://, https://, rtsp:// and rtsps:// can be played"),
        ("mic", "", ""),
    ],
)
def test_a_radio_that_the_service_may_not_reach_is_refused(units, address, more, told):
    changes = units / "headnod.service.d"
    changes.mkdir()
    command = f"ExecStart=\nExecStart=/opt/headnod/bin/headnod listen --audio {address} --quiet\n"
    (changes / "override.conf").write_text(f"[Service]\n{command}{more}")
    found = of_service(Config(), units)
    assert len(found) == bool(told)
    for line in found:
        assert told in line
        assert line.startswith("--audio of headnod.service: ")
        assert "secret" not in line


def test_the_address_of_a_camera_in_the_configuration_is_checked_as_well(units):
    section = MicrophoneSection(address="rtsp://me:secret@203.0.113.9/live")
    (line,) = of_service(Config(microphone=section), units)
    assert line.startswith("microphone.address: rtsp://203.0.113.9/live: 203.0.113.9 is outside of the local network")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"address": "rtmp://x/live"}, "address: rtmp://x/live: only http://, https://, rtsp:// and rtsps:// can be"),
        ({"address": "http://"}, "address: http://: names no host"),
        ({"address": "http://x/", "command": ("cat",)}, "address: excludes command"),
    ],
)
def test_an_address_that_cannot_be_played_is_refused(section, message):
    with pytest.raises(ValueError, match=message):
        MicrophoneSection(**section)


def test_the_documented_change_lets_the_service_play_a_radio(units):
    text = (Path(__file__).parents[2] / "systemd" / "README.md").read_text()
    change = "\n".join(re.search(r"^      (\[Service\])\n      (IPAddressAllow=.*)$", text, re.MULTILINE).groups())
    config = Config(microphone=MicrophoneSection(address="https://203.0.113.9/live.mp3"))
    assert len(of_service(config, units)) == 1
    changes = units / "headnod.service.d"
    changes.mkdir()
    (changes / "override.conf").write_text(change)
    assert of_service(config, units) == []


def test_a_service_needs_a_folder_for_its_history_that_it_may_write_to(units, open_folder):
    changes = units / "headnod.service.d"
    changes.mkdir()
    (changes / "override.conf").write_text(f"[Service]\nReadWritePaths={open_folder}\n")
    path = open_folder / "history.sqlite"
    config = Config(history=HistorySection(path=str(path)))
    (refusal,) = of_service(config, units)
    assert f"the user of headnod.service may not write to {open_folder} (sudo chmod a+w {open_folder}" in refusal
    open_folder.chmod(0o777)
    assert of_service(config, units) == []
    path.touch(mode=0o600)
    (refusal,) = of_service(config, units)
    assert f"may not write to {path}" in refusal
    if os.geteuid() == 0:
        # As the service's own user, whom systemd makes up, wrote it.
        os.chown(path, 61_184, 61_184)
        assert of_service(config, units) == []


def test_nothing_is_refused_for_a_service_that_is_not_installed(tmp_path):
    config = Config(mqtt=MqttSection(host="203.0.113.7", node="kitchen"), dashboard=DashboardSection(port=80))
    assert of_service(config, tmp_path) == []


def test_a_further_listener_needs_a_microphone_and_a_node_of_its_own(units):
    found = of_service(Config(mqtt=MqttSection(host="127.0.0.1")), units, "porch")
    assert found[0].startswith("microphone.device: is empty, and headnod@porch.service would use")
    assert found[1].startswith("mqtt.node: is empty")
    assert 'node = "porch"' in found[1]
    own = Config(mqtt=MqttSection(host="127.0.0.1", node="porch"), microphone=MicrophoneSection(device="usb:1"))
    assert of_service(own, units, "porch") == []
