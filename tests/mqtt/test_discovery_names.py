"""Names of listeners and installations: no two share an id, and an invalid one is refused early."""

import pytest

from headnod.errors import ConfigError
from headnod.mqtt.homeassistant import birth, discovery
from headnod.mqtt.topics import Topics
from support.home_assistant import HomeAssistant
from support.mqtt_payloads import KITCHEN, info


def test_two_listeners_do_not_meet():
    home = HomeAssistant()
    for node in ("kitchen", "cellar"):
        for topic, payload in discovery(info(node=node), Topics("headnod", node)).items():
            home.receive(topic, payload)
    assert {"sensor.kitchen_genre", "sensor.cellar_genre"} <= home.entities.keys()


@pytest.mark.parametrize("prefix", ["", "home assistant", "home/#", "/home"])
def test_a_prefix_that_no_topic_may_have_is_refused(prefix):
    with pytest.raises(ConfigError, match=r"mqtt\.discovery_prefix"):
        discovery(info(), KITCHEN, prefix=prefix)


def test_nothing_of_ours_stands_under_the_prefix_but_discovery():
    with pytest.raises(ConfigError, match=r"mqtt\.base"):
        discovery(info(), Topics("homeassistant/headnod", "kitchen"))


def test_another_prefix_is_used_throughout():
    assert list(discovery(info(), KITCHEN, prefix="ha")) == ["ha/device/headnod_kitchen/config"]
    assert birth("ha") == "ha/status"


def test_listeners_of_two_bases_with_one_name_have_entities_of_their_own():
    home = HomeAssistant()
    for base in ("headnod", "house/one", "house/two"):
        for topic, payload in discovery(info(), Topics(base, "kitchen")).items():
            home.receive(topic, payload)
    names = {f"sensor.{base}kitchen_genre" for base in ("", "house_one_", "house_two_")}
    assert names <= home.entities.keys()
