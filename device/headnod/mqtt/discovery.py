"""What Home Assistant is told of a listener, so that it appears there by itself.

One message with the whole device, or one an entity for installations from
before 2024.11. Both name an entity in the same way, so that a change from one
form to the other keeps it.
https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from headnod.errors import ConfigError
from headnod.mqtt.entities import entities
from headnod.mqtt.payloads import InfoPayload
from headnod.mqtt.topics import OFFLINE, ONLINE, Topics, is_base, slug

Form = Literal["device", "component"]
"""One message a listener, or one an entity."""

PREFIX = "homeassistant"
"""Where Home Assistant looks, unless it is told otherwise."""


def discovery(
    info: InfoPayload,
    topics: Topics,
    *,
    prefix: str = PREFIX,
    form: Form = "device",
    takes: Callable[[str, bytes], bool] = lambda _topic, _payload: True,
) -> dict[str, bytes]:
    """Everything that Home Assistant must know of a listener.

    Args:
        info: What the listener is; labels, models and times go into the entities.
        topics: The topics of the listener.
        prefix: Where Home Assistant looks.
        form: One message for the device, or one for each entity.
        takes: Whether the broker takes a topic with its payload: a device that is too large is told by its entities.

    Returns:
        Payloads by topic, all to be retained.

    Raises:
        ConfigError: No topic may begin with this prefix, or ours begin with it.
    """
    check_prefix(prefix, topics)
    shared = _shared(info, topics)
    components = {key: _component(key, entity, topics) for key, entity in entities(info, topics).items()}
    if form == "device":
        topic = f"{prefix}/device/{object_id(topics)}/config"
        payload = msgspec.json.encode({**shared, "components": components})
        if takes(topic, payload):
            return {topic: payload}
    return {
        f"{prefix}/{component.pop('platform')}/{object_id(topics)}/{key}/config": msgspec.json.encode(
            shared | component
        )
        for key, component in components.items()
    }


def object_id(topics: Topics) -> str:
    """What Home Assistant knows a listener by: base and node, as in `headnod_kitchen`."""
    return f"{topics.base.replace('/', '_')}_{topics.node}"


def birth(prefix: str = PREFIX) -> str:
    """Where Home Assistant says `online` when it has started."""
    return f"{prefix}/status"


def check_prefix(prefix: str, topics: Topics) -> None:
    """Refuse a prefix that no topic may begin with, or that ours begin with.

    Raises:
        ConfigError: It is one.
    """
    if not is_base(prefix):
        message = f"mqtt.discovery_prefix: '{prefix}' (letters, digits, hyphens and underscores, levels parted by /)"
        raise ConfigError(message)
    if f"{topics.base}/".startswith(f"{prefix}/"):
        message = f"mqtt.base: '{topics.base}' lies inside mqtt.discovery_prefix '{prefix}' (name another)"
        raise ConfigError(message)


def _shared(info: InfoPayload, topics: Topics) -> dict[str, Any]:
    return {
        "device": {
            "identifiers": [object_id(topics)],
            "name": topics.node,
            "manufacturer": "headnod",
            "model": "Music genre listener",
            "hw_version": info.board or "unknown board",
            "sw_version": info.version,
        },
        "origin": {"name": "headnod", "sw_version": info.version},
        # A list, so that an entity may have another: Home Assistant refuses list and single topic together.
        "availability": [
            {"topic": topics.status, "payload_available": ONLINE, "payload_not_available": OFFLINE},
        ],
        "qos": 1,
    }


def _component(key: str, entity: dict[str, Any], topics: Topics) -> dict[str, Any]:
    node = slug(topics.node).strip("_") or "headnod"
    return {
        **entity,
        "unique_id": f"{object_id(topics)}_{key}",
        "default_entity_id": f"{entity['platform']}.{node}_{key}",
    }
