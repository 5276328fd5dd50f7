"""`headnod-train export`: the network of a bundle for other runtimes."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from headnod_train.console import print_result

FORMATS = ("onnx", "onnx-int8", "c")

_EXAMPLES = """\
examples:
  headnod-train export genre --out exported
  headnod-train export models/mine-1.0.0 --out firmware --format c
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "export",
        help="write a model as ONNX, or as C source for microcontrollers",
        description="Write the network of a bundle as ONNX, in real numbers and int8, and as C source for TensorFlow "
        "Lite for Microcontrollers with the constants of its front end. Each is checked with the golden windows of the "
        "bundle before it is written.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of a bundle, or a shipped model such as genre")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the files")
    parser.add_argument(
        "--format", action="append", choices=FORMATS, help="write this one only (repeatable; all by default)"
    )
    parser.set_defaults(run=run, kept="files that were written are complete")


def run(options: argparse.Namespace, console: Console) -> None:
    """Export, and name each file with what its check found."""
    from headnod.inference.bundle_files import read_checked
    from headnod.inference.manifest import GOLDEN, MODEL
    from headnod.inference.model import load_checked
    from headnod.resources import find_model
    from headnod_train.packaging.c_export import c_sources
    from headnod_train.storage import write_file

    folder = find_model(options.bundle)
    manifest = load_checked(folder).manifest
    content, golden = (read_checked(folder, name, manifest) for name in (MODEL, GOLDEN))
    formats = options.format or FORMATS
    if "c" in formats:
        for name, text in c_sources(manifest, content, golden).items():
            write_file(options.out / name, text.encode())
            print_result(str(options.out / name))
    if not {"onnx", "onnx-int8"} & set(formats):
        return
    from headnod_train.packaging.onnx_export import check, float_onnx, int8_onnx

    console.print("converting to ONNX", highlight=False)
    whole = int8_onnx(content)
    for kind, model in (("onnx", float_onnx(whole)), ("onnx-int8", whole)):
        if kind in formats:
            path = options.out / f"{manifest.id}{'-int8' if kind == 'onnx-int8' else ''}.onnx"
            found = check(model, content, golden, manifest)
            write_file(path, model.SerializeToString())
            print_result(f"{path}: {found}")
