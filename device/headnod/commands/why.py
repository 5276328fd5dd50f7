"""`headnod why`: what keeps a genre from being named, in plain words."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from headnod.commands.options import add_config, add_model, load_config, service_beside
from headnod.legible import legible

if TYPE_CHECKING:
    from headnod.config import Config
    from headnod.estimate import Estimate


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "why",
        help="say why a genre is named, or why none is",
        description="Say what held back the latest estimate of the listener that runs here, or the last one of a file.",
        allow_abbrev=False,
    )
    parser.add_argument("--audio", metavar="FILE", type=Path, help="listen to a file instead")
    parser.add_argument("--json", action="store_true", help="print the estimate as a JSON object, with the sentence")
    add_model(parser)
    add_config(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print one or two sentences."""
    import msgspec  # noqa: PLC0415

    from headnod.why import why  # noqa: PLC0415

    config = load_config(options, {("--model", "model", "name"): options.model}).config
    estimate, said = _latest(options) if options.audio is None else (_last_of(options.audio, config), "")
    if estimate is not None:
        said = f"{said} {why(estimate, config.listen)}".strip()
    if options.json:
        held_by = estimate.held_by if estimate else None
        answer = {"why": said, "held_by": held_by, "estimate": estimate}
        print(msgspec.json.encode(answer).decode())  # noqa: T201
    else:
        print(legible(said))  # noqa: T201


def _last_of(path: Path, config: Config) -> Estimate:
    """The last estimate of a file, as a listener makes it."""
    from headnod.audio.file import audio_file  # noqa: PLC0415
    from headnod.errors import AudioError  # noqa: PLC0415
    from headnod.estimate import Estimate, utc_now  # noqa: PLC0415
    from headnod.listener import listen  # noqa: PLC0415
    from headnod.model import GenreModel  # noqa: PLC0415
    from headnod.shipped import find_model  # noqa: PLC0415

    model, last = GenreModel.load(find_model(config.model.name)), None
    with audio_file(path, model.front_end.sample_rate) as blocks:
        for each in listen(blocks, model, config.listen, now=utc_now):
            last = each if isinstance(each, Estimate) else last
    if last is None:
        seconds = model.front_end.window_samples / model.front_end.sample_rate
        message = f"{path}: is shorter than {seconds:.1f} s, so a listener makes no estimate (try headnod classify)"
        raise AudioError(message)
    return last


def _latest(options: argparse.Namespace) -> tuple[Estimate | None, str]:
    """The latest estimate of the listener that runs here, and what is wrong with it now."""
    from headnod.app.outputs import runtime_folder  # noqa: PLC0415
    from headnod.clock import boottime  # noqa: PLC0415
    from headnod.errors import AudioError  # noqa: PLC0415
    from headnod.sinks.latest import FILE, read_latest  # noqa: PLC0415

    service, folder = service_beside(options), runtime_folder()
    running = Path("/run") / service.state.name if service is not None else None
    place = running if running is not None and running.is_dir() else folder
    if place is None:
        message = "no listener runs here that says more (start 'headnod listen', or name a file with --audio)"
        raise AudioError(message)
    latest = read_latest(place / FILE)
    if latest.condition is not None:
        return None, f"Nothing is heard now: {latest.condition.state.replace('_', ' ')}: {latest.condition.message}."
    if latest.estimate is None:
        return None, "The listener has made no estimate yet."
    age = boottime() - latest.estimate.monotonic
    return latest.estimate, f"{age:.0f} s ago:" if age > _FRESH else ""


_FRESH = 15.0
"""Seconds after which an estimate's age is said: longer than between any two."""
