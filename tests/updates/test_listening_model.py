"""The model that listens, as other threads see it: name and serial are those of one model at any time."""

import shutil
import threading
from itertools import cycle, islice

import pytest

from headnod.config import Config, ModelSection
from headnod.updates.manager import ModelManager
from support.bundles import copied, edited

SWITCHES = 40


@pytest.fixture
def manager(kept, tmp_path):
    return ModelManager(shutil.copytree(kept, tmp_path / "state", symlinks=True), Config)


def test_name_and_serial_are_of_one_model_while_another_takes_over(manager, brief, tmp_path):
    shipped = edited(copied(brief, tmp_path), lambda manifest: manifest.update(version="0.1.0"))
    configs = [Config(model=ModelSection(name=str(shipped), installed=installed)) for installed in (True, False)]
    manager.load(configs[0])
    seen, looked, over = set(), threading.Event(), threading.Event()

    def look():
        while not over.is_set():
            snapshot = manager.snapshot()
            seen.add((snapshot.manifest.id, snapshot.serial))
            looked.set()

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for config in islice(cycle(reversed(configs)), SWITCHES):
            assert manager.poll(config)
            # One look ends and another begins, so that each model is seen, however late the thread runs.
            for _ in range(2):
                looked.clear()
                assert looked.wait(60)
    finally:
        over.set()
        reader.join()
    assert seen == {("fixed-1.0.0", 1), ("fixed-0.1.0", 0)}
