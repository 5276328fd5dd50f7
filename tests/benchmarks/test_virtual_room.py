"""Where something is not installed, the benchmark says so or takes something else."""

import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest

from benchmarks import rows_of_daemon
from benchmarks.virtual_room import NotInstalledError, broker, commanded


def test_a_missing_broker_is_named_with_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotInstalledError, match="apt-get install mosquitto mosquitto-clients"), broker(tmp_path):
        pass


def test_without_a_broker_both_rows_say_that_they_are_not_measured(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    rows = rows_of_daemon.daemon(15.0)
    assert [row.ours for row in rows] == [None, None]
    assert all("mosquitto" in row.more["unmeasured"] for row in rows)


def test_the_command_that_stands_in_for_a_microphone_writes_music(tmp_path):
    settings = tomllib.loads(Path(commanded(tmp_path)["HEADNOD_CONFIG"]).read_text())
    with subprocess.Popen(settings["microphone"]["command"], stdout=subprocess.PIPE) as player:
        samples = np.frombuffer(player.stdout.read(22_048), "<i2")
        player.kill()
    assert samples.std() > 100


@pytest.mark.long
def test_the_daemon_wakes_by_itself_for_sound_alone():
    assert 0.3 < rows_of_daemon.own_wakes(2) < 6.0
