"""The manifest of a model bundle: the contract between training and device.

A bundle is a folder with `model.tflite`, `manifest.json`, `golden.npz` and
`CARD.md`. The device owns this format and reads it strictly: a key that it does
not know, a hash or a shape that does not fit is an error that names the file,
the field and the way out. Training imports this module to write what the
device reads. docs/bundles.md describes every field.
"""

from __future__ import annotations

from headnod.inference.manifest.bundle_files import CARD, GOLDEN, HASHED, MANIFEST, MODEL, SIGNATURE, read_part
from headnod.inference.manifest.fields import (
    FORMAT,
    FORMATS,
    Calibration,
    Energy,
    Health,
    Manifest,
    Name,
    Output,
    Rejection,
    Sha256,
    Standardisation,
    Tags,
    Tensor,
    Training,
    Version,
)
from headnod.inference.manifest.labels import LONGEST, NO_MUSIC, RESERVED, label_fault
from headnod.inference.manifest.parsing import manifest_bytes, parse_manifest, read_checked, read_manifest

__all__ = [
    "CARD",
    "FORMAT",
    "FORMATS",
    "GOLDEN",
    "HASHED",
    "LONGEST",
    "MANIFEST",
    "MODEL",
    "NO_MUSIC",
    "RESERVED",
    "SIGNATURE",
    "Calibration",
    "Energy",
    "Health",
    "Manifest",
    "Name",
    "Output",
    "Rejection",
    "Sha256",
    "Standardisation",
    "Tags",
    "Tensor",
    "Training",
    "Version",
    "label_fault",
    "manifest_bytes",
    "parse_manifest",
    "read_checked",
    "read_manifest",
    "read_part",
]
