"""scripts/install in a clean Debian, which was not booted, and the whole of its life there."""

import re
from pathlib import Path

import pytest

from support import debian_roots as roots

pytestmark = pytest.mark.long

INSTALL = f"{roots.INSIDE}/scripts/install"
SERVICES = ("headnod.service", "headnod-dashboard.service")
MADE = {
    "etc/headnod/headnod.toml",
    "etc/systemd/system/headnod-dashboard.service",
    "etc/systemd/system/headnod.service",
    "etc/systemd/system/headnod@.service",
    "etc/sysusers.d/headnod.conf",
    "etc/udev/rules.d/99-headnod.rules",
    "opt/headnod",
    "usr/local/bin/headnod",
}


@pytest.fixture
def system(installed):
    """A system that a test may spoil."""
    with roots.copy(installed[0], "spoilt", shared="usr") as system:
        yield system


def install(system, *words):
    ended = roots.run(system, INSTALL, *words)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stderr


def path_exists(system, name):
    path = Path(system, name)
    return path.exists() or path.is_symlink()


def names(system):
    """What stands in /opt."""
    return sorted(path.name for path in (system / "opt").iterdir())


def make_old(system):
    """As if the checkout had been another one when this was installed."""
    current, old = system / "opt/headnod", system / "opt/headnod-0123456789ab"
    (system / "opt" / current.readlink().name).rename(old)
    current.unlink()
    current.symlink_to(f"/opt/{old.name}")


def test_everything_is_in_its_place(installed):
    system, _ = installed
    assert {name for name in MADE if path_exists(system, name)} == MADE
    for service in SERVICES:
        assert path_exists(system, f"etc/systemd/system/multi-user.target.wants/{service}")


def test_the_installer_says_what_it_did(installed):
    _, said = installed
    assert "install: headnod is installed: 'headnod devices' lists microphones" in said
    for service in SERVICES:
        assert f"systemd is not running here: {service} starts at the next boot" in said
    assert "the dashboard needs a broker: set mqtt.host in /etc/headnod/headnod.toml" in said


def test_the_installed_command_names_a_genre(installed):
    system, _ = installed
    ended = roots.run(system, "headnod", "classify", f"{roots.INSIDE}/demo/war-of-freedom.ogg")
    assert re.search(r"ogg  \w+ +[01]\.\d\d$", ended.stdout.strip()), ended.stderr


def test_the_installed_configuration_sets_nothing(installed):
    system, _ = installed
    ended = roots.run(system, "headnod", "config", "check")
    assert ended.stdout.startswith("ok       configuration  valid (0 values set, ")


def test_the_groups_of_the_service_are_there(installed):
    system, _ = installed
    groups = {line.partition(":")[0] for line in Path(system, "etc/group").read_text().splitlines()}
    assert {"audio", "gpio", "spi"} <= groups


def test_the_unit_and_the_rule_stand_up_to_the_system_s_own_verifiers(installed):
    system, _ = installed
    ended = roots.run(system, "systemd-analyze", "verify", *SERVICES)
    assert (ended.returncode, ended.stderr) == (0, "")
    udevadm = roots.run(system, "udevadm", "verify", "--help")
    if udevadm.returncode == 0:
        ended = roots.run(system, "udevadm", "verify", "/etc/udev/rules.d/99-headnod.rules")
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_second_run_changes_nothing(system):
    before = roots.tree(system)
    install(system)
    after = roots.tree(system)
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == set()


def test_an_upgrade_keeps_the_configuration_of_its_user(system):
    configuration = system / "etc/headnod/headnod.toml"
    configuration.write_text("[listen]\nevery = 1.5\n")
    make_old(system)
    install(system)
    assert configuration.read_text() == "[listen]\nevery = 1.5\n"
    assert "headnod-0123456789ab" not in names(system)
    assert names(system) == ["headnod", (system / "opt/headnod").readlink().name]


def test_an_upgrade_that_fails_leaves_what_was_there(system):
    make_old(system)
    (system / "etc/pip.conf").write_text("[global]\nindex-url = http://127.0.0.1:9/\nretries = 0\n")
    ended = roots.run(system, INSTALL)
    assert ended.returncode == 1
    assert "install: pip could not install headnod[device]" in ended.stderr
    assert names(system) == ["headnod", "headnod-0123456789ab"]
    assert str((system / "opt/headnod").readlink()) == "/opt/headnod-0123456789ab"


def test_what_another_hand_made_is_not_overwritten(system):
    installed = system / "opt/headnod"
    installed.unlink()
    installed.mkdir()
    ended = roots.run(system, INSTALL)
    assert ended.returncode == 1
    assert "/opt/headnod is there and not of this script's making: move it away" in ended.stderr


def test_uninstalling_keeps_configuration_and_history(system):
    history = system / "var/lib/private/headnod/history.sqlite"
    history.parent.mkdir(parents=True)
    history.touch()
    install(system, "--uninstall")
    assert {name for name in MADE if path_exists(system, name)} == {"etc/headnod/headnod.toml"}
    assert history.exists()
    assert names(system) == []


def test_purging_leaves_only_debian_s_packages_and_groups(installed, system):
    history = system / "var/lib/private/headnod/history.sqlite"
    history.parent.mkdir(parents=True)
    history.touch()
    password = system / "etc/credstore/headnod.dashboard_password"
    password.parent.mkdir(exist_ok=True)
    password.touch()
    install(system, "--uninstall", "--purge")
    assert not [name for name in roots.tree(system) if "headnod" in name and roots.INSIDE[1:] not in f"{name}/"]
    assert installed[0].exists()


def test_a_dashboard_that_was_switched_off_stays_so_and_is_brought_up_to_date(system):
    enabled = "etc/systemd/system/multi-user.target.wants/headnod-dashboard.service"
    (system / enabled).unlink()
    unit = system / "etc/systemd/system/headnod-dashboard.service"
    unit.write_text("[Unit]\n")
    install(system)
    assert "headnod dashboard" in unit.read_text()
    assert not path_exists(system, enabled)


def test_there_is_no_dashboard_where_nobody_asked_for_one(system):
    install(system, "--uninstall", "--purge")
    said = install(system)
    assert {name for name in MADE if not path_exists(system, name)} == {"etc/systemd/system/headnod-dashboard.service"}
    assert "dashboard" not in said


def test_the_page_is_enabled_with_a_password_and_announced(system):
    (system / "etc/avahi/services").mkdir(parents=True)
    said = install(system, "--web")
    configuration, password = system / "etc/headnod/headnod.toml", system / "etc/headnod/dashboard_password"
    section = configuration.read_text().partition("[web]\n")[2].partition("\n[")[0].splitlines()
    assert [line for line in section if not line.startswith("#")] == ["enabled = true", 'address = "0.0.0.0"']
    assert password.stat().st_mode & 0o777 == 0o600
    assert len(password.read_text().strip()) == 12
    assert password.read_text().strip() not in said
    assert "<port>8080</port>" in (system / "etc/avahi/services/headnod.service").read_text()
    assert re.search(r"the page is at http://\S+\.local:8080/", said)
    before = configuration.read_text(), password.read_text()
    again = install(system, "--web")
    assert (configuration.read_text(), password.read_text()) == before
    assert "wrote" not in again
    install(system, "--web")
    roots.run(system, INSTALL, "--uninstall")
    assert not path_exists(system, "etc/avahi/services/headnod.service")
    assert password.exists()


def test_a_page_that_was_configured_by_hand_stays_so(system):
    configuration = system / "etc/headnod/headnod.toml"
    by_hand = '[web]\nenabled = true\naddress = "127.0.0.1"\nport = 9090\n'
    configuration.write_text(by_hand)
    assert ":9090/" in install(system, "--web")
    assert configuration.read_text() == by_hand
    configuration.write_text("[listen]\nevery = 2.0\n")
    install(system, "--web")
    assert configuration.read_text().endswith('\n[web]\nenabled = true\naddress = "0.0.0.0"\n')


def test_nobody_is_asked_without_a_terminal(installed):
    assert "the page is at" not in installed[1]
    assert not path_exists(installed[0], "etc/headnod/dashboard_password")


def test_uninstalling_twice_is_no_error(system):
    install(system, "--uninstall")
    install(system, "--uninstall")
