"""The listener itself: what it is, and how it fares."""

from __future__ import annotations

import msgspec

from headnod.mqtt.payloads.written import SCHEMA, Time


class InfoPayload(msgspec.Struct, frozen=True, kw_only=True):
    """What the listener is, retained."""

    schema: int = SCHEMA
    """Version of this schema."""

    node: str
    """The listener."""

    boot: str
    """Changes whenever the listener starts."""

    version: str
    """Version of headnod."""

    runtime: str
    """The TensorFlow Lite runtime and its version."""

    python: str
    """Version of Python."""

    board: str
    """What the machine says it is."""

    microphone: str
    """The microphone, as it is configured; empty for the likeliest."""

    model: str
    """Name and version of the model."""

    model_sha256: str
    """Hash of its TFLite file."""

    models: tuple[str, ...]
    """Models that can be activated by name."""

    latest_model: str
    """The one of them that was signed last and waits to be activated; among unsigned ones, the newest of the present
    model's name; the present one if there is none."""

    labels: tuple[str, ...]
    """Genres that the model names."""

    every_s: float
    """Seconds between estimates."""

    window_s: float
    """Seconds that an estimate hears anew."""

    health_every_s: float
    """Seconds between reports of health."""

    sample_rate: int
    """Samples per second that the model hears."""

    certainty: float
    """Least smoothed probability for a genre to be named (0-1)."""

    paused: bool
    """It was asked to be quiet."""

    brightness: float
    """Brightness of its lights (0-1)."""

    serial: int = 0
    """Serial of the model; 0 if it came with headnod."""

    latest_serial: int = 0
    """Serial of `latest_model`; 0 if it came with headnod."""

    channel: str = "stable"
    """Whose models it takes: `stable` or `canary`."""

    updates: str = "none"
    """What it does with a model that was sent: `activate`, `offer`, or `none` without a key."""


class HealthPayload(msgspec.Struct, frozen=True, kw_only=True):
    """How the listener fares, once a minute and when asked."""

    schema: int = SCHEMA
    """Version of this schema."""

    node: str
    """The listener."""

    ts: Time
    """When: ISO 8601, UTC."""

    state: str
    """State of the listener, such as `waiting_for_microphone`."""

    message: str
    """One line for a person, empty if all is well."""

    uptime_s: float
    """Seconds since the listener began."""

    estimates: int
    """Estimates made since then."""

    dropped_s: float
    """Seconds of sound lost since then."""

    queued: int
    """Estimates and songs that the broker has not acknowledged."""

    queued_on_disk: int
    """Those of them that a power cut cannot take."""

    discarded: int
    """Those that were lost because the queue was full, since it was made."""

    published: int
    """Those that the broker has acknowledged since the listener began."""

    refused: int
    """Those that the broker refused since then."""

    reconnects: int
    """Times that the broker was found again since then."""

    memory_mb: float
    """Resident memory of the process, in MiB."""

    cpu_percent: float
    """Processor time since the last report, in percent of one core."""

    temperature_c: float | None = None
    """Temperature of the board in degrees Celsius; absent where it has no sensor."""

    clock_synchronised: bool = True
    """The wall clock is known to be synchronised."""

    clock: str = "synchronised"
    """`synchronised`, `unsynchronised`, or `unknown` where the system does not say."""
