"""Parts of a listener, built from configuration and command line: audio sources, outputs, and their folders.

Only this package and `headnod.runtime` name concrete classes and read the environment.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import IO, Generic, TypeVar

from msgspec.structs import replace

from headnod.address import checked_address, is_address
from headnod.audio.audio_process import AudioProcess, open_command
from headnod.audio.blocks import Block, real_time
from headnod.audio.microphone import NODES, SHORTEST, find_device, microphone_blocks, open_device, opened_card
from headnod.audio.processing import CONSTANT, OutputRate, remove_dc
from headnod.config import Config, HistorySection, LedsSection, MicrophoneSection
from headnod.errors import AudioError, ConfigError, LedError
from headnod.outputs import Sink, close_all
from headnod.outputs.leds import LAYOUTS, Lamp, Layout
from headnod.resources import demo_clip
from headnod.service import HISTORY_FILE, Service, readable_folder
from headnod.system import how_to_install

_log = logging.getLogger(__name__)

MICROPHONE, STANDARD_INPUT = "mic", "-"
"""Values of --audio that are not file names."""

Value = TypeVar("Value")


class Part(Generic[Value]):
    """A part of a listener, rebuilt when the settings that it depends on change."""

    value: Value

    def __init__(
        self, depends_on: Callable[[Config], object], build: Callable[[Config], AbstractContextManager[Value]]
    ) -> None:
        """Declare a part, by the settings and other parts' values that it is built from; nothing is built."""
        self._depends_on, self._build = depends_on, build
        self._stack = contextlib.ExitStack()
        self._built_from: tuple[object, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether the part is built."""
        return bool(self._built_from)

    def update(self, config: Config) -> bool:
        """Build the part, or close and rebuild it if what it depends on changed; true if it was built."""
        wanted = (self._depends_on(config),)
        if wanted == self._built_from:
            return False
        self.__exit__(None, None, None)
        self.value = self._stack.enter_context(self._build(config))
        self._built_from = wanted
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._built_from = ()
        self._stack.__exit__(kind, error, trace)


def microphone_or_demo(section: MicrophoneSection, *, recorded: bool) -> str:
    """The default of --audio: the microphone, or the demo clip if no microphone works and none is named.

    Where estimates are `recorded` (MQTT, history, LEDs, a service) the listener waits for a microphone, because the
    demo clip would be recorded as music of the room.
    """
    if section.command or section.address:
        return MICROPHONE
    try:
        open_device(find_device(section.device)).close()
    except AudioError as error:
        if section.device or recorded:
            _log.warning("%s; waiting for it", error)
            return MICROPHONE
        _log.warning("%s; the demo clip plays instead", error)
        return str(demo_clip())
    return MICROPHONE


@contextlib.contextmanager
def source(
    audio: str, section: MicrophoneSection, rate: int | OutputRate, pace: str | None, *, block: float = SHORTEST
) -> Iterator[Iterator[Block]]:
    """Open a source: blocks of mono audio at a sample rate.

    `audio` is `mic`, `-`, the address of a web radio or camera, or a file, which the pace `real` plays in real time. A
    block of a microphone has `block` seconds. An `OutputRate` can be changed while the source is read.

    Raises:
        AudioError: The file cannot be read, or another headnod uses the microphone.
    """
    delivered = rate.delivered if isinstance(rate, OutputRate) else rate
    if audio == MICROPHONE and section.address:
        audio = section.address
    if audio == MICROPHONE:
        with contextlib.closing(_MicrophoneLock()) as lock:
            start = opener(section, block, claim=lock.acquire)
            with contextlib.closing(microphone_blocks(start, rate)) as blocks:
                yield remove_dc(blocks, delivered)
        return
    if is_address(audio):
        from headnod.audio.audio_process import radio_blocks  # noqa: PLC0415 - for streams only

        checked_address(audio)
        with contextlib.closing(radio_blocks(audio, rate)) as blocks:
            yield remove_dc(blocks, delivered, least=CONSTANT)
        return
    with contextlib.ExitStack() as stack:
        stored: Iterator[Block]
        if audio == STANDARD_INPUT:
            from headnod.audio.audio_process import raw_blocks  # noqa: PLC0415

            raw = raw_blocks(sys.stdin.fileno(), rate=section.rate, wanted=rate, channels=section.channels)
            stored = remove_dc(raw, delivered)
        else:
            from headnod.audio.audio_file import file_blocks  # noqa: PLC0415 - libsndfile is for files only

            stored = stack.enter_context(file_blocks(Path(audio), rate))
        yield real_time(stored, delivered, monotonic=time.monotonic, sleep=time.sleep) if pace == "real" else stored


def opener(
    section: MicrophoneSection,
    block: float = SHORTEST,
    *,
    claim: Callable[[str], None] = lambda _identity: None,
    nodes: Path = NODES,
) -> Callable[[], AudioProcess]:
    """A function that opens the microphone of a configuration, or the stream in its place.

    Args:
        section: The microphone.
        block: Seconds of audio in one block.
        claim: Raises AudioError if another headnod uses the microphone of that identity. It is called again with the
            card once that is open, because two names can lead to one card.
        nodes: Folder of the device nodes of sound cards.

    Raises:
        AudioError: Another headnod uses it.
    """
    if section.address:
        from headnod.audio.audio_process import open_radio  # noqa: PLC0415 - for streams only

        return lambda: open_radio(section.address)
    if section.command:
        command, rate, channels = list(section.command), section.rate, section.channels
        claim(" ".join(command))
        return lambda: _claimed(open_command(command, rate, channels), claim, nodes)
    try:
        first = [find_device(section.device)]
    except AudioError:
        first = []
        claim(section.device or "default")
    for device in first:
        claim(device.identity)

    def start() -> AudioProcess:
        device = first.pop() if first else find_device(section.device)
        claim(device.identity)
        return _claimed(open_device(device, block), claim, nodes)

    return start


def _claimed(capture: AudioProcess, claim: Callable[[str], None], nodes: Path) -> AudioProcess:
    """The capture, after a claim to the card that it opened: a name such as `default` can lead to any card."""
    try:
        if card := opened_card(capture.process, nodes=nodes):
            claim(card)
    except BaseException:
        capture.close()
        raise
    return capture


class _MicrophoneLock:
    """A lock file for one microphone, so that two listeners do not open it."""

    def __init__(self) -> None:
        self._identity = ""
        self._file: IO[str] | None = None

    def acquire(self, identity: str) -> None:
        """Lock the microphone of an identity, and release the one before.

        Raises:
            AudioError: Another headnod holds the lock.
        """
        if identity == self._identity:
            return
        folder = runtime_folder() or os.environ.get("TMPDIR", "/tmp")  # noqa: S108 - tempfile would import all compression modules
        safe = "".join(letter if letter.isalnum() else "-" for letter in identity)[:64]
        path = Path(folder) / f"headnod-{os.getuid()}-{safe}.lock"
        try:
            file = path.open("a+")
        except OSError as error:
            raise AudioError(
                f"{path}: cannot be locked: {(error.strerror or '').lower()} (check its folder and owner)"
            ) from error
        try:
            _lock(file, identity)
        except BaseException:
            file.close()
            raise
        self.close()
        self._identity, self._file = identity, file

    def close(self) -> None:
        """Release the lock."""
        if self._file is not None:
            self._file.close()
        self._identity, self._file = "", None


def _lock(file: IO[str], name: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        raise AudioError(
            f"another headnod (process {holder}) listens to microphone '{name}' already (stop it first)"
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()


def view(kind: str, source: str) -> list[Sink]:
    """The output on the terminal.

    `kind` is `auto`, `plain`, `json` or `none`, `source` the name of the audio, for the title.

    Raises:
        ConfigError: The histogram's library is missing.
    """
    from headnod.outputs.text import Journal, JsonLines, PlainLines  # noqa: PLC0415

    if kind == "none":
        return [Journal()]
    if kind == "json":
        return [JsonLines(sys.stdout)]
    if not is_full_screen(kind):
        return [PlainLines(sys.stdout)]
    try:
        from headnod.outputs.terminal import Terminal  # noqa: PLC0415
    except ImportError:
        raise ConfigError(f"the histogram needs rich: {how_to_install('device')}, or use --plain") from None
    return [Terminal(source=source)]


def is_full_screen(kind: str) -> bool:
    """Whether the output on the terminal fills its screen."""
    return kind == "auto" and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def leds(sections: Iterable[LedsSection]) -> list[Sink]:
    """The LEDs; each output that cannot be opened is a warning and left out.

    Raises:
        ConfigError: A section lacks a value.
    """
    opened: list[Sink] = []
    try:
        for section in sections:
            if section.kind != "none":
                opened += _led_sinks(section)
    except BaseException:
        close_all(opened)
        raise
    return opened


def _led_sinks(section: LedsSection) -> list[Sink]:
    from headnod.outputs.leds import AnimatedSink, LedSink  # noqa: PLC0415

    try:
        lit = lamp(section)
        try:
            return [AnimatedSink(LedSink(lit))]
        except BaseException:
            lit.close()
            raise
    except LedError as error:
        _log.warning("%s; the listener goes on without these LEDs", error)
        return []


def lamp(section: LedsSection) -> Lamp:
    """Open the LEDs of a section.

    Raises:
        LedError: They cannot be opened.
        ConfigError: The section lacks a value.
    """
    match section.kind:
        case "pins":
            from headnod.outputs.leds.gpio import GpioLeds  # noqa: PLC0415

            return GpioLeds(section)
        case "ws2812" | "apa102":
            from headnod.outputs.leds.gpio import SpiStrip, open_spi  # noqa: PLC0415

            return SpiStrip(section, open_spi(section))
        case "wled":
            from headnod.outputs.leds.wled import WledLamp  # noqa: PLC0415

            if not section.host:
                raise ConfigError("leds.host: is empty (write the name or address of the WLED lamp)")
            return WledLamp(section)
    raise ConfigError(f"leds.kind: '{section.kind}' is not a kind of LEDs")


def check_lamp(section: LedsSection) -> None:
    """Look whether a lamp on the network can be reached.

    Raises:
        LedError: It cannot.
    """
    if section.kind == "wled":
        from headnod.outputs.leds.wled import check_reachable  # noqa: PLC0415

        check_reachable(section)


def layout(section: LedsSection) -> tuple[Layout, int]:
    """Layout and number of the LEDs of a section; nothing is opened."""
    if section.kind in {"none", "pins"}:
        from headnod.outputs.leds.gpio import PINS, layout_of  # noqa: PLC0415

        pins = section.pins or PINS
        return layout_of(pins), len(pins)
    return LAYOUTS[section.mode], section.count


def estimates_are_recorded(config: Config) -> bool:
    """Whether estimates leave the terminal: to a broker, a history, LEDs or systemd."""
    elsewhere = config.mqtt.host or any(output.kind != "none" for output in config.leds) or history_path(config.history)
    return bool(elsewhere) or "NOTIFY_SOCKET" in os.environ


def runtime_folder() -> Path | None:
    """The folder in memory that systemd gives to a service or to a user's session; None where there is none."""
    given = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    session = os.environ.get("XDG_RUNTIME_DIR", "")
    # `su` and `sudo -E` leave the folder of the former user in the environment.
    if not given and os.access(session, os.W_OK | os.X_OK):
        given = session
    return Path(given) if given else None


def latest() -> list[Sink]:
    """The file that `headnod why` reads, where there is a folder in memory for it."""
    from headnod.outputs.text import FILE, LatestFile  # noqa: PLC0415

    folder = runtime_folder()
    return [LatestFile(folder / FILE)] if folder is not None and folder.is_dir() else []


def history(section: HistorySection) -> list[Sink]:
    """The history, if a path is known."""
    path = history_path(section)
    if path is None:
        return []
    from headnod.clock import Clock  # noqa: PLC0415
    from headnod.outputs.history.recorder import HistoryRecorder  # noqa: PLC0415
    from headnod.pipeline.estimate import SongSegmenter, SongSettings  # noqa: PLC0415
    from headnod.sqlite import ForeignDatabaseError  # noqa: PLC0415

    try:
        return [HistoryRecorder(path, SongSegmenter(SongSettings()), section, Clock())]
    except ForeignDatabaseError as error:
        # A service that is started again would find the same file.
        raise ConfigError(f"history.path: {error}") from error


def _given_state() -> Path | None:
    """The state folder from systemd (STATE_DIRECTORY); None outside a service."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(given) if given else None


def state_folder(section: HistorySection) -> Path | None:
    """The service's state folder, otherwise the folder of the history, otherwise None."""
    history = history_path(section)
    return _given_state() or (history and history.parent)


def state_beside(section: HistorySection, service: Service | None) -> Path | None:
    """The state folder that a command shares with the listener of the same configuration."""
    # lexists: the folder can be a link into one that only root may enter.
    if _given_state() is None and service is not None and os.path.lexists(service.state):
        return service.state
    own = _user_state()
    return state_folder(section) or (own if own is not None and own.is_dir() else None)


def _user_state() -> Path | None:
    """The state folder of a listener with a page that is no service: `$XDG_STATE_HOME/headnod`; None without a home.

    Source: XDG Base Directory Specification 0.8, XDG_STATE_HOME.
    """
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    folder = given if given.is_absolute() else Path(os.path.expanduser("~/.local/state"))  # noqa: PTH111 - raises nothing
    return folder / "headnod" if folder.is_absolute() else None


def installed_model(config: Config, state: Path | None) -> Path | None:
    """The folder of the active installed model in a state folder; None if the configured model is used."""
    if state is None or not config.model.installed or not readable_folder(state):
        return None
    from headnod.updates.store import Store  # noqa: PLC0415 - for checks only

    return Store(state).active_folder()


def with_user_history(config: Config) -> Config:
    """Where a page is served, the configuration with a history in the user's state folder if it has none."""
    folder = _user_state()
    if not config.web.enabled or history_path(config.history) is not None or folder is None:
        return config
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        _log.warning("%s: %s; the page keeps no history (set history.path)", folder, (error.strerror or "").lower())
        return config
    return replace(config, history=replace(config.history, path=str(folder / HISTORY_FILE)))


def history_path(section: HistorySection) -> Path | None:
    """The file of the history: as configured, or in the service's state folder, otherwise None."""
    if section.path:
        return Path(section.path)
    state = _given_state()
    return state / HISTORY_FILE if state else None
