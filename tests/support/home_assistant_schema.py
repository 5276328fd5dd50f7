"""The words of Home Assistant's discovery messages that it knows, and which of them each platform takes."""

import re

TOPIC = re.compile(r"\A(?P<kind>\w+)/(?:(?P<node>[a-zA-Z0-9_-]+)/)?(?P<object>[a-zA-Z0-9_-]+)/config\Z")
ENTITY_ID = re.compile(r"\A(?!.+__)(?!_)[\da-z_]+(?<!_)\.(?!_)[\da-z_]+(?<!_)\Z")
ICON = re.compile(r"\Amdi:[a-z0-9-]+\Z")

SHORT = {
    "avty": "availability",
    "avty_t": "availability_topic",
    "cmd_t": "command_topic",
    "cmd_tpl": "command_template",
    "cmps": "components",
    "def_ent_id": "default_entity_id",
    "dev": "device",
    "dev_cla": "device_class",
    "en": "enabled_by_default",
    "ent_cat": "entity_category",
    "exp_aft": "expire_after",
    "ic": "icon",
    "json_attr_t": "json_attributes_topic",
    "json_attr_tpl": "json_attributes_template",
    "o": "origin",
    "obj_id": "object_id",
    "ops": "options",
    "p": "platform",
    "pl_avail": "payload_available",
    "pl_inst": "payload_install",
    "pl_not_avail": "payload_not_available",
    "pl_off": "payload_off",
    "pl_on": "payload_on",
    "stat_cla": "state_class",
    "stat_t": "state_topic",
    "t": "topic",
    "uniq_id": "unique_id",
    "unit_of_meas": "unit_of_measurement",
    "val_tpl": "value_template",
}
"""Short names that mean the same; there are more."""

SHARED = {
    "availability",
    "availability_topic",
    "payload_available",
    "payload_not_available",
    "state_topic",
    "command_topic",
}
DEVICE = {"identifiers", "connections", "name", "manufacturer", "model", "model_id", "hw_version", "sw_version"}
DEVICE |= {"serial_number", "suggested_area", "configuration_url", "via_device"}
ORIGIN = {"name", "sw_version", "support_url"}

EVERY = SHARED - {"command_topic"} | {
    "device",
    "origin",
    "qos",
    "encoding",
    "unique_id",
    "default_entity_id",
    "name",
    "icon",
    "entity_category",
    "enabled_by_default",
    "json_attributes_topic",
    "json_attributes_template",
    "value_template",
    "device_class",
}
OPTIONS = {
    "sensor": {"expire_after", "options", "state_class", "suggested_display_precision", "unit_of_measurement"},
    "binary_sensor": {"expire_after", "payload_on", "payload_off"},
    "number": {"command_topic", "command_template", "min", "max", "step", "mode", "unit_of_measurement", "optimistic"},
    "switch": {"command_topic", "payload_on", "payload_off", "optimistic", "retain"},
    "event": {"event_types"},
    "select": {"command_topic", "command_template", "options", "optimistic", "retain"},
    "button": {"command_topic", "command_template", "payload_press", "retain"},
    "light": {
        *("schema", "command_topic", "command_on_template", "command_off_template", "state_template"),
        *("brightness_template", "effect_template", "effect_list", "optimistic"),
    },
    "update": {"command_topic", "payload_install", "title", "release_url", "release_summary", "latest_version_topic"},
}
UNITS = {
    "temperature": {"°C", "°F", "K"},
    "duration": {"ms", "s", "min", "h", "d"},
    "data_size": {"B", "kB", "MB", "MiB"},
}
CLASSES = {
    "sensor": {"enum", *UNITS},
    "binary_sensor": {"sound", "problem", "connectivity"},
    "number": set(),
    "switch": {"switch", "outlet"},
    "update": {"firmware"},
    "event": {"doorbell", "button", "motion"},
    "select": set(),
    "button": {"identify", "restart", "update"},
    "light": set(),
}
NEEDED = {
    "sensor": {"state_topic"},
    "binary_sensor": {"state_topic"},
    "number": {"command_topic"},
    "switch": {"command_topic"},
    "update": set(),
    "event": {"state_topic", "event_types"},
    "select": {"command_topic", "options"},
    "button": {"command_topic"},
    "light": {"command_topic", "command_on_template", "command_off_template"},
}
UPDATE_STATE = {"installed_version", "latest_version", "title", "release_summary", "release_url", "entity_picture"}
UPDATE_STATE |= {"in_progress", "update_percentage"}
