"""The commands of audio: `headnod listen`, `classify`, `why`, `devices` and `calibrate`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from headnod.cli.parser import (
    add_config,
    add_device,
    add_model,
    explained,
    held_stderr,
    load_config,
    number,
    overlay_of,
    print_json,
    print_row,
    running_folder,
)
from headnod.escaping import columns, padded, printable

if TYPE_CHECKING:
    from headnod.config import Config
    from headnod.outputs.text import Latest
    from headnod.pipeline.estimate import Estimate
    from headnod.pipeline.listener import ListenerSettings

_log = logging.getLogger(__name__)

SECONDS = (1.0, 3600.0)
"""Bounds of the length of a calibration; less than a second has no loud and quiet moments."""

_FRESH = 15.0
"""Seconds after which the age of an estimate is printed: longer than between any two."""


def add_listen(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `headnod listen`."""
    parser = subparsers.add_parser(
        "listen",
        help="name the genre of what plays, every few seconds",
        description="Name the genre of what plays, every few seconds. Pause, threshold and brightness that were set by "
        "MQTT are kept in the state folder and apply again after a restart; request/reset by MQTT ends that.",
    )
    parser.add_argument(
        "--audio",
        metavar="mic|FILE|URL|-",
        help="the microphone, a file, a web radio (http), a camera (rtsp), or raw 16-bit samples on stdin "
        "(default: the microphone, or the demo clip where there is none and no output is configured)",
    )
    add_device(parser)
    parser.add_argument("--rate", metavar="HZ", type=int, help="sample rate of raw samples (22050)")
    parser.add_argument("--channels", metavar="N", type=int, help="channels of raw samples (1)")
    parser.add_argument("--every", metavar="SECONDS", type=float, help="time between estimates (3)")
    add_model(parser)
    view = parser.add_mutually_exclusive_group()
    view.add_argument("--json", dest="view", action="store_const", const="json", help="print JSON lines")
    view.add_argument("--plain", dest="view", action="store_const", const="plain", help="print plain lines")
    view.add_argument("--quiet", dest="view", action="store_const", const="none", help="print nothing, only log")
    parser.add_argument(
        "--pace", choices=("real", "fast"), help="process a file in real time, or as fast as the processor can"
    )
    parser.add_argument(
        "--web",
        metavar="ADDRESS:PORT",
        nargs="?",
        const=("", 0),
        type=_web_address,
        help="serve a page with estimates and controls (127.0.0.1:8080); another address needs a password",
    )
    parser.add_argument(
        "--web-open", action="store_true", help="allow reading the page without a password, also from other machines"
    )
    add_config(parser)
    parser.set_defaults(run=run_listen, view="auto")


def _web_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `HOST`, `:PORT` or `PORT`; empty and 0 for what is absent."""
    from headnod.address import split_address

    port = text.removeprefix(":")
    try:
        return ("", split_address(f"localhost:{port}")[1]) if port.isdigit() else split_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run_listen(options: argparse.Namespace) -> None:
    """Listen until the audio ends or a signal arrives; start again if a command asks for it."""
    from headnod import runtime
    from headnod.factory import is_full_screen

    host, port = options.web or ("", 0)
    flags = {
        ("--model", "model", "name"): options.model,
        # A model on the command line has precedence over an installed one.
        ("--model", "model", "installed"): None if options.model is None else False,
        ("--device", "microphone", "device"): options.device,
        ("--rate", "microphone", "rate"): options.rate,
        ("--channels", "microphone", "channels"): options.channels,
        ("--every", "listen", "every"): options.every,
        ("--web", "web", "enabled"): None if options.web is None else True,
        ("--web", "web", "address"): host or None,
        ("--web", "web", "port"): port or None,
        ("--web-open", "web", "open"): options.web_open or None,
    }

    def read_config() -> Config:
        config = load_config(options, flags).config
        logging.getLogger().setLevel(config.log.level.upper())
        return config

    # The terminal's picture would be drawn over lines on standard error, of other processes too.
    with held_stderr() if is_full_screen(options.view) else nullcontext():
        restart = runtime.run(
            read_config,
            audio=options.audio,
            view=options.view,
            pace=options.pace,
            overlay=lambda: overlay_of(options, flags),
        )
    # systemd starts a service again; it would take the process itself for one that is stopping.
    if restart and "NOTIFY_SOCKET" not in os.environ:
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this program itself


def add_classify(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `headnod classify`."""
    parser = subparsers.add_parser(
        "classify",
        help="name the genre of whole files",
        description="Name the most probable genre of each file and its probability.",
    )
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="audio, a playlist (m3u, m3u8, pls), or - for a file on stdin"
    )
    parser.add_argument("-r", "--recursive", action="store_true", help="take the audio files in folders")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    add_model(parser)
    add_config(parser)
    parser.set_defaults(run=run_classify)


def run_classify(options: argparse.Namespace) -> int:
    """Classify every file; an unreadable one is logged and the others follow."""
    from headnod.audio.audio_file import audio_file
    from headnod.audio.http_stream import expanded
    from headnod.errors import AudioError
    from headnod.inference.model import GenreModel
    from headnod.pipeline.listener import classify
    from headnod.resources import configured_model

    config = load_config(options, {("--model", "model", "name"): options.model}).config
    model = GenreModel.load(configured_model(config.model.name))
    files, notes = expanded(options.files, recursive=options.recursive)
    for note in notes:
        _log.warning("%s", printable(_utf8(note)))
    failed = 0 if files and (options.recursive or not any(map(os.path.isdir, options.files))) else 1
    width = max((columns(printable(_utf8(file))) for file in files), default=0)
    for file in files:
        try:
            with audio_file(Path("/dev/stdin" if file == "-" else file), model.front_end.sample_rate) as blocks:
                result = classify(_utf8(file), blocks, model)
        except AudioError as error:
            _log.error("%s", explained(error))
            failed += 1
            continue
        short = "  short" if result.short else ""
        name, genre = padded(printable(_utf8(file)), width), padded(printable(result.genre), 10)
        print_row(result, f"{name}  {genre} {result.confidence:.2f}{short}", json=options.json)
    return 1 if failed else 0


def _utf8(file: str) -> str:
    # A name that is not UTF-8 cannot be printed as JSON.
    return os.fsencode(file).decode(errors="replace")


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
        "--seconds", metavar="N", type=number(float, *SECONDS), default=60.0, help="how long to record (60)"
    )
    parser.add_argument("--audio", metavar="mic|FILE", default="mic", help="use a file in place of the microphone")
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    add_config(parser)
    parser.set_defaults(run=run_calibrate)


def run_calibrate(options: argparse.Namespace) -> None:
    """Record, then print levels and a part of a configuration."""
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
        print_json({"heard": report, "proposal": proposal})
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


def add_why(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `headnod why`."""
    parser = subparsers.add_parser(
        "why",
        help="say why a genre is named, or why none is",
        description="Say what held back the latest estimate of the listener that runs here, or the last one of a file.",
    )
    parser.add_argument("--audio", metavar="FILE", type=Path, help="listen to a file instead")
    parser.add_argument("--json", action="store_true", help="print the estimate as a JSON object, with the sentence")
    add_model(parser)
    add_config(parser)
    parser.set_defaults(run=run_why)


def run_why(options: argparse.Namespace) -> None:
    """Print one or two sentences."""
    config = load_config(options, {("--model", "model", "name"): options.model}).config
    estimate, said = _latest(options) if options.audio is None else (_last_of(options.audio, config), "")
    if estimate is not None:
        said = f"{said} {explanation(estimate, config.listen)}".strip()
    if options.json:
        print_json({"why": said, "held_by": estimate.held_by if estimate else None, "estimate": estimate})
    else:
        print(printable(said))


def _last_of(path: Path, config: Config) -> Estimate:
    """The last estimate of a file, as a listener makes it."""
    from headnod.audio.audio_file import audio_file
    from headnod.errors import AudioError
    from headnod.inference.model import GenreModel
    from headnod.pipeline.estimate import Estimate, utc_now
    from headnod.pipeline.listener import listen
    from headnod.resources import configured_model

    model, last = GenreModel.load(configured_model(config.model.name)), None
    with audio_file(path, model.front_end.sample_rate) as blocks:
        for each in listen(blocks, model, config.listen, now=utc_now):
            last = each if isinstance(each, Estimate) else last
    if last is None:
        seconds = model.front_end.window_seconds
        raise AudioError(
            f"{path}: is shorter than {seconds:.1f} s, so a listener makes no estimate (try headnod classify)"
        )
    return last


def running_latest(options: argparse.Namespace) -> Latest:
    """What the listener that runs here wrote last.

    Raises:
        AudioError: No listener runs here, or its file is damaged.
    """
    from headnod.outputs.text import FILE, read_latest

    return read_latest(running_folder(options) / FILE)


def _latest(options: argparse.Namespace) -> tuple[Estimate | None, str]:
    """The latest estimate of the listener that runs here, and what is wrong with it now."""
    from headnod.clock import boottime

    latest = running_latest(options)
    if latest.status is not None:
        return None, f"There is no estimate now: {latest.status.state.replace('_', ' ')}: {latest.status.message}."
    if latest.estimate is None:
        return None, "The listener has made no estimate yet."
    age = boottime() - latest.estimate.monotonic
    return latest.estimate, f"{age:.0f} s ago:" if age > _FRESH else ""


def explanation(estimate: Estimate, settings: ListenerSettings) -> str:
    """What held an estimate back, with the settings of the listener that made it, or that nothing did."""
    from headnod.pipeline.estimate import HeldBy

    best, score = estimate.ranked()[0]
    level = f"{estimate.level:.0f} dBFS"
    asked = f"{settings.threshold:g} (listen.certainty)" if settings.threshold else "the model's own threshold"
    return {
        HeldBy.NONE: f"{estimate.genre} is named because it is the likeliest genre, at {estimate.confidence:.2f}.",
        HeldBy.SILENCE: (
            f"No genre is named because it is quiet: the level is {level}. Sound counts from {settings.silence:g} "
            f"dBFS (listen.silence) on, and from {settings.above_noise:g} dB over the room's own noise "
            "(listen.above_noise)."
        ),
        HeldBy.STEADY_NOISE: (
            f"No genre is named because the sound, at {level}, is steady noise, such as a fan's, rain or the hum "
            "of the mains."
        ),
        HeldBy.STARTING: f"No genre is named yet because the sound, at {level}, has just begun and is too short.",
        HeldBy.NOT_MUSIC: (
            f"No genre is named because {estimate.model} takes the sound for speech or another sound that is no "
            f"music. The likeliest genre would be {best}, at {score:.2f}."
        ),
        HeldBy.THRESHOLD: (
            f"No genre is named because none is probable enough: {best}, the likeliest, has {score:.2f}, which is "
            f"under {asked}."
        ),
        HeldBy.LEAD: _kept(estimate, settings),
    }[estimate.held_by]


def _kept(estimate: Estimate, settings: ListenerSettings) -> str:
    from headnod.escaping import UNKNOWN

    best, score = next((each for each in estimate.ranked() if each[0] != estimate.genre), (UNKNOWN, 0.0))
    asked = f"another must lead by {settings.lead:g} (listen.lead)"
    if estimate.genre == UNKNOWN:
        return (
            f"No genre is named because the sound was taken for no music before: {best} is likelier by now, at "
            f"{score:.2f}, but {asked}."
        )
    stays = f"{estimate.genre} stays named, at {estimate.confidence:.2f}"
    # What is left of the probability is that of "not music".
    if score < max(1.0 - sum(estimate.scores.values()), estimate.confidence):
        return f"{stays}, although no music is likelier by now: {asked}."
    return f"{stays}, although {best} is likelier by now, at {score:.2f}: {asked}."
