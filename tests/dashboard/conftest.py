"""One broker and one dashboard for all tests that leave them as they were, and others for those that do not."""

import pytest

from broker import Broker
from broker import missing as missing_broker
from watching import Dashboard, Speaker


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """One that nobody ends."""
    if lacking := missing_broker():
        pytest.skip(f"{lacking} is not installed")
    with Broker(tmp_path_factory.mktemp("dashboard") / "broker", durable=False) as broker:
        yield broker


@pytest.fixture
def doomed(tmp_path):
    """One that a test may end."""
    if lacking := missing_broker():
        pytest.skip(f"{lacking} is not installed")
    with Broker(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture(scope="session")
def served(broker):
    with Dashboard(broker) as dashboard:
        dashboard.says("MQTT: connected")
        yield dashboard


@pytest.fixture
def dashboard(served):
    """A dashboard that knows no listener."""
    yield served
    served.hang_up()


@pytest.fixture
def speaker(broker, dashboard):
    """Who speaks for listeners; they are forgotten in the end."""
    with Speaker(broker) as speaker:
        yield speaker
        speaker.take_back()
        dashboard.forgets()
