"""One broker per test, certificates per session, and clients, publishers and listeners that are closed after it."""

import os
import random
from contextlib import ExitStack

import pytest

from headnod.mqtt.broker import Broker
from headnod.mqtt.client import MqttClient
from headnod.mqtt.queue import MessageQueue
from headnod.resources import demo_clip
from headnod.testing import ManualClock
from support import mqtt_broker as brokers
from support.certificates import Authority
from support.listener_process import Listening
from support.mqtt_publisher import publisher


@pytest.fixture
def broker(tmp_path):
    """A mosquitto without passwords, that runs."""
    with brokers.Broker(tmp_path / "broker") as started:
        yield started


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """A certificate authority."""
    return Authority(tmp_path_factory.mktemp("authority") / "ours")


@pytest.fixture
def subscriber(broker):
    """Everything that is published on the broker."""
    with brokers.Subscriber(broker) as all_of_it:
        yield all_of_it


@pytest.fixture
def opened():
    """Closes what it was given, the last first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def linked(opened):
    """Makes clients that are started, and closed in the end."""

    def link(
        to, *, port=None, client_id="kitchen", keepalive=15, protocol=5, username="", password="", tls=None, **how
    ):
        where = Broker(to.host, port or to.port, client_id, username, password, tls, keepalive, protocol)
        made = MqttClient(where, rng=random.Random(1), **how)
        opened.callback(made.close)
        made.start()
        return made

    return link


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def boxes(tmp_path, clock):
    """Makes queues on one file, each in place of the one before."""

    with ExitStack() as made:

        def make(*, bound=1000, path=tmp_path / "mqtt.sqlite"):
            box = MessageQueue(path, bound=bound, monotonic=clock.monotonic)
            made.callback(box.close)
            return box

        yield make


@pytest.fixture
def started(broker, opened):
    """Makes publishers that run, and are closed in the end."""

    def start(path=None, *, obey=None, **how):
        made = publisher(broker, path, **how)
        opened.callback(made.close)
        made.start(obey)
        return made

    return start


@pytest.fixture
def state(tmp_path):
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.fixture
def environment(state):
    """Where a listener keeps things, and who it is."""
    return {**os.environ, "STATE_DIRECTORY": str(state), "HEADNOD_MQTT__NODE": "kitchen"}


@pytest.fixture
def playing(brief):
    """How to hear the demo clip at the pace of music, with a model that is quick to say something."""
    return ("--audio", str(demo_clip()), "--pace", "real", "--model", str(brief), "--every", "0.2")


@pytest.fixture
def listening(tmp_path, environment, opened, playing):
    """Makes listeners that publish to a port and hear the demo clip at the pace of music."""

    def listen(port, *words, **settings):
        told = {f"HEADNOD_MQTT__{key.upper()}": str(value) for key, value in settings.items()}
        where = {**environment, "HEADNOD_MQTT__HOST": "127.0.0.1", "HEADNOD_MQTT__PORT": str(port), **told}
        return opened.enter_context(Listening(*(words or playing), environment=where, log=tmp_path / "headnod.log"))

    return listen


def pytest_collection_modifyitems(items):
    lacking = brokers.missing()
    for item in items:
        if lacking and "broker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason=f"not installed: {lacking}"))
