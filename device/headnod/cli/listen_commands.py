"""`headnod listen` and `headnod classify`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from headnod.cli.options import add_config, add_model, explained, load_config, overlay_of
from headnod.escaping import columns, padded, printable

if TYPE_CHECKING:
    from headnod.config import Config

_log = logging.getLogger(__name__)


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
    parser.add_argument("--device", metavar="NAME", help="a microphone as 'headnod devices' names it")
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
        "--web-open", action="store_true", help="let everyone who can reach the page read it without a password"
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
    from headnod.cli.standard_streams import held_stderr
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
    import msgspec

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
        if options.json:
            print(msgspec.json.encode(result).decode(), flush=True)
        else:
            short = "  short" if result.short else ""
            name, genre = padded(printable(_utf8(file)), width), padded(printable(result.genre), 10)
            print(f"{name}  {genre} {result.confidence:.2f}{short}", flush=True)
    return 1 if failed else 0


def _utf8(file: str) -> str:
    # A name that is not UTF-8 cannot be printed as JSON.
    return os.fsencode(file).decode(errors="replace")
