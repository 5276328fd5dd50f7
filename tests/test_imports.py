"""Who imports whom, and what it costs: read from the code itself, and seen in a fresh interpreter."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import headnod

PACKAGE = Path(headnod.__file__).parent
HEAVY = {"tensorflow", "keras", "librosa", "sklearn", "scipy", "numba", "torch", "matplotlib", "headnod_train"}
ONE_ESTIMATE = """
import json, sys
import headnod
alone = sorted(sys.modules)
import numpy as np
from datetime import datetime, UTC
from headnod.resources import find_model
model = headnod.GenreModel.load(find_model("genre"))
audio = np.sin(np.arange(4 * model.front_end.sample_rate, dtype=np.float32) ** 1.5)
said = list(headnod.listen([audio], model, headnod.ListenerSettings(), now=lambda: datetime.now(UTC)))
print(json.dumps([alone, sorted(sys.modules), len(said)]))
"""


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {name_of(path): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def imported(name):
    """Every module that a module imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update((inner & TREES.keys()) or {node.module})
    return found


IMPORTS = {name: imported(name) for name in TREES}


def inside(name, package):
    return name == package or name.startswith(f"{package}.")


def own(name):
    return {each for each in IMPORTS[name] if inside(each, "headnod")}


def libraries(name):
    return {each.partition(".")[0] for each in IMPORTS[name]} - set(sys.stdlib_module_names) - {"headnod"}


def test_every_module_is_read():
    assert {"headnod", "headnod.features.frontend", "headnod.outputs.terminal", "headnod.factory"} <= TREES.keys()
    assert "headnod.inference.manifest" in IMPORTS["headnod.inference.model"]
    assert "rich" in libraries("headnod.outputs.terminal")


@pytest.fixture(scope="module")
def loaded():
    ended = subprocess.run([sys.executable, "-c", ONE_ESTIMATE], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    alone, after, said = json.loads(ended.stdout)
    assert said == 1
    return set(alone), set(after)


def test_importing_headnod_loads_no_library_until_a_name_is_used(loaded):
    alone, after = loaded
    heavier = HEAVY | {"rich", "sqlite3", "soundfile", "soxr", "paho", "gpiozero", "pyaudio", "ai_edge_litert"}
    assert alone & (heavier | {"numpy", "msgspec", "uvicorn", "asyncio", "ssl"}) == set()
    assert {"numpy", "msgspec"} <= after


def test_an_estimate_loads_nothing_of_a_workstation(loaded):
    _, after = loaded
    assert after & HEAVY == set()
    assert after & {"rich", "sqlite3", "soundfile", "paho", "gpiozero", "pyaudio"} == set()
    # importlib.metadata loads them.
    assert after & {"csv", "zipfile"} == set()
    # It takes 2.5 MB of memory and 9 ms.
    assert "numpy.random" not in after


@pytest.mark.parametrize("name", TREES)
def test_the_device_imports_nothing_of_training(name):
    assert not any(inside(each, "headnod_train") for each in IMPORTS[name])
    assert libraries(name) & HEAVY == set()


def test_the_front_end_imports_numpy_only():
    assert own("headnod.features.frontend") == set()
    assert libraries("headnod.features.frontend") == {"numpy"}


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("headnod.errors", set()),
        ("headnod.pipeline.estimate", {"headnod.escaping"}),
        ("headnod.escaping", set()),
        ("headnod.inference.manifest", {"headnod.errors", "headnod.escaping", "headnod.features.frontend"}),
        (
            "headnod.inference.model",
            {
                "headnod.errors",
                "headnod.escaping",
                "headnod.system",
                "headnod.features.frontend",
                "headnod.files",
                "headnod.inference.manifest",
            },
        ),
        (
            "headnod.features.windows",
            {"headnod.audio.blocks", "headnod.audio.processing", "headnod.features.frontend"},
        ),
        ("headnod.pipeline.level", {"headnod.features.frontend"}),
        (
            "headnod.pipeline.listener",
            {
                "headnod.audio.blocks",
                "headnod.clock",
                "headnod.errors",
                "headnod.escaping",
                "headnod.features.frontend",
                "headnod.features.windows",
                # The interface of a model, and no model.
                "headnod.inference.manifest",
                "headnod.pipeline.estimate",
                "headnod.pipeline.level",
                "headnod.pipeline.smoothing",
            },
        ),
        ("headnod.pipeline.smoothing", {"headnod.inference.manifest"}),
        ("headnod.address", {"headnod.errors"}),
        ("headnod.config.sections", {"headnod.address", "headnod.errors"}),
        (
            "headnod.config",
            {
                "headnod.address",
                "headnod.errors",
                "headnod.config.layers",
                "headnod.files",
                "headnod.config.sections",
                "headnod.pipeline.listener",
            },
        ),
    ],
)
def test_the_core_knows_only_what_stands_below_it(name, allowed):
    assert own(name) <= allowed


@pytest.mark.parametrize("name", [name for name in TREES if inside(name, "headnod.audio")])
def test_a_source_knows_no_model_and_no_sink(name):
    allowed = (
        "headnod.address",
        "headnod.audio",
        "headnod.errors",
        "headnod.pipeline.estimate",
        "headnod.system",
        "headnod.features.frontend",
        "headnod.retry",
        "headnod.escaping",
    )
    assert all(any(inside(each, package) for package in allowed) for each in own(name))


def test_the_microphones_process_imports_nothing_of_headnod():
    assert own("headnod.audio.capture") == set()
    assert libraries("headnod.audio.capture") == {"pyaudio"}


SINKS = [name for name in TREES if inside(name, "headnod.outputs")]
SHOWING = [
    name
    for name in SINKS
    if name != "headnod.outputs"
    and any(
        {"show", "show_status", "close"} <= {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.ClassDef)
    )
]


@pytest.mark.parametrize("name", SINKS)
def test_a_sink_knows_neither_configuration_nor_audio_nor_model(name):
    allowed = (
        "headnod.outputs",
        "headnod.clock",
        "headnod.errors",
        "headnod.pipeline.estimate",
        "headnod.system",
        "headnod.escaping",
        "headnod.pipeline.level_meter",
        "headnod.pipeline.smoothing",
        "headnod.pipeline.estimate",
        "headnod.address",
        "headnod.config.sections",
        "headnod.retry",
        "headnod.sqlite",
    )
    assert all(any(inside(each, package) for package in allowed) for each in own(name)), own(name)


@pytest.mark.parametrize("name", SHOWING)
def test_a_sink_knows_no_other_sink(name):
    assert len(SHOWING) > 4
    assert own(name) & set(SHOWING) == set()


MANAGER = "headnod.updates.manager"
"""Joins the stored models to the listener that runs."""


@pytest.mark.parametrize("name", [name for name in TREES if inside(name, "headnod.updates") and name != MANAGER])
def test_taking_models_in_knows_no_listener_no_sink_and_no_mqtt(name):
    allowed = (
        "headnod.clock",
        "headnod.errors",
        "headnod.escaping",
        "headnod.pipeline.estimate",
        "headnod.system",
        "headnod.inference",
        "headnod.features.frontend",
        "headnod.files",
        "headnod.updates",
    )
    # A shadow model reads the stream's last seconds, which is no source.
    stream = {"headnod.features.windows"} if name == "headnod.updates.shadow" else set()
    assert all(any(inside(each, package) for package in allowed) for each in own(name) - stream), own(name)
    assert MANAGER not in own(name)


@pytest.mark.parametrize("name", TREES)
def test_only_the_program_and_its_checks_know_the_listener_that_is_put_together(name):
    knowing = any(inside(each, "headnod.factory") or each == "headnod.runtime" for each in IMPORTS[name])
    allowed = ("headnod.factory", "headnod.cli", "headnod.runtime", "headnod.diagnostics", "headnod.config.validation")
    assert not knowing or any(inside(name, each) for each in allowed)


@pytest.mark.parametrize("name", TREES)
def test_only_the_program_knows_its_commands(name):
    knowing = any(inside(each, "headnod.cli") for each in IMPORTS[name])
    assert not knowing or name == "headnod.__main__" or inside(name, "headnod.cli")


def test_each_optional_library_is_imported_in_one_file():
    base = {"numpy", "msgspec"}
    users = {}
    for name in TREES:
        for library in libraries(name) - base:
            users.setdefault(library, []).append(name)
    # Its schema of the file format is for a new last layer only, and is not loaded with the runtime.
    assert users["ai_edge_litert"].pop() == "headnod.teaching.last_layer"
    assert {library: names for library, names in users.items() if len(names) > 1} == {}
    assert {"rich", "soxr", "soundfile", "pyaudio", "gpiozero", "ai_edge_litert"} <= users.keys()


def reads_environment(tree):
    return any(
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in {("os", "environ"), ("os", "getenv"), ("sys", "argv")}
        for node in ast.walk(tree)
    )


def test_nothing_but_the_program_and_its_configuration_reads_the_environment():
    # The microphone's process, the page's and the self-test are programs of their own, what numpy shall do must be said
    # before it is loaded, and TZ goes before the zone of the machine.
    elsewhere = {
        "headnod.audio.capture",
        "headnod.audio.decoder",
        "headnod.updates.selftest",
        "headnod.dashboard.__main__",
        "headnod.clock",
        "headnod.cli.parser",
        "headnod",
        # gpiozero reads its choice of pins there.
        "headnod.outputs.leds.gpio",
    }
    reading = {name for name, tree in TREES.items() if reads_environment(tree)} - elsewhere
    program = ("headnod.factory", "headnod.cli", "headnod.config", "headnod.runtime", "headnod.__main__")
    assert [name for name in reading if not any(inside(name, each) for each in program)] == []
