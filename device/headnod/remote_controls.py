"""What was asked from afar, kept until the listener has a moment for it.

Alone because it stands between two threads: commands come on the link's, and only
the main one may touch model, microphone and lights.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import replace

from headnod.audio.blocks import Block, Gap, RateChange
from headnod.config import Config
from headnod.inference.golden import load_checked
from headnod.mqtt.payloads import HealthPayload, InfoPayload
from headnod.pipeline.estimate import Now, State, StatusEvent
from headnod.resources import find_model

Change = Callable[[Config], Config]
"""Makes of the configuration in force the one that was asked for."""


class Controls:
    """The listener, as far as commands may change it."""

    def __init__(
        self,
        info: Callable[[], InfoPayload],
        health: Callable[[], HealthPayload],
        activate: Callable[[str], None] | None = None,
        *,
        configured: Callable[[], Config],
        paused: bool = False,
    ) -> None:
        """Answer questions by these, and note everything else.

        Args:
            info: What the listener is.
            health: How it fares.
            activate: Tries a model by name and lets it listen for good; without it,
                where there is no place to remember that, it listens until the end.
            configured: The configuration as it was read, to which a reset goes back.
            paused: It is paused from the beginning.
        """
        self.info, self.health, self._activate, self._configured = info, health, activate, configured
        self.paused = paused
        self._asked: queue.SimpleQueue[Change] = queue.SimpleQueue()

    def taken(self) -> Iterator[Change]:
        """What was asked since this was last called."""
        while not self._asked.empty():
            yield self._asked.get()

    def threshold(self, certainty: float) -> None:
        """Name a genre from this probability on (0-1); 0 takes the model's own."""
        self._asked.put(lambda config: replace(config, listen=replace(config.listen, certainty=certainty)))

    def pause(self, paused: bool) -> None:  # noqa: FBT001 - as commands call it
        """Make no estimates, or make them again."""
        self.paused = paused

    def brightness(self, level: float) -> None:
        """Set the brightness of all lights (0-1)."""
        self._asked.put(lambda config: config.with_brightness(level))

    def reset(self) -> None:
        """Go back to threshold and brightness of the configuration, and end a pause."""
        self.paused = False

        def change(config: Config) -> Config:
            configured = self._configured()
            listen = replace(config.listen, certainty=configured.listen.certainty)
            return replace(config, listen=listen, leds=configured.leds)

        self._asked.put(change)

    def activate(self, model: str) -> None:
        """Listen with this model, once its golden numbers agree."""
        if self._activate is not None:
            self._activate(model)
            return

        def change(config: Config) -> Config:
            load_checked(find_model(model))
            return replace(config, model=replace(config.model, name=model))

        self._asked.put(change)


def hush(blocks: Iterable[Block], *, rate: int, every: float, now: Now) -> Iterator[StatusEvent]:
    """Let sound go by unheard.

    Args:
        blocks: Mono audio and holes.
        rate: Samples per second.
        every: Seconds between conditions, which say that the listener is paused and alive.
        now: The wall clock.
    """
    passed = due = 0
    for block in blocks:
        if isinstance(block, Gap):
            yield StatusEvent(time=now(), state=block.state, message=block.message)
            continue
        if isinstance(block, RateChange):
            passed, due, rate = block.place(passed) - block.repeated, block.place(due), block.rate
            continue
        if passed >= due:
            due += round(every * rate)
            yield StatusEvent(time=now(), state=State.PAUSED, message="asked to be quiet")
        passed += block.size
