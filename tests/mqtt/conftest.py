"""A broker a test, certificates a session, and publishers that are closed whatever happens."""

import random
from contextlib import ExitStack

import pytest

import broker as brokers
from authority import Authority
from headnod.mqtt.link import Broker, Link


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
def heard(broker):
    """Everything that is published on the broker."""
    with brokers.Heard(broker) as all_of_it:
        yield all_of_it


@pytest.fixture
def opened():
    """Closes what it was given, the last first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def linked(opened):
    """Makes links that are started, and closed in the end."""

    def link(
        to, *, port=None, client_id="kitchen", keepalive=15, protocol=5, username="", password="", tls=None, **how
    ):
        where = Broker(to.host, port or to.port, client_id, username, password, tls, keepalive, protocol)
        made = Link(where, rng=random.Random(1), **how)
        opened.callback(made.close)
        made.start()
        return made

    return link


def pytest_collection_modifyitems(items):
    lacking = brokers.missing()
    for item in items:
        if lacking and "broker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason=f"not installed: {lacking}"))
