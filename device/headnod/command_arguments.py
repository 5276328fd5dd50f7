"""Arguments of the commands of page and MQTT, with their bounds; they describe the JSON interface of the page, too."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

Moment = Annotated[float, Meta(ge=0.0, le=4e9)]
Label = Annotated[str, Meta(max_length=256)]
"""A label of 64 characters may have more before it is composed."""


class Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of a command without any."""


class Correct(Arguments, frozen=True):
    """A time range, in seconds since 1970, and its label."""

    start: Moment
    end: Moment
    label: Label


class PlayerLabel(Arguments, frozen=True):
    """What a media player plays from now on; empty for nothing."""

    label: Label


class Numbers(Arguments, frozen=True):
    """Corrections to delete; none given means all."""

    ids: tuple[int, ...] | None = None


class CorrectionSpan(Arguments, frozen=True):
    """A part of a stored correction."""

    after: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] = 0
    """The first correction with a greater number is meant."""
    offset: Annotated[int, Meta(ge=0, le=1 << 31)] = 0
    """First byte of the part."""
    most: Annotated[int, Meta(ge=1, le=98_304)] = 32_768
    """Bytes of the part at most."""


class LogSpan(Arguments, frozen=True):
    """How far back."""

    hours: Annotated[float, Meta(gt=0.0, le=168.0)] = 24.0


class ChosenDevice(Arguments, frozen=True):
    """A microphone by one of its names; empty returns to the configured one."""

    device: Annotated[str, Meta(max_length=200)]


class Values(Arguments, frozen=True):
    """Values by `section.key`; null returns to the configuration."""

    values: Annotated[dict[str, Any], Meta(min_length=1, max_length=40)]


class OutputSwitch(Arguments, frozen=True):
    """An output, on or off."""

    name: Annotated[str, Meta(max_length=20)]
    on: bool


class ControlsChange(Arguments, frozen=True):
    """Any of the controls; what is absent stays."""

    paused: bool | None = None
    paused_until: Moment | None = None
    """Seconds since 1970; pauses until then."""
    pause_seconds: Annotated[float, Meta(gt=0.0)] | None = None
    quiet_hours: Annotated[tuple[tuple[str, str], ...], Meta(max_length=8)] | None = None
    threshold: Annotated[float, Meta(ge=0.0, le=1.0)] | None = None
    brightness: Annotated[float, Meta(ge=0.0, le=1.0)] | None = None
    outputs: tuple[OutputSwitch, ...] = ()


class ModelName(Arguments, frozen=True):
    """A model, as the list of models names it."""

    model: Annotated[str, Meta(max_length=64)]
