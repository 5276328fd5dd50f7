"""`headnod devices` and `headnod calibrate`."""

from __future__ import annotations

import argparse
import logging
import sys

from headnod.cli.options import add_config, load_config, number_between
from headnod.escaping import printable

SECONDS = (1.0, 3600.0)
"""Bounds of the length of a calibration; less than a second has no loud and quiet moments."""

_log = logging.getLogger(__name__)


def add_devices(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `headnod devices`."""
    parser = subparsers.add_parser(
        "devices",
        help="list microphones by their stable names",
        description="List microphones. The first name of each stays the same after a reboot and at another USB port: "
        "put it into the configuration as microphone.device, or give it to 'headnod listen --device'.",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON array")
    parser.set_defaults(run=run_devices)


def run_devices(options: argparse.Namespace) -> int:
    """Print microphones; exit status 1 with --json if there is none."""
    import json
    from dataclasses import asdict

    from headnod.audio.microphone import find, list_devices

    found = list_devices()
    for shut in found.closed:
        _log.warning("%s", printable(f"{shut.names[0]} {shut.reason}"))
    if options.json:
        print(json.dumps([asdict(device) for device in found.devices]))
        return 0 if found.devices else 1
    default = find("", found.devices, found.closed)
    for device in found.devices:
        mark = "*" if device is default else " "
        channels = "channel" if device.channels == 1 else "channels"
        also = f"  also {', '.join(device.others)}" if device.others else ""
        print(printable(f"{mark} {device.name:<28} {device.rate:6d} Hz, {device.channels} {channels}{also}"))
    print("* is used if none is named")
    return 0


def add_calibrate(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `headnod calibrate`."""
    parser = subparsers.add_parser(
        "calibrate",
        help="measure the room and propose settings",
        description="Record the room for a minute, part of it with music as loud as usual and part of it without, "
        "and propose device, gain and silence threshold.",
    )
    parser.add_argument(
        "--seconds", metavar="N", type=number_between(*SECONDS), default=60.0, help="how long to record (60)"
    )
    parser.add_argument("--audio", metavar="mic|FILE", default="mic", help="use a file in place of the microphone")
    parser.add_argument("--device", metavar="NAME", help="a microphone as 'headnod devices' names it")
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    add_config(parser)
    parser.set_defaults(run=run_calibrate)


def run_calibrate(options: argparse.Namespace) -> None:
    """Record, then print levels and a part of a configuration."""
    import msgspec

    from headnod.audio.blocks import Gap, RateChange
    from headnod.audio.microphone import find_device
    from headnod.errors import AudioError
    from headnod.factory import MICROPHONE, source
    from headnod.features.frontend import FrontEnd
    from headnod.pipeline.estimate import State
    from headnod.pipeline.level_meter import LevelMeter

    section = load_config(options, {("--device", "microphone", "device"): options.device}).config.microphone
    rate = FrontEnd().sample_rate
    device = ""
    if options.audio == MICROPHONE and not (section.command or section.address):
        device = find_device(section.device).name
    meter = LevelMeter(rate)
    with source(options.audio, section, rate, None) as blocks:
        for block in blocks:
            if isinstance(block, RateChange) or (isinstance(block, Gap) and block.state is State.BEHIND):
                continue
            if isinstance(block, Gap):
                raise AudioError(block.message)
            meter.update(block)
            _show_progress(meter.seconds, options.seconds)
            if meter.seconds >= options.seconds:
                break
    report = meter.report()
    if options.json:
        proposal = {"device": device, "silence": report.silence, "gain": report.gain}
        print(msgspec.json.encode({"heard": report, "proposal": proposal}).decode())
        return
    print(
        f"heard {report.seconds:.0f} s: noise floor {report.noise_floor:.0f} dBFS, loud moments {report.loud:.0f} dBFS,"
        f" peak {report.peak:.0f} dBFS, {report.clipped:.2%} clipped"
    )
    print(_gain_advice(report.gain, dead=report.dead))
    if report.silence is None:
        print("silence: there was no quiet moment, so it stays as it is (turn the music off for half of the time)")
    print("\n# for /etc/headnod/headnod.toml")
    if device:
        print(f'[microphone]\ndevice = "{device}"')
    if report.silence is not None:
        print(f"[listen]\nsilence = {report.silence:.1f}")


def _gain_advice(gain: float, *, dead: bool) -> str:
    if dead:
        return "the microphone sends nothing but zeros: is it muted, or its switch off?"
    if gain:
        return f"gain: {'raise' if gain > 0 else 'lower'} it by about {abs(gain):.0f} dB (alsamixer, then F4)"
    return "gain: suits this room"


def _show_progress(done: float, wanted: float) -> None:
    if sys.stderr.isatty():
        share = min(done / wanted, 1.0)
        bar = ("#" * round(30 * share)).ljust(30)
        end = "\n" if share >= 1.0 else ""
        sys.stderr.write(f"\rrecording the room [{bar}] {min(done, wanted):3.0f} of {wanted:.0f} s{end}")
        sys.stderr.flush()
