"""The doubles of headnod.testing behave as what they take the place of."""

import pytest
from paho.mqtt.client import topic_matches_sub

from headnod import Estimate, GenreModel, ListenerSettings, listen
from headnod.outputs.leds import LedSink
from headnod.testing import FixedModel, ManualClock, MemoryBroker, MemoryMessage, MockLamp
from support.estimates import estimate
from support.signals import music


def test_a_fixed_model_has_every_public_name_of_a_real_one(model):
    public = {name for name in dir(GenreModel) if not name.startswith("_")} - {"load", "logits", "tags"}
    assert public <= set(dir(FixedModel([1.0, 0.0])))
    assert type(FixedModel([1.0, 0.0]).predict(model.front_end.mfcc(music(3.0)))) is type(
        model.predict(model.front_end.mfcc(music(3.0)))
    )


def test_a_fixed_model_names_what_its_scores_say_window_by_window():
    clock = ManualClock()
    results = listen([music(15.0)], FixedModel([0.9, 0.1], [0.2, 0.8]), ListenerSettings(smoothing=0.0), now=clock.now)
    assert [result.genre for result in results if isinstance(result, Estimate)][:3] == ["jazz", "metal", "metal"]


def test_a_mock_lamp_keeps_the_frames_of_lights_and_ends_dark():
    lamp = MockLamp(20)
    lights = LedSink(lamp)
    lights.show(estimate("jazz", jazz=0.9, metal=0.1))
    lights.frame(1.0)
    assert lamp.lit > 0
    lights.close()
    assert (lamp.lit, lamp.closed) == (0, True)


@pytest.mark.parametrize(
    "pattern", ["#", "+", "a/#", "a/+", "+/+", "a/b", "+/b/#", "a/+/c", "/", "+/", "$SYS/#", "a/b/c/#"]
)
def test_a_memory_broker_matches_topics_as_paho_does(pattern):
    topics = ("a", "a/b", "a/b/c", "/", "a/", "/b", "b", "$SYS/x", "a//c")
    broker, received = MemoryBroker(), []
    broker.subscribe(pattern, received.append)
    for topic in topics:
        broker.publish(topic, b"1")
    assert [message.topic for message in received] == [each for each in topics if topic_matches_sub(pattern, each)]


def test_a_memory_broker_keeps_the_last_retained_message_of_a_topic_until_it_is_deleted():
    broker, received = MemoryBroker(), []
    for payload in (b"1", b"2"):
        broker.publish("a/b", payload, retain=True)
    broker.publish("a/c", b"3")
    broker.subscribe("a/+", received.append)
    broker.publish("a/b", b"", retain=True)
    assert received == [MemoryMessage("a/b", b"2", retain=True), MemoryMessage("a/b", b"")]
    assert broker.retained == {}
