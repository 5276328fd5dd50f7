import logging
import socket
import struct

import numpy as np
import pytest

from headnod.config import LedsSection
from headnod.errors import LedError
from headnod.outputs import colour
from headnod.outputs.leds import RELEASE, RELEASE_PAUSED, LedFrame, LedSink
from headnod.outputs.leds.wled import WledLamp, check_reachable, ddp_packets, udp_sockets
from headnod.pipeline.estimate import State
from support.estimates import condition, estimate, silence

NOWHERE = "no-such-lamp.invalid"


def section(**changes):
    return LedsSection(kind="wled", **{"brightness": 1.0, **changes})


class Lamp:
    """A lamp on loopback that understands DDP as WLED does."""

    def __init__(self, port=0):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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

    def connect(host="127.0.0.1", port=4048, clock=None, **settings):
        made.append(WledLamp(section(host=f"{host}:{port}", **settings), clock=clock or Clock()))
        return made[-1]

    yield connect
    for each in made:
        each.close()


def lit(count, level=1.0):
    return LedFrame(np.full(count, level), np.ones((count, 3)))


def test_a_lamp_shows_bars_in_the_colours_of_genres(lamp, wled):
    lights = LedSink(wled(port=lamp.port, count=20, gamma=1.0))
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
    lights = LedSink(wled(port=lamp.port, count=2))
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
    strip = WledLamp(section(host=NOWHERE, count=1), clock=(clock := Clock()), connect=book)
    with caplog.at_level(logging.WARNING):
        for clock.now in range(0, 299, 10):
            strip.paint(lit(1), 10.0)
        assert len(caplog.records) == 1
        clock.now = 300.0
        strip.paint(lit(1), 10.0)
    assert len(caplog.records) == 2


def test_a_name_is_asked_for_again_only_after_a_while(book):
    strip = WledLamp(section(host=NOWHERE, count=1), clock=(clock := Clock()), connect=book)
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
    lights = LedSink(WledLamp(section(host=NOWHERE, count=1), clock=Clock(), connect=book))
    lights.close()
    assert book.asked == []


def test_a_closed_lamp_is_not_looked_for(book):
    strip = WledLamp(section(host=NOWHERE, count=1), clock=Clock(), connect=book)
    strip.close()
    strip.paint(lit(1), 9.0)
    assert book.asked == []


def to(*ports):
    """Finds a host at several addresses; the ports tell them apart."""
    return lambda host, _port: [each for port in ports for each in udp_sockets(host, port)]


@pytest.fixture
def closed_port():
    """A port that refuses datagrams until a lamp binds it: its socket takes those of one peer only."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        held.connect(held.getsockname())
        yield held.getsockname()[1]


@pytest.mark.parametrize("order", [1, -1])
def test_a_lamp_that_answers_at_one_of_its_addresses_is_lit(lamp, closed_port, caplog, order):
    connect = to(*[closed_port, lamp.port][::order])
    strip = WledLamp(section(host="127.0.0.1", count=1, gamma=1.0), clock=Clock(), connect=connect)
    for step in range(1, 31):
        strip.paint(lit(1, step / 30), 0.0)
        assert lamp.frame() == [[round(255 * step / 30)] * 3]
    assert caplog.records == []
    strip.close()


def test_an_address_that_failed_is_tried_again_after_a_while(lamp, closed_port):
    strip = WledLamp(
        section(host="127.0.0.1", count=1, gamma=1.0), clock=(clock := Clock()), connect=to(closed_port, lamp.port)
    )
    for step in range(1, 5):
        strip.paint(lit(1, step / 255), 0.0)
        lamp.frame()
    moved = Lamp(closed_port)
    for clock.now, level in ((9.9, 11), (10.0, 12)):
        strip.paint(lit(1, level / 255), 0.0)
    assert moved.frame() == [[12, 12, 12]]
    moved.close()
    strip.close()


def test_a_lamp_that_answers_at_no_address_is_lost(closed_port, caplog):
    strip = WledLamp(
        section(host="127.0.0.1", count=1), clock=Clock(), connect=to(closed_port, closed_port, closed_port)
    )
    for step in range(1, 5):
        strip.paint(lit(1, step / 5), 0.0)
    assert "Connection refused" in caplog.text
    strip.close()


def test_each_address_of_a_name_gets_a_socket():
    found = {info[4][0] for info in socket.getaddrinfo("localhost", 4048, type=socket.SOCK_DGRAM)}
    made = udp_sockets("localhost", 4048)
    assert {each.getpeername()[0] for each in made} <= found
    assert "127.0.0.1" in {each.getpeername()[0] for each in made}
    for each in made:
        each.close()


@pytest.fixture
def lights(lamp, wled):
    """Lights that show jazz on a lamp; `show` takes what is heard next and how long it lasts."""

    class Evening:
        def __init__(self):
            self.lights = LedSink(wled(port=lamp.port, count=1, mode="mood", gamma=1.0))
            self.show(estimate("jazz", jazz=1.0), 3.0)

        def show(self, heard, seconds):
            """Every frame that the lamp got, a tenth of a second apart."""
            (self.lights.show if hasattr(heard, "genre") else self.lights.show_status)(heard)
            for _ in range(round(10 * seconds)):
                self.lights.frame(0.1)
            frames = []
            lamp.socket.setblocking(False)
            while True:
                try:
                    frames.append(any(lamp.socket.recv(2048)[10:]))
                except BlockingIOError:
                    return frames

    return Evening()


def test_a_lamp_is_kept_dark_through_a_minute_of_silence_and_then_released(lights):
    lights.show(silence(), 10.0)
    assert lights.show(silence(), RELEASE - 11.0).count(False) > 40
    lights.show(silence(), 2.0)
    assert lights.show(silence(), 300.0) == []


def test_a_paused_lamp_goes_dark_and_is_released_at_once(lights):
    assert lights.show(condition(State.PAUSED), RELEASE_PAUSED)[-1] is False
    lights.show(condition(State.PAUSED), 0.2)
    assert lights.show(condition(State.PAUSED), 60.0) == []


@pytest.mark.parametrize("state", [State.WAITING, State.DEAF, State.STARTING])
def test_a_condition_is_shown_for_a_minute_and_then_the_lamp_is_released(lights, state):
    assert any(lights.show(condition(state), RELEASE - 0.5)[-50:])
    lights.show(condition(state), 1.0)
    assert lights.show(condition(state), 300.0) == []


@pytest.mark.parametrize("idle", [silence(), condition(State.PAUSED), condition(State.WAITING)])
def test_music_takes_a_released_lamp_again_at_once(lights, idle):
    lights.show(idle, 2 * RELEASE)
    assert any(lights.show(estimate("jazz", jazz=1.0), 0.3))


def test_the_end_sends_nothing_to_a_released_lamp(lights, lamp):
    lights.show(silence(), 2 * RELEASE)
    lights.lights.close()
    assert lamp.nothing_came()


@pytest.mark.parametrize(("seconds", "sent"), [(0.99, False), (1.0, True)])
def test_a_frame_is_repeated_after_a_second(lamp, wled, seconds, sent):
    strip = wled(port=lamp.port, count=1)
    strip.paint(lit(1), 0.0)
    assert lamp.frame() == [[255, 255, 255]]
    strip.paint(lit(1), seconds)
    assert lamp.nothing_came() is not sent


def test_a_lamp_that_gets_packets_is_reachable_and_shows_nothing_new(lamp):
    check_reachable(section(host=f"127.0.0.1:{lamp.port}"), seconds=0.1)
    packet = lamp.socket.recv(2048)
    flags, *_, length = struct.unpack(">BBBBIH", packet)
    assert (flags, length) == (0x40, 0)


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("127.0.0.1:{closed}", r"lamp 127\.0\.0\.1: Connection refused \(is it on, and on this network\?\)"),
        (NOWHERE, rf"lamp {NOWHERE}: .*\(is it on"),
        ("255.255.255.255", "address of a whole network"),
        ("fe80::1", "needs an interface"),
    ],
)
def test_a_lamp_that_cannot_be_reached_is_named_with_the_reason(host, reason):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        closed = free.getsockname()[1]
    with pytest.raises(LedError, match=reason):
        check_reachable(section(host=host.format(closed=closed)))


def test_a_host_without_a_usable_address_is_an_error():
    with pytest.raises(PermissionError):
        udp_sockets("255.255.255.255", 4048)
