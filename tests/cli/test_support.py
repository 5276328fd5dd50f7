"""`headnod check --report` and `--privacy`: what they contain, and what must not be in them."""

import json
import os
import socket
import stat
import subprocess
import tarfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from headnod.support_report import Socket, microphones, open_sockets, processes, redacted
from support import installed_service
from support.command_line import HEADNOD, PATIENCE, run, surroundings

SECRET = "hunter2-of-the-kitchen"  # noqa: S105 - appears nowhere else
CONFIGURATION = f"""
[microphone]
address = "rtsp://camera-user:{SECRET}@127.0.0.1:9/live"
[mqtt]
host = "127.0.0.1:9"
username = "kitchen-user"
"""


def report(environment, path, *words):
    ended = run("check", "--report", path, *words, environment=environment)
    with tarfile.open(path) as archive:
        texts = {name.rpartition("/")[2]: archive.extractfile(name).read().decode() for name in archive.getnames()}
    return ended, texts


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "headnod.toml").write_text(CONFIGURATION)
    (tmp_path / "password").write_text(f"{SECRET}\n")
    return surroundings(tmp_path, HEADNOD_MQTT__PASSWORD_FILE=str(tmp_path / "password"))


def test_a_report_says_what_is_needed_and_keeps_secrets_out(environment, tmp_path):
    ended, texts = report(environment, tmp_path / "report.tar.gz")
    assert set(texts) == {
        *("README.txt", "checks.txt", "configuration.json", "versions.json", "log.txt", "health.json"),
        "microphones.json",
    }
    assert (
        ended.stdout.splitlines()[-1]
        == f"ok       report         {tmp_path / 'report.tar.gz'}: read it before you publish it"
    )
    rows = {f"{row['section']}.{row['key']}": row for row in json.loads(texts["configuration.json"])}
    assert rows["microphone.address"]["value"] == "rtsp://127.0.0.1:9/live"
    assert rows["mqtt.username"]["value"] == "(set)"
    assert rows["mqtt.host"]["origin"] == f"{tmp_path / 'headnod.toml'}:5"
    assert json.loads(texts["versions.json"])["packages"]["headnod"]
    assert json.loads(texts["health.json"])["memory_mib"] > 5.0
    assert "fault    microphone" in texts["checks.txt"]
    for name, text in texts.items():
        for word in (SECRET, "camera-user", "kitchen-user"):
            assert word not in text, name
    assert SECRET not in ended.stdout + ended.stderr


def test_a_report_has_the_status_of_the_check(environment, tmp_path):
    ended, _ = report(environment, tmp_path / "report.tar.gz")
    assert ended.returncode == run("check", environment=environment).returncode == 1


def test_a_report_that_cannot_be_written_is_one_line(environment, tmp_path):
    (tmp_path / "file").touch()
    ended = run("check", "--report", tmp_path / "file" / "report.tar.gz", environment=environment)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("option", ["--api-key", "-rtsp_password", "--user", "-u", "--auth-token"])
def test_the_word_after_an_option_that_names_a_secret_is_left_out(tmp_path, option):
    command = json.dumps(["false", option, "hunter2", "-i", "in.wav"])
    environment = surroundings(tmp_path, HEADNOD_MICROPHONE__COMMAND=command)
    run("check", "--report", tmp_path / "report.tar.gz", environment=environment)
    with tarfile.open(tmp_path / "report.tar.gz") as archive:
        texts = [archive.extractfile(each).read().decode() for each in archive.getmembers()]
    assert not [text for text in texts if "hunter2" in text]
    assert [text for text in texts if "in.wav" in text]


def test_a_device_is_not_replaced_by_a_report(environment, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/proc/self/fd/1")
    for name, reason in (
        ("pipe", "is not a regular file"),
        ("link", "is not a regular file"),
        ("", "is a directory"),
    ):
        ended = run("check", "--report", name and tmp_path / name, environment=environment)
        assert ended.returncode == 1
        assert ended.stderr.rstrip().endswith(f"cannot be written: {reason} (name a file in a folder of yours)")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mqtt://me:pass@broker/x", "mqtt://broker/x"),
        ("password: pass", "password: ***"),
        ("HEADNOD_TOKEN=pass next", "HEADNOD_TOKEN=*** next"),
        ("api_key = pass", "api_key = ***"),
        ('"api-key": "pass", "b": 1', '"api-key": "***", "b": 1'),
        ("Authorization: Bearer pass.word", "Authorization: ***"),
        ("curl -H 'X: bearer pass'", "curl -H 'X: bearer ***'"),
        ("http://radio/live.mp3?id=pass next", "http://radio/live.mp3?*** next"),
        ("the password file is absent", "the password file is absent"),
    ],
)
def test_words_that_name_a_secret_hide_its_value(text, shown):
    assert redacted(text) == shown


def test_descriptors_of_usb_microphones_are_reported_without_the_serial_number(tmp_path):
    device = tmp_path / "devices" / "1-2"
    (device / "1-2:1.0").mkdir(parents=True)
    for name, text in {"idVendor": "0d8c", "product": "USB PnP Sound", "serial": "SN-42", "speed": "12"}.items():
        (device / name).write_text(f"{text}\n")
    (device / "descriptors").write_bytes(bytes([18, 1, 0, 2]))
    (device / "1-2:1.0" / "bInterfaceClass").write_text("01\n")
    card = tmp_path / "sound" / "card1"
    card.mkdir(parents=True)
    (card / "device").symlink_to(device / "1-2:1.0")
    (tmp_path / "cards").write_text(" 1 [Device]: USB-Audio - USB PnP Sound\n")
    found = microphones(sound=tmp_path / "sound", cards=tmp_path / "cards")
    (usb,) = found["usb"]
    assert (usb["idVendor"], usb["descriptors"], usb["audio_interfaces"]) == ("0d8c", "12010002", ["1-2:1.0"])
    assert found["cards"] == [" 1 [Device]: USB-Audio - USB PnP Sound"]
    assert "SN-42" not in json.dumps(found)


@pytest.mark.skipif(bool(installed_service.missing()), reason=f"not here: {installed_service.missing()}")
def test_a_report_beside_the_service_names_its_sandbox(tmp_path):
    machine = installed_service.Installed(tmp_path / "machine")
    machine.install("headnod.service")
    ended = machine.run("check", "--privacy")
    assert ended.returncode == 0
    (line,) = (line for line in ended.stdout.splitlines() if " sandbox " in line)
    assert "headnod.service may connect to localhost link-local multicast 10.0.0.0/8" in line
    change = tmp_path / "machine" / "etc/systemd/system/headnod.service.d"
    change.mkdir()
    (change / "any.conf").write_text("[Service]\nIPAddressAllow=any\n")
    assert "warning  sandbox        headnod.service may connect anywhere" in machine.run("check", "--privacy").stdout


@contextmanager
def listening(environment, *words):
    command = [*HEADNOD, "listen", "--audio", "-", "--json", *words]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            process.stdin.write(bytes(2 * 22_050 * 8))
            process.stdin.flush()
            assert process.stdout.readline()
            yield process
        finally:
            process.kill()


def test_a_listener_that_runs_shows_its_files_and_has_no_socket(tmp_path):
    path = tmp_path / "history.sqlite"
    environment = surroundings(tmp_path, HEADNOD_HISTORY__PATH=str(path))
    with listening(environment) as process:
        assert process.pid in set(processes())
        lines = run("check", "--privacy", "--json", environment=environment).stdout.splitlines()
    found = [each for each in map(json.loads, lines) if each["part"] == f"process {process.pid}"]
    sockets, files = (each["message"] for each in found)
    assert sockets == "-m headnod listen --audio - --json: no socket of the network"
    assert str(path) in files


def test_no_listener_is_reported_and_this_command_is_not_one(tmp_path):
    (tmp_path / "proc").mkdir()
    assert list(processes(tmp_path / "proc")) == []
    assert os.getpid() not in set(processes())


def test_sockets_of_a_process_are_those_that_it_has_open():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_INET6) as six:
        six.bind(("::1", 0))
        six.listen()
        with socket.create_connection(server.getsockname()) as client, socket.socket(type=socket.SOCK_DGRAM) as packets:
            packets.bind(("127.0.0.1", 0))
            links = {
                str(Path("/proc/self/fd", str(each.fileno())).readlink()) for each in (server, six, client, packets)
            }
            found = {str(each) for each in open_sockets(os.getpid(), links)}
            port = server.getsockname()[1]
            assert found == {
                f"TCP at 127.0.0.1:{port}, waiting",
                f"TCP at [::1]:{six.getsockname()[1]}, waiting",
                f"TCP to 127.0.0.1:{port}",
                f"UDP at 127.0.0.1:{packets.getsockname()[1]}, waiting",
            }


@pytest.mark.parametrize(
    ("remote", "leaves"),
    [("192.168.1.7:1883", False), ("[fe80::1]:80", False), ("93.184.216.34:443", True), ("", False)],
)
def test_an_address_of_the_internet_is_recognised(remote, leaves):
    assert Socket("TCP", "10.0.0.2:40000", remote).leaves_the_house is leaves


def test_a_program_that_only_names_headnod_is_not_headnod():
    with subprocess.Popen(["sh", "-c", "read line", "headnod"], stdin=subprocess.PIPE) as process:
        try:
            assert process.pid not in set(processes())
        finally:
            process.communicate(timeout=PATIENCE)
