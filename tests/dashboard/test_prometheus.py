"""The metrics of Prometheus, read by Prometheus's own parser."""

import json

from prometheus_client.parser import text_string_to_metric_families

from headnod import __version__
from headnod.dashboard.api import MEDIA, exposition
from support.browser import ListenerPage, information, song


def samples(text):
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def read(listeners):
    return samples(exposition(listeners.all.values()))


def test_a_listener_is_described(listeners):
    listeners.publish("status", b"online")
    listeners.publish("info", information("jazz", "rock"))
    listeners.publish_estimate("jazz", jazz=0.8, rock=0.125)
    listeners.publish("song", song("jazz", ended=listeners.now))
    listeners.publish(
        "health", json.dumps({"state": "listening", "memory_mb": 60.0, "cpu_percent": 3.0, "dropped_s": 1.5}).encode()
    )
    found = read(listeners)
    assert found["headnod_online", "kitchen"] == 1
    assert found["headnod_genre", "jazz", "kitchen"] == 1
    assert found["headnod_genre", "kitchen", "rock"] == 0
    assert found["headnod_score_ratio", "kitchen", "rock"] == 0.125
    assert found["headnod_level_dbfs", "kitchen"] == -20
    assert found["headnod_estimate_timestamp_seconds", "kitchen"] == listeners.now
    assert found["headnod_songs_today", "jazz", "kitchen"] == 1
    assert found["headnod_songs_today_seconds", "jazz", "kitchen"] == 200
    assert found["headnod_memory_bytes", "kitchen"] == 60 * 2**20
    assert found["headnod_dropped_audio_seconds_total", "kitchen"] == 1.5
    assert found["headnod_state", "kitchen", "listening"] == 1
    assert found["headnod_build_info", __version__] == 1


def test_what_is_not_known_is_left_out(listeners):
    listeners.publish("status", b"offline")
    names = {name for name, *_ in read(listeners)}
    assert names == {"headnod_online", "headnod_build_info"}
    assert ("headnod_temperature_celsius", "kitchen") not in read(listeners)


def test_a_label_may_have_any_character(listeners):
    listeners.publish("info", information('R"n\\B', "日本"))
    listeners.publish_estimate('R"n\\B')
    assert read(listeners)["headnod_genre", 'R"n\\B', "kitchen"] == 1
    assert read(listeners)["headnod_genre", "kitchen", "日本"] == 0


def test_every_listener_has_its_samples_under_one_head(listeners):
    for node in ("kitchen", "porch"):
        listeners.publish_estimate("jazz", node=node)
    text = exposition(listeners.all.values())
    assert text.count("# TYPE headnod_genre gauge") == 1
    assert read(listeners)["headnod_genre", "jazz", "porch"] == 1


def test_a_real_listener_is_measured():
    with ListenerPage() as page:
        page.sends(lambda one: one.get("now"))
        answer = page.get("/metrics")
        assert (answer.status, answer.headers["Content-Type"]) == (200, MEDIA)
        assert samples(answer.read().decode())["headnod_online", "kitchen"] == 1
