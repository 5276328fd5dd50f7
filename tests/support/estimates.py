"""Estimates and conditions in one line, for tests that show them somewhere."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from headnod.escaping import SILENCE
from headnod.pipeline.estimate import Estimate, HeldBy, State, StatusEvent

GTZAN = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")


def estimate(genre: str, **scores: float) -> Estimate:
    """What was heard: these scores, 0 for every other genre."""
    every = {label: 0.0 for label in GTZAN if label not in scores} | scores
    return Estimate(
        sequence=0,
        time=datetime(2026, 11, 22, tzinfo=UTC),
        seconds=3.0,
        genre=genre,
        confidence=max(every.values()),
        scores={label: every[label] for label in sorted(every)},
        level=-20.0,
        peak=-3.0,
        dropped=0.0,
        state=State.LISTENING,
        model="genre-0.1.0",
    )


def other_labels(genre: str, scores: dict[str, float]) -> Estimate:
    """An estimate of a model with labels of its own."""
    return msgspec.structs.replace(estimate(genre, **{genre: max(scores.values())}), scores=scores)


TAGS = {"instrumental": 0.91, "mellow": 0.75, "jazz": 0.6, "guitar": 0.33, "80s": 0.2}


def tagged(genre: str, **scores: float) -> Estimate:
    """The same of a model with tags and energy."""
    return msgspec.structs.replace(estimate(genre, **scores), tags=TAGS, energy=0.36)


def silence() -> Estimate:
    """Nothing was playing."""
    return msgspec.structs.replace(estimate(SILENCE), held_by=HeldBy.SILENCE)


def condition(state: State) -> StatusEvent:
    """Why nothing is heard."""
    return StatusEvent(time=datetime(2026, 11, 22, tzinfo=UTC), state=state, message=f"the state is {state}")
