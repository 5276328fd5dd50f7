"""One broker and one dashboard for all tests that leave them as they were, and others for those that do not."""

import pytest

from support.browser import Dashboard, Publisher, chromium
from support.command_line import PATIENCE
from support.dashboard_fleet import FleetWithClock
from support.mqtt_broker import Broker
from support.mqtt_broker import missing as missing_broker


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """One that nobody ends."""
    if lacking := missing_broker():
        pytest.skip(f"{lacking} is not installed")
    # By default mosquitto drops what a busy subscriber has not taken when 1,000 messages wait for it.
    settings = "max_queued_messages 0"
    with Broker(tmp_path_factory.mktemp("dashboard") / "broker", durable=False, settings=settings) as broker:
        yield broker


@pytest.fixture
def doomed(tmp_path):
    """One that a test may end, or leave messages with."""
    if lacking := missing_broker():
        pytest.skip(f"{lacking} is not installed")
    with Broker(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture(scope="session")
def served(broker):
    with Dashboard(broker) as dashboard:
        dashboard.wait_for_line("MQTT: connected")
        yield dashboard


@pytest.fixture
def dashboard(served):
    """A dashboard that knows no listener."""
    yield served
    served.close_connections()


@pytest.fixture
def publisher(broker, dashboard):
    """Who speaks for listeners; they are forgotten in the end."""
    with Publisher(broker) as publisher:
        yield publisher
        publisher.delete_listeners()
        dashboard.wait_until_empty()


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def look(browser, dashboard):
    """Opens the page; an error in its console fails the test, except those with one of the texts in `expected`."""
    complaints, contexts, expected = [], [], ["ERR_"]

    def complain(said):
        # An image names no icon, so the browser requests /favicon.ico.
        if said.type == "error" and not said.location["url"].endswith("/favicon.ico"):
            complaints.append(said.text)

    def look(width=1280, height=900, *, scheme="light", dashboard=dashboard, path="", **options):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **options)
        context.set_default_timeout(1000 * PATIENCE)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", complain)
        page.goto(dashboard.url + path)
        contexts.append(context)
        return page

    look.complaints, look.expected = complaints, expected
    yield look
    for context in contexts:
        context.close()
    assert not [words for words in complaints if not any(text in words for text in expected)]


@pytest.fixture
def listeners():
    return FleetWithClock()
