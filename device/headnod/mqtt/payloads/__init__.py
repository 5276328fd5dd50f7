"""What is published: one frozen struct a topic, each field with its unit.

Payloads are flat, in lower snake case, and carry the version of their schema;
a field is never renamed or retyped, and readers leave alone what they do not
know. Absent is absent. docs/mqtt.md and the JSON Schema are made from here.
"""

from headnod.mqtt.payloads.answer import ResponsePayload
from headnod.mqtt.payloads.heard import SCORE, EstimatePayload, SongPayload, of_estimate, redated, score_keys, scores
from headnod.mqtt.payloads.listener import HealthPayload, InfoPayload
from headnod.mqtt.payloads.models import ModelPayload, ShadowPayload, latest
from headnod.mqtt.payloads.written import SCHEMA, Time, encode, present

__all__ = [
    "SCHEMA",
    "SCORE",
    "EstimatePayload",
    "HealthPayload",
    "InfoPayload",
    "ModelPayload",
    "ResponsePayload",
    "ShadowPayload",
    "SongPayload",
    "Time",
    "encode",
    "latest",
    "of_estimate",
    "present",
    "redated",
    "score_keys",
    "scores",
]
