"""The state of all listeners as metrics of Prometheus (text format 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from headnod import __version__

MEDIA = "text/plain; version=0.0.4; charset=utf-8"
"""Content type of the format."""

_MEBIBYTE = 1 << 20


class Metric(NamedTuple):
    """Name, type and meaning of one metric."""

    name: str
    kind: str
    help: str


_ONLINE = Metric("headnod_online", "gauge", "Whether the listener is online (1) or not (0).")
_TIME = Metric("headnod_estimate_timestamp_seconds", "gauge", "Time of the latest estimate in seconds since 1970.")
_GENRE = Metric("headnod_genre", "gauge", "1 for the genre that is named now; also silence and unknown.")
_SCORE = Metric("headnod_score_ratio", "gauge", "Smoothed probability of each genre (0-1).")
_CONFIDENCE = Metric("headnod_confidence_ratio", "gauge", "Smoothed probability of the named genre (0-1).")
_LEVEL = Metric("headnod_level_dbfs", "gauge", "Level of the latest window in dBFS.")
_SONGS = Metric("headnod_songs_today", "gauge", "Songs that ended today, by genre.")
_SECONDS = Metric("headnod_songs_today_seconds", "gauge", "Length of the songs that ended today, by genre.")
_STATE = Metric("headnod_state", "gauge", "1 for the state of the listener, such as waiting_for_microphone.")
_HEALTH = {
    "uptime_s": (Metric("headnod_uptime_seconds", "gauge", "Seconds since the listener started."), 1.0),
    "dropped_s": (Metric("headnod_dropped_audio_seconds_total", "counter", "Audio lost since the start."), 1.0),
    "queued": (Metric("headnod_mqtt_queued", "gauge", "Messages that the broker has not acknowledged."), 1.0),
    "discarded": (Metric("headnod_mqtt_discarded_total", "counter", "Messages lost because the queue was full."), 1.0),
    "memory_mb": (Metric("headnod_memory_bytes", "gauge", "Resident memory of the listener."), float(_MEBIBYTE)),
    "cpu_percent": (Metric("headnod_cpu_ratio", "gauge", "Processor time of the listener, of one core."), 0.01),
    "temperature_c": (Metric("headnod_temperature_celsius", "gauge", "Temperature of the board."), 1.0),
}
_BUILD = Metric("headnod_build_info", "gauge", "1, with the version of headnod that serves the metrics.")

Sample = tuple[Metric, dict[str, str], float]


def exposition(listeners: Iterable[Mapping[str, Any]]) -> str:
    """The metrics of listeners, each a snapshot of `Fleet`."""
    families: dict[Metric, list[str]] = {_BUILD: [_line(_BUILD, {"version": __version__}, 1.0)]}
    for listener in listeners:
        for metric, labels, value in _samples(listener):
            families.setdefault(metric, []).append(_line(metric, labels, value))
    lines = []
    for metric, found in families.items():
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}", *found]
    return "\n".join(lines) + "\n"


def _samples(listener: Mapping[str, Any]) -> Iterator[Sample]:
    node = {"node": listener["node"]}
    labels = listener["labels"]
    names = [name for name, _ in labels["names"]]
    if listener["status"]["online"] is not None:
        yield _ONLINE, node, float(listener["status"]["online"])
    if (now := listener["now"]) is not None:
        yield _TIME, node, now["time"]
        yield _CONFIDENCE, node, now["confidence"]
        yield _LEVEL, node, now["level"]
        for number, name in enumerate(names):
            yield _GENRE, {**node, "genre": name}, float(number == now["genre"])
        for number, share in zip(labels["order"], now["bars"], strict=False):
            yield _SCORE, {**node, "genre": names[number]}, share / 1000.0
    for number, songs, seconds in listener["songs"]:
        yield _SONGS, {**node, "genre": names[number]}, songs
        yield _SECONDS, {**node, "genre": names[number]}, seconds
    health = listener["health"]
    if health["at"]:
        if health["state"]:
            yield _STATE, {**node, "state": health["state"]}, 1.0
        for key, (metric, factor) in _HEALTH.items():
            if health[key] is not None:
                yield metric, node, health[key] * factor


def _line(metric: Metric, labels: Mapping[str, str], value: float) -> str:
    text = ",".join(f'{name}="{_escaped(label)}"' for name, label in labels.items())
    return f"{metric.name}{{{text}}} {value:.10g}"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
