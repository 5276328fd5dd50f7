"""`headnod mqtt test`: the step at which the way to a broker ends, with real brokers."""

import random
import socket
from datetime import UTC, datetime, timedelta

import pytest

from headnod.mqtt.broker import Broker as Address
from headnod.mqtt.broker import Tls
from headnod.mqtt.broker_check import check_broker
from headnod.mqtt.topics import Topics
from headnod.pipeline.estimate import utc_now
from support.certificates import Authority
from support.mqtt_broker import HOST, Broker, ReservedPort, Subscriber, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")

KITCHEN = Topics("headnod", "kitchen")
OWN = "pattern readwrite headnod/%u/#"
PATIENCE = 1.0
SECRET = "secret"  # noqa: S105 - of these brokers alone


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path / "broker", users={"kitchen": SECRET}, acl=OWN) as running:
        yield running


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority") / "ours")


def address(broker, **changes):
    known = {"host": HOST, "port": broker.port, "client_id": "kitchen", "username": "kitchen", "password": SECRET}
    return Address(**(known | changes))


def walk(to, *, topics=KITCHEN, now=utc_now):
    rng = random.Random(1)
    return list(check_broker(to, topics, rng=rng, now=now, timeout=PATIENCE))


def stopped(at, to, **options):
    """The message of the fault that ended the walk, which must be at this step and after good ones only."""
    *before, last = walk(to, **options)
    assert (last.part, last.verdict) == (at, "fault"), [*before, last]
    assert all(step.verdict in {"well", "none"} for step in before)
    assert "\n" not in last.message
    return last.message


def secured(folder, certificate, **options):
    return Broker(folder, users={"kitchen": SECRET}, acl=OWN, certificate=certificate, **options)


def test_all_is_well(broker):
    steps = walk(address(broker))
    assert [(step.part, step.verdict) for step in steps] == [
        ("name", "well"),
        ("connection", "well"),
        ("certificate", "none"),
        ("login", "well"),
        ("rights", "well"),
        ("round trip", "well"),
    ]
    assert steps[1].message.endswith(f"to {HOST}:{broker.port}")
    assert steps[3].message == "MQTT 5, as 'kitchen'"
    assert steps[5].message.startswith("headnod/kitchen/request/test came back after ")


def test_all_is_well_with_tls_and_the_end_of_the_certificate_is_reported(tmp_path, authority):
    with secured(tmp_path, authority.issue("good")) as broker:
        steps = walk(address(broker, host="localhost", tls=Tls(authority.file)))
    assert {step.verdict for step in steps} == {"well"}
    assert steps[2].message.startswith("TLSv1.3, valid until 2099-12-31 (")


def test_a_certificate_that_is_about_to_expire_is_warned_of_and_the_walk_goes_on(tmp_path, authority):
    with secured(tmp_path, authority.issue("ending")) as broker:
        later = datetime(2099, 12, 31, tzinfo=UTC) - timedelta(days=9, hours=1)
        steps = walk(address(broker, host="localhost", tls=Tls(authority.file)), now=lambda: later)
    assert steps[2].verdict == "warning"
    assert steps[2].message.endswith("(9 days)")
    assert steps[-1].verdict == "well"


def test_an_unknown_host_stops_at_its_name(broker):
    message = stopped("name", address(broker, host="no-such-broker.invalid"))
    assert message.startswith("'no-such-broker.invalid': ")
    assert "mqtt.host" in message


def test_a_host_that_no_machine_can_be_called_stops_at_its_name(broker):
    assert "mqtt.host" in stopped("name", address(broker, host="x" * 70))


def test_a_closed_port_stops_at_the_connection(broker):
    reserved = ReservedPort()
    port = reserved.number
    message = stopped("connection", address(broker, port=port))
    assert message.startswith(f"{HOST}:{port}: nothing listens there")


def test_a_port_that_swallows_everything_stops_at_the_connection(broker):
    with socket.socket() as full:
        full.bind((HOST, 0))
        full.listen(0)
        port = full.getsockname()[1]
        # Two connections that nobody accepts fill the queue, and the next one gets no answer at all.
        with socket.create_connection((HOST, port)), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex((HOST, port))
            assert "no answer within 1 s" in stopped("connection", address(broker, port=port))


def test_an_expired_certificate_stops_with_its_date(tmp_path, authority):
    with secured(tmp_path, authority.issue("old", expired=True)) as broker:
        message = stopped("certificate", address(broker, host="localhost", tls=Tls(authority.file)))
    assert "its certificate expired on 2020-01-31" in message


def test_a_foreign_authority_stops_with_the_file_that_is_trusted(tmp_path, authority):
    foreign = Authority(tmp_path / "foreign", name="somebody else")
    with secured(tmp_path / "broker", foreign.issue("theirs")) as broker:
        message = stopped("certificate", address(broker, host="localhost", tls=Tls(authority.file)))
        unset = stopped("certificate", address(broker, host="localhost", tls=Tls()))
    assert f"its certificate was not made by {authority.file}" in message
    assert "mqtt.ca_file" in message
    assert "not made by the system's authorities" in unset


def test_a_wrong_name_stops_with_the_right_ones(tmp_path, authority):
    with secured(tmp_path, authority.issue("elsewhere", addresses="DNS:broker.lan,IP:192.0.2.7")) as broker:
        message = stopped("certificate", address(broker, host="localhost", tls=Tls(authority.file)))
    assert "its certificate is for broker.lan, 192.0.2.7 and not for localhost" in message


def test_a_broker_that_wants_our_certificate_says_so(tmp_path, authority):
    with secured(tmp_path, authority.issue("strict"), authority=authority.file) as broker:
        message = stopped("certificate", address(broker, host="localhost", tls=Tls(authority.file)))
        own = authority.issue("kitchen")
        steps = walk(address(broker, host="localhost", tls=Tls(authority.file, own.file, own.key)))
    assert "it rejects our certificate" in message
    assert "mqtt.cert_file" in message
    assert steps[-1].verdict == "well"


def test_a_broker_without_tls_is_not_mistaken_for_one(broker, authority):
    message = stopped("certificate", address(broker, host="localhost", tls=Tls(authority.file)))
    assert "no TLS" in message
    assert "8883" in message


def test_a_broker_with_tls_that_is_met_without_stops_at_the_login(tmp_path, authority):
    with secured(tmp_path, authority.issue("tls")) as broker:
        assert "mqtt.tls" in stopped("login", address(broker))


@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"username": "", "password": ""}])
def test_a_wrong_password_stops_at_the_login(broker, changes):
    message = stopped("login", address(broker, **changes))
    assert "not authorized" in message
    assert "mqtt.password_file" in message


def test_a_topic_that_may_not_be_written_stops_with_the_right_that_is_missing(broker):
    message = stopped("rights", address(broker), topics=Topics("headnod", "bar"))
    assert message.startswith("headnod/bar/estimate may not be written: not authorized")
    assert "user 'kitchen' must write headnod/bar/#" in message


def test_commands_that_would_not_arrive_stop_the_round_trip(broker):
    broker.allow("pattern write headnod/%u/#")
    broker.restart()
    message = stopped("round trip", address(broker))
    assert "user 'kitchen' must read headnod/kitchen/set/+ and headnod/kitchen/request/+" in message


def test_a_listener_that_may_not_command_itself_is_only_warned(broker):
    broker.allow("pattern write headnod/%u/estimate\npattern read headnod/%u/request/+")
    broker.restart()
    steps = walk(address(broker))
    assert (steps[-1].part, steps[-1].verdict) == ("round trip", "warning")
    assert "headnod/kitchen/request/test may not be written" in steps[-1].message


def test_mqtt_3_cannot_tell_of_rights_but_the_round_trip_does(broker):
    steps = walk(address(broker, protocol=4))
    assert (steps[4].part, steps[4].verdict) == ("rights", "warning")
    assert steps[5].verdict == "well"
    *_, last = walk(address(broker, protocol=4), topics=Topics("headnod", "bar"))
    assert (last.part, last.verdict) == ("round trip", "fault")


def test_a_frozen_broker_stops_the_walk(broker):
    broker.freeze()
    assert "does not answer within 1 s" in stopped("login", address(broker))


def test_nothing_of_the_walk_is_left_on_the_broker(broker):
    walk(address(broker))
    with Subscriber(broker, "headnod/#", user="kitchen", password=SECRET) as subscriber:
        subscriber.publish(KITCHEN.response("end"), "end")
        subscriber.until(lambda message: message.payload == b"end", 60.0)
        assert len(subscriber.messages) == 1


def test_a_listener_that_runs_is_not_thrown_out(broker):
    with Subscriber(broker, "headnod/kitchen/#", name="kitchen", user="kitchen", password=SECRET) as listener:
        assert walk(address(broker))[-1].verdict == "well"
        assert listener.until(lambda message: message.topic == KITCHEN.estimate, 60.0).payload == b""
    assert "already connected" not in broker.log
