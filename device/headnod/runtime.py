"""A listener put together and kept running, from its configuration.

Alone because it is the one place that holds all the parts and replaces each of
them while the others go on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from headnod.audio.blocks import Block
from headnod.audio.microphone import block_seconds
from headnod.audio.resampling import OutputRate
from headnod.audio.web_address import is_address, shown
from headnod.clock import Clock
from headnod.config import Config
from headnod.config.validation import validate_listener
from headnod.errors import HeadnodError
from headnod.factory import output_factory
from headnod.factory.source_factory import MICROPHONE, STANDARD_INPUT, microphone_or_demo, source
from headnod.outputs import Sink, close_all, show_all
from headnod.outputs.systemd import SystemdNotifier
from headnod.pipeline.estimate import Estimate, State, StatusEvent, utc_now
from headnod.pipeline.listener import listen
from headnod.saved_settings import SavedSettings
from headnod.updates.manager import ModelManager
from headnod.updates.shadow import ShadowRunner
from headnod.updates.state import Agreement, UpdateProgress

if TYPE_CHECKING:
    from headnod.mqtt.client import MqttClient
    from headnod.mqtt.payloads import InfoPayload
    from headnod.mqtt.publisher import MqttPublisher
    from headnod.remote_controls import Controls

_log = logging.getLogger(__name__)


def run(read_config: Callable[[], Config], *, audio: str | None, view: str, pace: str | None) -> None:
    """Listen until the audio ends, or for ever; SIGHUP reads the configuration again.

    Args:
        read_config: Reads the configuration.
        audio: `mic`, a file, the address of a web radio, `-` for raw samples on stdin, or None: then the
            microphone; the demo clip where there is none, none was named and nothing records it.
        view: `auto`, `plain`, `json` or `none`.
        pace: `real` or `fast` for files; None leaves files fast and the demo real.

    Raises:
        HeadnodError: The model, the audio or a setting cannot be used.
    """
    config = validate_listener(read_config())
    hearing = audio or ""
    if is_address(hearing):
        hearing = shown(hearing)
    if audio is None:
        audio = microphone_or_demo(config.microphone, recorded=output_factory.recorded(config))
        if audio != MICROPHONE:
            pace, hearing = pace or "real", f"demo clip {Path(audio).name}: no microphone"
    with Runtime(config, audio, pace) as daemon, _hang_up() as hung_up:
        daemon.add_views(view, hearing)
        watched = sys.stdout.isatty()
        while daemon.listen(until=hung_up) and daemon.sinks:
            if watched and not sys.stdout.isatty():
                # It was the terminal that hung up: nobody asked for anything to be read again.
                break
            daemon.reload(lambda: validate_listener(read_config()))


@contextlib.contextmanager
def _hang_up() -> Iterator[Callable[[], bool]]:
    """Tells, once each, whether SIGHUP came since it was last asked."""
    came = False

    def note(_signal: int, _frame: object) -> None:
        nonlocal came
        came = True

    def ask() -> bool:
        nonlocal came
        was, came = came, False
        return was

    former = signal.signal(signal.SIGHUP, note)
    try:
        yield ask
    finally:
        signal.signal(signal.SIGHUP, former)


class Runtime:
    """The parts of a running listener, each replaced alone when its section changes."""

    def __init__(self, config: Config, audio: str, pace: str | None) -> None:
        """Open everything that the configuration names.

        Args:
            config: The configuration.
            audio: `mic`, a file, or `-` for raw samples on stdin.
            pace: `real` or `fast` for files.

        Raises:
            HeadnodError: The model, the audio or a setting cannot be used.
        """
        self._config, self._audio, self._pace, self._clock = config, audio, pace, Clock()
        self._source = contextlib.ExitStack()
        self._views: list[Sink] = []
        self._lights: list[Sink] = []
        self._history: list[Sink] = []
        self._notify: list[Sink] = []
        self._mqtt: list[Sink] = []
        self._publisher: MqttPublisher | None = None
        self._bundles: MqttClient | None = None
        self._controls: Controls | None = None
        state = output_factory.state_folder(config.history)
        self._configured, self._kept = config, SavedSettings(state)
        self._config = config = self._kept.applied(config)
        self._sequence, self._dropped = 0, 0.0
        self._paused = self._kept.settings.paused and bool(config.mqtt.host)
        self._manager = ModelManager(state, lambda: self._config)
        self._manager.start()
        self._model = self._manager.load(config)
        self._shadow = ShadowRunner(self._manager.store, lambda: self._model, self._publish_agreement)
        try:
            self._blocks = self._open(config)
            self._said = self._listen_anew()
            self._lights = output_factory.leds(config.leds)
            self._history = output_factory.history(config.history)
            address = os.environ.get("NOTIFY_SOCKET")
            self._notify = [SystemdNotifier(address)] if address else []
            self._publish(config)
        except BaseException:
            self._close()
            raise

    def add_views(self, view: str, hearing: str) -> None:
        """Take over the terminal, once nothing else can fail."""
        self._views = output_factory.view(view, hearing)

    @property
    def sinks(self) -> list[Sink]:
        """Everything that is shown something."""
        return [*self._views, *self._lights, *self._history, *self._notify, *self._mqtt]

    def listen(self, *, until: Callable[[], bool]) -> bool:
        """Show what is heard; true if it was interrupted, false if the audio ended."""
        # Not `for`: what is said may be said by another listener after a command.
        while (each := next(self._said, None)) is not None:
            self._views = show_all(self._views, each)
            self._show(each)
            if isinstance(each, Estimate):
                self._sequence, self._dropped = each.sequence + 1, each.dropped
            self._manager.observe(each)
            self._obey()
            self._succeed()
            if until() or not self.sinks:
                return True
        if not self._sequence:
            least = self._model.front_end.window_samples / self._model.front_end.sample_rate
            _log.warning("%s ended before its first %.1f s, so nothing was estimated", self._audio, least)
        return False

    def reload(self, read_config: Callable[[], Config]) -> None:
        """Read the configuration again, and keep the old one if the new one is wrong."""
        for notify in self._notify:
            if isinstance(notify, SystemdNotifier):
                notify.reloading()
        old, was = self._config, self._configured
        try:
            self._configured = read_config()
            self._become(self._kept.applied(self._configured))
        except HeadnodError as error:
            _log.error("%s; the old configuration stays in force", error)
            self._configured = was
            self._become(old)
        else:
            _log.info("the configuration was read again")

    def _become(self, new: Config) -> None:
        """Replace the parts whose settings differ from those in force."""
        model = self._model if new.model == self._config.model else self._manager.load(new)
        old, self._config, self._model = self._config, new, model
        if _opened_for(new, self._audio) != _opened_for(old, self._audio):
            self._source.close()
            self._blocks = self._open(new)
        self._rate.wanted = model.front_end.sample_rate
        if new.leds != old.leds:
            close_all(self._lights)
            self._lights = output_factory.leds(new.leds)
        if new.history != old.history:
            close_all(self._history)
            self._history = output_factory.history(new.history)
        if _reached_by(new) != _reached_by(old):
            self._publish(new)
        elif self._publisher is not None:
            self._publisher.changed()
        if self._paused and not new.mqtt.host:
            _log.warning("the pause that was set by MQTT ends: without mqtt.host nobody could end it")
            self._paused = False
        # Last, so that what could not be had before it has interrupted nothing.
        if self._made_of != (new.listen, self._blocks, self._paused):
            self._said = self._listen_anew()

    def _succeed(self) -> None:
        """Let another model listen, if one was activated or the present one failed."""
        try:
            model = self._manager.poll(self._config)
        except HeadnodError as error:
            _log.error("%s; the former model goes on", error)
            return
        if model is None:
            return
        self._model = model
        # Blocks of the new rate begin with the last seconds, so that the next window is whole.
        self._rate.wanted = model.front_end.sample_rate
        if self._publisher is not None:
            self._publisher.changed()

    def _publish(self, config: Config) -> None:
        self._disconnect()
        self._mqtt, self._publisher, self._controls = [], None, None
        if config.mqtt.host:
            from headnod.factory.publisher_factory import publisher  # noqa: PLC0415 - loads MQTT

            state = output_factory.state_folder(config.history)
            activate = self._manager.activate if state is not None and config.model.installed else None
            self._publisher, self._controls = publisher(
                config.mqtt,
                self._info,
                state,
                activate,
                clock=self._clock,
                configured=lambda: self._configured,
                paused=self._paused,
            )
            self._mqtt = [self._publisher]
            self._manager.connect(self._publish_progress)
            self._receive_bundles(config)

    def _receive_bundles(self, config: Config) -> None:
        from headnod.factory.publisher_factory import bundle_client  # noqa: PLC0415 - loads MQTT

        if not config.model.keys or not config.model.installed:
            return
        if self._manager.store is None:
            _log.warning("no state folder: models sent by MQTT are not installed (set history.path)")
        else:
            self._bundles = bundle_client(config, self._manager.install)

    def _disconnect(self) -> None:
        self._manager.connect(None)
        if self._bundles is not None:
            self._bundles.close()
            self._bundles = None
        close_all(self._mqtt)

    def _publish_progress(self, progress: UpdateProgress) -> None:
        from headnod.factory.broker_factory import topics  # noqa: PLC0415
        from headnod.factory.publisher_factory import progress_payload  # noqa: PLC0415

        publisher, where = self._publisher, topics(self._config.mqtt)
        if publisher is not None:
            # A message about an unverified bundle must not replace the retained state of a model.
            publish = publisher.keep if progress.model or not progress.manifest else publisher.mention
            publish(where.model, progress_payload(progress, where))
            # The list of models may have changed.
            publisher.changed()

    def _publish_agreement(self, agreement: Agreement) -> None:
        if self._publisher is not None:
            from headnod.factory.broker_factory import topics  # noqa: PLC0415
            from headnod.factory.publisher_factory import agreement_payload  # noqa: PLC0415

            where = topics(self._config.mqtt)
            self._publisher.keep(where.shadow, agreement_payload(agreement, where))

    def _info(self) -> InfoPayload:
        from headnod.factory.publisher_factory import info_of  # noqa: PLC0415

        return info_of(self._config, self._manager.snapshot(), paused=self._paused)

    def _obey(self) -> None:
        """Do what was asked by MQTT."""
        if self._controls is None:
            return
        for change in self._controls.taken():
            old = self._config
            try:
                self._become(change(old))
            except HeadnodError as error:
                _log.error("%s; what was asked by MQTT is not done", error)
                self._become(old)
        if self._controls is not None and self._controls.paused != self._paused:
            self._paused = self._controls.paused
            self._said = self._listen_anew()
            if self._publisher is not None:
                self._publisher.changed()
        if self._controls is not None:
            self._kept.keep(self._configured, self._config, paused=self._paused)

    def _listen_anew(self) -> Iterator[Estimate | StatusEvent]:
        self._made_of = (self._config.listen, self._blocks, self._paused)
        if self._paused:
            from headnod.remote_controls import hush  # noqa: PLC0415 - it was asked by MQTT

            return hush(self._blocks, rate=self._rate.delivered, every=self._config.listen.every, now=utc_now)
        return listen(
            self._blocks,
            self._model,
            self._config.listen,
            now=self._clock.now,
            monotonic=self._clock.monotonic,
            synchronised=self._clock.synchronised,
            first=self._sequence,
            dropped=self._dropped,
            rate=self._rate.delivered,
            current_model=lambda: self._model,
            after_estimate=self._shadow.compare,
            recent=self._shadow.recent,
        )

    def _tell(self, state: State, message: str) -> None:
        # Not the views: what they print is what was heard, from the first line to the last.
        self._show(StatusEvent(time=utc_now(), state=state, message=message))

    def _show(self, said: Estimate | StatusEvent) -> None:
        self._lights, self._history, self._notify, self._mqtt = (
            show_all(group, said) for group in (self._lights, self._history, self._notify, self._mqtt)
        )

    def _open(self, config: Config) -> Iterator[Block]:
        self._rate = OutputRate(self._model.front_end.sample_rate)
        block = block_seconds(config.listen.every)
        return self._source.enter_context(source(self._audio, config.microphone, self._rate, self._pace, block=block))

    def __enter__(self) -> Self:
        self._tell(State.STARTING, "listening for the first window")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lights first: whoever stopped it looks at them."""
        if error is None or isinstance(error, KeyboardInterrupt) or (isinstance(error, SystemExit) and not error.code):
            self._manager.stop()
        self._tell(State.STOPPING, "asked to end")
        self._close()

    def _close(self) -> None:
        close_all([*self._lights, *self._views])
        self._disconnect()
        self._manager.close()
        close_all([*self._history, *self._notify])
        self._source.close()


def _reached_by(config: Config) -> object:
    """What MQTT must be begun anew for."""
    return config.mqtt, config.model.keys, config.model.channel, config.model.installed


def _opened_for(config: Config, audio: str) -> object:
    """What the sound must be opened anew for; a file is what it is, whatever the microphone."""
    if audio == MICROPHONE and not config.microphone.command:
        return config.microphone, block_seconds(config.listen.every)
    return config.microphone if audio in {MICROPHONE, STANDARD_INPUT} else None
