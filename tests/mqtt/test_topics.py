"""Topics: names contain letters, digits, hyphens and underscores only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnod.errors import ConfigError
from headnod.mqtt.topics import Topics, slug

WRONG = ["", "a b", "a+", "#", "a/#", "/a", "a/", "a//b", "küche", "a\n", "a\x00", "$SYS", "a.b", "x" * 65]


def test_topics_stand_under_base_and_node():
    topics = Topics("house/headnod", "kitchen-1")
    assert topics.state == "house/headnod/kitchen-1/state"
    assert topics.setting("pause") == "house/headnod/kitchen-1/set/pause"
    assert topics.requests == "house/headnod/kitchen-1/request/+"
    assert topics.response("health") == "house/headnod/kitchen-1/response/health"


@pytest.mark.parametrize("name", [*WRONG, "a/b"])
def test_a_node_that_is_no_plain_word_is_refused_by_name(name):
    with pytest.raises(ConfigError, match=r"mqtt\.node"):
        Topics("headnod", name)


@pytest.mark.parametrize("name", [*WRONG, "/".join("abcdefghi")])
def test_a_base_that_is_no_plain_words_is_refused_by_name(name):
    with pytest.raises(ConfigError, match=r"mqtt\.base"):
        Topics(name, "kitchen")


@given(st.text(max_size=8))
def test_whatever_is_taken_for_a_node_is_one_level_without_wildcards(name):
    try:
        topics = Topics("headnod", name)
    except ConfigError:
        return
    assert not set(topics.state.removeprefix("headnod/").removesuffix("/state")) & set("/+# \0")


@pytest.mark.parametrize(
    ("label", "key"), [("hiphop", "hiphop"), ("r&b", "r_b"), ("Drum 'n' Bass", "drum_n_bass"), ("--", "_")]
)
def test_a_label_becomes_a_key_of_small_letters_and_underscores(label, key):
    assert slug(label) == key
