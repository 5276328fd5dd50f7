"""The listener's side of its web page, with a real process at the other end of the socket."""

import contextlib
import json
import os
import random
import signal
import sys
import threading
from datetime import UTC, datetime

import msgspec
import pytest

from headnod.clock import Clock
from headnod.errors import HeadnodError
from headnod.mqtt.payloads import ReportMaker, encode, estimate_payload
from headnod.outputs.web import (
    LARGEST_ANSWER,
    ChosenDevice,
    ControlsChange,
    Correct,
    CorrectionSpan,
    LogSpan,
    ModelName,
    OutputSwitch,
    Page,
    PlayerLabel,
    Values,
    WebOutput,
)
from headnod.pipeline.estimate import State, StatusEvent
from support.estimates import estimate
from support.listener_process import waits_until

PROCESS = """
import json, os, socket, sys
path, *commands = sys.argv[1:]
link = socket.socket(fileno=os.dup(0))
for command in commands:
    link.send(command.encode())
with open(path, "a") as file:
    while message := link.recv(1 << 18):
        print(message.decode(), file=file, flush=True)
"""


class Recorded:
    """A page whose process writes down what it receives, after it has sent some commands."""

    def __init__(self, folder, *commands, handle=lambda _command, _arguments: {}, **clock_of_output):
        self._file = folder / "received"
        self._file.touch()
        clock = Clock(now=lambda: datetime(2026, 11, 22, 12, tzinfo=UTC))
        self.output = WebOutput(
            Page((sys.executable, "-c", PROCESS, str(self._file), *map(json.dumps, commands)), b'{"port":8080}'),
            ReportMaker("kitchen", "b1", clock=clock, monotonic=clock.monotonic),
            info=lambda: b'{"version":"1"}',
            health=lambda: b'{"state":"listening"}',
            handle=handle,
            rng=random.Random(0),
            **clock_of_output,
        )

    @property
    def lines(self):
        return self._file.read_text().splitlines()

    @property
    def messages(self):
        return [json.loads(line) for line in self.lines]

    def has(self, wanted, within=15.0):
        assert waits_until(lambda: any(wanted(each) for each in self.messages), within), self.lines[-5:]
        return next(each for each in self.messages if wanted(each))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.output.close()


def numbered(sequence):
    return msgspec.structs.replace(estimate("jazz", jazz=0.8), sequence=sequence)


def about(topic):
    return lambda message: message.get("topic") == topic


def answering(number):
    return lambda message: message.get("id") == number


def test_the_process_gets_its_settings_first_and_then_the_present_state(tmp_path):
    with Recorded(tmp_path) as page:
        page.has(about("info"))
        assert page.messages[:3] == [
            {"port": 8080},
            {"topic": "status", "payload": "online"},
            {"topic": "info", "payload": {"version": "1"}},
        ]


def test_an_estimate_is_the_payload_that_mqtt_publishes(tmp_path):
    jazz = estimate("jazz", jazz=0.8)
    with Recorded(tmp_path) as page:
        page.has(about("info"))
        page.output.show(jazz)
        page.has(about("estimate"))
        published = encode(estimate_payload(jazz, node="kitchen", boot="b1", boot_id=Clock().boot)).decode()
        assert any(published in line for line in page.lines)


def test_the_health_is_sent_when_the_state_changes(tmp_path):
    with Recorded(tmp_path) as page:
        page.has(about("info"))
        page.output.show_status(StatusEvent(time=datetime.now(UTC), state=State.WAITING, message="no microphone"))
        page.has(about("health"))


def test_a_new_process_gets_the_latest_estimate(tmp_path):
    with Recorded(tmp_path) as page:
        page.has(about("info"))
        page.output.show(estimate("jazz", jazz=0.8))
        page.has(about("estimate"))
        os.kill(page.output.process, signal.SIGKILL)
        assert page.has(about("state"))["payload"]["genre"] == "jazz"


def test_showing_does_not_wait_for_a_process_that_stands_still(tmp_path):
    with Recorded(tmp_path) as page:
        page.has(about("info"))
        os.kill(page.output.process, signal.SIGSTOP)
        ended = threading.Event()

        def show():
            for number in range(2000):
                page.output.show(numbered(number))
            ended.set()

        threading.Thread(target=show, daemon=True).start()
        assert ended.wait(30.0)
        os.kill(page.output.process, signal.SIGCONT)
        page.output.show(numbered(9999))
        # What waits is sent with the next message.
        assert waits_until(lambda: page.output.send("status", b'"online"') or "-b1-9999" in "".join(page.lines), 15.0)
        received = [each["payload"]["seq"] for each in page.messages if about("estimate")(each)]
        # The oldest that waited are lost, and the order is kept.
        assert len(received) < 2001
        assert received == sorted(received)
        assert received[-100:] == [*range(1901, 2000), 9999]


def test_a_command_is_applied_and_answered(tmp_path):
    applied = []

    def handle(command, arguments):
        applied.append((command, arguments))
        return {"paused": True}

    command = {"id": 7, "command": "pause", "arguments": {"value": True}}
    with Recorded(tmp_path, command, handle=handle) as page:
        assert page.has(answering(7)) == {"id": 7, "ok": {"paused": True}}
        assert applied == [("pause", {"value": True})]


def refuse(_command, _arguments):
    message = "'polka' is not a model"
    raise HeadnodError(message)


def fail(_command, _arguments):
    raise ZeroDivisionError


def overflow(_command, _arguments):
    return "x" * (LARGEST_ANSWER + 1)


@pytest.mark.parametrize(
    ("handle", "reason"),
    [(refuse, "'polka' is not a model"), (fail, "it failed: see headnod's log"), (overflow, "the answer has 160")],
)
def test_a_command_that_is_refused_is_answered_with_the_reason(tmp_path, handle, reason):
    with Recorded(tmp_path, {"id": 1, "command": "activate"}, handle=handle) as page:
        assert page.has(answering(1))["error"].startswith(reason)


@pytest.mark.parametrize("nonsense", ["", 5, [1], {"id": "x"}, {"id": 1, "command": 3}])
def test_what_is_no_command_is_ignored_and_the_next_one_applied(tmp_path, nonsense):
    with Recorded(tmp_path, nonsense, {"id": 2, "command": "info"}) as page:
        assert page.has(answering(2)) == {"id": 2, "ok": {}}


def test_the_spectrum_is_wanted_while_a_page_watches(tmp_path):
    with Recorded(tmp_path, {"watch": True}) as page:
        assert waits_until(lambda: page.output.watched, 15.0)
        os.kill(page.output.process, signal.SIGKILL)
        assert waits_until(lambda: not page.output.watched, 15.0)


def test_a_program_that_cannot_be_started_is_a_warning(caplog):
    clock = Clock()
    output = WebOutput(
        Page(("/no/such/program",), b"{}"),
        ReportMaker("kitchen", "b1", clock=clock, monotonic=clock.monotonic),
        info=lambda: b"{}",
        health=lambda: b"{}",
        handle=refuse,
        rng=random.Random(0),
    )
    assert waits_until(lambda: "cannot be started: No such file" in caplog.text, 15.0)
    output.show(estimate("jazz", jazz=0.8))
    output.close()


def padded_answer(size):
    """An answer that has this many bytes as JSON."""
    empty = len(b'{"id":1,"ok":""}')
    return lambda _command, _arguments: "x" * (size - empty)


@pytest.mark.parametrize(("size", "sent"), [(160_000, True), (160_001, False)])
def test_an_answer_has_160_000_bytes_at_most(tmp_path, size, sent):
    with Recorded(tmp_path, {"id": 1, "command": "log"}, handle=padded_answer(size)) as page:
        found = page.has(answering(1))
        assert ("ok" in found) is sent
        assert sent or found["error"] == f"the answer has {size} bytes, 160000 fit"


def test_the_health_is_sent_once_a_minute(tmp_path):
    seconds = [1_000.0]
    with Recorded(tmp_path, monotonic=lambda: seconds[0]) as page:
        page.has(about("info"))
        for number, after in enumerate((0.0, 59.9, 0.2, 59.7, 0.2)):
            seconds[0] += after
            page.output.show(numbered(number))
        page.has(lambda message: about("estimate")(message) and message["payload"]["seq"] == 4)
        topics = [message.get("topic") for message in page.messages]
    shown = [topic for topic in topics[topics.index("estimate") :] if topic in {"estimate", "health"}]
    # The first estimate changes the state.
    assert shown == ["estimate", "health", "estimate", "estimate", "health", "estimate", "estimate"]


MOMENTS = {"start": 0.0, "end": 0.0, "label": ""}


@pytest.mark.parametrize(
    ("kind", "arguments", "valid"),
    [
        (Correct, MOMENTS | {"start": 4e9, "end": 4e9, "label": "x" * 256}, True),
        (Correct, MOMENTS | {"start": -0.1}, False),
        (Correct, MOMENTS | {"end": 4.000001e9}, False),
        (Correct, MOMENTS | {"label": "x" * 257}, False),
        (PlayerLabel, {"label": "x" * 257}, False),
        (CorrectionSpan, {"after": (1 << 63) - 1, "offset": 1 << 31, "most": 98_304}, True),
        (CorrectionSpan, {"after": 0, "offset": 0, "most": 1}, True),
        (CorrectionSpan, {"after": -1}, False),
        (CorrectionSpan, {"after": 1 << 63}, False),
        (CorrectionSpan, {"offset": -1}, False),
        (CorrectionSpan, {"offset": (1 << 31) + 1}, False),
        (CorrectionSpan, {"most": 0}, False),
        (CorrectionSpan, {"most": 98_305}, False),
        (LogSpan, {"hours": 168.0}, True),
        (LogSpan, {"hours": 0.0}, False),
        (LogSpan, {"hours": 168.1}, False),
        (ChosenDevice, {"device": "x" * 200}, True),
        (ChosenDevice, {"device": "x" * 201}, False),
        (Values, {"values": {"a": 1}}, True),
        (Values, {"values": {str(number): 1 for number in range(40)}}, True),
        (Values, {"values": {}}, False),
        (Values, {"values": {str(number): 1 for number in range(41)}}, False),
        (OutputSwitch, {"name": "x" * 20, "on": True}, True),
        (OutputSwitch, {"name": "x" * 21, "on": True}, False),
        (ControlsChange, {"threshold": 0.0, "brightness": 0.0, "quiet_hours": [["a", "b"]] * 8}, True),
        (ControlsChange, {"threshold": 1.0, "brightness": 1.0, "pause_seconds": 0.1}, True),
        (ControlsChange, {"threshold": -0.1}, False),
        (ControlsChange, {"threshold": 1.1}, False),
        (ControlsChange, {"brightness": -0.1}, False),
        (ControlsChange, {"brightness": 1.1}, False),
        (ControlsChange, {"pause_seconds": 0.0}, False),
        (ControlsChange, {"quiet_hours": [["a", "b"]] * 9}, False),
        (ModelName, {"model": "x" * 64}, True),
        (ModelName, {"model": "x" * 65}, False),
    ],
)
def test_arguments_of_commands_are_accepted_up_to_their_limits(kind, arguments, valid):
    with contextlib.nullcontext() if valid else pytest.raises(msgspec.ValidationError):
        msgspec.convert(arguments, kind)


def test_arguments_that_are_absent_have_their_defaults():
    assert CorrectionSpan() == CorrectionSpan(after=0, offset=0, most=32_768)
    assert LogSpan() == LogSpan(hours=24.0)
