"""What the Pi and its neighbours are configured with, as far as a machine without a Pi can tell."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

FILES = Path(__file__).parents[1] / "firmware_config"
OVERLAYS = {"googlevoicehat-soundcard": set(), "adau7002-simple": {"card-name"}}
"""Overlays of Raspberry Pi's kernel, with their parameters, from its overlays/README."""
PARAMETERS = {"spi": {"on", "off"}, "audio": {"on", "off"}}
MODELS = {"pi3", "pi02", "pi4", "pi5", "all"}
NUMBERS = {"core_freq", "core_freq_min"}


def understood(line):
    """config.txt knows such a line."""
    if line.startswith("["):
        return line[1:-1] in MODELS
    key, _, value = line.partition("=")
    if key == "dtoverlay":
        name, *given = value.split(",")
        return {each.partition("=")[0] for each in given} <= OVERLAYS.get(name, set()) and name in OVERLAYS
    if key == "dtparam":
        name, _, state = value.partition("=")
        return state in PARAMETERS.get(name, set())
    return key in NUMBERS and value.isdigit()


def offered():
    """The lines of overlays.txt that a person may take over."""
    lines = (FILES / "overlays.txt").read_text().splitlines()
    return [line[1:] for line in lines if re.match(r"#\S", line)]


@pytest.mark.parametrize("line", offered())
def test_every_line_that_is_offered_is_one_that_config_txt_knows(line):
    assert understood(line)


def test_nothing_in_overlays_txt_is_in_force_before_somebody_chooses():
    assert all(not line or line.startswith("#") for line in (FILES / "overlays.txt").read_text().splitlines())


def test_a_choice_for_one_model_ends_before_the_next_lines():
    models = [line for line in offered() if line.startswith("[")]
    assert models[-1] == "[all]"


@pytest.mark.skipif(shutil.which("arecord") is None, reason="arecord is not installed")
def test_alsa_offers_the_i2s_microphone(tmp_path):
    shutil.copy(FILES / "asound.conf", tmp_path / ".asoundrc")
    home = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    listed = subprocess.run(["arecord", "-L"], env=home, capture_output=True, text=True, check=True)
    assert "\nmicrophone\n    I2S microphone\n" in listed.stdout
    opened = ["arecord", "-D", "microphone", "-d", "1", "/dev/null"]
    # All of it is right but the card, which is not here.
    refused = subprocess.run(opened, env=home, capture_output=True, text=True, check=False).stderr
    assert "Cannot get card index for sndrpigooglevoi" in refused


def test_the_i2s_microphone_is_called_the_same_everywhere():
    card = "sndrpigooglevoi"
    assert card in (FILES / "overlays.txt").read_text()
    assert set(re.findall(r"(?m)^ +(?:card|pcm) \"?(?:hw:)?([\w]+)\"?$", (FILES / "asound.conf").read_text())) == {card}


@pytest.mark.skipif(
    shutil.which("udevadm") is None
    or subprocess.run(["udevadm", "verify", "--help"], capture_output=True, check=False).returncode != 0,
    reason="udevadm verify came with systemd 254",
)
def test_udev_understands_the_rules():
    ended = subprocess.run(
        ["udevadm", "verify", "--resolve-names=never", str(FILES / "99-headnod.rules")],
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 0


def test_every_rule_does_something():
    rules = [line for line in (FILES / "99-headnod.rules").read_text().splitlines() if line and line[0] != "#"]
    part = r'[A-Z]+(\{[\w/]+\})?(==|=)"[^"]*"'
    assert rules
    assert all(re.fullmatch(rf"{part}(, {part})*", rule) for rule in rules)
    assert all(re.search(r'(?<!=)="', rule) for rule in rules)


@pytest.fixture
def user_data():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    text = (FILES / "cloud-init" / "user-data").read_text()
    assert text.startswith("#cloud-config\n")
    return yaml.safe_load(text)


def test_a_person_is_advised_to_give_each_pi_a_name_of_its_own():
    lines = (FILES / "cloud-init" / "user-data").read_text().splitlines()
    (place,) = [number for number, line in enumerate(lines) if line.startswith("hostname:")]
    assert "CHANGE" in lines[place - 1]
    assert re.fullmatch(r"hostname: [a-z][a-z0-9-]*", lines[place])


@pytest.fixture
def first_boot(user_data, tmp_path):
    """The script of the first boot, in a system that consists of a folder and a git repository."""
    written = {each["path"]: each for each in user_data["write_files"]}
    script = written["/usr/local/sbin/headnod-first-boot"]
    assert script["permissions"] == "0755"
    for folder in ("etc/headnod", "boot/firmware", "usr/local/src", "repository/scripts"):
        (tmp_path / folder).mkdir(parents=True)
    settings = written["/etc/headnod/first-boot.conf"]["content"].replace(
        "YOUR_REPOSITORY_URL", f"{tmp_path}/repository"
    )
    (tmp_path / "etc/headnod/first-boot.conf").write_text(settings)
    (tmp_path / "boot/firmware/config.txt").write_text("[cm4]\notg_mode=1\n")
    install = tmp_path / "repository/scripts/install"
    install.write_text(f"#!/bin/sh\necho installed >> {tmp_path}/log\n")
    install.chmod(0o755)
    for words in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"],
    ):
        subprocess.run(["git", "-C", str(tmp_path / "repository"), *words], check=True)
    moved = re.sub(r"(?<![\w$\"}/.-])/(?=etc/headnod|boot|usr/local/src)", f"{tmp_path}/", script["content"])

    def run():
        subprocess.run(["bash", "-c", moved], check=True, capture_output=True)
        return tmp_path

    return run


def test_the_first_boot_installs_headnod_and_sets_the_overlays(first_boot):
    system = first_boot()
    assert (system / "log").read_text() == "installed\n"
    assert (system / "boot/firmware/config.txt").read_text() == "[cm4]\notg_mode=1\n\n[all]\ndtparam=spi=on\n"


def test_the_first_boot_may_be_repeated(first_boot):
    first_boot()
    system = first_boot()
    assert (system / "boot/firmware/config.txt").read_text().count("dtparam=spi=on") == 1


def test_the_first_boot_brings_git_and_a_user_and_ends_with_a_restart(user_data):
    assert "git" in user_data["packages"]
    assert user_data["runcmd"][-1] == ["/usr/local/sbin/headnod-first-boot"]
    assert user_data["power_state"]["mode"] == "reboot"
    (user,) = user_data["users"]
    assert user["lock_passwd"]
    assert "sudo" in user["groups"]


def test_what_a_person_must_fill_in_is_marked():
    for name in ("user-data", "network-config"):
        lines = (FILES / "cloud-init" / name).read_text().splitlines()
        for number, line in enumerate(lines):
            if re.search(r"YOUR_\w+", line):
                assert any("CHANGE:" in above for above in lines[number - 2 : number]), line


def test_the_network_of_the_first_boot_is_yaml_with_and_without_wifi():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    text = (FILES / "cloud-init" / "network-config").read_text()
    assert list(yaml.safe_load(text)) == ["version", "ethernets"]
    with_wifi = yaml.safe_load(re.sub(r"(?m)^#(?=wifis| )(?! Beside)", "", text))
    assert with_wifi["wifis"]["wlan0"]["access-points"] == {"YOUR_NETWORK": {"password": "YOUR_PASSWORD"}}
