"""The commands of `headnod`, and the examples in their help, which a test parses.

Each command has a function that adds its arguments, and one that runs it and imports what it needs, so that
`headnod --help` loads no library.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

from headnod.cli import check_commands, listen_commands, models_commands


def add_all(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add all commands, in the order in which a user needs them."""
    listen_commands.add_listen(subparsers)
    listen_commands.add_classify(subparsers)
    listen_commands.add_why(subparsers)
    listen_commands.add_devices(subparsers)
    check_commands.add_check(subparsers)
    listen_commands.add_calibrate(subparsers)
    check_commands.add_history(subparsers)
    models_commands.add_models(subparsers)
    models_commands.add_corrections(subparsers)
    models_commands.add_suggest(subparsers)
    models_commands.add_teach(subparsers)
    check_commands.add_dashboard(subparsers)
    check_commands.add_leds(subparsers)
    check_commands.add_mqtt(subparsers)
    check_commands.add_config_command(subparsers)


EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "headnod": (
        "headnod listen                             watch the bars move",
        "headnod classify song.mp3                  name the genre of a file",
        "headnod check                              test every part and say how to fix faults",
    ),
    "headnod listen": (
        "headnod listen                             watch the bars move",
        "headnod listen --web                       serve a page at http://127.0.0.1:8080/",
        "headnod listen --audio party.flac --json   one JSON object per estimate",
        "headnod listen --audio http://radio.example:8000/live.mp3",
        "arecord -t raw -f S16_LE -r 22050 -c 1 | headnod listen --audio - --rate 22050",
    ),
    "headnod classify": (
        "headnod classify song.mp3                  genre and probability of a file",
        "headnod classify --json a.flac b.wav       one JSON object per file",
    ),
    "headnod why": (
        "headnod why                                of the listener that runs here",
        "headnod why --audio song.mp3               of the last seconds of a file",
    ),
    "headnod devices": (
        "headnod devices                            names for microphone.device",
        "headnod devices --json                     the same as a JSON array",
    ),
    "headnod check": (
        "headnod check                              every part, as the listener would use it",
        "headnod check --device usb:0d8c:013c       with this microphone",
        "headnod check --music                      how many answers to a test record stay the same in the room",
    ),
    "headnod calibrate": (
        "headnod calibrate                          a minute, half of it with music",
        "headnod calibrate --seconds 20 --json      a quick one, as JSON",
    ),
    "headnod history": (
        "headnod history --since 2h                 songs of the last two hours",
        "headnod history --estimates --csv          every estimate, for a spreadsheet",
    ),
    "headnod models": (
        "headnod models list                        installed and shipped models",
        "headnod models install genre-0.2.0.bundle  verify, try, store and activate it",
        "headnod models rollback                    use the former model again",
    ),
    "headnod models list": ("headnod models list", "headnod models list --json"),
    "headnod models verify": ("headnod models verify genre-0.2.0.bundle", "headnod models verify genre-1.0.0"),
    "headnod models install": (
        "headnod models install genre-0.2.0.bundle",
        "headnod models install --keep-current -    store the bundle on stdin, activate it later",
    ),
    "headnod models activate": ("headnod models activate genre-0.2.0",),
    "headnod models rollback": ("headnod models rollback",),
    "headnod models prune": ("headnod models prune --keep 3",),
    "headnod models shadow": (
        "headnod models shadow genre-0.2.0 --every 5   compare it on every fifth window",
        "headnod models shadow                         print how often they agree",
        "headnod models shadow --stop                  end the comparison",
    ),
    "headnod corrections": (
        "headnod corrections list                   labels that people gave to songs",
        "headnod corrections export songs.npz       for headnod-train teach --corrections",
    ),
    "headnod suggest": ("headnod suggest                            moments whose label would teach most",),
    "headnod teach": (
        "headnod teach                              a new model from the corrections, on probation",
        "headnod teach --keep-current               store it only",
    ),
    "headnod corrections list": ("headnod corrections list", "headnod corrections list --json"),
    "headnod corrections export": ("headnod corrections export songs.npz",),
    "headnod corrections delete": ("headnod corrections delete 3 4", "headnod corrections delete --all"),
    "headnod dashboard": (
        "headnod dashboard                          serve http://127.0.0.1:8137/",
        "headnod dashboard --host 0.0.0.0           for other machines; needs a password",
    ),
    "headnod leds": ("headnod leds preview lights.png",),
    "headnod leds preview": (
        "headnod leds preview                       the configured lights, as leds.png",
        "headnod leds preview --kind ws2812 --count 144 --mode mood shelf.png",
    ),
    "headnod mqtt": (
        "headnod mqtt test                          each step to the broker",
        "headnod mqtt forget kitchen                remove a listener that is gone",
        "headnod mqtt schema                        JSON Schema of every payload",
    ),
    "headnod mqtt test": ("headnod mqtt test", "headnod mqtt test --config kitchen.toml --json"),
    "headnod mqtt forget": ("headnod mqtt forget kitchen", "headnod mqtt forget kitchen --force"),
    "headnod mqtt schema": ("headnod mqtt schema",),
    "headnod mqtt docs": ("headnod mqtt docs docs/mqtt.md",),
    "headnod config": ("headnod config check", "headnod config show"),
    "headnod config show": (
        "headnod config show                        every value with its origin",
        "headnod config show --json",
    ),
    "headnod config check": ("headnod config check", "headnod config check --config kitchen.toml"),
}
"""Lines by command: an example, and after two spaces its purpose."""


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of all its commands."""
    yield parser
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to its subparsers
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for each in action.choices.values():
                yield from parsers(each)


def add_examples(parser: argparse.ArgumentParser) -> None:
    """Add the examples to the help of each command."""
    for each in parsers(parser):
        if each.prog in EXAMPLES:
            each.epilog = "\n".join(["examples:", *(f"  {line}" for line in EXAMPLES[each.prog])])
