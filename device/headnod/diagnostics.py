"""The checks of `headnod check`, one for each part, and `headnod check --music`.

The latter measures how much a room and a microphone change the answers of a model. A test record is played in the room,
and the model classifies its windows twice, from the file and from the microphone. The figure is the share of windows
with the same answer, so it compares rooms, places of a microphone and models with any labels.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from headnod import factory
from headnod.audio.audio_file import audio_file
from headnod.audio.blocks import Gap, RateChange
from headnod.audio.processing import ChannelMixer, from_s16
from headnod.clock import clock_is_synchronised
from headnod.config import Config
from headnod.config.validation import validate_history
from headnod.errors import AccessError, AudioError, CheckResult, ConfigAccessError, ConfigError, HeadnodError, LedError
from headnod.factory import opener
from headnod.factory.mqtt_factory import broker, client_id, topics
from headnod.features.frontend import Audio
from headnod.inference.manifest import GOLDEN, read_checked
from headnod.inference.model import GenreModel, check_golden, chirp, runtime_name
from headnod.outputs.leds import Lamp
from headnod.pipeline.estimate import State, utc_now
from headnod.pipeline.level import decibels
from headnod.pipeline.level_meter import LevelMeter
from headnod.resources import configured_model, shipped
from headnod.service import Service

_SECONDS = 1.0
_LIVELY_DB = 3.0
"""Least spread of the level within a second of a sound that is not steady noise."""
_LEAST_FREE = 50 << 20

RECORD_LEAD = 20.0
"""Seconds that are recorded beyond the length of the record, so that there is time to start it."""

_FRAME = 0.05
_BANDS = ((100.0, 400.0), (400.0, 1200.0), (1200.0, 3000.0), (3000.0, 7000.0))
_LEAST_CORRELATION = 0.25
"""Of the levels in bands, from which a recording counts as one of the record. Other music has about 0.1."""
_EDGE, _REFINED = 0.5, 10.0


def run_checks(config: Config, service: Service | None = None, *, denied: Callable[[], str]) -> Iterator[CheckResult]:
    """Check all parts; a fault of one does not hide the others.

    Of an installed service with this configuration, model and state folder are checked. `denied` is the advice for
    denied access.
    """
    state = factory.state_beside(config.history, service)
    parts: tuple[tuple[str, Callable[[Config], CheckResult]], ...] = (
        ("runtime", _runtime),
        ("model", lambda config: _model(config, state)),
        ("microphone", _microphone),
        ("lights", _lights),
        ("broker", _broker),
        ("disk", lambda config: _disk(config, state, of_service=service is not None)),
        ("clock", _clock),
    )
    first = ""
    for part, check in parts:
        try:
            yield check(config)
        except AccessError as error:
            yield CheckResult(part, "warning", f"{error} ({f'as for the {first}' if first else denied()})")
            first = first or part
        except (HeadnodError, OSError) as error:
            yield CheckResult(part, "fault", str(error))


def _runtime(_config: Config) -> CheckResult:
    return CheckResult("runtime", "well", runtime_name())


def _model(config: Config, state: Path | None) -> CheckResult:
    folder = factory.installed_model(config, state) or configured_model(config.model.name)
    model = GenreModel.load(folder)
    check_golden(model, read_checked(folder, GOLDEN, model.manifest))
    began = time.perf_counter()
    model.scores(model.front_end.mfcc(chirp(model.front_end)))
    took = (time.perf_counter() - began) * 1e3
    return CheckResult(
        "model",
        "well",
        f"{model.manifest.id}: {len(model.labels)} genres, golden numbers agree, {took:.1f} ms per window",
    )


def _microphone(config: Config) -> CheckResult:
    with opener(config.microphone)() as capture:
        meter, deadline = LevelMeter(capture.rate), time.monotonic() + 5.0 * _SECONDS
        mixer = ChannelMixer(capture.rate, capture.channels)
        while meter.seconds < _SECONDS:
            samples = capture.read(max(deadline - time.monotonic(), 0.0))
            if samples is None:
                raise AudioError("the microphone opened, but it delivered no sound (does another program use it?)")
            if not samples:
                raise AudioError(capture.end_reason)
            meter.update(mixer.mix(from_s16(samples, capture.channels)))
        report, rate = meter.report(), capture.rate
    only = ", ".join(str(1 + channel) for channel in mixer.used)
    levels = (
        f"{rate} Hz, level {report.loud:.0f} dBFS, noise floor {report.noise_floor:.0f} dBFS, "
        f"peak {report.peak:.0f} dBFS"
    )
    if len(mixer.used) < mixer.channels:
        levels += f", sound on channel {only} of {mixer.channels} only"
    fault = ""
    if report.dead:
        fault = "nothing but zeros (is it muted?)"
    elif report.gain < 0:
        fault = f"overdriven, {report.clipped:.1%} clipped (lower the gain)"
    elif report.gain > 0 and report.loud - report.noise_floor > _LIVELY_DB:
        # In a quiet room the level is constant and says nothing about the gain.
        fault = f"quiet (if that was music, raise the gain by about {report.gain:.0f} dB)"
    return CheckResult("microphone", "warning" if fault else "well", ": ".join(filter(None, (levels, fault))))


def _lights(config: Config) -> CheckResult:
    sections = [section for section in config.leds if section.kind != "none"]
    if not sections:
        return CheckResult("lights", "none", "none are configured")
    opened: list[Lamp] = []
    try:
        opened.extend(map(factory.lamp, sections))
    finally:
        for lamp in opened:
            lamp.close()
    try:
        for section in sections:
            factory.check_lamp(section)
    except LedError as error:
        # A warning, because the listener goes on without its lamp.
        return CheckResult("lights", "warning", str(error))
    sizes = [f"{section.kind}: {lamp.size} lights" for section, lamp in zip(sections, opened, strict=True)]
    return CheckResult("lights", "well", "; ".join(sizes))


def _broker(config: Config) -> CheckResult:
    if not config.mqtt.host:
        return CheckResult("broker", "none", "none is configured")
    from headnod.factory.mqtt_factory import example_messages  # noqa: PLC0415 - loads MQTT
    from headnod.mqtt.broker_check import check_broker  # noqa: PLC0415

    ours = topics(config.mqtt)
    target = broker(config.mqtt, client_id=client_id(ours))
    examples = example_messages(config)
    for step in check_broker(target, ours, examples=examples, rng=random.Random(), now=utc_now):  # noqa: S311 - jitter of the back-off
        if step.verdict == "fault":
            # A warning, because the listener works without its broker and queues what it publishes.
            return CheckResult("broker", "warning", f"{step.part}: {step.message}")
    return CheckResult("broker", "well", f"{config.mqtt.host} accepts and returns the messages of {ours.node}")


def _disk(config: Config, state: Path | None, *, of_service: bool) -> CheckResult:
    try:
        validate_history(config, of_service=of_service)
    except ConfigAccessError:
        raise
    except ConfigError as error:
        # A warning, because the listener works without its history.
        return CheckResult("disk", "warning", str(error))
    path = factory.history_path(config.history)
    folder = path.parent if path is not None else state
    if folder is None:
        return CheckResult("disk", "none", "no history is kept (set history.path)")
    own = state is None or folder != state or not state.is_symlink()
    if own and not os.access(folder, os.W_OK):
        return CheckResult("disk", "warning", f"{folder} is not writable, so nothing is stored (check its owner)")
    # The service's folder is a link into a folder that only root may enter, on the same file system.
    free = shutil.disk_usage(folder if own else folder.parent).free
    verdict: Literal["well", "warning"] = "well" if free > _LEAST_FREE else "warning"
    return CheckResult("disk", verdict, f"{free >> 20} MiB free at {folder}")


def _clock(_config: Config) -> CheckResult:
    synchronised = clock_is_synchronised()
    if synchronised:
        return CheckResult("clock", "well", time.strftime("%Y-%m-%d %H:%M:%S %Z"))
    what = (
        "is not synchronised yet"
        if synchronised is False
        else "may not be synchronised (the system does not report it)"
    )
    return CheckResult(
        "clock", "warning", f"the clock {what}, so the dates of estimates may be wrong (see timedatectl)"
    )


class Clip(msgspec.Struct, frozen=True):
    """A part of the record."""

    start: float
    """Seconds from its beginning."""

    seconds: float
    genre: str
    title: str
    artist: str
    licence: str
    package: str


class TestRecord(msgspec.Struct, frozen=True):
    """The parts of a record."""

    __test__ = False
    clips: tuple[Clip, ...]


class GenreAgreement(msgspec.Struct, frozen=True):
    """Agreement on the windows with one answer to the file."""

    genre: str
    """Answer to the file."""

    same: int
    """Windows with that answer through the microphone, too."""

    windows: int


class MusicCheckResult(msgspec.Struct, frozen=True):
    """Agreement of the answers in the room with those to the file."""

    model: str
    same: int
    windows: int
    level: float
    """Level of the recording while the record played, in dBFS."""

    genres: tuple[GenreAgreement, ...]


def record_path() -> Path:
    """The audio file of the shipped record."""
    return shipped("demo") / "test-record" / "record.ogg"


def read_record(path: Path, rate: int) -> tuple[TestRecord, Audio]:
    """A record and its sound.

    Raises:
        AudioError: It cannot be read.
    """
    try:
        record = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=TestRecord)
    except (OSError, msgspec.MsgspecError) as error:
        raise AudioError(f"{path.with_suffix('.json')}: {error} (install headnod again)") from error
    with audio_file(path, rate) as blocks:
        return record, np.concatenate(list(blocks))


def first_seconds(blocks: Iterable[Audio | Gap | RateChange], seconds: float, rate: int) -> Audio:
    """The first seconds of a source.

    Raises:
        AudioError: The source fails before.
    """
    parts, size = [np.zeros(0, np.float32)], 0
    for block in blocks:
        if isinstance(block, Gap) and block.state is not State.BEHIND:
            raise AudioError(block.message)
        if isinstance(block, Gap | RateChange):
            continue
        parts.append(block)
        size += block.size
        if size >= seconds * rate:
            break
    return np.concatenate(parts)


def check_music(recording: Audio, model: GenreModel, record: TestRecord, sound: Audio) -> MusicCheckResult:
    """Compare the answers to a recording with those to the record.

    The recording of the microphone and `sound`, the record, have the sample rate of the model. `record` has the parts
    of the record.

    Raises:
        AudioError: The recording does not hold the record.
    """
    rate = model.front_end.sample_rate
    offset = _offset(recording, sound, rate)
    pairs = [
        (model.best(sound[start : start + size]), model.best(recording[start + offset : start + offset + size]))
        for start, size in _windows(record, model)
        if 0 <= start + offset <= recording.size - size
    ]
    if not pairs:
        raise AudioError("the recording ends before the record begins (start the record sooner)")
    genres = [
        GenreAgreement(genre, sum(one == other == genre for one, other in pairs), sum(one == genre for one, _ in pairs))
        for genre in sorted({one for one, _ in pairs})
    ]
    played = recording[max(offset, 0) : max(offset, 0) + sound.size]
    level = decibels(float(np.sqrt(np.mean(np.square(played, dtype=np.float64)))))
    return MusicCheckResult(
        model.manifest.id, sum(each.same for each in genres), len(pairs), round(level, 1), tuple(genres)
    )


def music_lines(result: MusicCheckResult) -> Iterator[str]:
    """The result for a person."""
    for each in result.genres:
        yield f"{each.genre}: {each.same} of {each.windows} windows as in the file"
    yield (
        f"{result.model}: {result.same / result.windows:.0%} of {result.windows} windows have the answer that the file "
        f"has; the record was recorded at {result.level:.0f} dBFS"
    )


def _windows(record: TestRecord, model: GenreModel) -> Iterator[tuple[int, int]]:
    """First sample and length of the windows inside the parts of the record."""
    rate, size = model.front_end.sample_rate, model.front_end.window_samples
    for clip in record.clips:
        start, end = round((clip.start + _EDGE) * rate), round((clip.start + clip.seconds - _EDGE) * rate)
        yield from ((first, size) for first in range(start, end - size + 1, size // 2))


def _offset(recording: Audio, sound: Audio, rate: int) -> int:
    """Sample of the recording at which the record begins: the best correlation of levels in four bands."""
    one, other = _levels(recording, rate), _levels(sound, rate)
    shortest = min(len(one), len(other))
    if shortest * _FRAME < 1.0:
        raise AudioError("the recording is shorter than a second")
    lags = len(one) + len(other) - 1
    total = sum(np.correlate(one[:, band], other[:, band], "full") for band in range(one.shape[1]))
    place = np.arange(lags) - (len(other) - 1)
    overlap = np.minimum(len(one), place + len(other)) - np.maximum(place, 0)
    correlation = np.where(overlap >= shortest // 2, np.asarray(total) / np.maximum(overlap, 1) / one.shape[1], 0.0)
    best = int(correlation.argmax())
    if correlation[best] < _LEAST_CORRELATION:
        raise AudioError(
            "the test record was not found in the recording (play it near the microphone, as loud as music usually is, "
            "and start it within a few seconds)"
        )
    return _refined(recording, sound, int(place[best] * round(_FRAME * rate)), rate)


def _refined(recording: Audio, sound: Audio, offset: int, rate: int) -> int:
    """The offset to the sample, by the correlation of ten seconds within a frame of the coarse one."""
    room, first = round(_FRAME * rate), max(round(_FRAME * rate) - offset, sound.size // 3)
    part = sound[first : first + round(_REFINED * rate)]
    around = recording[first + offset - room : first + offset + part.size + room]
    if around.size < part.size + 2 * room:
        return offset
    spectrum = np.fft.rfft(around) * np.conj(np.fft.rfft(part, around.size))
    correlation = np.abs(np.fft.irfft(spectrum, around.size)[: 2 * room + 1])
    return offset + int(correlation.argmax()) - room


def _levels(audio: Audio, rate: int) -> NDArray[np.float64]:
    """Standardised levels in bands, (frames, bands)."""
    size = round(_FRAME * rate)
    frames = audio[: audio.size // size * size].reshape(-1, size)
    power = np.square(np.abs(np.fft.rfft(frames, axis=1)))
    hertz = np.fft.rfftfreq(size, 1.0 / rate)
    levels = np.stack(
        [10.0 * np.log10(power[:, (hertz >= low) & (hertz < high)].sum(axis=1) + 1e-9) for low, high in _BANDS], axis=1
    )
    return np.asarray((levels - levels.mean(axis=0)) / np.maximum(levels.std(axis=0), 1e-6))
