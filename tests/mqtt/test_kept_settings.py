"""Pause, threshold and brightness over a restart, with a real broker and a real listener."""

import json
import signal
import socket

import pytest
from msgspec.structs import replace

from headnod.config import Config
from headnod.remote_controls import InForce, SavedSettings
from headnod.resources import demo_clip
from headnod.runtime import Runtime
from support.listener_process import STARTING
from support.mqtt_broker import Subscriber
from support.mqtt_publisher import until

NODE = "headnod/kitchen"
SETTINGS = {"threshold": ("certainty", 0.9), "brightness": ("brightness", 0.25), "pause": ("paused", True)}


def told(subscriber, **wanted):
    def fits(message):
        said = json.loads(message.payload) if message.topic.endswith("/info") else {}
        return all(said.get(key) == value for key, value in wanted.items())

    subscriber.until(fits, 60.0)


def test_what_was_set_applies_after_a_restart_until_it_is_reset(broker, subscriber, listening, opened):
    listener = listening(broker.port)
    subscriber.until_on("/estimate", 1, STARTING)
    for key, (_, value) in SETTINGS.items():
        subscriber.publish(f"{NODE}/set/{key}", json.dumps(value))
    told(subscriber, **dict(SETTINGS.values()))
    listener.until(lambda said: said["state"] == "paused", 60.0)
    listener.send(signal.SIGTERM)
    assert listener.ended(5.0)[0] == 0
    later = opened.enter_context(Subscriber(broker, name="later"))
    again = listening(broker.port)
    again.until(lambda said: said["state"] == "paused", STARTING)
    told(later, **dict(SETTINGS.values()))
    assert not later.on("/estimate")
    later.publish(f"{NODE}/request/reset", "")
    told(later, paused=False, brightness=Config().brightness)
    later.until_on("/estimate", 1, 60.0)


@pytest.mark.parametrize("supervised", [False, True], ids=["by itself", "by systemd"])
def test_a_restart_keeps_what_was_set_and_is_a_new_run(
    supervised, broker, subscriber, listening, environment, tmp_path
):
    if supervised:
        address = tmp_path / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(address))
            environment["NOTIFY_SOCKET"] = str(address)
            listener = listening(broker.port)
            request_restart(subscriber)
            # systemd starts a service again that has ended.
            assert listener.ended(60.0)[0] == 0
        return
    listener = listening(broker.port)
    request_restart(subscriber)
    told(subscriber, certainty=0.9)
    (first, *_), later = runs(subscriber), lambda: len(runs(subscriber)) > 1
    until(later)
    assert runs(subscriber)[0] == first
    told(subscriber, certainty=0.9, boot=runs(subscriber)[1])
    subscriber.until(
        lambda message: message.topic.endswith("/estimate") and runs(subscriber)[1].encode() in message.payload, 60.0
    )
    assert listener.process.poll() is None


def request_restart(subscriber):
    subscriber.until_on("/estimate", 1, STARTING)
    subscriber.publish(f"{NODE}/set/threshold", "0.9")
    subscriber.publish(f"{NODE}/request/restart", "")
    assert json.loads(subscriber.until_on("/response/restart", 1, 60.0)[0])["status"] == "ok"


def runs(subscriber):
    """The names of all runs of the listener so far."""
    return list(dict.fromkeys(json.loads(payload)["boot"] for payload in subscriber.on("/info")))


def configured(state, host):
    plain = Config()
    history = replace(plain.history, path=str(state / "history.sqlite"))
    return replace(plain, mqtt=replace(plain.mqtt, host=host, port=1), history=history)


def test_a_pause_outlives_a_reload_and_ends_where_there_is_no_broker_any_more(tmp_path, caplog, capsys):
    config = configured(tmp_path, "127.0.0.1")
    SavedSettings(tmp_path).save(config, InForce(config, paused=True))
    with Runtime(config, str(demo_clip()), None) as runtime:
        runtime.show_on_terminal("json", "")
        for host, paused in (("127.0.0.1", True), ("localhost", True), ("", False)):
            runtime.reload(lambda host=host: configured(tmp_path, host))
            runtime.listen(until=lambda: True)
            assert ('"paused"' in capsys.readouterr().out.splitlines()[-1]) is paused
    assert "no command could end it" in caplog.text
