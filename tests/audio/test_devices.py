"""Microphones by names that outlive a boot: from a tree like Linux's own, and a program that lists like PortAudio."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headnod.audio.microphone import CAPTURE, Device, find, list_devices, opened_card
from headnod.config import MicrophoneSection
from headnod.errors import AudioError
from headnod.factory import opener


@pytest.fixture
def sound(tmp_path):
    folder = tmp_path / "class" / "sound"
    folder.mkdir(parents=True)
    return folder


def plug(sound, number, *, label, port=None, **said):
    """A card as Linux shows it: its `device` links to an interface of the USB device."""
    card = sound / f"card{number}"
    card.mkdir()
    (card / "id").write_text(label + "\n")
    if port:
        device = sound.parent.parent / "devices" / "usb1" / port
        interface = device / f"{port}:1.0"
        interface.mkdir(parents=True)
        for name, text in said.items():
            (device / name).write_text(text + "\n")
        (card / "device").symlink_to(interface)


def listing_program(tmp_path, *inputs):
    """A program that answers as capture.py does, whatever PortAudio says."""
    listed = [
        {"index": place, "name": name, "rate": 48_000, "channels": 1 + place} for place, name in enumerate(inputs)
    ]
    return program(tmp_path, f"print({json.dumps({'devices': listed})!r})")


def program(tmp_path, source):
    path = tmp_path / "capture.py"
    path.write_text(source)
    return path


def listed(sound, capture):
    return list_devices(sound=sound, capture=capture).devices


def names(sound, tmp_path, *inputs):
    return [(device.name, *device.others) for device in listed(sound, listing_program(tmp_path, *inputs))]


def test_a_usb_microphone_is_named_by_vendor_product_and_serial(sound, tmp_path):
    plug(sound, 2, label="Device", port="1-1.3", idVendor="0d8c", idProduct="0014", serial="AB 12/7")
    assert names(sound, tmp_path, "USB Audio: - (hw:2,0)") == [
        ("usb:0d8c:0014:AB_12_7", "path:1-1.3", "card:Device", "pcm:USB Audio: - (hw:2,0)")
    ]


def test_one_without_a_serial_is_named_by_what_it_has(sound, tmp_path):
    plug(sound, 0, label="Mic", port="1-2", idVendor="046d", idProduct="0a44")
    assert names(sound, tmp_path, "C-Media (hw:0,0)") == [
        ("usb:046d:0a44", "path:1-2", "card:Mic", "pcm:C-Media (hw:0,0)")
    ]


def test_a_card_that_is_not_usb_is_named_by_its_id(sound, tmp_path):
    plug(sound, 1, label="sndrpigooglevoi")
    assert names(sound, tmp_path, "snd_rpi (hw:1,0)", "default") == [
        ("card:sndrpigooglevoi", "pcm:snd_rpi (hw:1,0)"),
        ("pcm:default",),
    ]


def test_a_second_input_of_a_card_says_so(sound, tmp_path):
    plug(sound, 0, label="Two", port="1-2", idVendor="046d", idProduct="0a44")
    found = names(sound, tmp_path, "Two: a (hw:0,0)", "Two: b (hw:0,1)")
    assert found[0][0] == "usb:046d:0a44"
    assert found[1] == ("usb:046d:0a44,1", "path:1-2,1", "card:Two,1", "pcm:Two: b (hw:0,1),1")


def test_a_card_that_linux_says_nothing_of_keeps_portaudios_name(sound, tmp_path):
    assert names(sound, tmp_path, "Ghost (hw:7,0)") == [("pcm:Ghost (hw:7,0)",)]


def test_numbers_that_change_at_a_boot_change_no_name(sound, tmp_path):
    plug(sound, 0, label="Mic", port="1-2", idVendor="046d", idProduct="0a44", serial="7")
    before = listed(sound, listing_program(tmp_path, "Mic (hw:0,0)"))
    (sound / "card0").rename(sound / "card3")
    after = listed(sound, listing_program(tmp_path, "default", "Mic (hw:3,0)"))
    assert find(before[0].name, after).portaudio == "Mic (hw:3,0)"


def test_two_alike_are_distinguished_by_their_ports(sound, tmp_path):
    for number in (0, 1):
        plug(sound, number, label=f"Mic_{number}", port=f"1-{number}", idVendor="046d", idProduct="0a44")
    found = listed(sound, listing_program(tmp_path, "Mic (hw:0,0)", "Mic (hw:1,0)"))
    assert find("path:1-1", found).portaudio == "Mic (hw:1,0)"
    assert find("card:Mic_0", found).portaudio == "Mic (hw:0,0)"
    assert find("usb:046d:0a44", found).portaudio == "Mic (hw:0,0)"


def test_rate_and_channels_are_those_that_portaudio_tells(sound, tmp_path):
    found = listed(sound, listing_program(tmp_path, "default", "other"))
    assert [(device.rate, device.channels) for device in found] == [(48_000, 1), (48_000, 2)]


def mic(name, *others):
    return Device(name, others, name, 48_000, 1)


USB, BOARD, DEFAULT = mic("usb:046d:0a44:7", "path:1-2", "card:Mic"), mic("card:Board"), mic("pcm:default")


@pytest.mark.parametrize(
    ("among", "likeliest"),
    [([BOARD, DEFAULT, USB], USB), ([BOARD, DEFAULT], DEFAULT), ([BOARD, mic("pcm:pulse")], BOARD)],
)
def test_the_likeliest_is_usb_and_else_the_default(among, likeliest):
    assert find("", among) is likeliest


@pytest.mark.parametrize("wanted", ["usb:046d:0a44:7", "usb:046d:0a44", "usb:046d", "path:1-2", "card:Mic"])
def test_a_microphone_is_found_by_each_of_its_names(wanted):
    assert find(wanted, [BOARD, USB]) is USB


@pytest.mark.parametrize("wanted", ["usb:046d:0a4", "Mic", "usb:046d:0a44:77", "card:mic"])
def test_a_part_of_a_name_is_no_name(wanted):
    with pytest.raises(AudioError, match=rf"microphone '{wanted}' is not there \(there is usb:046d:0a44:7, card:Board"):
        find(wanted, [USB, BOARD])


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("", r"no microphone is plugged in \(plug one in, or name a file with --audio\)"),
        ("usb:046d:0a44", r"microphone 'usb:046d:0a44' is not there \(there is no microphone at all\)"),
    ],
)
def test_without_any_microphone_the_way_out_is_reported(wanted, message):
    with pytest.raises(AudioError, match=message):
        find(wanted, [])


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ('print(\'{"error": "PyAudio is not installed"}\')', "PyAudio is not installed"),
        ("pass", "ended without output"),
        ("print('ALSA lib pcm.c')", "gave no list of microphones"),
        ("raise SystemExit('crash')", "ended without output"),
    ],
)
def test_a_listing_that_fails_is_reported(sound, tmp_path, source, complaint):
    with pytest.raises(AudioError, match=complaint):
        listed(sound, program(tmp_path, source))


def test_what_portaudio_lists_here_can_be_named():
    pytest.importorskip("pyaudio", reason="PyAudio is not installed: scripts/setup device")
    assert CAPTURE.is_file()
    assert sys.executable
    for device in list_devices().devices:
        assert find(device.name, [device]) is device


def closed(tmp_path, name, number):
    answer = {"devices": [], "closed": [{"name": name, "errno": number}]}
    return program(tmp_path, f"print({json.dumps(answer)!r})")


def test_who_holds_a_card_is_named(sound, tmp_path):
    plug(sound, 1, label="Mic", port="1-2", idVendor="046d", idProduct="0a44")
    status = tmp_path / "asound" / "card1" / "pcm0c" / "sub0" / "status"
    status.parent.mkdir(parents=True)
    status.write_text(f"state: RUNNING\nowner_pid   : {os.getpid()}\n")
    there = list_devices(sound=sound, capture=closed(tmp_path, "(hw:1,0)", errno.EBUSY), cards=tmp_path / "asound")
    name = Path("/proc/self/comm").read_text().strip()
    with pytest.raises(AudioError, match=rf"'usb:046d:0a44' is held by {name} \(process {os.getpid()}\)"):
        find("usb:046d:0a44", [], there.closed)
    with pytest.raises(AudioError, match="'usb:046d:0a44' is held by"):
        find("", [], there.closed)


def test_another_microphone_is_taken_where_none_is_named_and_one_is_busy(sound, tmp_path):
    shut = list_devices(sound=sound, capture=closed(tmp_path, "(hw:1,0)", errno.EBUSY)).closed
    assert find("", [BOARD], shut) is BOARD


@pytest.mark.parametrize("name", ["usb:046d:0a44:7", "path:1-2", "card:Mic", "pcm:Mic (hw:1,0)"])
def test_every_name_of_a_card_is_one_identity(sound, tmp_path, name):
    plug(sound, 1, label="Mic", port="1-2", idVendor="046d", idProduct="0a44", serial="7")
    found = listed(sound, listing_program(tmp_path, "Mic (hw:1,0)", "Mic (hw:1,1)"))
    assert find(name, found).identity == "hw-1-0"
    assert found[1].identity == "hw-1-1"


@pytest.fixture
def recorder(tmp_path):
    """A program that has the node of card 3 open, as arecord has, behind a shell."""
    node = tmp_path / "pcmC3D1c"
    node.touch()
    inner = f"import sys; node = open({str(node)!r}); print(flush=True); sys.stdin.read()"
    command = ["sh", "-c", f'"{sys.executable}" -c "$0"; true', inner]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"\n"
        yield child.pid
        child.stdin.close()


def test_the_card_that_is_open_is_seen_whatever_it_was_called(tmp_path, recorder):
    assert opened_card(recorder, nodes=tmp_path) == "hw-3-1"
    # A file of the same name elsewhere is no card.
    assert opened_card(recorder) == ""
    assert opened_card(2**31) == ""


def recording(node):
    """A command that gives sound and has a node open until it is killed."""
    program = "import signal, sys; node = open(sys.argv[1]); sys.stdout.buffer.write(bytes(64_000)); signal.pause()"
    return (sys.executable, "-c", program, str(node))


def test_two_names_of_one_card_are_one_claim(tmp_path):
    node = tmp_path / "pcmC3D0c"
    node.touch()
    claimed = []
    for name in ("plughw:3", "default"):
        section = MicrophoneSection(command=(*recording(node), name))
        with opener(section, claim=claimed.append, nodes=tmp_path)() as capture:
            assert capture.read(5.0)
    assert [each for each in claimed if each.startswith("hw")] == ["hw-3-0", "hw-3-0"]


def test_a_card_that_another_listener_has_is_let_go(tmp_path):
    node = tmp_path / "pcmC3D0c"
    node.touch()

    def claim(identity):
        if identity == "hw-3-0":
            message = "another headnod listens to it"
            raise AudioError(message)

    section = MicrophoneSection(command=recording(node))
    with pytest.raises(AudioError, match="another headnod"):
        opener(section, claim=claim, nodes=tmp_path)()
    running = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(node) in read(path)]
    assert running == []


def read(path):
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EIO, "cannot be opened: input/output error (plug it in again)"),
        (errno.ENOSPC, "cannot be opened: no space left on device (use another USB port)"),
        (errno.EACCES, "may not be opened: "),
        (errno.EPERM, "may not be opened: "),
        (errno.EBUSY, "is held by another program (stop it; "),
    ],
)
def test_a_microphone_that_cannot_be_opened_has_a_reason_and_a_way_out(sound, tmp_path, number, reason):
    (shut,) = list_devices(sound=sound, capture=closed(tmp_path, "(hw:1,0)", number), cards=tmp_path).closed
    assert shut.reason.startswith(reason)
