"""`headnod calibrate`: a minute in the room, and what to set after it."""

from __future__ import annotations

import argparse
import sys

from headnod.cli.options import add_config, load_config, number_between

BOUNDS = (1.0, 3600.0)
"""Seconds to listen: under one there is no telling loud moments from quiet ones."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "calibrate",
        help="listen to the room and propose settings",
        description="Listen to the room for a minute, part of it with music as loud as usual and part of it without, "
        "and propose device, gain and silence floor.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--seconds", metavar="N", type=number_between(*BOUNDS), default=60.0, help="how long to listen (60)"
    )
    parser.add_argument("--audio", metavar="mic|FILE", default="mic", help="listen to a file in place of the room")
    parser.add_argument("--device", metavar="NAME", help="a microphone as 'headnod devices' names it")
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    add_config(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Listen, then print what was heard and a piece of configuration."""
    import msgspec

    from headnod.audio.blocks import Gap, RateChange
    from headnod.audio.microphone import find_device
    from headnod.errors import AudioError
    from headnod.factory.source_factory import MICROPHONE, source
    from headnod.features.frontend import FrontEnd
    from headnod.pipeline.estimate import State
    from headnod.pipeline.level_meter import LevelMeter

    section = load_config(options, {("--device", "microphone", "device"): options.device}).config.microphone
    rate = FrontEnd().sample_rate
    device = ""
    if options.audio == MICROPHONE and not section.command:
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
    heard = meter.report()
    if options.json:
        proposal = {"device": device, "silence": heard.silence, "gain": heard.gain}
        print(msgspec.json.encode({"heard": heard, "proposal": proposal}).decode())
        return 0
    print(
        f"heard {heard.seconds:.0f} s: noise floor {heard.noise_floor:.0f} dBFS, loud moments {heard.loud:.0f} dBFS, "
        f"peak {heard.peak:.0f} dBFS, {heard.clipped:.2%} clipped"
    )
    print(_advice(heard.gain, dead=heard.dead))
    if heard.silence is None:
        print("silence: no quiet moment was heard, so it stays as it is (turn the music off for half of the time)")
    print("\n# for /etc/headnod/headnod.toml")
    if device:
        print(f'[microphone]\ndevice = "{device}"')
    if heard.silence is not None:
        print(f"[listen]\nsilence = {heard.silence:.1f}")
    return 0


def _advice(gain: float, *, dead: bool) -> str:
    if dead:
        return "the microphone sends nothing but zeros: is it muted, or its switch off?"
    if gain:
        return f"gain: {'raise' if gain > 0 else 'lower'} it by about {abs(gain):.0f} dB (alsamixer, then F4)"
    return "gain: suits this room"


def _show_progress(heard: float, wanted: float) -> None:
    if sys.stderr.isatty():
        share = min(heard / wanted, 1.0)
        bar = ("#" * round(30 * share)).ljust(30)
        end = "\n" if share >= 1.0 else ""
        sys.stderr.write(f"\rlistening to the room [{bar}] {min(heard, wanted):3.0f} of {wanted:.0f} s{end}")
        sys.stderr.flush()
