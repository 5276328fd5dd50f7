"""From end to end: retrain, pack, sign, deploy, and hear the new labels in the listener that runs."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from headnod.features.frontend import FrontEnd
from support import signed_bundles
from support.listener_process import Listening, is_estimate
from support.mqtt_broker import Broker, Subscriber, missing
from support.tones import GENRES, tone, write_tones

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")


def train(*words, status=0):
    command = [sys.executable, "-m", "headnod_train", *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert ended.returncode == status, ended.stderr[-2000:]
    return ended.stdout


@pytest.mark.long
def test_what_was_retrained_is_heard_by_a_listener_that_never_stopped(tmp_path):
    pytest.importorskip("tensorflow", reason="training needs tensorflow: scripts/setup train")
    archive = write_tones(tmp_path / "tones.npz", FrontEnd())
    played = np.concatenate([tone(genre, 50, FrontEnd()) for genre in GENRES] * 8)
    (tmp_path / "played.raw").write_bytes((32767 * np.clip(played, -1, 1)).astype("<i2").tobytes())
    key = tmp_path / "signing.key"
    public = train("keygen", "--key", key).strip()
    former = signed_bundles.write(signed_bundles.good("0.1.0", serial=0, key=None), tmp_path / "former")
    with Broker(tmp_path / "broker", durable=False) as broker, Subscriber(broker) as subscriber:
        (tmp_path / "headnod.toml").write_text(
            f'[model]\nname = "{former}"\nprobation = 5\n{public}\n[listen]\nevery = 1.0\n'
            f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\nnode = "kitchen"\n'
        )
        (tmp_path / "state").mkdir()
        words = ("--audio", "-", "--rate", "22050", "--pace", "real", "--config", str(tmp_path / "headnod.toml"))
        environment = {**os.environ, "STATE_DIRECTORY": str(tmp_path / "state")}
        with (
            (tmp_path / "played.raw").open("rb") as stdin,
            Listening(*words, environment=environment, log=tmp_path / "log", stdin=stdin) as listener,
        ):
            before = listener.until(is_estimate)
            assert set(before["scores"]) == {"jazz", "metal"}
            run = tmp_path / "run"
            train("fit", "--data", archive, "--run", run, "--epochs", "4")
            train("quantise", "--data", archive, "--run", run)
            words = ("--name", "tones", "--version", "1.0.0", "--collection", "tones", "--licence", "none: a formula")
            train("pack", "--data", archive, "--run", run, *words, "--models", tmp_path / "models")
            bundle = tmp_path / "models" / "tones-1.0.0"
            told = train("deploy", bundle, "--key", key, "--broker", f"127.0.0.1:{broker.port}", "--canaries", "1")
            assert "1 have it" in told
            after = listener.until(lambda said: is_estimate(said) and said["model"] == "tones-1.0.0")
            assert set(after["scores"]) == set(GENRES)
            subscriber.until(
                lambda message: (
                    message.topic == "headnod/kitchen/estimate"
                    and json.loads(message.payload)["model"] == "tones-1.0.0"
                ),
                10.0,
            )
            assert listener.process.poll() is None
