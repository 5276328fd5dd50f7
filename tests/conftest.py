"""What many tests start from: the shipped model, the demo clip, and chance with a seed."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from headnod.audio.audio_file import audio_file
from headnod.inference.model import GenreModel
from headnod.resources import demo_clip, find_model

# The machine may be a busy one, and how long an example takes is no property.
settings.register_profile("headnod", deadline=None)
settings.load_profile("headnod")

# Files that take 20 s and more: they begin first, so that no process has one of them alone at the end.
_LONGEST = (
    "dashboard/test_controls.py",
    "train/training/test_fit.py",
    "dashboard/test_page_memory.py",
    "dashboard/test_page.py",
    "dashboard/test_remote_history.py",
    "train/distillation/test_pretrained_training.py",
    "dashboard/test_page_controls.py",
    "dashboard/test_listener_page.py",
    "cli/test_alsa.py",
    "train/deploy/test_rollout.py",
    "dashboard/test_listener_view.py",
    "mqtt/test_limits.py",
    "dashboard/test_accessibility.py",
    "test_not_music.py",
    "train/test_teach.py",
    "mqtt/test_export_corrections.py",
    "dashboard/test_connections.py",
    "train/explore/test_explore.py",
    "test_contract.py",
    "train/explore/test_baselines.py",
    "cli/test_any_terminal.py",
    "train/explore/test_listening_pages.py",
    "features/test_windows.py",
    "dashboard/test_webhooks.py",
    "faults/test_microphone_in_time.py",
    "train/test_cli.py",
)


def pytest_collection_modifyitems(items):
    first = {Path(__file__).parent / name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: first.get(item.path, len(first)))


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def bundle():
    # Bounds of many tests are those of this network and its MFCCs.
    return find_model("genre-1.0.0")


@pytest.fixture(scope="session")
def brief(tmp_path_factory):
    """A bundle whose window is half a second."""
    pytest.importorskip("ai_edge_litert.schema_py_generated", reason="only LiteRT brings the format's own writer")
    from support import bundles

    return bundles.write_short(tmp_path_factory.mktemp("brief") / "model")


@pytest.fixture(scope="session")
def model(bundle):
    return GenreModel.load(bundle)


@pytest.fixture(scope="session")
def demo(model):
    """The demo clip, mono at the model's sample rate."""
    with audio_file(demo_clip(), model.front_end.sample_rate) as blocks:
        return np.concatenate(list(blocks))


@pytest.fixture
def open_folder():
    """A folder that every user may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
