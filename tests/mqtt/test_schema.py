"""The contract: fields keep name, type and unit, and the documents agree with the code."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from headnod.__main__ import main
from headnod.mqtt.homeassistant import discovery
from headnod.mqtt.payloads import PAYLOADS, SCHEMA, documented, encode, estimate_payload, json_schema
from support.estimates import estimate, silence
from support.mqtt_payloads import KITCHEN, RecordingControls, Sent, commands_for, health, info, song

ROOT = Path(__file__).parents[2]
FROZEN = json.loads((Path(__file__).parent / "contract.json").read_text(encoding="utf-8"))
"""What readers build on. A field may be added here, never changed or taken away while `schema` is 1."""


def contract():
    """Types by field and payload, and which fields are always there; and what else readers build on."""
    structs = json_schema()["$defs"]
    kinds = {
        name: {
            field: {key: of[key] for key in ("type", "format", "items") if key in of}
            | ({} if field in struct["required"] else {"absent": True})
            for field, of in struct["properties"].items()
        }
        for name, struct in structs.items()
    }
    ((_, device),) = discovery(info(), KITCHEN).items()
    entities = {entity["unique_id"]: entity["platform"] for entity in json.loads(device)["components"].values()}
    return {
        "schema": SCHEMA,
        "topics": {topic: of.__name__ for topic, of in PAYLOADS.items()},
        "payloads": kinds,
        "entities": entities,
    }


def test_nothing_that_readers_build_on_was_renamed_retyped_or_removed():
    now = contract()
    assert now["schema"] == FROZEN["schema"]
    assert {**now["topics"], **FROZEN["topics"]} == now["topics"]
    assert {**now["entities"], **FROZEN["entities"]} == now["entities"]
    for name, fields in FROZEN["payloads"].items():
        for field, of in fields.items():
            assert now["payloads"][name].get(field) == of, f"{name}.{field} (another schema version is needed)"


def test_what_was_added_is_frozen_too():
    assert contract() == FROZEN, "add it to tests/mqtt/contract.json"


def test_every_field_is_documented():
    for struct in json_schema()["$defs"].values():
        assert all(of["description"].endswith(".") for of in struct["properties"].values())


def test_the_document_is_up_to_date():
    text = (ROOT / "docs" / "mqtt.md").read_text(encoding="utf-8")
    assert documented(text) == text, "run: headnod mqtt docs docs/mqtt.md"
    assert all(f"<!-- {of.__name__}: " in text for of in PAYLOADS.values())


def test_the_document_names_every_entity():
    text = (ROOT / "docs" / "mqtt.md").read_text(encoding="utf-8")
    for unique_id, platform in contract()["entities"].items():
        key = unique_id.removeprefix("headnod_kitchen_")
        assert f"{platform}.<node>_{key}`" in text or f"`_{key}`" in text, key


def test_the_json_schema_is_up_to_date():
    written = (ROOT / "docs" / "mqtt.schema.json").read_text(encoding="utf-8")
    assert json.loads(written) == json_schema(), "run: headnod mqtt schema > docs/mqtt.schema.json"


def answer(topic, payload=b""):
    ((_, said),) = commands_for(RecordingControls()).handle(Sent(topic, payload))
    return said


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("estimate", encode(estimate_payload(estimate("jazz", jazz=0.7, pop=0.3), node="kitchen", boot="b1"))),
        ("state", encode(estimate_payload(silence(), node="kitchen", boot="b1"))),
        ("song", encode(song())),
        ("health", encode(health())),
        ("health", encode(health(temperature_c=None))),
        ("info", encode(info())),
        ("response", answer(KITCHEN.request("health"), b'{"transaction": "x"}')),
        ("response", answer(KITCHEN.setting("pause"), b"perhaps")),
    ],
)
def test_what_is_published_keeps_the_schema(topic, payload):
    said = json.loads(payload)
    judge = jsonschema.Draft202012Validator(json_schema(), format_checker=jsonschema.FormatChecker())
    judge.validate({topic: said})
    for field in json_schema()["$defs"][PAYLOADS[topic].__name__]["required"]:
        spoilt = {key: value for key, value in said.items() if key != field}
        assert not judge.is_valid({topic: spoilt}), field


def test_the_schema_itself_is_one():
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_the_schema_is_printed(capsys):
    assert main(["mqtt", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


def test_a_stale_document_is_brought_up_to_date_and_nothing_else_is_touched(tmp_path):
    file = tmp_path / "mqtt.md"
    file.write_text("before\n<!-- SongPayload: made -->\nold\n<!-- end -->\nafter\n", encoding="utf-8")
    assert main(["mqtt", "docs", str(file)]) == 0
    text = file.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- SongPayload: made -->\n\n| field |")
    assert "| `stability` | number |" in text
    assert text.endswith("\n\n<!-- end -->\nafter\n")
    assert "old" not in text


def test_a_document_that_is_not_there_is_one_line(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "headnod", "mqtt", "docs", tmp_path / "no.md"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (78, "")
    assert ended.stderr.count("\n") == 1
    assert str(tmp_path / "no.md") in ended.stderr
