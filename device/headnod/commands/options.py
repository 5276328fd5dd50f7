"""Options that several commands share, and the configuration they lead to."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headnod.config import Loaded


def add_config(parser: argparse.ArgumentParser) -> None:
    """The option that names a configuration file."""
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="read this configuration, not /etc/headnod/headnod.toml"
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """The option that names a model."""
    parser.add_argument("--model", metavar="NAME", help="a shipped model, or the folder of a bundle")


def load_config(options: argparse.Namespace, flags: dict[tuple[str, str, str], object] | None = None) -> Loaded:
    """The configuration from file, environment and flags.

    Raises:
        ConfigError: It cannot be used.
    """
    from headnod.config import load  # noqa: PLC0415
    from headnod.layers import CONFIG_FILE, environment_layer, file_layer, flag_layer  # noqa: PLC0415

    named = options.config or (Path(os.environ["HEADNOD_CONFIG"]) if "HEADNOD_CONFIG" in os.environ else None)
    return load(
        file_layer(named or CONFIG_FILE, required=named is not None),
        environment_layer(os.environ),
        flag_layer(flags or {}),
    )
