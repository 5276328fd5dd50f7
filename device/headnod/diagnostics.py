"""The checks of `headnod check`, one for each part."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from headnod import factory
from headnod.audio.processing import ChannelMixer, from_s16
from headnod.check_result import CheckResult
from headnod.config import Config
from headnod.errors import AccessError, AudioError, HeadnodError
from headnod.factory import opener
from headnod.factory.mqtt_factory import broker, client_id, topics
from headnod.inference.bundle_files import read_checked
from headnod.inference.manifest import GOLDEN
from headnod.inference.model import GenreModel, check_golden, chirp, runtime_name
from headnod.outputs.leds.animation import Lamp
from headnod.pipeline.estimate import utc_now
from headnod.pipeline.level_meter import LevelMeter
from headnod.resources import configured_model
from headnod.service import Service, readable_folder
from headnod.system import clock_is_synchronised
from headnod.updates.store import Store

_SECONDS = 1.0
_LIVELY_DB = 3.0
"""Least spread of the level within a second of a sound that is not steady noise."""
_LEAST_FREE = 50 << 20


def run_checks(config: Config, service: Service | None = None, *, denied: Callable[[], str]) -> Iterator[CheckResult]:
    """Check all parts; a fault of one does not hide the others.

    Args:
        config: The configuration.
        service: The installed service with this configuration, if any: its model and state folder are checked.
        denied: Advice for denied access.
    """
    state = factory.state_beside(config.history, service)
    parts: tuple[tuple[str, Callable[[Config], CheckResult]], ...] = (
        ("runtime", _runtime),
        ("model", lambda config: _model(config, state)),
        ("microphone", _microphone),
        ("lights", _lights),
        ("broker", _broker),
        ("disk", lambda config: _disk(config, state)),
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
    # The state folder has the link to the installed model.
    reachable = state is not None and config.model.installed and readable_folder(state)
    installed_folder = Store(state).active_folder() if state is not None and reachable else None
    folder = installed_folder or configured_model(config.model.name)
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
            if not samples:
                message = "the microphone opened, but it delivered no sound (does another program use it?)"
                raise AudioError(message)
            meter.update(mixer.mix(from_s16(samples, capture.channels)))
        report, rate = meter.report(), capture.rate
    only = ", ".join(str(1 + channel) for channel in mixer.used)
    levels = (
        f"{rate} Hz, level {report.loud:.0f} dBFS, noise floor {report.noise_floor:.0f} dBFS, "
        f"peak {report.peak:.0f} dBFS"
    )
    if len(mixer.used) < mixer.channels:
        levels += f", sound on channel {only} of {mixer.channels} only"
    if report.dead:
        return CheckResult("microphone", "warning", f"{levels}: nothing but zeros (is it muted?)")
    if report.gain < 0:
        return CheckResult(
            "microphone", "warning", f"{levels}: overdriven, {report.clipped:.1%} clipped (lower the gain)"
        )
    if report.gain > 0 and report.loud - report.noise_floor > _LIVELY_DB:
        # In a quiet room the level is constant and says nothing about the gain.
        return CheckResult(
            "microphone",
            "warning",
            f"{levels}: quiet (if that was music, raise the gain by about {report.gain:.0f} dB)",
        )
    return CheckResult("microphone", "well", levels)


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


def _disk(config: Config, state: Path | None) -> CheckResult:
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
