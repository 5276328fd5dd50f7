"""A bundle's network as C source for TensorFlow Lite for Microcontrollers, with the constants of its front end.

    NAME_model.h   declarations, front end, scales, labels, temperature and threshold
    NAME_model.c   the TFLite file, the tables of the front end, and a golden window with its outputs

The golden window lets firmware test itself: its features as the network takes them, and the outputs of the
reference runtime.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import mel_blocks
from headnod.inference.manifest import Manifest
from headnod.inference.model import golden_windows, interpreter, quantise

_IN_A_LINE = 16


def c_sources(manifest: Manifest, content: bytes, golden: bytes) -> dict[str, str]:
    """Header and source by file name."""
    name = re.sub(r"\W", "_", manifest.name)
    stored, outputs = _golden(manifest, content, golden)
    header, source = list(_header(name, manifest, content, outputs)), list(_source(name, manifest, content))
    source += _array(f"const int8_t {name}_golden_input[]", stored.ravel())
    for role, values in outputs.items():
        source += _array(f"const int8_t {name}_golden_{role}[]", values)
    return {f"{name}_model.h": "\n".join(header) + "\n", f"{name}_model.c": "\n".join(source) + "\n"}


def _golden(manifest: Manifest, content: bytes, golden: bytes) -> tuple[NDArray[np.int8], dict[str, NDArray[np.int8]]]:
    """Input and outputs of the first golden window, as stored numbers."""
    runtime = interpreter(content)
    (taken,) = runtime.get_input_details()
    spread = manifest.standardisation
    standard = (golden_windows(golden)[0] - np.array(spread.mean)) / np.array(spread.deviation)
    stored = quantise(standard.astype(np.float32), *taken["quantization"])
    runtime.set_tensor(taken["index"], stored[None])
    runtime.invoke()
    roles = {each.shape: each.role for each in manifest.tensors}
    return stored, {
        roles[tuple(each["shape"])]: runtime.get_tensor(each["index"]).ravel() for each in runtime.get_output_details()
    }


def _header(name: str, manifest: Manifest, content: bytes, outputs: dict[str, NDArray[np.int8]]) -> Iterator[str]:
    upper, runtime = name.upper(), interpreter(content)
    (taken,) = runtime.get_input_details()
    yield from (
        f"/* {manifest.id} for TensorFlow Lite for Microcontrollers, made by headnod-train export. */",
        *(f"/* {line} */" for line in _licences(manifest)),
        f"#ifndef {upper}_MODEL_H", f"#define {upper}_MODEL_H", "", "#include <stdint.h>", "",
        "#ifdef __cplusplus", 'extern "C" {', "#endif", "",
        f"#define {upper}_MODEL_BYTES {len(content)}",
        f"extern const unsigned char {name}_model[{upper}_MODEL_BYTES];", "",
        "/* Front end: mono audio, periodic Hann windows, power spectrum, mel bands (weights in _mel_filters). */",
    )  # fmt: skip
    for key, value in asdict(manifest.front_end).items():
        literal = f'"{value}"' if isinstance(value, str) else _number(value)
        yield f"#define {upper}_{key.upper()} {literal}"
    front_end = manifest.front_end
    features, bins = front_end.n_features, front_end.n_fft // 2 + 1
    yield from (
        f"#define {upper}_N_FEATURES {features}", f"#define {upper}_WINDOW_SAMPLES {front_end.window_samples}",
        f"extern const float {name}_mel_filters[{front_end.n_mels} * {bins}];",
        "/* stored = round((feature - mean) / deviation / scale) + zero */",
        f"extern const float {name}_mean[{features}];", f"extern const float {name}_deviation[{features}];",
        f"#define {upper}_INPUT_SCALE {_number(taken['quantization'][0])}",
        f"#define {upper}_INPUT_ZERO {taken['quantization'][1]}", "",
        "/* Outputs: real = scale * (stored - zero). Scores are softmax(answers / temperature). */",
    )  # fmt: skip
    details = {tuple(each["shape"]): each for each in runtime.get_output_details()}
    for place, output in enumerate(manifest.tensors):
        role = output.role.upper()
        scale, zero = details[output.shape]["quantization"]
        yield f"#define {upper}_{role}_OUTPUT {place}"
        yield f"#define {upper}_{role}_COUNT {output.shape[-1]}"
        yield f"#define {upper}_{role}_SCALE {_number(scale)}"
        yield f"#define {upper}_{role}_ZERO {zero}"
    single = manifest.single or manifest
    threshold = manifest.single.threshold if manifest.single else manifest.rejection.threshold
    yield from (
        f"#define {upper}_TEMPERATURE {_number(single.temperature)}", f"#define {upper}_THRESHOLD {_number(threshold)}",
        f"extern const char *const {name}_labels[{len(manifest.labels)}];", "",
        "/* A window and its outputs, to test the firmware with. */",
        f"extern const int8_t {name}_golden_input[{front_end.frames} * {features}];",
        *(f"extern const int8_t {name}_golden_{role}[{len(values)}];" for role, values in outputs.items()), "",
        "#ifdef __cplusplus", "}", "#endif", "", "#endif",
    )  # fmt: skip


def _source(name: str, manifest: Manifest, content: bytes) -> Iterator[str]:
    front_end, upper = manifest.front_end, name.upper()
    yield from (
        f'#include "{name}_model.h"', "", "#if defined(__GNUC__) || defined(__clang__)",
        "#define ALIGNED __attribute__((aligned(16)))", "#else", "#define ALIGNED _Alignas(16)", "#endif", "",
    )  # fmt: skip
    yield from _array(
        f"ALIGNED const unsigned char {name}_model[{upper}_MODEL_BYTES]", np.frombuffer(content, np.uint8)
    )
    filters = np.zeros((front_end.n_mels, front_end.n_fft // 2 + 1), np.float32)
    for bins, bands, weights in mel_blocks(front_end):
        filters[bands, bins] = weights.T
    yield from _array(f"const float {name}_mel_filters[]", filters.ravel())
    yield from _array(f"const float {name}_mean[]", manifest.standardisation.mean)
    yield from _array(f"const float {name}_deviation[]", manifest.standardisation.deviation)
    labels = ", ".join(f'"{_c_text(label)}"' for label in manifest.labels)
    yield f"const char *const {name}_labels[] = {{{labels}}};"


def _array(declaration: str, values: Sequence[Any] | NDArray[Any]) -> Iterator[str]:
    yield f"{declaration} = {{"
    words = [_number(each) for each in np.asarray(values).tolist()]
    for start in range(0, len(words), _IN_A_LINE):
        yield ", ".join(words[start : start + _IN_A_LINE]) + ","
    yield "};"


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    text = f"{value:.9g}"
    return f"{text}f" if re.search(r"[.e]", text) else f"{text}.0f"


def _c_text(text: str) -> str:
    """A label as a C string in UTF-8. Escapes are octal, because a hexadecimal one takes letters after it."""
    plain = (byte for byte in text.encode())
    return "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}" for byte in plain)  # noqa: PLR2004


def _licences(manifest: Manifest) -> Iterator[str]:
    for line in (*manifest.training.licence.splitlines(), *manifest.notice.splitlines()):
        yield line.replace("*/", "* /").strip()
