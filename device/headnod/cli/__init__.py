"""The commands of `headnod`, one file each, loaded when they are called.

A command's file says how it is spelt (`add`) and what it does (`run`); what it
needs is imported inside `run`, so that `headnod --help` costs nothing.
"""

from __future__ import annotations

import argparse

from headnod.cli import (
    calibrate_command,
    check_command,
    classify_command,
    config_command,
    dashboard_command,
    devices_command,
    history_command,
    leds_command,
    listen_command,
    models_command,
    mqtt_command,
)


def add_all(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser every command, in the order that people meet them."""
    for command in (
        listen_command,
        classify_command,
        devices_command,
        check_command,
        calibrate_command,
        history_command,
        models_command,
        dashboard_command,
        leds_command,
        mqtt_command,
        config_command,
    ):
        command.add(subparsers)
