"""The running listener: which parts a reload rebuilds, what a failure leaves, and in which order parts are closed."""

import contextlib
import os
import signal
import sqlite3
from pathlib import Path

import pytest
from msgspec.structs import replace

from headnod.config import Config, DashboardSection, HistorySection, LedsSection, LogSection, MqttSection
from headnod.config.sections import MicrophoneSection, ModelSection
from headnod.errors import ConfigError
from headnod.factory import Part
from headnod.pipeline.listener import ListenerSettings
from headnod.runtime import Runtime
from headnod.system import hang_up
from headnod.updates.installer import Installer
from headnod.updates.store import Store
from support.signed_bundles import good, public, write

PARTS = ("store", "models", "source", "notifier", "history", "mqtt", "terminal", "leds", "events")
MOVED = {"store", "models", "history", "mqtt", "events"}
MQTT = MqttSection(host="127.0.0.1", port=1, node="kitchen")


class TestPart:
    @pytest.fixture
    def steps(self):
        return []

    @pytest.fixture
    def part(self, steps):
        @contextlib.contextmanager
        def build(config):
            if config.log.level == "error":
                raise ConfigError("log.level: not here")
            steps.append(f"open {config.log.level}")
            try:
                yield config.log.level
            except RuntimeError as error:
                steps.append(str(error))
                raise
            finally:
                steps.append(f"close {config.log.level}")

        return Part(lambda config: config.log, build)

    def test_it_is_built_once_and_rebuilt_when_its_settings_change(self, part, steps):
        other = Config(log=LogSection(level="debug"))
        built = [part.update(config) for config in (Config(), Config(), replace(Config(), mqtt=MQTT), other)]
        assert built == [True, False, False, True]
        assert part.value == "debug"
        assert steps == ["open info", "close info", "open debug"]

    def test_one_that_cannot_be_built_is_closed_and_built_again_later(self, part, steps):
        part.update(Config())
        with pytest.raises(ConfigError):
            part.update(Config(log=LogSection(level="error")))
        assert not part.is_open
        assert part.update(Config())
        assert steps == ["open info", "close info", "open info"]

    def test_what_ends_the_runtime_is_passed_on_to_it(self, part, steps):
        with contextlib.suppress(RuntimeError), contextlib.ExitStack() as stack:
            stack.push(part)
            part.update(Config())
            raise RuntimeError("a bug")
        assert steps == ["open info", "a bug", "close info"]


@pytest.fixture
def bundles(tmp_path):
    names = ("0.1.0", ("calm", "loud")), ("0.2.0", ("high", "low"))
    return [
        str(write(good(version, serial=0, key=None, labels=labels), tmp_path / version)) for version, labels in names
    ]


@pytest.fixture
def config(tmp_path, monkeypatch, bundles):
    """A microphone that gives silence, with its state beside the history."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    return Config(
        listen=ListenerSettings(every=0.25),
        model=ModelSection(name=bundles[0], keys=(public(),)),
        microphone=MicrophoneSection(command=("cat", "/dev/zero")),
        history=HistorySection(path=str(tmp_path / "one" / "history.sqlite")),
        mqtt=MQTT,
    )


@pytest.fixture
def folders(tmp_path):
    """Two state folders."""
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        folder.mkdir()
    return folders


@pytest.fixture
def runtime(config, folders):
    assert all(folder.is_dir() for folder in folders)
    with Runtime(config, "mic", None) as runtime:
        hears(runtime)
        yield runtime


def part(runtime, name):
    return getattr(runtime, f"_{name}")


def values(runtime):
    # The manager of the models stays, and loads another one.
    return {name: part(runtime, name).value for name in PARTS} | {"models": part(runtime, "models").value.model}


def hears(runtime, windows=2):
    """The listener makes estimates."""
    before = runtime._sequence  # noqa: SLF001 - the number that estimates go on with
    assert runtime.listen(until=lambda: runtime._sequence >= before + windows)  # noqa: SLF001


def rebuilt(runtime, new):
    """Which parts a reload replaces."""
    before = values(runtime)
    runtime.reload(lambda: new)
    hears(runtime)
    return {name for name, value in values(runtime).items() if value is not before[name]}


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda config: config, set()),
        (lambda config: replace(config, listen=ListenerSettings(every=0.5)), {"events"}),
        (
            lambda config: replace(config, model=replace(config.model, name=config.model.name[:-5] + "0.2.0")),
            {"models"},
        ),
        (lambda config: replace(config, model=replace(config.model, probation=20)), {"models"}),
        (lambda config: replace(config, model=replace(config.model, channel="canary")), {"models", "mqtt"}),
        (lambda config: replace(config, model=replace(config.model, keys=())), {"models", "mqtt"}),
        (
            lambda config: replace(config, microphone=replace(config.microphone, rate=44_100)),
            {"source", "events"},
        ),
        (lambda config: replace(config, leds=(LedsSection(brightness=0.1),)), {"leds"}),
        (lambda config: replace(config, history=replace(config.history, days=3)), {"history"}),
        (
            lambda config: replace(
                config, history=replace(config.history, path=config.history.path.replace("one", "two"))
            ),
            MOVED,
        ),
        (lambda config: replace(config, mqtt=replace(MQTT, node="attic")), {"mqtt"}),
        (lambda config: replace(config, mqtt=MqttSection()), {"mqtt"}),
        (lambda config: replace(config, dashboard=DashboardSection(port=9999)), set()),
        (lambda config: replace(config, log=LogSection(level="debug")), set()),
    ],
)
def test_a_reload_rebuilds_the_parts_whose_settings_changed(runtime, config, change, parts):
    assert rebuilt(runtime, change(config)) == parts


def test_a_reload_that_moves_the_state_folder_moves_it_for_every_part(runtime, config, folders):
    one, two = folders
    runtime.reload(lambda: replace(config, history=HistorySection(path=str(two / "history.sqlite"))))
    before = {path.name: path.read_bytes() for path in one.iterdir() if path.suffix == ".json"}
    # The settings, the models and the queue.
    runtime._commands.value.remote.pause(True)  # noqa: SLF001 - as a command does
    runtime.listen(until=(two / "settings.json").exists)
    runtime._commands.value.remote.pause(False)  # noqa: SLF001
    hears(runtime)
    installer = Installer(two, [public()], lambda _: None, budget=1.0, windows=4)
    installer.start_probation(installer.install(good("2.0.0", serial=2)))
    hears(runtime)
    assert part(runtime, "models").value.model.manifest.id == "fixed-2.0.0"
    assert {path.name for path in two.iterdir()} >= {"history.sqlite", "mqtt.sqlite", "settings.json", "models.json"}
    assert {path.name: path.read_bytes() for path in one.iterdir() if path.suffix == ".json"} == before
    assert not [path for path in Path("/proc/self/fd").iterdir() if path.resolve().is_relative_to(one)]
    # The history writes its last estimates when it is closed.
    runtime.reload(lambda: replace(config, history=HistorySection(path=str(two / "history.sqlite"), days=3)))
    with contextlib.closing(sqlite3.connect(two / "history.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM estimates").fetchone()[0] > 0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda config: replace(config, model=replace(config.model, name="no-such-model")),
        lambda config: replace(config, leds=(LedsSection(kind="wled"),)),
        lambda config: replace(config, mqtt=replace(MQTT, base="no/#")),
    ],
)
def test_a_reload_that_fails_leaves_every_part_as_it_was_configured(runtime, config, folders, wrong, caplog):
    _, two = folders
    model = part(runtime, "models").value.model.manifest.id
    moved = replace(
        config, history=HistorySection(path=str(two / "history.sqlite")), listen=ListenerSettings(every=0.5)
    )
    runtime.reload(lambda: wrong(moved))
    assert "the old configuration stays in force" in caplog.text
    hears(runtime)
    assert all(part(runtime, name).is_open for name in PARTS)
    assert part(runtime, "models").value.model.manifest.id == model
    assert part(runtime, "models").value.store.state_folder == folders[0]
    assert runtime._in_force.config == config  # noqa: SLF001
    assert runtime._publisher is not None  # noqa: SLF001


def test_parts_are_closed_in_the_reverse_of_their_order(config, folders):
    assert folders
    closed = []
    with Runtime(config, "mic", None) as runtime:
        for name in PARTS:
            part(runtime, name)._stack.callback(closed.append, name)  # noqa: SLF001 - called when the part is closed
    assert closed == list(reversed(PARTS))
    assert closed.index("leds") < closed.index("terminal") < closed.index("mqtt") < closed.index("source")


@pytest.mark.parametrize(
    ("end", "abnormal"), [(None, False), (KeyboardInterrupt(), False), (SystemExit(0), False), (RuntimeError(), True)]
)
def test_only_an_abnormal_end_counts_against_a_model_on_probation(config, folders, end, abnormal):
    installer = Installer(folders[0], [public()], lambda _: None, budget=1.0, windows=4)
    installer.start_probation(installer.install(good("2.0.0", serial=2)))
    ended = contextlib.nullcontext() if end is None else pytest.raises(type(end))
    with ended, Runtime(config, "mic", None):
        assert Store(folders[0]).read().active.running
        if end is not None:
            raise end
    assert Store(folders[0]).read().active.running is abnormal


def test_info_is_of_one_moment_while_settings_and_models_change(runtime):
    info = runtime._publisher._info()  # noqa: SLF001 - as MQTT asks
    remote = runtime._commands.value.remote  # noqa: SLF001 - as a command does
    remote.threshold(0.75)
    remote.pause(True)
    assert runtime.listen(until=lambda: True)
    changed = runtime._publisher._info()  # noqa: SLF001
    assert (info.certainty != 0.75, info.paused) == (True, False)
    assert (changed.certainty, changed.paused, changed.model) == (0.75, True, info.model)


def test_a_stop_whose_exception_was_lost_is_repeated():
    def end(_number, _frame):
        raise SystemExit(3)

    former = signal.signal(signal.SIGTERM, end)
    try:
        with hang_up() as hung_up:
            assert not hung_up()
            # As the import of a C extension does.
            with contextlib.suppress(SystemExit):
                os.kill(os.getpid(), signal.SIGTERM)
            with pytest.raises(SystemExit) as ended:
                hung_up()
        assert ended.value.code == 3
        assert signal.getsignal(signal.SIGTERM) is end
    finally:
        signal.signal(signal.SIGTERM, former)
