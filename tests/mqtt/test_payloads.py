"""Payloads: flat JSON, numbers as numbers, and nothing for unknown values."""

import json
import re
from datetime import datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnod.factory.mqtt_factory import latest
from headnod.mqtt.payloads import EstimatePayload, encode, estimate_payload, json_schema, scores
from headnod.mqtt.topics import score_keys
from headnod.pipeline.estimate import HeldBy
from support.estimates import TAGS, estimate, silence, tagged
from support.mqtt_payloads import health, info, song


def told(given, **changes):
    return json.loads(encode(estimate_payload(msgspec.structs.replace(given, **changes), node="kitchen", boot="b1")))


def test_an_estimate_is_reported_with_all_that_is_known_of_it():
    said = told(
        estimate("jazz", jazz=0.7, blues=0.2, pop=0.1),
        sequence=41,
        raw_genre="blues",
        raw_confidence=0.5,
        monotonic=12.5,
        latency=81.25,
    )
    assert said["id"] == "kitchen-b1-41"
    assert (said["node"], said["boot"], said["seq"], said["schema"]) == ("kitchen", "b1", 41, 1)
    assert (said["genre"], said["confidence"], said["music"]) == ("jazz", 0.7, True)
    assert (said["raw_genre"], said["raw_confidence"]) == ("blues", 0.5)
    assert (said["runner_up"], said["margin"]) == ("blues", 0.5)
    assert (said["monotonic"], said["latency_ms"]) == (12.5, 81.25)
    assert (said["model"], said["state"], said["replayed"]) == ("genre-0.1.0", "listening", False)


def test_every_label_has_its_score_as_a_scalar():
    said = told(estimate("jazz", jazz=0.7, pop=0.3))
    assert {key: said[key] for key in said if key.startswith("scores_")} == {
        f"scores_{label}": {"jazz": 0.7, "pop": 0.3}.get(label, 0.0)
        for label in ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
    }


def test_an_estimate_is_flat():
    assert not [value for value in told(estimate("jazz", jazz=1.0)).values() if isinstance(value, dict | list)]


def test_tags_energy_and_what_held_a_genre_back_are_reported():
    said = told(tagged("jazz", jazz=0.7), held_by=HeldBy.LEAD)
    assert list(said["tags"].items()) == list(TAGS.items())
    assert (said["energy"], said["held_by"]) == (0.36, "lead")


def test_of_a_model_without_tags_nothing_is_reported_them():
    said = told(estimate("jazz", jazz=0.7))
    assert not {"tags", "energy"} & said.keys()
    assert said["held_by"] == "none"
    assert told(silence())["held_by"] == "silence"


def test_its_time_is_iso_8601_with_its_zone_and_seconds_since_1970():
    said = told(estimate("jazz", jazz=1.0))
    assert said["ts"] == "2026-11-22T00:00:00Z"
    assert said["time_unix"] == datetime.fromisoformat(said["ts"]).timestamp()


def test_silence_has_no_genre_and_no_runner_up():
    said = told(silence())
    assert (said["genre"], said["runner_up"], said["confidence"], said["margin"]) == ("silence", "silence", 0.0, 0.0)
    assert said["music"] is False


def test_a_reader_of_the_struct_leaves_alone_what_it_does_not_know():
    wire = encode(estimate_payload(estimate("jazz", jazz=1.0), node="kitchen", boot="b1"))
    assert msgspec.json.decode(wire, type=EstimatePayload).genre == "jazz"


def test_labels_that_come_to_the_same_key_are_numbered():
    assert scores({"r&b": 0.5, "r-b": 0.3, "r b": 0.2}) == {"scores_r_b": 0.5, "scores_r_b_2": 0.3, "scores_r_b_3": 0.2}


@pytest.mark.parametrize(
    ("label", "key"),
    [
        ("Hip-Hop", "hip_hop"), ("Música", "musica"), ("R&B", "r_b"), ("Straße", "strasse"), ("80s", "80s"),
        ("日本", "c7b7cdcc"), ("日本 pop", "pop_6c8f25e7"), ("🎸", "31d7b80d"), ("🎸 rock", "rock"), ("--", "242c1465"),
        ("b" * 64, "b" * 64), ("ß" * 33, "s" * 64), ("ß" * 32, "s" * 64),
    ],
)  # fmt: skip
def test_a_label_in_any_script_has_a_key_of_small_letters(label, key):
    assert score_keys((label, "jazz")) == (f"scores_{key}", "scores_jazz")


@given(st.lists(st.text(min_size=1, max_size=64), max_size=12, unique=True))
def test_keys_are_distinct_and_fit_the_schema(labels):
    pattern = next(iter(json_schema()["$defs"]["EstimatePayload"]["patternProperties"]))
    keys = score_keys(tuple(labels))
    assert len(set(keys)) == len(labels)
    assert all(re.fullmatch(pattern, key) and len(key) < 90 for key in keys)


@given(st.dictionaries(st.text(max_size=6), st.floats(0, 1), max_size=12))
def test_no_score_is_lost(of):
    assert list(scores(of).values()) == list(of.values())


def test_what_is_absent_is_left_out():
    assert "temperature_c" not in json.loads(encode(health(temperature_c=None)))
    assert json.loads(encode(health()))["temperature_c"] == 51.1


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_does_not_know_is_left_out_and_not_null(number):
    said = json.loads(encode(health(memory_mb=number)))
    assert "memory_mb" not in said
    assert None not in said.values()


def test_a_payload_ends_with_its_brace():
    for payload in (info(), health(), song()):
        assert encode(payload)[-1:] == b"}"


@pytest.mark.parametrize(
    ("model", "models", "newest"),
    [
        ("genre-0.9.0", ["genre-0.9.0", "genre-0.10.0"], "genre-0.10.0"),
        ("genre-0.9.0", ["mood-2.0.0"], "genre-0.9.0"),
        ("genre-lite-1.0.0", ["genre-2.0.0", "genre-lite-1.0.1"], "genre-lite-1.0.1"),
        ("genre-2.0.0", [], "genre-2.0.0"),
    ],
)
def test_the_newest_model_is_the_highest_version_of_the_same_name(model, models, newest):
    assert latest(model, models) == newest
