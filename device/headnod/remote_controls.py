"""Settings that a person changes by MQTT or on the page: threshold, lights, pause, quiet hours, outputs, model.

Commands arrive on other threads and are applied by the main loop. What was set applies again after a
restart, until it is set again, reset, or its value in the configuration changes: the last change counts.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from headnod.audio.blocks import Block, Gap, RateChange
from headnod.clock import Clock, local, local_zone, quiet_until, span_fault
from headnod.config import Config, named_outputs
from headnod.config.sections import Mode
from headnod.errors import ConfigError
from headnod.files import write_atomically
from headnod.pipeline.estimate import Now, Share, State, StatusEvent
from headnod.resources import find_model

SETTINGS_FILE = "settings.json"
"""The file in the state folder."""

_RETRY = 60.0
"""Seconds between attempts to write settings to a disk that is full."""

LONGEST_PAUSE = 7 * 86_400.0
"""Seconds of the longest pause that ends by itself."""

Value = TypeVar("Value")

_DAY = 86_400.0
_BRIGHTNESS = 0.5
"""Brightness of LEDs that are switched on where none is configured."""

_log = logging.getLogger(__name__)

_CLOCK_ROUNDING = 1.0


class InForce(NamedTuple):
    """What the listener runs with."""

    config: Config
    """The configuration, with what was set by commands."""

    paused: bool
    """A person paused the listener."""

    paused_until: float | None = None
    """End of that pause by the monotonic clock; None if it lasts until a person ends it."""

    awake_until: float | None = None
    """End of the quiet hours in which a person resumed, by the monotonic clock."""

    off: frozenset[str] = frozenset()
    """Names of outputs that a person switched off, as `outputs` gives them."""

    def pause_reason(self, clock: Clock) -> str:
        """Why no estimates are made now, for display; empty if they are."""
        if self.paused and self.paused_until is None:
            return "paused by a command"
        monotonic, spans = clock.monotonic(), self.config.listen.quiet_hours
        if self.paused_until is not None and monotonic < self.paused_until:
            date = "" if self.paused_until - monotonic < _DAY else "%Y-%m-%d "
            return f"paused until {local(clock.at(self.paused_until)):{date}%H:%M}"
        # Asked at each estimate, and most listeners need no time zone, which is read from a file.
        end = quiet_until(local(clock.now()), spans) if spans else None
        awake = self.awake_until is not None and monotonic < self.awake_until
        return "" if end is None or awake else f"quiet hours until {end:%H:%M}"


def outputs(config: Config) -> dict[str, str]:
    """The kind of each output that can be switched off, by its name: `leds`, `leds.2`, `history`, `mqtt`."""
    found: dict[str, str] = {
        name: section.kind for name, section in named_outputs(config.leds) if section.kind != "none"
    }
    found["history"] = "database"
    return found | ({"mqtt": "broker"} if config.mqtt.host else {})


Change = Callable[[InForce], InForce]
"""Makes the wanted settings from those in force."""


class RemoteControls:
    """Thread-safe queue of changes, filled by commands and emptied by the main loop."""

    def __init__(
        self,
        activate: Callable[[str], bool],
        *,
        configured: Callable[[], Config],
        clock: Clock,
    ) -> None:
        """Queue changes.

        `activate` tests a model by its name and activates it; it is false where no state folder can store that, and the
        model listens until the listener ends. `configured` gives the configuration without what was set by commands,
        for a reset.
        """
        self._activate, self._configured, self._clock = activate, configured, clock
        self._changes: queue.SimpleQueue[Change] = queue.SimpleQueue()
        self.reload, self.restart = threading.Event(), threading.Event()
        """Set to read the configuration again, and to end and start again."""

    def take(self) -> Iterator[Change]:
        """The changes since the last call."""
        while not self._changes.empty():
            yield self._changes.get()

    def threshold(self, threshold: float) -> None:
        """Set the least probability of a named genre (0-1); 0 is the model's own."""
        self._change(lambda config: config.with_listen(threshold=threshold))

    def pause(self, paused: bool, seconds: float | None = None) -> None:  # noqa: FBT001 - as commands call it
        """Pause, for a number of seconds or until a person ends it; or resume, in quiet hours until they end."""
        now, until = self._clock.monotonic(), None
        if paused and seconds is not None:
            until = now + min(seconds, LONGEST_PAUSE)

        def changed(in_force: InForce) -> InForce:
            awake, clock = None, local(self._clock.now())
            end = None if paused else quiet_until(clock, in_force.config.listen.quiet_hours)
            if end is not None:
                # The difference of local times is an hour off in a night in which summer time begins or ends.
                awake = now + end.replace(tzinfo=local_zone()).timestamp() - clock.timestamp()
            return in_force._replace(paused=paused, paused_until=until, awake_until=awake)

        self._changes.put(changed)

    def brightness(self, level: float) -> None:
        """Set the brightness of all LEDs (0-1)."""
        self._change(lambda config: config.with_lights(brightness=level))

    def lights(self, *, on: bool | None = None, brightness: float | None = None, effect: str | None = None) -> None:
        """Switch all LEDs on or off, and set their brightness (0-1) and what strips show; None changes nothing.

        LEDs of brightness 0 that are switched on get the brightness of the configuration.
        """

        def changed(in_force: InForce) -> InForce:
            config, off = in_force.config, in_force.off
            level = brightness if brightness is not None else config.brightness
            if on is not None:
                names = {name for name, _ in named_outputs(config.leds)}
                off = off - names if on else off | (names & outputs(config).keys())
            if on and not level:
                level = self._configured().brightness or _BRIGHTNESS
            config = config if effect is None else config.with_lights(mode=msgspec.convert(effect, Mode))
            return in_force._replace(config=config.with_lights(brightness=level), off=off)

        self._changes.put(changed)

    def quiet_hours(self, spans: tuple[str, ...]) -> None:
        """Set the quiet hours, such as `22:00-07:00`; none ends them.

        Raises:
            ConfigError: A span is invalid.
        """
        for span in spans:
            if fault := span_fault(span):
                raise ConfigError(f"quiet_hours: {fault}")
        self._change(lambda config: config.with_listen(quiet_hours=spans))

    def output(self, name: str, on: bool) -> None:  # noqa: FBT001 - as commands call it
        """Switch an output on or off.

        Raises:
            ConfigError: There is no such output.
        """
        there = outputs(self._configured())
        if name not in there:
            raise ConfigError(f"there is no output {name[:40]!a} (there is {', '.join(there)})")
        self._changes.put(
            lambda in_force: in_force._replace(off=in_force.off - {name} if on else in_force.off | {name})
        )

    def reset(self) -> None:
        """Restore threshold, lights and quiet hours of the configuration, switch all outputs on, and resume."""

        def restored(config: Config) -> Config:
            leds, listen = self._configured().leds, self._configured().listen
            config = config.with_listen(threshold=listen.threshold, quiet_hours=listen.quiet_hours)
            return replace(config, leds=leds)

        self.pause(False)
        self._changes.put(lambda in_force: in_force._replace(off=frozenset()))
        self._change(restored)

    def activate(self, model: str) -> None:
        """Change to a model, once its golden numbers agree."""
        if self._activate(model):
            return

        def changed(config: Config) -> Config:
            from headnod.inference.model import load_checked  # noqa: PLC0415 - few listeners have no state folder

            load_checked(find_model(model))
            return replace(config, model=replace(config.model, name=model))

        self._change(changed)

    def _change(self, change: Callable[[Config], Config]) -> None:
        self._changes.put(lambda in_force: in_force._replace(config=change(in_force.config)))


class Changed(msgspec.Struct, Generic[Value], frozen=True):
    """A value that was set by a command."""

    value: Value
    """The value."""

    configured: Value
    """The value of the configuration at that time."""


class Settings(msgspec.Struct, frozen=True, omit_defaults=True):
    """Content of the settings file; the configuration applies where a value is absent."""

    paused: bool = False
    """A person paused the listener."""

    paused_until: float | None = None
    """End of that pause, seconds since 1970."""

    certainty: Changed[Share] | None = None
    """`listen.certainty`."""

    brightness: Changed[Share] | None = None
    """`leds.brightness`."""

    mode: Changed[Mode] | None = None
    """`leds.mode`."""

    quiet_hours: Changed[tuple[str, ...]] | None = None
    """`listen.quiet_hours`."""

    off: tuple[str, ...] = ()
    """Outputs that are switched off."""


class SavedSettings:
    """The settings file, which is replaced as a whole."""

    def __init__(self, state_folder: Path | None, clock: Clock | None = None) -> None:
        """Read the file of a state folder; without one the settings last until the listener ends."""
        self._folder, self._clock = state_folder, clock or Clock()
        self._path = state_folder / SETTINGS_FILE if state_folder is not None else None
        self.settings = Settings() if self._path is None else _read(self._path)
        self._retry_at: float | None = None

    def in_folder(self, state_folder: Path | None) -> SavedSettings:
        """These settings, or those of another state folder."""
        return self if state_folder == self._folder else SavedSettings(state_folder, self._clock)

    def applied(self, config: Config) -> InForce:
        """The settings to run with; those of the configuration without a broker and a page, which could reset them."""
        if not config.mqtt.host and not config.web.enabled:
            return InForce(config, paused=False)
        settings = self.settings
        certainty, brightness, hours = settings.certainty, settings.brightness, settings.quiet_hours
        if certainty is not None and certainty.configured == config.listen.threshold:
            config = config.with_listen(threshold=certainty.value)
        if brightness is not None and brightness.configured == config.brightness:
            config = config.with_lights(brightness=brightness.value)
        if settings.mode is not None and settings.mode.configured == config.mode:
            config = config.with_lights(mode=settings.mode.value)
        if hours is not None and hours.configured == config.listen.quiet_hours:
            config = config.with_listen(quiet_hours=hours.value)
        paused, until = settings.paused, None
        if settings.paused_until is not None:
            left = min(settings.paused_until - self._clock.now().timestamp(), LONGEST_PAUSE)
            paused, until = left > 0.0, self._clock.monotonic() + left
        off = frozenset(settings.off) & outputs(config).keys()
        if not config.web.enabled:
            # No command could switch it on again.
            off -= {"mqtt"}
        return InForce(config, paused, until if paused else None, off=off)

    def save(self, configured: Config, in_force: InForce) -> None:
        """Save the difference between the configuration and what is in force."""
        until, before, after = in_force.paused_until, configured.mode, in_force.config.mode
        settings = Settings(
            mode=_changed(before, after) if before and after else None,
            paused=in_force.paused,
            paused_until=None if until is None else round(self._clock.at(until).timestamp()),
            certainty=_changed(configured.listen.threshold, in_force.config.listen.threshold),
            brightness=_changed(configured.brightness, in_force.config.brightness),
            quiet_hours=_changed(configured.listen.quiet_hours, in_force.config.listen.quiet_hours),
            off=tuple(sorted(in_force.off)),
        )
        now, retry_at = self._clock.monotonic(), self._retry_at
        if self._same(settings) and (retry_at is None or now < retry_at):
            return
        self.settings, self._retry_at = settings, None
        if self._path is None:
            return
        try:
            write_atomically(self._path, msgspec.json.encode(settings) + b"\n")
        except OSError as error:
            self._retry_at = now + _RETRY
            if retry_at is None:
                loss = "what was set by commands is lost when the listener ends before; tried again every minute"
                _log.warning("%s: %s (%s)", self._path, error.strerror, loss)

    def _same(self, settings: Settings) -> bool:
        """Whether nothing changed; the end of a pause moves by a second with the rounding of the clocks."""
        before, now = self.settings.paused_until, settings.paused_until
        if before is not None and now is not None and abs(before - now) <= _CLOCK_ROUNDING:
            settings = replace(settings, paused_until=before)
        return settings == self.settings


def wall_clock_end(in_force: InForce, clock: Clock) -> float | None:
    """End of a pause in seconds since 1970; None if it has none."""
    return None if in_force.paused_until is None else clock.at(in_force.paused_until).timestamp()


def paused_events(blocks: Iterable[Block], *, rate: int, every: float, now: Now, reason: str) -> Iterator[StatusEvent]:
    """Read a source without making estimates.

    `rate` is the sample rate of the first blocks in Hz, `every` the seconds between events, `reason` is for display.

    Yields:
        An event for each gap, and regularly one that the listener is paused.
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
            yield StatusEvent(time=now(), state=State.PAUSED, message=reason)
        passed += block.size


def _changed(configured: Value, in_force: Value) -> Changed[Value] | None:
    return None if in_force == configured else Changed(in_force, configured)


def _read(path: Path) -> Settings:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Settings)
    except (FileNotFoundError, NotADirectoryError):
        return Settings()
    except OSError as error:
        _log.warning("%s: %s (the configuration applies)", path, (error.strerror or str(error)).lower())
        return Settings()
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        _log.warning("%s: %s (the configuration applies; delete the file to end this warning)", path, error)
        return Settings()
