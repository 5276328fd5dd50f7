"""Roles of the output tensors of a converted network.

The converter renames and reorders outputs, so they are recognised by their sizes: answers and tags have known sizes,
a third output is the embedding.
"""

from __future__ import annotations

import msgspec
import numpy as np

from headnod.errors import HeadnodError, ManifestError
from headnod.inference.manifest import MODEL, Manifest, Output
from headnod.inference.model import interpreter


def with_outputs(manifest: Manifest, content: bytes) -> Manifest:
    """The manifest with the output tensors of its network, where that has several.

    Args:
        manifest: Has the labels and the tags.
        content: The TFLite file.

    Raises:
        ManifestError: An output's size fits no role, or several.
    """
    try:
        found = interpreter(content).get_output_details()
    except HeadnodError:
        raise
    except Exception:  # GenreModel reports what is wrong with the file
        return manifest
    if len(found) == 1 and manifest.tags is None:
        return manifest
    wanted = {"answers": manifest.output.shape[-1]}
    if manifest.tags is not None:
        wanted["tags"] = len(manifest.tags.names)
    shapes = [tuple(int(size) for size in tensor["shape"]) for tensor in found]
    roles = _roles([shape[-1] if shape else 0 for shape in shapes], wanted)
    outputs = tuple(
        Output(shape, np.dtype(tensor["dtype"]).name, role)  # type: ignore[arg-type]  # checked when it is read
        for shape, tensor, role in zip(shapes, found, roles, strict=True)
    )
    (answers,) = (output for output in outputs if output.role == "answers")
    output = msgspec.structs.replace(manifest.output, type=answers.type)
    return msgspec.structs.replace(manifest, output=output, outputs=outputs)


def _roles(sizes: list[int], wanted: dict[str, int]) -> list[str]:
    if len(set(wanted.values())) < len(wanted):
        message = f"{MODEL}: answers and tags are {wanted['answers']} numbers each, so none can be found by its size"
        raise ManifestError(message)
    roles = {size: role for role, size in wanted.items()}
    found = [roles.get(size, "embedding") for size in sizes]
    for role in ("answers", "tags", "embedding"):
        if found.count(role) > 1 or (role in wanted and role not in found):
            each = ", ".join(map(str, sizes))
            message = (
                f"{MODEL}: its outputs have {each} numbers, {found.count(role)} can be the {role} "
                f"({' and '.join(f'{size} {name}' for name, size in wanted.items())} are wanted, and at most one more)"
            )
            raise ManifestError(message)
    return found
