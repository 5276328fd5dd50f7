"""Why a genre is named, or none: an estimate in one or two plain sentences."""

from __future__ import annotations

from headnod.estimate import UNKNOWN, Estimate, HeldBy
from headnod.listener import ListenerSettings


def why(estimate: Estimate, settings: ListenerSettings) -> str:
    """What an estimate was held back by, or that nothing held it back.

    Args:
        estimate: What was heard.
        settings: The settings of the listener that made it.
    """
    best, score = estimate.ranked()[0]
    level = f"{estimate.level:.0f} dBFS"
    asked = f"{settings.certainty:g} (listen.certainty)" if settings.certainty else "the model's own threshold"
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
