"""The commands of `headnod-train`, one file each, loaded when they are called.

A command's file says how it is spelt (`add`) and what it does (`run`); what it
needs is imported inside `run`, so that `headnod-train --help` costs nothing.
"""

from __future__ import annotations

import argparse

from headnod_train.commands import (
    baselines,
    deploy,
    distil,
    evaluate,
    explore,
    fit,
    import_,
    keygen,
    pack,
    prepare,
    quantise,
    sign,
    simulate,
    student,
    tag,
)


def add_all(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser every command, in the order that a model is made."""
    for command in (
        import_,
        explore,
        baselines,
        fit,
        quantise,
        evaluate,
        pack,
        keygen,
        sign,
        deploy,
        simulate,
        tag,
        prepare,
        student,
        distil,
    ):
        command.add(subparsers)
