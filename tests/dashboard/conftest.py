import pytest

from broker import Broker
from broker import missing as missing_broker
from watching import Dashboard, Speaker


@pytest.fixture
def broker(tmp_path):
    if lacking := missing_broker():
        pytest.skip(f"{lacking} is not installed")
    with Broker(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def speaker(broker):
    with Speaker(broker) as speaker:
        yield speaker


@pytest.fixture
def dashboard(broker):
    with Dashboard(broker) as dashboard:
        dashboard.says("MQTT: connected")
        yield dashboard
