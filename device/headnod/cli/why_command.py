"""`headnod why`: what keeps a genre from being named, in plain words."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from headnod.cli.options import add_config, add_model, load_config, running_folder
from headnod.escaping import printable

if TYPE_CHECKING:
    from headnod.config import Config
    from headnod.outputs.text import Latest
    from headnod.pipeline.estimate import Estimate
    from headnod.pipeline.listener import ListenerSettings


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
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
    import msgspec

    config = load_config(options, {("--model", "model", "name"): options.model}).config
    estimate, said = _latest(options) if options.audio is None else (_last_of(options.audio, config), "")
    if estimate is not None:
        said = f"{said} {explanation(estimate, config.listen)}".strip()
    if options.json:
        held_by = estimate.held_by if estimate else None
        answer = {"why": said, "held_by": held_by, "estimate": estimate}
        print(msgspec.json.encode(answer).decode())
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
        seconds = model.front_end.window_samples / model.front_end.sample_rate
        message = f"{path}: is shorter than {seconds:.1f} s, so a listener makes no estimate (try headnod classify)"
        raise AudioError(message)
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


_FRESH = 15.0
"""Seconds after which an estimate's age is said: longer than between any two."""


def explanation(estimate: Estimate, settings: ListenerSettings) -> str:
    """What an estimate was held back by, or that nothing held it back.

    Args:
        estimate: The estimate.
        settings: The settings of the listener that made it.
    """
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
    from headnod.pipeline.estimate import UNKNOWN

    best, score = estimate.ranked()[0]
    asked = f"another must lead by {settings.lead:g} (listen.lead)"
    if estimate.genre == UNKNOWN:
        return (
            f"No genre is named because the sound was taken for no music before: {best} is likelier by now, at "
            f"{score:.2f}, but {asked}."
        )
    if best == estimate.genre:
        return f"{best} stays named, at {estimate.confidence:.2f}, although no music is likelier by now: {asked}."
    return (
        f"{estimate.genre} stays named, at {estimate.confidence:.2f}, although {best} is likelier by now, at "
        f"{score:.2f}: {asked}."
    )
