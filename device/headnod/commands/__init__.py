"""The commands of `headnod`, one file each, loaded when they are called.

A command's file says how it is spelt (`add`) and what it does (`run`); what it
needs is imported inside `run`, so that `headnod --help` costs nothing.
"""

from __future__ import annotations

import argparse

from headnod.commands import calibrate, check, classify, config, dashboard, devices, history, leds, listen, models, mqtt


def add_all(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser every command, in the order that people meet them."""
    for command in (listen, classify, devices, check, calibrate, history, models, dashboard, leds, mqtt, config):
        command.add(subparsers)
