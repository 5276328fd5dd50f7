"""TLS: nothing is sent to a broker that is not verified, and never in plain text instead."""

import random
import ssl
import threading
import time

import pytest

from headnod.errors import ConfigError
from headnod.mqtt.broker import Broker as Where
from headnod.mqtt.broker import Tls, unreachable_ending
from headnod.mqtt.client import CLOCK_CHECK, MqttClient
from headnod.retry import Cause
from support.certificates import Authority
from support.mqtt_broker import Broker
from support.mqtt_connection import Outcomes, connected, refused, until
from support.tcp_proxy import Proxy


@pytest.fixture
def secured(tmp_path, authority, opened):
    """A broker that speaks TLS, and a proxy in front of it that sees every byte."""

    def make(*, expired=False, addresses="DNS:localhost,IP:127.0.0.1", **how):
        name = f"server-{expired}-{len(addresses)}"
        certificate = authority.issue(name, addresses=addresses, expired=expired)
        broker = opened.enter_context(Broker(tmp_path / name, certificate=certificate, **how))
        return broker, opened.enter_context(Proxy(broker.port))

    return make


def test_tls_with_our_authority_works(secured, authority, linked):
    broker, proxy = secured()
    told = Outcomes()
    link = until(linked(broker, port=proxy.port, tls=Tls(ca=authority.file)), connected)
    link.publish("a/b", b"estimate", acknowledged=told)
    assert told.until(1) == [None]
    assert b"estimate" not in proxy.sent


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("expired", "certificate has expired"),
        ("foreign", "unable to get local issuer certificate"),
        ("other host", "ip address mismatch"),
        ("plain", "no tls with it"),
    ],
)
def test_a_certificate_that_is_not_believed_means_nothing_is_sent(
    fault, reason, secured, authority, tmp_path, linked, caplog
):
    trusted, plain = authority.file, None
    if fault == "foreign":
        trusted = Authority(tmp_path / "theirs", name="another authority").file
    if fault == "plain":
        plain = Broker(tmp_path / "plain")
        broker, proxy = plain, Proxy(plain.port)
    else:
        addresses = "DNS:elsewhere.example" if fault == "other host" else "DNS:localhost,IP:127.0.0.1"
        broker, proxy = secured(expired=fault == "expired", addresses=addresses)
    link = linked(broker, port=proxy.port, tls=Tls(ca=trusted), username="kitchen", password="secret")
    until(link, refused)
    assert reason in link.reason.lower()
    link.publish("a/b", b"estimate")
    link.close()
    assert b"MQTT" not in proxy.sent, "no CONNECT may go out, encrypted or not"
    assert b"secret" not in proxy.sent
    assert proxy.connections == 1
    assert sum("no connection" in record.getMessage() for record in caplog.records) == 1
    if plain is not None:
        proxy.close()
        plain.kill()


def test_a_broker_that_wants_a_certificate_gets_ours(secured, authority, linked):
    broker, _ = secured(authority=authority.file)
    own = authority.issue("kitchen")
    link = until(linked(broker, tls=Tls(authority.file, own.file, own.key)), connected)
    assert link.connected


def test_without_the_certificate_that_the_broker_wants_the_reason_is_reported(secured, authority, linked):
    broker, _ = secured(authority=authority.file)
    link = until(linked(broker, tls=Tls(authority.file)), refused)
    assert "mqtt.cert_file" in link.reason
    assert "[" not in link.reason
    assert "_ssl.c" not in link.reason


def test_insecure_is_reported_loudly(secured, linked, caplog):
    broker, _ = secured(expired=True)
    until(linked(broker, tls=Tls(insecure=True)), connected)
    assert "an attacker on the network can read what is published" in caplog.text


def test_tls_older_than_1_2_is_not_spoken(authority):
    assert Tls(ca=authority.file).context().minimum_version == ssl.TLSVersion.TLSv1_2
    assert Tls().context().minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_certificate_file_that_is_none_is_named(content, tmp_path):
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_text(content)
    where = Where("localhost", 8883, "kitchen", tls=Tls(ca=file))
    with pytest.raises(ConfigError, match=r"mqtt\.ca_file: .*ca\.crt"):
        MqttClient(where, rng=random.Random(1))


def test_a_certificate_that_our_clock_finds_invalid_is_tried_again_once_the_clock_is_set(secured, authority, linked):
    broker, proxy = secured(expired=True)
    set_by = [0.0]
    link = linked(broker, port=proxy.port, tls=Tls(ca=authority.file), wall=lambda: time.time() + set_by[0])
    until(link, lambda link: "has expired (the clock of this machine says 20" in link.reason)
    tried = proxy.connections
    threading.Event().wait(0.5)
    assert proxy.connections == tried
    set_by[0] = 68 * 86_400.0
    # It would be tried again after 10 s and more by itself, for that is the second wait.
    until(link, lambda _: proxy.connections > tried, within=CLOCK_CHECK + 2.0)


@pytest.mark.parametrize(
    ("code", "cause"), [(9, Cause.CLOCK), (10, Cause.CLOCK), (18, Cause.REFUSED), (62, Cause.REFUSED)]
)
def test_only_dates_wait_for_the_clock(code, cause):
    error = ssl.SSLCertVerificationError(1, "failed")
    error.verify_code, error.verify_message = code, "Certificate Is Wrong"
    ending = unreachable_ending(error)
    assert ending.cause is cause
    assert "certificate is wrong" in ending.reason
