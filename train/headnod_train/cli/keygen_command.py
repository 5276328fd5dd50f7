"""`headnod-train keygen`: make the key that signs models."""

from __future__ import annotations

import argparse

from rich.console import Console

from headnod_train.cli.command_options import add_key, say

_EXAMPLES = """\
examples:
  headnod-train keygen
  headnod-train keygen --passphrase --key ~/keys/headnod.key
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "keygen",
        help="make the key that signs models",
        description="Make the key that signs models, and print the line that every listener must be configured with.",
        epilog=_EXAMPLES,
    )
    add_key(parser)
    parser.add_argument("--passphrase", action="store_true", help="ask for a passphrase and encrypt the key with it")
    parser.set_defaults(run=run, kept="no key was made")


def run(options: argparse.Namespace, console: Console) -> None:
    """Make it, and print its public half."""
    from headnod_train.deploy.passphrase import new_passphrase  # noqa: PLC0415
    from headnod_train.deploy.signing_key import generate  # noqa: PLC0415

    public = generate(options.key, new_passphrase() if options.passphrase else None)
    for line in (
        f"{options.key}: keep it, and a copy elsewhere: whoever has it can send programs to every listener",
        "on every listener, in /etc/headnod/headnod.toml, under [model]:",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    say(f'keys = ["{public}"]')
