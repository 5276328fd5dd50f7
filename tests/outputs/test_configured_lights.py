"""Lights as the configuration names them, on the parts that stand in for hardware."""

import logging
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

from headnod.config import LedsSection
from headnod.errors import ConfigError
from headnod.factory import lamp, leds
from headnod.outputs.leds import LedFrame


@pytest.fixture
def shelf():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(10.0)
        yield bound


def test_a_lamp_listens_at_the_port_of_its_host_and_gets_the_gamma_of_its_section(shelf):
    host = f"127.0.0.1:{shelf.getsockname()[1]}"
    opened = lamp(LedsSection(kind="wled", host=host, count=1, brightness=1.0, gamma=1.0))
    opened.paint(LedFrame(np.array([0.5]), np.ones((1, 3))), 0.0)
    assert shelf.recv(2048)[10:] == bytes([128, 128, 128])
    opened.close()


def test_every_output_is_lit_and_one_that_is_not_there_is_a_warning(shelf, caplog):
    host = f"127.0.0.1:{shelf.getsockname()[1]}"
    sections = [
        LedsSection(kind="ws2812", spi="99.9"),
        LedsSection(),
        LedsSection(kind="wled", host=host, count=1, mode="mood"),
    ]
    with caplog.at_level(logging.WARNING):
        (lit,) = leds(sections)
    assert len(caplog.records) == 1
    assert "goes on without these LEDs" in caplog.text
    assert any(shelf.recv(2048)[10:]) or any(shelf.recv(2048)[10:])
    lit.close()


def test_an_output_that_lacks_a_setting_closes_those_before_it(shelf):
    host = f"127.0.0.1:{shelf.getsockname()[1]}"
    with pytest.raises(ConfigError, match=r"leds\.host: is empty"):
        leds([LedsSection(kind="wled", host=host, count=1), LedsSection(kind="wled")])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("frames of")]


PINS = """
import os, sys
from headnod.factory import lamp
from headnod.config import LedsSection
from headnod.outputs.leds import LedFrame
import numpy as np
lit = lamp(LedsSection(kind="pins", pins={"1": 17}, brightness=1.0, gamma=1.0, active_low=sys.argv[1] == "low"))
lit.paint(LedFrame(np.array([0.2]), np.ones((1, 3))), 0.0)
from gpiozero import Device
print(round(Device.pin_factory.pin(17).state, 2))
"""


@pytest.mark.parametrize(("lit_by", "state"), [("low", "0.8"), ("high", "0.2")])
def test_pins_that_are_lit_by_low_are_high_for_dark(lit_by, state):
    pytest.importorskip("gpiozero")
    environment = {"GPIOZERO_PIN_FACTORY": "mock", "GPIOZERO_MOCK_PIN_CLASS": "mockpwmpin"}
    command = [sys.executable, "-c", PINS, lit_by]
    environment["PYTHONPATH"] = ":".join(sys.path)
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == state
