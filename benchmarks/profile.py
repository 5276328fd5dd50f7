"""What the figures of a run say: one sentence a finding, every number in it out of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.words import among, number

Rows = Mapping[str, Any]


def findings(rows: Rows) -> dict[str, list[str]]:
    """Sentences by the row that they explain; a row that was not measured has none."""
    return {name: say(rows[name]["more"]) for name, say in _SAYING.items() if _measured(rows, name)}


def _measured(rows: Rows, name: str) -> bool:
    return name in rows and rows[name]["ours"] is not None


def _window(more: Mapping[str, Any]) -> list[str]:
    ends = {name: spread["median"] for name, spread in more["front_ends"].items()}
    ours, floor = ends["headnod"], ends[next(name for name in ends if "floor" in name)]
    double = ends.get("numpy FFT alone, as numpy does by itself")
    said = [
        f"numpy's FFT of the same frames is the floor of any front end made of numpy: it is {floor / ours:.0%} of ours."
    ]
    if double:
        said.append(
            "numpy transforms in float32 only with a float32 factor, which a `forward` norm gives; by itself it "
            f"computes in double and takes {double / floor:.1f} times as long."
        )
    others = {name: value / ours for name, value in ends.items() if "FFT" not in name and name != "headnod"}
    transforms = {name.partition(",")[0]: value / floor for name, value in ends.items() if "FFT alone" in name}
    transforms = {name: value for name, value in transforms.items() if not name.startswith("numpy")}
    if others:
        said.append(f"Other front ends by ours: {_times(others)}.")
    if transforms:
        said.append(f"The transforms of other libraries by numpy's, of the same frames: {_times(transforms)}.")
    for name, shares in more.get("right on clips", {}).items():
        said.append(_right(name, shares))
    for name, model in more["models"].items():
        network = more["networks"].get(name)
        if network:
            share = network["median"] / model["whole listener"]["median"]
            said.append(f"`{name}`'s network is {share:.0%} of its whole listener.")
    return said


def _times(found: Mapping[str, float]) -> str:
    return among([f"{name} {value:.1f} x" for name, value in found.items()])


def _instructions(more: Mapping[str, Any]) -> list[str]:
    said = [
        f"`{name}`: {model['network'] / model['whole']:.0%} of its instructions are its network's."
        for name, model in more["models"].items()
    ]
    pieces = more.get("pieces")
    if pieces:
        heaviest = sorted((name for name in pieces if name != "FFT"), key=lambda name: -pieces[name])
        said.append(
            f"Of the listener's own, mel power takes {number(pieces['mel'])} M, {number(pieces['FFT'])} M of it the "
            f"FFT; then {among([f'{name} {number(pieces[name])} M' for name in heaviest if name != 'mel'])}."
        )
    if "YAMNet" in more:
        said.append(f"YAMNet takes {number(more['YAMNet'])} M for 3 s.")
    for release, found in more.get("arm", {}).items():
        same = found.get("same_scores", {})
        told = [f"{same[name]['same']} of {same[name]['windows']} windows with `{name}`" for name in same]
        if told:
            said.append(f"The same int8 scores on AArch64 ({release}) as here, to the bit: {among(told)}.")
    return said


def _start(more: Mapping[str, Any]) -> list[str]:
    steps = more.get("cpu_s_by_step", {})
    return [f"CPU seconds of a start: {_listed(steps)}."] if steps else []


def _memory(more: Mapping[str, Any]) -> list[str]:
    return [
        (
            f"MiB by process: {_listed(more['processes'])}; numpy and LiteRT with a network alone take "
            f"{number(more['numpy_and_litert_alone'])}."
        )
    ]


def _left(more: Mapping[str, Any]) -> list[str]:
    steps = more["passing_bytes_by_step"]
    heaviest = max(steps, key=lambda name: float(steps[name]))
    return [
        (
            f"The cycle collector found {number(more['garbage_objects_per_window'])} objects a window in "
            f"{number(more['garbage_windows'])} windows."
        ),
        (
            f"A window holds {number(more['passing_bytes'] / 1e3)} kB for a moment at most, freed at once by reference "
            f"counts; {heaviest} holds the most ({number(steps[heaviest] / 1e3)} kB)."
        ),
    ]


def _wakes(more: Mapping[str, Any]) -> list[str]:
    threads = {
        f"{thread} of {process}": count
        for process, found in more["processes"].items()
        for thread, count in found.items()
    }
    return [f"Wake-ups a second by thread: {_listed(dict(sorted(threads.items(), key=lambda each: -each[1])))}."]


def _installed(more: Mapping[str, Any]) -> list[str]:
    return [f"MB by package: {_listed(more['heaviest_MB'])}."]


def _training(more: Mapping[str, Any]) -> list[str]:
    found, trained = more["import"], more["training"]
    one, recipe = found["one process"], trained["recipe"]
    gains = [
        f"two {name} are {number(found[f'two_{key}_times_one'])} times as quick as one by the track and "
        f"{number(found[f'two_{key}_times_one_with_start'])} times with the start"
        for key, name in (("processes", "processes"), ("workers", "Dask workers"))
    ]
    start, track = number(one["seconds_of_start"]), number(1e3 * one["seconds_a_track"])
    epoch, whole = number(1e3 * trained["seconds_a_track"]), number(trained["minutes_to_finish"])
    return [
        f"An import takes {start} s to start and {track} ms a track after that (r² {one['r2']:.4f}).",
        f"Of imports, {among(gains)}.",
        f"An epoch takes {epoch} ms a track (r² {trained['r2']:.4f}).",
        f"A whole fit, {whole} min, is extrapolated to {recipe['tracks']} tracks and {recipe['epochs']} epochs.",
    ]


def _models(more: Mapping[str, Any]) -> list[str]:
    right = more.get("right on clips", {})
    said = [_right(name, shares) for name, shares in right.items()]
    for name, model in more["models"].items():
        said.append(f"`{name}` is {model['bundle']}; partitions of the delegate: {model['delegate_partitions']}.")
    return said


def _right(name: str, shares: Mapping[str, float]) -> str:
    return f"{name}: {shares['windows']:.1%} of windows and {shares['clips']:.1%} of {shares['count']} clips right."


def _listed(found: Mapping[str, float]) -> str:
    return among([f"{name} {number(value)}" for name, value in found.items()])


_SAYING: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "P1": _window,
    "P2": _instructions,
    "P3": _start,
    "P4": _memory,
    "P5": _left,
    "P6": _models,
    "P8": _wakes,
    "P9": _installed,
    "P10": _training,
}
