"""The way out where a user may not open a device."""

import grp
import os

import pytest

from headnod.system import permission_denied
from support.unprivileged import as_nobody

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
GROUP = "audio"
NAMELESS = 61_999
"""A user id without a name, as a service with DynamicUser may have one."""


def test_a_user_outside_the_group_gets_the_command_that_joins_it():
    with as_nobody():
        said = permission_denied(GROUP)
        both = permission_denied(GROUP, "tty", "no-such-group")
    assert said == (
        "permission denied (nobody is not in the group audio: sudo usermod -aG audio nobody, then log in again)"
    )
    assert "sudo usermod -aG audio,tty nobody" in both


def test_a_group_that_the_machine_lacks_is_made_by_the_installation():
    with as_nobody():
        said = permission_denied("no-such-group")
    assert "there is no group no-such-group on this machine: 'sudo scripts/install' makes it" in said


def test_a_member_gets_the_rule_that_gives_the_device_to_the_group():
    with as_nobody(groups=[grp.getgrnam(GROUP).gr_gid]):
        said = permission_denied(GROUP)
    assert "the device is not open to the group audio" in said


def test_a_service_gets_the_line_of_its_unit():
    with as_nobody(NAMELESS):
        said = permission_denied("gpio", "spi")
    assert said == "permission denied (the service needs SupplementaryGroups=gpio spi)"
