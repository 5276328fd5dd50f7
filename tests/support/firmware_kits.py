"""The kits of firmware_config at work: the broker's as its README sets it up, and what Telegraf's makes of payloads."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import numpy as np

from headnod.mqtt.payloads import encode, estimate_payload
from headnod.testing import ManualClock
from headnod_train.simulator.simulation import SimulatedListener
from support.command_line import PATIENCE
from support.mqtt_broker import HOST, Broker, ReservedPort, Subscriber
from support.mqtt_payloads import KITCHEN, health, info, song

KITS = Path(__file__).parents[2] / "firmware_config"
KIT = KITS / "mosquitto"


class Kit(Broker):
    """A broker as the README sets it up, with its places and ports moved into a test's folder.

    Args:
        folder: Where it keeps its files.
        autosave: Seconds after which it saves, where a test will not wait for the ten of the kit.
    """

    def __init__(self, folder: Path, *, autosave: int = 10):
        self._autosave = autosave
        (folder / "certs").mkdir(parents=True)
        shutil.copy(KIT / "acl", folder / "acl")
        (folder / "acl").chmod(0o600)
        (folder / "data").mkdir()
        commands = re.findall(r"```bash\n(.*?)```", (KIT / "README.md").read_text(), re.DOTALL)[1]
        assert commands.count("\n") == 5
        told = subprocess.run(
            ["bash", "-euc", commands],
            cwd=folder / "certs",
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        self.passwords = dict(line.split(":") for line in told.stdout.split())
        (folder / "passwords").chmod(0o600)
        self._tls_reserved = ReservedPort()
        self.tls_port = self._tls_reserved.number
        super().__init__(folder, wait=True)
        self.start()

    def allow(self, acl: str):
        """The kit has its own."""

    def _configure(self):
        kit = (KIT / "mosquitto.conf").read_text()
        for shipped, here in (
            ("/etc/mosquitto/", f"{self.folder}/"),
            ("listener 1883", f"listener {self.port}"),
            ("listener 8883", f"listener {self.tls_port} {HOST}"),
            ("autosave_interval 10", f"autosave_interval {self._autosave}"),
        ):
            assert shipped in kit
            kit = kit.replace(shipped, here)
        # What Debian's own mosquitto.conf says before it reads the kit.
        debian = f"persistence true\npersistence_location {self.folder}/data/\n"
        root = "user root\n" if os.getuid() == 0 else ""
        (self.folder / "mosquitto.conf").write_text(debian + root + kit)

    @property
    def database(self) -> Path:
        return self.folder / "data" / "mosquitto.db"

    def publish(self, user, topic, *, password=None, options=()):
        """What mosquitto_pub says of it; nothing if the broker took it."""
        ended = subprocess.run(
            [
                *("mosquitto_pub", "-V", "5", "-h", HOST, "-p", str(self.port), "-q", "1", "-t", topic, "-m", "x"),
                *("-u", user, "-P", password or self.passwords[user], *options),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        return ended.stdout + ended.stderr

    def subscriber(self, user, *filters, **options):
        return Subscriber(self, *filters, user=user, password=self.passwords[user], name=f"test-{user}", **options)


def estimate():
    clock = ManualClock()
    listener = SimulatedListener("kitchen", boot="b1", every=3.0, rng=np.random.default_rng(1))
    made, _ = listener.next_estimate(clock.now(), 0.0)
    return estimate_payload(made, node="kitchen", boot="b1")


def payload(topic):
    """What is published there, as JSON has it."""
    kinds = {"estimate": estimate, "state": estimate, "song": song, "health": health, "info": info}
    return json.loads(encode(kinds[topic.rpartition("/")[2]]()))


def points():
    """What Telegraf makes of a payload, by measurement: tags, fields and the time's text.

    As its json_v2 parser does for an object: keys excluded, one for the time, some for tags, all others fields.
    """
    kit = tomllib.loads((KITS / "telegraf" / "headnod.conf").read_text())
    for source in kit["inputs"]["mqtt_consumer"]:
        (told,) = source["topics"]
        (parser,) = source["json_v2"]
        (rules,) = parser["object"]
        (topic,) = source["topic_parsing"]
        (published,) = [payload(told)]
        assert rules["path"] == "@this"
        assert topic["topic"] == told
        kept = {key: value for key, value in published.items() if key not in rules["excluded_keys"]}
        time = kept.pop(rules["timestamp_key"])
        tags = {key: kept.pop(key) for key in rules["tags"]} | {
            name: part
            for name, part in zip(topic["tags"].split("/"), KITCHEN.estimate.split("/"), strict=True)
            if name != "_"
        }
        assert set(rules["excluded_keys"]) <= published.keys()
        yield source, tags, kept, (time, rules["timestamp_format"])


def board():
    """Grafana's."""
    return json.loads((KITS / "grafana" / "dashboard.json").read_text())


def queries():
    """What the board asks, with the title of the panel that asks it."""
    return [(panel["title"], target["query"]) for panel in board()["panels"] for target in panel["targets"]]
