"""The commands of `headnod-train`, one file each, loaded when they are called.

A command's file says how it is spelt (`add`) and what it does (`run`); what it
needs is imported inside `run`, so that `headnod-train --help` costs nothing.
"""

from __future__ import annotations

import argparse

from headnod_train.cli import (
    baselines_command,
    deploy_command,
    distil_command,
    evaluate_command,
    explore_command,
    fit_command,
    import_command,
    keygen_command,
    pack_command,
    prepare_command,
    quantise_command,
    sign_command,
    simulate_command,
    student_command,
    tag_command,
    teach_command,
)


def add_all(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser every command, in the order that a model is made."""
    for command in (
        teach_command,
        import_command,
        explore_command,
        baselines_command,
        fit_command,
        quantise_command,
        evaluate_command,
        pack_command,
        keygen_command,
        sign_command,
        deploy_command,
        simulate_command,
        tag_command,
        prepare_command,
        student_command,
        distil_command,
    ):
        command.add(subparsers)
