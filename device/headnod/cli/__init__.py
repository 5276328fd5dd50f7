"""The commands of `headnod`: `add` defines their arguments, `run` imports what they need.

So `headnod --help` loads no library.
"""

from __future__ import annotations

import argparse

from headnod.cli import (
    check_commands,
    listen_commands,
    microphone_commands,
    models_commands,
    mqtt_commands,
    output_commands,
    teaching_commands,
    why_command,
)


def add_all(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add all commands, in the order in which a user needs them."""
    listen_commands.add_listen(subparsers)
    listen_commands.add_classify(subparsers)
    why_command.add(subparsers)
    microphone_commands.add_devices(subparsers)
    check_commands.add_check(subparsers)
    microphone_commands.add_calibrate(subparsers)
    output_commands.add_history(subparsers)
    models_commands.add(subparsers)
    teaching_commands.add_corrections(subparsers)
    teaching_commands.add_suggest(subparsers)
    teaching_commands.add_teach(subparsers)
    output_commands.add_dashboard(subparsers)
    output_commands.add_leds(subparsers)
    mqtt_commands.add(subparsers)
    check_commands.add_config_command(subparsers)
