"""The units, judged by systemd's own tools without running them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd" / "headnod.service"
PROGRAM = "/opt/headnod/bin/headnod"
MOST_EXPOSED = 16
"""In tenths, as systemd-analyze takes it: 1.6."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def values(key, unit=UNIT):
    return re.findall(rf"(?m)^{key}=(.*)$", unit.read_text())


@pytest.fixture(params=["headnod.service", "headnod@.service", "headnod-dashboard.service"])
def unit(request):
    return UNIT.with_name(request.param)


@pytest.fixture
def verify(unit, tmp_path):
    """What `systemd-analyze verify` says of a unit with these lines added, where its program is there."""

    def run(more=""):
        changed = tmp_path / unit.name.replace("@.", "@porch.")
        changed.write_text(unit.read_text().replace(PROGRAM, "/bin/true") + more)
        return subprocess.run(["systemd-analyze", "verify", str(changed)], capture_output=True, text=True, check=False)

    return run


@needs_systemd
def test_systemd_understands_every_line(verify):
    ended = verify()
    # systemd has something to say of other units of this machine too.
    assert "headnod" not in ended.stderr
    assert ended.returncode == 0


@needs_systemd
def test_a_line_that_systemd_does_not_know_would_be_seen(verify):
    assert "ProtectEverything" in verify("[Service]\nProtectEverything=yes\n").stderr


@needs_systemd
def test_a_service_is_exposed_by_no_more_than_1_6(unit):
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", f"--threshold={MOST_EXPOSED}", str(unit)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout.splitlines()[-1]


def test_the_program_is_the_one_that_is_installed():
    assert values("ExecStart") == [f"{PROGRAM} listen --audio mic --quiet"]
    assert values("ExecStart", UNIT.with_name("headnod-dashboard.service")) == [f"{PROGRAM} dashboard"]
    assert "environment=/opt/headnod\n" in (UNIT.parents[1] / "scripts" / "install").read_text()


def test_a_further_listener_differs_in_its_folders_and_its_password_only():
    further = UNIT.with_name("headnod@.service").read_text().splitlines()
    first = UNIT.read_text().splitlines()
    ours = [line.replace("-%i", "").replace(" --config /etc/headnod/%i.toml", "") for line in further]
    assert [line for line in ours if line not in first] == [
        "Description=headnod for one more microphone, as /etc/headnod/%i.toml says",
        "LoadCredential=%i.mqtt_password:/etc/headnod/%i.mqtt_password",
        "SetCredential=%i.mqtt_password:\\n",
    ]
    assert [line for line in first if line not in ours] == [first[1]]


def test_a_password_that_is_not_there_keeps_no_service_from_starting(unit):
    loaded = dict(line.split(":", 1) for line in values("LoadCredential", unit) if ":" in line)
    handed = dict(line.split(":", 1) for line in values("SetCredential", unit))
    # systemd fails a service whose absolute file is absent, unless there is a value in its place.
    assert loaded
    assert handed == dict.fromkeys(loaded, "\\n")


@pytest.mark.parametrize(
    "document",
    [
        "systemd/README.md",
        "docs/homeassistant.md",
        "docs/mqtt.md",
        "firmware_config/mosquitto/README.md",
        "firmware_config/headnod.toml",
        "scripts/install",
    ],
)
def test_every_document_gives_the_broker_s_password_in_the_same_way(document):
    text = (UNIT.parents[1] / document).read_text()
    assert "sudo install -D -m 600 /dev/stdin /etc/headnod/mqtt_password" in text
    assert "LoadCredential=mqtt_password:/etc/headnod/mqtt_password" in UNIT.read_text()


def test_a_configuration_that_cannot_be_used_ends_it(unit):
    assert values("RestartPreventExitStatus", unit) == ["2 78"]


def test_nothing_but_sound_pins_and_spi_is_let_in():
    assert values("DevicePolicy") == ["closed"]
    assert set(values("DeviceAllow")) == {"char-116 rw", "char-153 rw", "char-gpiochip rw"}


def test_every_group_that_it_joins_is_made():
    made = re.findall(r"(?m)^g (\w+) ", UNIT.with_name("headnod.sysusers").read_text())
    assert values("SupplementaryGroups") == [" ".join(made)]
