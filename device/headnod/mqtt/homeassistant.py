"""Home Assistant's MQTT discovery: the messages that make a listener appear there, and its entities.

One message with the whole device, or one per entity for installations from before
2024.11. Both give an entity the same id, so a change of form keeps it. Each entity is a
mapping of Home Assistant's own option names.
https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from headnod.errors import ConfigError
from headnod.escaping import SILENCE, UNKNOWN
from headnod.mqtt.commands import EFFECTS
from headnod.mqtt.payloads import InfoPayload, scores
from headnod.mqtt.topics import DEFAULT_BASE, OFFLINE, ONLINE, Topics, is_base, slug
from headnod.pipeline.estimate import State

Form = Literal["device", "component"]
"""One message per listener, or one per entity."""

Fits = Callable[[str, bytes], bool]
"""Whether the broker accepts a retained message of this topic and payload."""

PREFIX = "homeassistant"
"""Home Assistant's default discovery prefix."""

Entity = dict[str, Any]

_YEAR_9999 = 253_000_000_000
"""Seconds since 1970 beyond which there is no date."""

_MISSED_REPORTS = 4.5
"""Reports that may be missing before an entity becomes unavailable."""

_DIAGNOSTIC = {"entity_category": "diagnostic"}
_DISABLED = {**_DIAGNOSTIC, "enabled_by_default": False}
_MEASURED = {"state_class": "measurement"}
_COUNTED = {"state_class": "total_increasing"}
_WHOLE = {"suggested_display_precision": 0}
_SECONDS = {"device_class": "duration", "unit_of_measurement": "s", **_WHOLE, **_COUNTED, **_DISABLED}
_SONG = ("start", "end", "duration_s", "stability")
_MICROPHONE_PROBLEMS = (State.WAITING, State.DEAF, State.CLIPPING)


def discovery(
    info: InfoPayload,
    topics: Topics,
    *,
    prefix: str = PREFIX,
    form: Form = "device",
    fits: Fits = lambda _topic, _payload: True,
) -> dict[str, bytes]:
    """The discovery messages of a listener, to be retained, by topic.

    There is one message for the device, or one for each entity: in the form `component`, and where the broker does not
    accept a message of that size.

    Raises:
        ConfigError: The prefix is not a valid topic, or the listener's topics lie inside it.
    """
    check_prefix(prefix, topics)
    shared = _shared(info, topics)
    components = {key: _component(key, entity, topics) for key, entity in entities(info, topics).items()}
    if form == "device":
        topic = f"{prefix}/device/{object_id(topics)}/config"
        payload = msgspec.json.encode({**shared, "components": components})
        if fits(topic, payload):
            return {topic: payload}
    return {
        f"{prefix}/{entity.pop('platform')}/{object_id(topics)}/{key}/config": msgspec.json.encode(shared | entity)
        for key, entity in components.items()
    }


def object_id(topics: Topics) -> str:
    """Home Assistant's id of a listener: base and node, as in `headnod_kitchen`."""
    return f"{topics.base.replace('/', '_')}_{topics.node}"


def birth(prefix: str = PREFIX) -> str:
    """The topic on which Home Assistant publishes `online` after its start."""
    return f"{prefix}/status"


def check_prefix(prefix: str, topics: Topics) -> None:
    """Check a discovery prefix.

    Raises:
        ConfigError: It is not a valid topic, or the listener's topics lie inside it.
    """
    if not is_base(prefix):
        raise ConfigError(
            f"mqtt.discovery_prefix: '{prefix}' (letters, digits, hyphens and underscores, levels separated by /)"
        )
    if f"{topics.base}/".startswith(f"{prefix}/"):
        raise ConfigError(f"mqtt.base: '{topics.base}' lies inside mqtt.discovery_prefix '{prefix}' (choose another)")


def entities(info: InfoPayload, topics: Topics) -> dict[str, Entity]:
    """Every entity by its key, with its platform and without the options that all share."""
    return {**_estimates(info, topics), **_health(info, topics), **_info(topics), **_controls(info, topics)}


def json_template(values: dict[str, str]) -> str:
    """A template (Jinja) that makes one JSON object of these expressions.

    >>> json_template({"genre": "value_json.genre"})
    "{{ { 'genre': value_json.genre } | to_json }}"
    """
    inside = ", ".join(f"'{key}': {value}" for key, value in values.items())
    return f"{{{{ {{ {inside} }} | to_json }}}}"


def _shared(info: InfoPayload, topics: Topics) -> dict[str, Any]:
    return {
        "device": {
            "identifiers": [object_id(topics)],
            "name": topics.node,
            "manufacturer": "headnod",
            "model": "Music genre listener",
            "sw_version": info.version,
            **({"hw_version": info.board} if info.board else {}),
            **({"suggested_area": info.area} if info.area else {}),
            **({"configuration_url": info.page} if info.page else {}),
        },
        "origin": {"name": "headnod", "sw_version": info.version},
        # A list, so that one entity may override it: Home Assistant refuses list and single topic together.
        "availability": [
            {"topic": topics.status, "payload_available": ONLINE, "payload_not_available": OFFLINE},
        ],
        "qos": 1,
    }


def _component(key: str, entity: Entity, topics: Topics) -> Entity:
    # The entities of two bases with one node name differ. Home Assistant keeps the ids that it has.
    name = slug(topics.node if topics.base == DEFAULT_BASE else object_id(topics)).strip("_") or DEFAULT_BASE
    return {
        **entity,
        "unique_id": f"{object_id(topics)}_{key}",
        "default_entity_id": f"{entity['platform']}.{name}_{key}",
    }


def _entity(platform: str, name: str | None, template: str, **options: Any) -> Entity:  # noqa: ANN401 - of any type
    return {"platform": platform, "name": name, "value_template": template, **options}


def _sensor(name: str | None, expression: str, **options: Any) -> Entity:  # noqa: ANN401 - of any type
    return _entity("sensor", name, f"{{{{ {expression} }}}}", **options)


def _binary_sensor(name: str, condition: str, **options: Any) -> Entity:  # noqa: ANN401 - of any type
    return _entity("binary_sensor", name, f"{{{{ 'ON' if {condition} else 'OFF' }}}}", **options)


def _attributes(topic: str, *fields: str, **expressions: str) -> dict[str, str]:
    """Options that add these fields of the payload, or null, and these expressions as attributes."""
    values = {field: f"value_json.get('{field}')" for field in fields} | expressions
    return {"json_attributes_topic": topic, "json_attributes_template": json_template(values)}


def _unit(unit: str, **options: str) -> dict[str, Any]:
    return {"unit_of_measurement": unit, **options, **_WHOLE, **_MEASURED}


def _estimates(info: InfoPayload, topics: Topics) -> dict[str, Entity]:
    live = {"state_topic": topics.state, "expire_after": math.ceil(_MISSED_REPORTS * info.every_s)}
    # Home Assistant's database gets a row whenever an attribute changes: the genre has few that seldom change,
    # names of tags without their scores, and one decimal.
    seldom = _attributes(
        *(topics.state, "runner_up", "state", "model", "held_by"),
        tags="value_json.get('tags', {}) | list | sort",
        energy="value_json.energy | round(1) if 'energy' in value_json else none",
    )
    genre = {"icon": "mdi:music", "device_class": "enum", "options": [*info.labels, SILENCE, UNKNOWN]}
    song = {"icon": "mdi:playlist-music", "device_class": "enum", "options": [*info.labels]}
    every_score = _attributes(topics.state, *scores(dict.fromkeys(info.labels, 0.0)))
    confidence = "(value_json.confidence * 100) | round(1)"
    latency = _unit("ms", device_class="duration")
    return {
        "genre": _sensor(None, "value_json.genre", **genre, **seldom, **live),
        "confidence": _sensor("Confidence", confidence, **_unit("%", icon="mdi:percent"), **every_score, **live),
        "level": _sensor("Level", "value_json.level_dbfs", **_unit("dBFS", icon="mdi:volume-high"), **live),
        "music": _binary_sensor("Music", "value_json.music", device_class="sound", **live),
        "song": _sensor(
            "Last song",
            "value_json.genre",
            state_topic=topics.last_song,
            **song,
            **_attributes(topics.last_song, *_SONG),
        ),
        "song_event": _entity(
            "event",
            "Song ended",
            json_template({"event_type": "value_json.genre"} | {field: f"value_json.{field}" for field in _SONG}),
            state_topic=topics.song,
            event_types=[*info.labels],
            icon="mdi:playlist-music",
        ),
        "latency": _sensor("Latency", "value_json.latency_ms", **latency, **_DISABLED, **live),
    }


def _health(info: InfoPayload, topics: Topics) -> dict[str, Entity]:
    live = {"state_topic": topics.health, "expire_after": math.ceil(_MISSED_REPORTS * info.health_every_s)}
    shown = {**_DIAGNOSTIC, **live}
    problems = ", ".join(f"'{state}'" for state in _MICROPHONE_PROBLEMS)
    state = {"device_class": "enum", "options": [str(state) for state in State]}
    memory = _unit("MiB", device_class="data_size")
    # Home Assistant takes the text None for an unknown value.
    temperature, celsius = "value_json.get('temperature_c')", _unit("°C", device_class="temperature")
    return {
        "microphone": _binary_sensor(
            "Microphone",
            f"value_json.state in [{problems}]",
            device_class="problem",
            **_attributes(topics.health, "message"),
            **shown,
        ),
        "state": _sensor("State", "value_json.state", **state, **shown),
        "queue": _sensor("Queue", "value_json.queued", icon="mdi:tray-full", **_MEASURED, **shown),
        "discarded": _sensor("Discarded", "value_json.discarded", icon="mdi:tray-remove", **_COUNTED, **shown),
        "dropped": _sensor("Dropped sound", "value_json.dropped_s", **_SECONDS, **live),
        "uptime": _sensor("Uptime", "value_json.uptime_s", **_SECONDS, **live),
        "memory": _sensor("Memory", "value_json.memory_mb", **memory, **_DISABLED, **live),
        "temperature": _sensor("Temperature", temperature, **celsius, **shown),
    }


def _info(topics: Topics) -> dict[str, Entity]:
    static = {"state_topic": topics.info, **_DIAGNOSTIC}
    return {
        "connectivity": {
            "platform": "binary_sensor",
            "name": "Connectivity",
            "device_class": "connectivity",
            "state_topic": topics.status,
            "payload_on": ONLINE,
            "payload_off": OFFLINE,
            # The only entity that stays available while the listener is away.
            "availability": [],
            **_DIAGNOSTIC,
        },
        "version": _sensor("Version", "value_json.version", icon="mdi:tag", **static),
        "model": _sensor("Active model", "value_json.model", icon="mdi:brain", **static),
    }


def _controls(info: InfoPayload, topics: Topics) -> dict[str, Entity]:
    config = {"entity_category": "config"}
    changeable = {"state_topic": topics.info, **config}
    press = {"command_topic": topics.request("restart"), "payload_press": "{}", "device_class": "restart"}
    return {
        "threshold": _percentage("Certainty", "certainty", topics, "threshold", icon="mdi:tune"),
        # The light has it too.
        "brightness": _percentage(
            "Brightness", "brightness", topics, "brightness", icon="mdi:brightness-6", enabled_by_default=False
        ),
        "pause": _entity(
            "switch",
            "Pause",
            "{{ 'ON' if value_json.paused else 'OFF' }}",
            icon="mdi:pause",
            command_topic=topics.setting("pause"),
            **changeable,
        ),
        "select": _entity(
            "select",
            "Model",
            "{{ value_json.model }}",
            icon="mdi:brain",
            options=list(dict.fromkeys((*info.models, info.model))),
            command_topic=topics.request("activate"),
            command_template="{{ {'model': value} | to_json }}",
            **changeable,
        ),
        "restart": {"platform": "button", "name": "Restart", **press, **config},
        **({"lights": _lights(topics)} if info.lights is not None else {}),
        "update": _entity(
            "update",
            "Model update",
            json_template(
                {
                    "installed_version": _version("model", "serial"),
                    "latest_version": _version("latest_model", "latest_serial"),
                }
            ),
            command_topic=topics.request("activate"),
            payload_install=msgspec.json.encode({"model": info.latest_model}).decode(),
            # Not in the state: Home Assistant forgets what was there when discovery changes.
            title=info.latest_model,
            release_summary=info.offer or "",
            **changeable,
        ),
    }


def _percentage(name: str, field: str, topics: Topics, setting: str, **options: Any) -> Entity:  # noqa: ANN401 - of any type
    """A number from 0 to 100 % that changes a setting from 0 to 1."""
    return _entity(
        "number",
        name,
        f"{{{{ (value_json.{field} * 100) | round(0) }}}}",
        state_topic=topics.info,
        command_topic=topics.setting(setting),
        command_template="{{ value / 100 }}",
        entity_category="config",
        unit_of_measurement="%",
        min=0,
        max=100,
        step=1,
        **options,
    )


def _lights(topics: Topics) -> Entity:
    """The LEDs as a light with brightness and effect."""
    wanted = (
        "{% set brightness = ', \"brightness\": ' ~ (brightness / 255) | round(4) if brightness is defined else '' %}"
        "{% set effect = ', \"effect\": \"' ~ effect ~ '\"' if effect is defined else '' %}"
        '{"on": true{{ brightness }}{{ effect }}}'
    )
    return {
        "platform": "light",
        "name": "LEDs",
        "schema": "template",
        "icon": "mdi:led-strip-variant",
        "state_topic": topics.info,
        "state_template": "{{ 'on' if value_json.lights else 'off' }}",
        "brightness_template": "{{ (value_json.brightness * 255) | round(0) | int }}",
        "effect_template": "{{ value_json.get('effect', 'bars') }}",
        "effect_list": [*EFFECTS],
        "command_topic": topics.setting("lights"),
        "command_on_template": wanted,
        "command_off_template": '{"on": false}',
    }


def _version(model: str, serial: str) -> str:
    """An expression of a version in the order of headnod: shipped models, then signed ones by serial.

    A serial is the time of the signature in seconds since 1970.
    """
    seconds = f"[value_json.get('{serial}', 0), {_YEAR_9999}] | min"
    signed = f"({seconds}) | timestamp_custom('%Y.%m.%d.%H%M%S', false)"
    return f"({signed}) if value_json.get('{serial}', 0) else (value_json.{model}.split('-') | last)"
