import socket
import time

import msgspec
import pytest

from headnod.pipeline.estimate import State
from headnod.service import SystemdNotifier
from support.estimates import condition, estimate, silence


class Manager:
    """A service manager: a datagram socket, and what was said to it."""

    def __init__(self, address):
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)

    def heard(self):
        """Every message that came, as a dict each."""
        messages = []
        try:
            while True:
                text = self.socket.recv(4096).decode()
                messages.append(dict(line.split("=", 1) for line in text.split("\n")))
        except BlockingIOError:
            return messages


@pytest.fixture
def manager(tmp_path):
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.socket.close()


@pytest.fixture
def notify(manager):
    made = SystemdNotifier(manager.address)
    yield made
    made.close()


def test_nothing_is_ready_before_something_was_heard(manager):
    notify = SystemdNotifier(manager.address)
    assert manager.heard() == []
    notify.close()


def test_the_first_estimate_is_ready_and_says_what_plays(manager, notify):
    notify.show(estimate("jazz", jazz=0.81))
    assert manager.heard() == [{"WATCHDOG": "1", "READY": "1", "STATUS": "listening: jazz (81%) at -20 dBFS"}]


def test_a_known_lack_of_a_microphone_is_ready_too(manager, notify):
    notify.show_status(condition(State.WAITING))
    assert manager.heard() == [
        {
            "WATCHDOG": "1",
            "READY": "1",
            "STATUS": "waiting for microphone: the state is waiting_for_microphone",
        }
    ]


def test_ready_is_reported_once(manager, notify):
    for _ in range(3):
        notify.show(estimate("jazz", jazz=0.81))
    assert [message.get("READY") for message in manager.heard()] == ["1", None, None]


def test_every_estimate_and_every_condition_feeds_the_watchdog(manager, notify):
    for _ in range(2):
        notify.show(silence())
        notify.show_status(condition(State.WAITING))
    assert [message["WATCHDOG"] for message in manager.heard()] == ["1"] * 4


def test_time_alone_feeds_nothing(manager, notify):
    notify.show(silence())
    manager.heard()
    notify.reloading()
    assert [message.get("WATCHDOG") for message in manager.heard()] == [None]


def test_a_status_is_sent_when_it_is_new(manager, notify):
    for heard in (silence(), silence(), estimate("jazz", jazz=0.81)):
        notify.show(heard)
    assert [message.get("STATUS") for message in manager.heard()] == [
        "listening: silence at -20 dBFS",
        None,
        "listening: jazz (81%) at -20 dBFS",
    ]


def test_a_message_of_several_lines_becomes_a_status_of_one(manager, notify):
    notify.show_status(msgspec.structs.replace(condition(State.WAITING), message="busy\nMAINPID=1"))
    assert [message["STATUS"] for message in manager.heard()] == ["waiting for microphone: busy MAINPID=1"]


def test_a_reload_begins_with_its_time_and_ends_with_ready(manager, notify):
    notify.show(silence())
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify.show(silence())
    _, reloading, ready = manager.heard()
    assert reloading["RELOADING"] == "1"
    assert before <= int(reloading["MONOTONIC_USEC"]) <= after
    assert ready["READY"] == "1"


def test_the_end_is_reported_once(manager, notify):
    notify.close()
    notify.close()
    assert manager.heard() == [{"STOPPING": "1", "STATUS": "stopping"}]


def test_a_name_in_the_abstract_namespace_is_found():
    manager = Manager("@headnod-test-notify")
    notify = SystemdNotifier("@headnod-test-notify")
    notify.show(silence())
    assert manager.heard()[0]["READY"] == "1"
    notify.close()
    manager.socket.close()


def test_a_manager_that_went_away_is_one_warning(manager, notify, caplog):
    manager.socket.close()
    for _ in range(3):
        notify.show(silence())
    assert [record.message for record in caplog.records] == ["systemd could not be notified: Connection refused"]


def test_a_manager_that_does_not_read_holds_nobody_up(notify, caplog):
    for number in range(2000):
        notify.show(estimate("jazz", jazz=number / 2000))
        if caplog.records:
            break
    assert "systemd could not be notified: Resource temporarily unavailable" in caplog.text
