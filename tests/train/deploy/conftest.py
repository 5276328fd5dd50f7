"""A broker, a bundle that is signed, and listeners that take it."""

from contextlib import ExitStack

import pytest

from headnod_train.deploy.signing import sign
from support import signed_bundles
from support.mqtt_broker import Broker
from support.rollout_listeners import Listener


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with Broker(tmp_path_factory.mktemp("broker"), durable=False) as started:
        yield started


@pytest.fixture
def broker(running):
    """A broker that remembers nothing of the test before."""
    yield running
    running.restart(by=Broker.kill)


@pytest.fixture
def signed(tmp_path):
    folder = signed_bundles.write(signed_bundles.good("2.0.0", serial=0, key=None), tmp_path / "fixed-2.0.0")
    return sign(folder, signed_bundles.KEY)


@pytest.fixture
def listener(broker, tmp_path):
    """Makes listeners that are there when they are given."""
    with ExitStack() as stack:

        def make(node, **how):
            made = Listener(broker, tmp_path / "states" / node, node, **how)
            stack.callback(made.close)
            return made

        yield make
