import logging
import socket
import struct

import numpy as np
import pytest

from headnod.sinks.lights import Lights
from headnod.sinks.palette import colour
from headnod.sinks.scene import Light
from headnod.sinks.wled import Wled, WledSettings, ddp_packets
from heard import estimate

NOWHERE = "no-such-lamp.invalid"


class Lamp:
    """A lamp on loopback that understands DDP as WLED does."""

    def __init__(self, port=0):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", port))
        self.socket.settimeout(10.0)
        self.port = self.socket.getsockname()[1]
        self.sequences = []

    def frame(self):
        """The colours of the next frame, which may come in several packets."""
        data = b""
        while True:
            packet = self.socket.recv(2048)
            flags, sequence, kind, output, offset, length = struct.unpack(">BBBBIH", packet[:10])
            assert flags & 0xC0 == 0x40
            assert (kind, output) == (0x0B, 1)
            assert len(packet) == 10 + length
            assert offset == len(data)
            self.sequences.append(sequence)
            data += packet[10:]
            if flags & 1:
                return np.frombuffer(data, np.uint8).reshape(-1, 3).tolist()

    def nothing_came(self):
        self.socket.setblocking(False)
        try:
            self.socket.recv(2048)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            self.socket.settimeout(10.0)

    def close(self):
        self.socket.close()


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class PhoneBook:
    """Finds nobody, and remembers who was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, host, port):
        self.asked.append((host, port))
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.fixture
def book():
    return PhoneBook()


@pytest.fixture
def lamp():
    made = Lamp()
    yield made
    made.close()


@pytest.fixture
def wled():
    made = []

    def connect(host="127.0.0.1", clock=None, **settings):
        made.append(Wled(WledSettings(host=host, **settings), clock=clock or Clock()))
        return made[-1]

    yield connect
    for each in made:
        each.close()


def lit(count, level=1.0):
    return Light(np.full(count, level), np.ones((count, 3)))


def test_a_lamp_shows_bars_in_the_colours_of_genres(lamp, wled):
    lights = Lights(wled(port=lamp.port, count=20, gamma=1.0))
    lights.show(estimate("jazz", jazz=1.0))
    lights.frame(60.0)
    shown = lamp.frame()
    assert shown[10:12] == [list(colour("jazz"))] * 2
    assert shown[:10] + shown[12:] == [[0, 0, 0]] * 18


def test_a_lamp_found_by_name_is_lit_too(lamp, wled):
    wled(host="localhost", port=lamp.port, count=1).paint(lit(1), 0.0)
    assert lamp.frame() == [[255, 255, 255]]


def test_colours_are_gamma_corrected_and_dimmed(lamp, wled):
    wled(port=lamp.port, count=1, gamma=2.0, brightness=0.5).paint(lit(1, 0.5), 0.0)
    assert lamp.frame() == [[32, 32, 32]]


def test_a_long_lamp_takes_several_packets_and_shows_them_at_once(lamp, wled):
    wled(port=lamp.port, count=1000).paint(lit(1000), 0.0)
    assert lamp.frame() == [[255, 255, 255]] * 1000
    assert lamp.sequences == [1, 2, 3]


@pytest.mark.parametrize(("leds", "packets"), [(1, 1), (480, 1), (481, 2), (960, 2), (961, 3)])
def test_only_the_last_packet_of_a_frame_says_show_it_now(leds, packets):
    made = list(ddp_packets(bytes(3 * leds), lambda: 1))
    assert [packet[0] for packet in made] == [0x40] * (packets - 1) + [0x41]
    assert all(len(packet) <= 1450 for packet in made)


def test_sequence_numbers_run_from_1_to_15_and_anew(lamp, wled):
    strip = wled(port=lamp.port, count=1, gamma=1.0)
    for step in range(17):
        strip.paint(lit(1, (step + 1) / 17), 0.0)
        lamp.frame()
    assert lamp.sequences == [*range(1, 16), 1, 2]


def test_a_frame_that_is_not_new_is_sent_again_only_to_keep_the_lamp(lamp, wled):
    strip = wled(port=lamp.port, count=1)
    strip.paint(lit(1), 0.0)
    assert lamp.frame() == [[255, 255, 255]]
    for _ in range(9):
        strip.paint(lit(1), 0.1)
    assert lamp.nothing_came()
    strip.paint(lit(1), 0.2)
    assert lamp.frame() == [[255, 255, 255]]


def test_the_lamp_is_dark_in_the_end(lamp, wled):
    lights = Lights(wled(port=lamp.port, count=2))
    lights.show(estimate("jazz", jazz=1.0))
    lights.frame(60.0)
    lamp.frame()
    lights.close()
    assert lamp.frame() == [[0, 0, 0]] * 2
    lights.close()
    assert lamp.nothing_came()


def test_a_lamp_that_nobody_knows_is_a_warning_that_names_it(wled, caplog):
    wled(host=NOWHERE, count=1).paint(lit(1), 0.0)
    assert f"lamp {NOWHERE}: " in caplog.text
    assert "(is it on, and on this network?); trying again every 10 s" in caplog.text


def test_a_lost_lamp_is_one_warning_in_five_minutes(book, caplog):
    strip = Wled(WledSettings(host=NOWHERE, count=1), clock=(clock := Clock()), connect=book)
    with caplog.at_level(logging.WARNING):
        for clock.now in range(0, 299, 10):
            strip.paint(lit(1), 10.0)
        assert len(caplog.records) == 1
        clock.now = 300.0
        strip.paint(lit(1), 10.0)
    assert len(caplog.records) == 2


def test_a_name_is_asked_for_again_only_after_a_while(book):
    strip = Wled(WledSettings(host=NOWHERE, count=1), clock=(clock := Clock()), connect=book)
    for clock.now, asked in [(0.0, 1), (9.9, 1), (10.0, 2), (19.9, 2), (20.0, 3)]:
        strip.paint(lit(1), 0.0)
        assert len(book.asked) == asked


def test_a_lamp_that_was_off_is_lit_when_it_is_back(lamp, wled, caplog):
    strip = wled(port=lamp.port, count=1, clock=(clock := Clock()))
    strip.paint(lit(1), 0.0)
    lamp.frame()
    lamp.close()
    for step in range(20):
        strip.paint(lit(1, step / 20), 0.0)
    assert "Connection refused" in caplog.text
    assert len(caplog.records) == 1
    back = Lamp(lamp.port)
    clock.now = 10.0
    strip.paint(lit(1), 0.0)
    assert back.frame() == [[255, 255, 255]]
    back.close()


def test_the_end_asks_for_no_name(book):
    lights = Lights(Wled(WledSettings(host=NOWHERE, count=1), clock=Clock(), connect=book))
    lights.close()
    assert book.asked == []


def test_a_closed_lamp_is_not_looked_for(book):
    strip = Wled(WledSettings(host=NOWHERE, count=1), clock=Clock(), connect=book)
    strip.close()
    strip.paint(lit(1), 9.0)
    assert book.asked == []
