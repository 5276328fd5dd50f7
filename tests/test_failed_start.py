"""A listener that cannot begin leaves nothing open: no lock, no file, no thread."""

import os
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from headnod.config import Config, HistorySection, LedsSection, MicrophoneSection, MqttSection
from headnod.errors import ConfigError
from headnod.runtime import Runtime
from support.listener_process import waits_until


def opened():
    """What the descriptors of this process lead to, in a stable order."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(descriptor.readlink()))
        except FileNotFoundError:  # the listing's own
            continue
    return sorted(name for name in found if name.startswith("/"))


@pytest.fixture
def config(tmp_path):
    """A microphone that never starts, and a history beside which the queue of MQTT is kept."""
    return Config(
        microphone=MicrophoneSection(command=("sleep", f"60.{os.getpid()}")),
        history=HistorySection(path=str(tmp_path / "history.sqlite")),
    )


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"leds": (LedsSection(kind="wled"),)}, "leds.host: is empty"),
        ({"mqtt": MqttSection(host="127.0.0.1", base="no/#")}, "mqtt.base"),
        ({"mqtt": MqttSection(host="127.0.0.1", node="a", discovery_prefix="#")}, "mqtt.discovery_prefix"),
        ({"mqtt": MqttSection(host="127.0.0.1", node="a", tls=True, ca_file="/nowhere/ca")}, "mqtt.ca_file"),
    ],
)
def test_a_listener_that_cannot_begin_closes_what_it_opened(config, changed, fault):
    files, threads = opened(), threading.active_count()
    with pytest.raises(ConfigError, match=fault):
        Runtime(replace(config, **changed), "mic", None)
    assert opened() == files
    assert waits_until(lambda: threading.active_count() == threads)
    # The lock of the microphone is free again, and so is the history.
    with Runtime(config, "mic", None):
        assert len(opened()) > len(files)
    assert opened() == files
