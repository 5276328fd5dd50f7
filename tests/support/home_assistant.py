"""A stand-in for Home Assistant: takes discovery messages by its rules, and shows what its entities would.

The rules are those of its documentation and of release 2025.12
(https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery). It is stricter in one thing: an option that
Home Assistant would leave out without a word is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from support.home_assistant_schema import (
    CLASSES,
    DEVICE,
    ENTITY_ID,
    EVERY,
    ICON,
    NEEDED,
    OPTIONS,
    ORIGIN,
    SHARED,
    SHORT,
    TOPIC,
    UNITS,
    UPDATE_STATE,
)


class Refused(Exception):  # noqa: N818 - as Home Assistant would say it
    """Home Assistant would log this and show nothing."""


@dataclass(frozen=True)
class Entity:
    """One entity, as it was discovered."""

    platform: str
    options: Mapping[str, Any]

    def state(self, payload: bytes) -> object:  # noqa: PLR0911 - one for each platform
        """What it shows after this message on its state topic; None for a value that is not known."""
        shown = _render(self.options.get("value_template", "{{ value }}"), payload)
        match self.platform:
            case "sensor":
                return self._reading(shown)
            case "binary_sensor" | "switch":
                on, off = self.options.get("payload_on", "ON"), self.options.get("payload_off", "OFF")
                _demand(shown in {on, off}, f"{shown!r} is neither {on!r} nor {off!r}")
                return shown == on
            case "number":
                value = float(shown)
                _demand(self.options["min"] <= value <= self.options["max"], f"{value} is out of range")
                return value
            case "select":
                _demand(shown in self.options["options"], f"{shown!r} is none of {self.options['options']}")
                return shown
            case "event":
                said = json.loads(shown)
                _demand(said.get("event_type") in self.options["event_types"], f"{said} is none of the event types")
                return said
            case "light":
                return self._light(payload)
            case _:
                said = json.loads(shown)
                _demand(said.keys() <= UPDATE_STATE, f"{said.keys() - UPDATE_STATE} in the state of an update")
                _demand(all(isinstance(value, str) for value in said.values()), f"{said} has more than text")
                return said

    def attributes(self, payload: bytes) -> dict[str, Any]:
        """Its attributes after this message on their topic."""
        return json.loads(_render(self.options["json_attributes_template"], payload))

    def _light(self, payload: bytes) -> dict[str, object]:
        state, brightness, effect = (
            _render(self.options[f"{part}_template"], payload) for part in ("state", "brightness", "effect")
        )
        _demand(state in {"on", "off"}, f"{state!r} is neither on nor off")
        _demand(0 <= int(brightness) <= 255, f"{brightness} is no brightness")
        _demand(effect in self.options["effect_list"], f"{effect!r} is no effect")
        return {"on": state == "on", "brightness": int(brightness), "effect": effect}

    def switched(self, *, on: bool, **how: object) -> bytes:
        """What a light publishes when a person switches it."""
        template = self.options["command_on_template" if on else "command_off_template"]
        return _environment().from_string(template).render(**how).encode()

    def command(self, value: object) -> bytes:
        """What it publishes when a person sets this value."""
        return _environment().from_string(self.options["command_template"]).render(value=value).encode()

    def _reading(self, shown: str) -> object:
        if shown == "None":
            return None
        if "options" in self.options:
            _demand(shown in self.options["options"], f"{shown!r} is none of {self.options['options']}")
        numeric = {"unit_of_measurement", "state_class", "suggested_display_precision"} & self.options.keys()
        return float(shown) if numeric else shown


class HomeAssistant:
    """What it knows from the messages on its topics."""

    def __init__(self, prefix: str = "homeassistant"):
        self._prefix = prefix
        self._found: dict[str, dict[str, Entity]] = {}

    @property
    def entities(self) -> dict[str, Entity]:
        """Every entity by its entity id."""
        return {
            entity.options["default_entity_id"]: entity for found in self._found.values() for entity in found.values()
        }

    def receive(self, topic: str, payload: bytes) -> None:
        """Take one message; refuse what Home Assistant would refuse."""
        found = TOPIC.match(topic.removeprefix(f"{self._prefix}/"))
        _demand(topic.startswith(f"{self._prefix}/") and found is not None, f"{topic} is no discovery topic")
        if not payload:
            self._found.pop(topic, None)
            return
        said = _unabbreviated(json.loads(payload))
        if said == {"migrate_discovery": True}:
            self._found.pop(topic, None)
            return
        components = _of_device(said) if found["kind"] == "device" else {"": {**said, "platform": found["kind"]}}
        self._found[topic] = {key: _entity(options) for key, options in components.items()}
        known = [entity.options["unique_id"] for found in self._found.values() for entity in found.values()]
        _demand(len(known) == len(set(known)), f"{topic} has a unique id that is taken")


def _of_device(said: dict[str, Any]) -> dict[str, dict[str, Any]]:
    for needed in ("device", "origin", "components"):
        _demand(needed in said, f"a device needs {needed}")
    _demand(said.keys() <= {"device", "origin", "components", "qos", "encoding", *SHARED}, f"{said.keys()} in a device")
    inherited = {key: value for key, value in said.items() if key in {*SHARED, "device", "origin"}}
    return {key: {**inherited, **options} for key, options in said["components"].items()}


def _entity(options: dict[str, Any]) -> Entity:
    platform = options.pop("platform", None)
    _demand(platform in OPTIONS, f"{platform} is no platform")
    known = EVERY | OPTIONS[platform]
    _demand(options.keys() <= known, f"{platform} knows no {options.keys() - known}")
    for needed in ("unique_id", "default_entity_id", "device", *NEEDED[platform]):
        _demand(needed in options, f"{platform} needs {needed}")
    _demand("name" in options, "an entity without a name is called by its platform")
    _belongs(options)
    _can_be_found(options, platform)
    _is_classed(options, platform)
    return Entity(platform, options)


def _belongs(options: dict[str, Any]) -> None:
    device, origin = options["device"], options["origin"]
    _demand(device.keys() <= DEVICE, f"{device.keys() - DEVICE} in device")
    _demand(bool(device.get("identifiers") or device.get("connections")), "a device needs identifiers or connections")
    _demand(origin.keys() <= ORIGIN and "name" in origin, f"{origin} is no origin")
    _demand(not {"availability", "availability_topic"} <= options.keys(), "availability is told in two ways")
    for place in options.get("availability", ()):
        _demand(
            place.keys() <= {"topic", "payload_available", "payload_not_available"} and "topic" in place, str(place)
        )
    for key, topic in options.items():
        _demand(not key.endswith("_topic") or not set(topic) & set("+# \0"), f"{topic} is no topic")


def _can_be_found(options: dict[str, Any], platform: str) -> None:
    entity_id, name = options["default_entity_id"], options["name"]
    _demand(bool(ENTITY_ID.match(entity_id)) and entity_id.startswith(f"{platform}."), f"{entity_id} is no entity id")
    _demand(name is None or options["device"]["name"] not in name, f"{name} repeats the name of the device")
    _demand("icon" not in options or bool(ICON.match(options["icon"])), "an icon is mdi: and a name")


def _is_classed(options: dict[str, Any], platform: str) -> None:
    kind, unit = options.get("device_class"), options.get("unit_of_measurement")
    _demand(kind is None or kind in CLASSES[platform], f"{kind} is no class of a {platform}")
    _demand(unit is None or kind not in UNITS or unit in UNITS[kind], f"{kind} is not measured in {unit}")
    _demand(kind not in UNITS or unit is not None, f"{kind} needs a unit")
    category = options.get("entity_category")
    readable = platform in {"sensor", "binary_sensor"}
    _demand(
        category in ({None, "diagnostic"} if readable else {None, "config", "diagnostic"}), f"{category} {platform}"
    )
    if platform == "sensor" and ("options" in options or kind == "enum"):
        _demand(bool(options.get("options")), "an enum needs options")
        _demand(len(set(options["options"])) == len(options["options"]), "an option stands there twice")
        _demand(kind == "enum", "options are for an enum")
        _demand(not {"state_class", "unit_of_measurement"} & options.keys(), "an enum has no unit and no state class")
    _demand(options.get("state_class", "measurement") in {"measurement", "total_increasing"}, "no such state class")
    expire = options.get("expire_after", 1)
    _demand(isinstance(expire, int) and expire > 0, f"{expire} is no number of whole seconds")
    if platform == "number":
        _demand(options["min"] < options["max"] and options["step"] >= 0.001, "a number needs a range and a step")


def _unabbreviated(said: Any) -> Any:
    if isinstance(said, list):
        return [_unabbreviated(part) for part in said]
    if not isinstance(said, dict):
        return said
    return {SHORT.get(key, key): _unabbreviated(value) for key, value in said.items()}


def _render(template: str, payload: bytes) -> str:
    value = payload.decode()
    try:
        value_json = json.loads(value)
    except ValueError:
        value_json = None
    return _environment().from_string(template).render(value=value, value_json=value_json)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
    environment.filters["to_json"] = json.dumps
    environment.filters["timestamp_custom"] = lambda at, form, _local: datetime.fromtimestamp(at, UTC).strftime(form)
    return environment


def _demand(kept: bool, otherwise: str) -> None:  # noqa: FBT001 - an assertion
    if not kept:
        raise Refused(otherwise)
