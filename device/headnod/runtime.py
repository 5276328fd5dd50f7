"""The running listener: its parts, built from the configuration, reloaded, and shut down.

Each part states the settings that it depends on. Start builds the parts in order on one exit stack, a reload rebuilds
those whose settings changed, and shutdown unwinds the stack.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from headnod import factory
from headnod.address import display_address, is_address, page_url
from headnod.audio.blocks import Block
from headnod.audio.microphone import block_seconds
from headnod.audio.processing import OutputRate
from headnod.clock import Clock
from headnod.config import Config, LedsSection, named_outputs
from headnod.config.validation import validate_listener
from headnod.errors import HeadnodError
from headnod.factory import MICROPHONE, STANDARD_INPUT, Part, microphone_or_demo, source
from headnod.outputs import Sink, closing_all, show_all
from headnod.pipeline.estimate import Estimate, State, StatusEvent, utc_now
from headnod.pipeline.listener import listen
from headnod.remote_controls import InForce, SavedSettings, paused_events
from headnod.service import SystemdNotifier
from headnod.system import hang_up
from headnod.updates.manager import ModelManager

if TYPE_CHECKING:
    from headnod.config import Overlay
    from headnod.factory.page_factory import Observe
    from headnod.inference.manifest import Model, Prediction
    from headnod.listener_commands import ListenerCommands
    from headnod.mqtt.payloads import HealthPayload
    from headnod.mqtt.publisher import MqttPublisher
    from headnod.outputs.web import WebOutput

_log = logging.getLogger(__name__)


def run(
    read_config: Callable[[], Config],
    *,
    audio: str | None,
    view: str,
    pace: str | None,
    overlay: Callable[[], Overlay | None] = lambda: None,
) -> bool:
    """Listen until the audio ends or the process is stopped; SIGHUP reads the configuration again.

    `audio` is `mic`, a file, the address of a web radio, or `-` for raw samples on stdin; None is the microphone, or
    the demo clip where no microphone works, none was named and nothing records the estimates. `view` is `auto`,
    `plain`, `json` or `none`. `pace` is `real` or `fast` for files; None plays files fast and the demo clip in real
    time. `overlay` gives the file of values that are set on the page; None where there is no state folder.

    Returns:
        Whether a person asked to start again.

    Raises:
        HeadnodError: The model, the audio or a setting cannot be used.
    """
    config = validate_listener(read_config())
    title = audio or ""
    if is_address(title):
        title = display_address(title)
    if audio is None:
        audio = microphone_or_demo(config.microphone, recorded=factory.estimates_are_recorded(config))
        if audio != MICROPHONE:
            pace, title = pace or "real", f"demo clip {Path(audio).name}: no microphone"

    if config.web.enabled:
        # The terminal hides the log.
        address = page_url(config.web.address, config.web.port, tls=bool(config.web.certificate))
        title = f"{title}  {address}".strip()

    def with_history(config: Config) -> Config:
        # The demo clip and files are not music of this room.
        return factory.with_user_history(config) if audio == MICROPHONE else config

    with hang_up() as hung_up, Runtime(with_history(config), audio, pace, overlay=overlay) as runtime:
        runtime.show_on_terminal(view, title)
        terminal = sys.stdout.isatty()
        while runtime.listen(until=hung_up) and runtime.sinks:
            if terminal and not sys.stdout.isatty():
                # The terminal was closed, which is no request to reload.
                break
            if runtime.restarting:
                return True
            runtime.reload(lambda: with_history(validate_listener(read_config())))
    return False


class Runtime:
    """A listener with all its parts."""

    def __init__(
        self,
        config: Config,
        audio: str,
        pace: str | None,
        *,
        overlay: Callable[[], Overlay | None] = lambda: None,
    ) -> None:
        """Build everything that the configuration names; what was built is closed if a part cannot be.

        The arguments are those of `run`.

        Raises:
            HeadnodError: The model, the audio or a setting cannot be used.
        """
        self._overlay, self._pause_reason = overlay, ""
        self._observe: Observe | None = None
        self.restarting = False
        """A person asked to end and start again."""
        self._audio, self._pace, self._clock = audio, pace, Clock()
        self._sequence, self._dropped = 0, 0.0
        self._view: tuple[str, str] | None = None
        self._publisher: MqttPublisher | None = None
        self._page: WebOutput | None = None
        self._configured, self._saved = config, SavedSettings(_state_folder(config), self._clock)
        self._in_force = self._saved.applied(config)
        self._store = Part(
            _state_folder, lambda config: ModelManager(_state_folder(config), lambda: self._in_force.config)
        )
        self._models = Part(lambda config: (config.model, self._store.value), self._load_model)
        self._source = Part(self._source_settings, self._open_source)
        self._notifier = Part(lambda _: None, lambda _: closing_all(_notifiers()))
        self._latest = Part(lambda _: None, lambda _: closing_all(factory.latest()))
        self._history = Part(lambda config: (config.history, self._is_on("history")), self._open_history)
        self._commands = Part(self._command_settings, self._open_commands)
        self._mqtt = Part(self._mqtt_settings, self._open_mqtt)
        self._web = Part(self._web_settings, self._open_web)
        self._terminal = Part(lambda _: self._view, lambda _: closing_all(self._views()))
        self._leds = Part(self._lit, lambda config: closing_all(factory.leds(self._lit(config))))
        self._events = Part(self._event_settings, self._open_events)
        # In the order above. Closed in reverse: first the LEDs, which a person looks at, last what the others use. The
        # events are replaced last, so a part that cannot be rebuilt does not interrupt them.
        self._parts = [part for part in vars(self).values() if isinstance(part, Part)]
        with contextlib.ExitStack() as stack:
            for part in self._parts:
                stack.push(part.__exit__)
            self._apply(self._in_force)
            self._stack = stack.pop_all()

    def show_on_terminal(self, view: str, title: str) -> None:
        """Show estimates on the terminal, in this view and with this title, once nothing else can fail."""
        self._view = view, title
        self._terminal.update(self._in_force.config)

    @property
    def sinks(self) -> list[Sink]:
        """All outputs that work."""
        return [sink for part in self._outputs if part is not self._latest for sink in part.value]

    def listen(self, *, until: Callable[[], bool]) -> bool:
        """Show estimates and events; true if `until` interrupted it, false if the audio ended."""
        # Not `for`: a command may replace the events.
        while (event := next(self._events.value, None)) is not None:
            self._show(event)
            if isinstance(event, Estimate):
                self._sequence, self._dropped = event.sequence + 1, event.dropped
            self._models.value.observe(event)
            self._apply_commands()
            self._follow_schedule()
            self._follow_activation()
            if until() or not self.sinks or self._requested():
                return True
        if not self._sequence:
            seconds = self._models.value.model.front_end.window_seconds
            _log.warning("%s ended before its first %.1f s, so nothing was estimated", self._audio, seconds)
        return False

    def reload(self, read_config: Callable[[], Config]) -> None:
        """Read the configuration again; if it cannot be used, the old one stays in force."""
        for sink in self._notifier.value:
            if isinstance(sink, SystemdNotifier):
                sink.reloading()
        before = self._configured, self._saved, self._in_force
        try:
            self._configured = read_config()
            self._saved = self._saved.in_folder(_state_folder(self._configured))
            wanted = self._saved.applied(self._configured)
            if self._in_force.paused and not wanted.config.mqtt.host and not wanted.config.web.enabled:
                _log.warning("the pause ends: without mqtt.host and web.enabled no command could end it")
            self._apply(wanted)
        except HeadnodError as error:
            _log.error("%s; the old configuration stays in force", error)
            self._configured, self._saved, in_force = before
            self._apply(in_force)
        else:
            _log.info("the configuration was read again")

    def _apply(self, wanted: InForce) -> None:
        """Build or rebuild the parts whose settings differ from those in force.

        Raises:
            HeadnodError: A part cannot be built.
        """
        self._in_force = wanted
        self._pause_reason = wanted.pause_reason(self._clock)
        rebuilt = [part for part in self._parts if part.update(wanted.config)]
        self._announce(rebuilt)

    def _announce(self, rebuilt: Sequence[Part[Any]] = ()) -> None:
        """Set the sample rate of the model, and publish settings and model by the outputs that are not new."""
        # Blocks of the new rate begin with the last seconds, so the next window is complete.
        self._rate.wanted = self._models.value.model.front_end.sample_rate
        if self._publisher is not None and self._mqtt not in rebuilt:
            self._publisher.changed()
        if self._page is not None and self._web not in rebuilt:
            self._page.changed()

    def _apply_commands(self) -> None:
        """Apply what was set by MQTT or on the page."""
        commands = self._commands.value
        if commands is None:
            return
        for change in commands.remote.take():
            before = self._in_force
            try:
                self._apply(change(before))
            except HeadnodError as error:
                _log.error("%s; a command is not applied", error)
                self._apply(before)
        self._saved.save(self._configured, self._in_force)

    def _follow_schedule(self) -> None:
        """Begin and end pauses and quiet hours."""
        now = self._in_force
        if now.paused_until is not None and self._clock.monotonic() >= now.paused_until:
            self._apply(now._replace(paused=False, paused_until=None))
            self._saved.save(self._configured, self._in_force)
        elif now.pause_reason(self._clock) != self._pause_reason:
            self._apply(now)

    def _requested(self) -> bool:
        """Whether a command asked to read the configuration again, or to start again."""
        commands = self._commands.value
        if commands is None:
            return False
        self.restarting, reload = commands.remote.restart.is_set(), commands.remote.reload.is_set()
        commands.remote.reload.clear()
        return reload or self.restarting

    def _is_on(self, output: str) -> bool:
        return output not in self._in_force.off

    def _lit(self, config: Config) -> tuple[LedsSection, ...]:
        """The outputs of lights that are not switched off."""
        return tuple(section for name, section in named_outputs(config.leds) if self._is_on(name))

    def _open_history(self, config: Config) -> AbstractContextManager[list[Sink]]:
        return closing_all(factory.history(config.history) if self._is_on("history") else [])

    def _command_settings(self, config: Config) -> object:
        return (bool(config.mqtt.host), config.web.enabled, self._store.value)

    @contextlib.contextmanager
    def _open_commands(self, config: Config) -> Iterator[ListenerCommands | None]:
        if not config.mqtt.host and not config.web.enabled:
            yield None
            return
        from headnod.factory.page_factory import commands_of  # noqa: PLC0415 - loaded where commands can come

        with commands_of(
            lambda: self._in_force,
            self._models.value,
            self._overlay(),
            _state_folder(config),
            self._clock,
            lambda: self._configured,
        ) as (commands, observe):
            self._observe = observe
            try:
                yield commands
            finally:
                self._observe = None

    def _follow_activation(self) -> None:
        """Change to another model if it was activated or the present one failed."""
        try:
            if self._models.value.poll(self._in_force.config):
                self._announce()
        except HeadnodError as error:
            _log.error("%s; the previous model goes on", error)

    def _load_model(self, config: Config) -> AbstractContextManager[ModelManager]:
        models = self._store.value
        models.load(config)
        # Only now may other threads ask for the model.
        return contextlib.nullcontext(models)

    def _source_settings(self, config: Config) -> object:
        if self._audio == MICROPHONE and not (config.microphone.command or config.microphone.address):
            return config.microphone, block_seconds(config.listen.every)
        return config.microphone if self._audio in {MICROPHONE, STANDARD_INPUT} else None

    def _open_source(self, config: Config) -> AbstractContextManager[Iterator[Block]]:
        self._rate = OutputRate(self._models.value.model.front_end.sample_rate)
        block = block_seconds(config.listen.every)
        return source(self._audio, config.microphone, self._rate, self._pace, block=block)

    def _mqtt_settings(self, config: Config) -> object:
        model = config.model
        return (
            config.mqtt,
            self._is_on("mqtt"),
            (model.keys, model.channel, model.installed),
            self._store.value,
            self._commands.value,
        )

    @contextlib.contextmanager
    def _open_mqtt(self, config: Config) -> Iterator[list[Sink]]:
        commands = self._commands.value
        if commands is None or not config.mqtt.host or not self._is_on("mqtt"):
            yield []
            return
        from headnod.factory.mqtt_factory import mqtt_of  # noqa: PLC0415 - loads MQTT

        with mqtt_of(
            config,
            self._models.value,
            lambda: self._in_force,
            state_folder=_state_folder(config),
            clock=self._clock,
            commands=commands,
        ) as publisher:
            self._publisher = publisher
            try:
                yield [publisher]
            finally:
                self._publisher = None

    def _web_settings(self, config: Config) -> object:
        return config.web.enabled and (
            config.web,
            config.mqtt,
            factory.history_path(config.history),
            config.log,
            config.model.installed,
            self._commands.value,
        )

    def _mqtt_health(self) -> HealthPayload | None:
        publisher = self._publisher
        return publisher.health() if publisher is not None else None

    @contextlib.contextmanager
    def _open_web(self, config: Config) -> Iterator[list[Sink]]:
        commands = self._commands.value
        if commands is None or not config.web.enabled:
            yield []
            return
        from headnod.factory.page_factory import web_of  # noqa: PLC0415 - loaded where the page is on

        with web_of(
            config,
            self._models.value,
            lambda: self._in_force,
            clock=self._clock,
            commands=commands,
            health=self._mqtt_health,
        ) as page:
            self._page = page
            try:
                yield [page]
            finally:
                self._page = None

    def _event_settings(self, config: Config) -> object:
        return config.listen, self._pause_reason, self._source.value, self._store.value, self._page

    def _open_events(self, config: Config) -> AbstractContextManager[Iterator[Estimate | StatusEvent]]:
        blocks, models = self._watched_blocks(), self._models.value
        if self._pause_reason:
            events: Iterator[Estimate | StatusEvent] = paused_events(
                blocks, rate=self._rate.delivered, every=config.listen.every, now=utc_now, reason=self._pause_reason
            )
        else:
            events = listen(
                blocks,
                models.model,
                config.listen,
                now=self._clock.now,
                monotonic=self._clock.monotonic,
                synchronised=self._clock.synchronised,
                first=self._sequence,
                dropped=self._dropped,
                rate=self._rate.delivered,
                current_model=lambda: models.model,
                after_estimate=models.shadow.compare,
                after_prediction=self._after_prediction,
                recent=models.shadow.recent,
            )
        return contextlib.nullcontext(events)

    def _after_prediction(self, estimate: Estimate, prediction: Prediction | None, model: Model) -> None:
        if self._observe is not None:
            self._observe(estimate, prediction, model)

    def _watched_blocks(self) -> Iterator[Block]:
        """The blocks of the source, whose spectrum is sent to the page while a browser shows it."""
        if self._page is None:
            return self._source.value
        from headnod.pipeline.level_meter import with_spectrum  # noqa: PLC0415 - loaded where the page is on

        page = self._page
        return with_spectrum(
            self._source.value,
            rate=lambda: self._rate.delivered,
            watched=lambda: page.watched,
            send=lambda column: page.send("spectrum", column),
        )

    def _views(self) -> list[Sink]:
        return factory.view(*self._view) if self._view is not None else []

    @property
    def _outputs(self) -> tuple[Part[list[Sink]], ...]:
        outputs = self._terminal, self._leds, self._history, self._notifier, self._latest, self._mqtt, self._web
        return tuple(part for part in outputs if part.is_open)

    def _show(self, event: Estimate | StatusEvent, *, without: Part[list[Sink]] | None = None) -> None:
        for part in self._outputs:
            if part is not without:
                part.value[:] = show_all(part.value, event)

    def _show_status(self, state: State, message: str) -> None:
        # Not on the terminal: that shows events of the source, from its first line to its last.
        self._show(StatusEvent(time=utc_now(), state=state, message=message), without=self._terminal)

    def __enter__(self) -> Self:
        self._show_status(State.STARTING, "waiting for the first window")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show_status(State.STOPPING, "the listener was stopped")
        self._stack.__exit__(kind, error, trace)


def _state_folder(config: Config) -> Path | None:
    return factory.state_folder(config.history)


def _notifiers() -> list[Sink]:
    address = os.environ.get("NOTIFY_SOCKET")
    return [SystemdNotifier(address)] if address else []
