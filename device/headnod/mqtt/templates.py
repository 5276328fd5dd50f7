"""Templates of Home Assistant's that make one JSON object out of a payload.

Alone because they are a language of their own (Jinja), and all that is computed of
it is here. https://www.home-assistant.io/docs/configuration/templating/
"""

from __future__ import annotations


def attributes(*fields: str) -> str:
    """An object of these fields of the payload; one that is absent is null in it."""
    return an_object({field: f"value_json.get('{field}')" for field in fields})


def an_object(values: dict[str, str]) -> str:
    """An object of these expressions.

    >>> an_object({"genre": "value_json.genre"})
    "{{ { 'genre': value_json.genre } | to_json }}"
    """
    inside = ", ".join(f"'{key}': {value}" for key, value in values.items())
    return f"{{{{ {{ {inside} }} | to_json }}}}"
