"""The entities that Home Assistant shows of one listener.

Each is a mapping of Home Assistant's own option names, written in full. Alone
because this is the list that grows, and `discovery` only wraps it up.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from headnod.mqtt.payloads import InfoPayload, scores
from headnod.mqtt.templates import an_object, attributes
from headnod.mqtt.topics import OFFLINE, ONLINE, Topics
from headnod.pipeline.estimate import SILENCE, UNKNOWN, State

Entity = dict[str, Any]

_MISSED = 4.5
"""Reports that may be missing before what they say is called unavailable."""

_DIAGNOSTIC = {"entity_category": "diagnostic"}
_QUIET = {**_DIAGNOSTIC, "enabled_by_default": False}
_MEASURED = {"state_class": "measurement"}
_COUNTED = {"state_class": "total_increasing"}
_TROUBLED = (State.WAITING, State.DEAF, State.CLIPPING)


def entities(info: InfoPayload, topics: Topics) -> dict[str, Entity]:
    """Every entity by its key, with its platform and without what all of them share."""
    return {**_heard(info, topics), **_health(info, topics), **_facts(topics), **_controls(info, topics)}


def _heard(info: InfoPayload, topics: Topics) -> dict[str, Entity]:
    """What is heard just now: unavailable soon after the listener falls silent."""
    live = {"state_topic": topics.state, "expire_after": math.ceil(_MISSED * info.every_s)}
    shares = {key: f"value_json.get('{key}')" for key in scores(dict.fromkeys(info.labels, 0.0))}
    return {
        "genre": {
            "platform": "sensor",
            "name": None,
            "icon": "mdi:music",
            "device_class": "enum",
            "options": [*info.labels, SILENCE, UNKNOWN],
            "value_template": "{{ value_json.genre }}",
            # Few and seldom changing: a row of Home Assistant's database is written whenever one changes.
            "json_attributes_topic": topics.state,
            "json_attributes_template": an_object(
                {
                    **{field: f"value_json.get('{field}')" for field in ("runner_up", "state", "model", "held_by")},
                    # Names without scores, and one decimal.
                    "tags": "value_json.get('tags', {}) | list | sort",
                    "energy": "value_json.energy | round(1) if 'energy' in value_json else none",
                }
            ),
            **live,
        },
        "confidence": {
            "platform": "sensor",
            "name": "Confidence",
            "icon": "mdi:percent",
            "unit_of_measurement": "%",
            "suggested_display_precision": 0,
            "value_template": "{{ (value_json.confidence * 100) | round(1) }}",
            "json_attributes_topic": topics.state,
            "json_attributes_template": an_object(shares),
            **_MEASURED,
            **live,
        },
        "level": {
            "platform": "sensor",
            "name": "Level",
            "icon": "mdi:volume-high",
            "unit_of_measurement": "dBFS",
            "suggested_display_precision": 0,
            "value_template": "{{ value_json.level_dbfs }}",
            **_MEASURED,
            **live,
        },
        "music": {
            "platform": "binary_sensor",
            "name": "Music",
            "device_class": "sound",
            "value_template": "{{ 'ON' if value_json.music else 'OFF' }}",
            **live,
        },
        "song": {
            "platform": "sensor",
            "name": "Last song",
            "icon": "mdi:playlist-music",
            "device_class": "enum",
            "options": [*info.labels],
            "state_topic": topics.song,
            "value_template": "{{ value_json.genre }}",
            "json_attributes_topic": topics.song,
            "json_attributes_template": attributes("start", "end", "duration_s", "stability"),
        },
        "latency": {
            "platform": "sensor",
            "name": "Latency",
            "device_class": "duration",
            "unit_of_measurement": "ms",
            "suggested_display_precision": 0,
            "value_template": "{{ value_json.latency_ms }}",
            **_MEASURED,
            **_QUIET,
            **live,
        },
    }


def _health(info: InfoPayload, topics: Topics) -> dict[str, Entity]:
    """How the listener fares."""
    told = {"state_topic": topics.health, "expire_after": math.ceil(_MISSED * info.health_every_s)}
    troubled = ", ".join(f"'{state}'" for state in _TROUBLED)
    return {
        "microphone": {
            "platform": "binary_sensor",
            "name": "Microphone",
            "device_class": "problem",
            "value_template": f"{{{{ 'ON' if value_json.state in [{troubled}] else 'OFF' }}}}",
            "json_attributes_topic": topics.health,
            "json_attributes_template": attributes("message"),
            **_DIAGNOSTIC,
            **told,
        },
        "state": {
            "platform": "sensor",
            "name": "State",
            "device_class": "enum",
            "options": [str(state) for state in State],
            "value_template": "{{ value_json.state }}",
            **_DIAGNOSTIC,
            **told,
        },
        "queue": _figure("Queue", "queued", icon="mdi:tray-full", **_MEASURED, **_DIAGNOSTIC, **told),
        "discarded": _figure("Discarded", "discarded", icon="mdi:tray-remove", **_COUNTED, **_DIAGNOSTIC, **told),
        "dropped": _figure("Dropped sound", "dropped_s", **_seconds(), **told),
        "uptime": _figure("Uptime", "uptime_s", **_seconds(), **told),
        "memory": _figure(
            "Memory",
            "memory_mb",
            device_class="data_size",
            unit_of_measurement="MiB",
            suggested_display_precision=0,
            **_MEASURED,
            **_QUIET,
            **told,
        ),
        "temperature": {
            "platform": "sensor",
            "name": "Temperature",
            "device_class": "temperature",
            "unit_of_measurement": "°C",
            "suggested_display_precision": 0,
            # Home Assistant takes the text None for a value that is not known.
            "value_template": "{{ value_json.get('temperature_c') }}",
            **_MEASURED,
            **_DIAGNOSTIC,
            **told,
        },
    }


def _facts(topics: Topics) -> dict[str, Entity]:
    """What stays as it is."""
    return {
        "connectivity": {
            "platform": "binary_sensor",
            "name": "Connectivity",
            "device_class": "connectivity",
            "state_topic": topics.status,
            "payload_on": ONLINE,
            "payload_off": OFFLINE,
            # It alone is there to be seen while the listener is away.
            "availability": [],
            **_DIAGNOSTIC,
        },
        "version": _figure("Version", "version", icon="mdi:tag", state_topic=topics.info, **_DIAGNOSTIC),
        "model": _figure("Model", "model", icon="mdi:brain", state_topic=topics.info, **_DIAGNOSTIC),
    }


def _controls(info: InfoPayload, topics: Topics) -> dict[str, Entity]:
    """What can be changed; all of it is told on `info` when it has been."""
    percent = {
        "platform": "number",
        "state_topic": topics.info,
        "entity_category": "config",
        "min": 0,
        "max": 100,
        "step": 1,
        "unit_of_measurement": "%",
        "command_template": "{{ value / 100 }}",
    }
    # With its serial a version is text that Home Assistant does not order: any other one is an update.
    version = "(value_json.{}.split('-') | last)"
    serial = "(' (' ~ value_json.{0} ~ ')' if value_json.get('{0}') else '')"
    same_name = "value_json.latest_model.rpartition('-')[0] == value_json.model.rpartition('-')[0]"
    renamed = f"{version.format('latest_model')} if {same_name} else value_json.latest_model"
    return {
        "threshold": {
            **percent,
            "name": "Certainty",
            "icon": "mdi:tune",
            "command_topic": topics.setting("threshold"),
            "value_template": "{{ (value_json.certainty * 100) | round(0) }}",
        },
        "brightness": {
            **percent,
            "name": "Brightness",
            "icon": "mdi:brightness-6",
            "command_topic": topics.setting("brightness"),
            "value_template": "{{ (value_json.brightness * 100) | round(0) }}",
        },
        "pause": {
            "platform": "switch",
            "name": "Pause",
            "icon": "mdi:pause",
            "entity_category": "config",
            "state_topic": topics.info,
            "command_topic": topics.setting("pause"),
            "value_template": "{{ 'ON' if value_json.paused else 'OFF' }}",
        },
        "update": {
            "platform": "update",
            "name": "Model",
            "entity_category": "config",
            "state_topic": topics.info,
            "value_template": an_object(
                {
                    "installed_version": f"{version.format('model')} ~ {serial.format('serial')}",
                    "latest_version": f"({renamed}) ~ {serial.format('latest_serial')}",
                    "title": f"'{info.model.rpartition('-')[0]}'",
                }
            ),
            "command_topic": topics.request("activate"),
            "payload_install": msgspec.json.encode({"model": info.latest_model}).decode(),
        },
    }


def _figure(name: str, field: str, **options: Any) -> Entity:  # noqa: ANN401 - Home Assistant's options are of any type
    return {"platform": "sensor", "name": name, "value_template": f"{{{{ value_json.{field} }}}}", **options}


def _seconds() -> Entity:
    return {
        "device_class": "duration",
        "unit_of_measurement": "s",
        "suggested_display_precision": 0,
        **_COUNTED,
        **_QUIET,
    }
