"""The commands of `headnod-train`.

Each command has a function `add_...`, which declares its options, and a function `run_...`. Libraries are imported
inside `run_...`, so that `headnod-train --help` starts fast.
"""

from __future__ import annotations

import argparse

from headnod_train.cli.dataset_commands import add_baselines, add_explore, add_import, add_play
from headnod_train.cli.deploy_commands import add_deploy, add_export, add_keygen, add_sign, add_simulate
from headnod_train.cli.distillation_commands import add_distil, add_prepare, add_student, add_tag
from headnod_train.cli.evaluate_command import add as add_evaluate
from headnod_train.cli.training_commands import add_fit, add_pack, add_quantise, add_teach


def add_all(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add every command, in the order of the steps from music to a deployed model."""
    for add in (
        add_teach,
        add_import,
        add_explore,
        add_play,
        add_baselines,
        add_fit,
        add_quantise,
        add_evaluate,
        add_pack,
        add_export,
        add_keygen,
        add_sign,
        add_deploy,
        add_simulate,
        add_tag,
        add_prepare,
        add_student,
        add_distil,
    ):
        add(subparsers)
