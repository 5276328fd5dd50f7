"""A rollout: canaries first, then the other listeners if the canaries kept the model; and installation by SSH.

The bundle is one retained message, so an offline listener receives it when it reconnects; a rollout that stops deletes
the message. Passwords and options of ssh belong into ~/.ssh/config.
"""

from __future__ import annotations

import hashlib
import random
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from headnod.errors import ConfigError, HeadnodError
from headnod.mqtt.broker import Broker
from headnod.mqtt.client import MqttClient
from headnod.mqtt.topics import Topics, channel
from headnod_train.deploy.rollout_fleet import FleetListener, RetainedModels, RolloutFleet

LARGEST = 1 << 20
"""Largest message that listeners accept, in bytes."""

_CONNECT_TIMEOUT, _RETAINED_TIMEOUT, _PUBLISH_TIMEOUT = 10.0, 10.0, 30.0
"""Seconds until the connection, the retained messages of the listeners, and an acknowledgement must be there."""

_REFRESH = 0.25
_INFO = 1 << 16


class RolloutError(HeadnodError):
    """A model did not reach all listeners, or must not be sent."""


@dataclass(frozen=True)
class RolloutPlan:
    """Listeners that receive a model."""

    channel: str
    """Update channel."""

    nodes: Sequence[str] = ()
    """Only these listeners, of any channel."""

    canaries: int = 0
    """Smallest number of listeners of the first part; all of channel canary are in it."""

    timeout: float = 300.0
    """Time limit of each part, in seconds."""

    quiet: float = 1.0
    """Retained messages are complete after this many seconds without a message."""


@dataclass
class RolloutResult:
    """Result of a rollout."""

    took: list[FleetListener] = field(default_factory=list)
    """Listeners that have the model."""

    failed: list[FleetListener] = field(default_factory=list)
    """Listeners that refused it or rolled back."""

    silent: list[FleetListener] = field(default_factory=list)
    """Connected listeners that did not finish in time."""

    away: list[FleetListener] = field(default_factory=list)
    """Offline listeners, which receive it when they reconnect."""

    spared: list[FleetListener] = field(default_factory=list)
    """Listeners to which it was not sent, because the rollout stopped."""

    stopped: str = ""
    """Reason of a stop; empty without one."""

    notes: list[str] = field(default_factory=list)
    """Notes about other rollouts."""


Show = Callable[[Sequence[FleetListener], str], None]
"""Called repeatedly with the listeners and the current step."""


def roll_out(
    bundle: bytes, digest: str, broker: Broker, base: str, plan: RolloutPlan, show: Show, *, model: str = "a model"
) -> RolloutResult:
    """Send a signed bundle, and wait until all connected listeners have tested it."""
    if len(bundle) > LARGEST:
        raise RolloutError(
            f"the bundle has {len(bundle)} bytes, listeners accept {LARGEST} by MQTT (use --ssh, or a smaller model)"
        )
    rollout = _Rollout(bundle, digest, broker, base, plan, show, model)
    try:
        rollout.open()
        outcome = rollout.run()
        outcome.notes = rollout.notes
        return outcome
    finally:
        rollout.close()


class _Rollout:
    def __init__(
        self, bundle: bytes, digest: str, broker: Broker, base: str, plan: RolloutPlan, show: Show, model: str
    ) -> None:
        self._bundle, self._base, self._plan, self._show = bundle, base, plan, show
        self._own = hashlib.sha256(bundle).hexdigest()
        self._retained = RetainedModels(broker, base, model, self._own, largest=LARGEST + _INFO)
        self.notes: list[str] = []
        self._fleet = RolloutFleet(base, digest)
        self._link = MqttClient(
            broker,
            subscriptions=self._fleet.subscriptions,
            qos=1,
            on_message=lambda message: self._fleet.update(message.topic, message.payload),
            rng=random.Random(),  # noqa: S311 - it spreads attempts over time
            largest=_INFO,
        )
        self._sent: list[str] = []

    def open(self) -> None:
        self._link.start()
        if not self._link.wait_connected(_CONNECT_TIMEOUT, attempts=1):
            raise RolloutError(f"no connection: {self._link.reason}")
        if not self._retained.start():
            self.notes.append(f"other rollouts cannot be seen (may this user read {self._base}/deploy/+?)")
        self.notes += [f"another rollout is running: {other}" for other in self._retained.others]
        deadline, before = time.monotonic() + _RETAINED_TIMEOUT, -1
        while before != self._fleet.count and time.monotonic() < deadline:
            before = self._fleet.count
            self._fleet.wait(lambda: False, self._plan.quiet)

    def close(self) -> None:
        self._retained.close()
        self._link.close()

    def run(self) -> RolloutResult:
        plan = self._plan
        if plan.nodes:
            targets = [self._fleet.member(node) for node in plan.nodes]
            return self._carry_out(targets, [Topics(self._base, each.node).deploy for each in targets])
        everybody = [each for each in self._fleet.members if each.channel and each.updates != "none"]
        canaries = [each for each in everybody if each.channel == "canary"]
        targets = [each for each in everybody if each.channel == plan.channel]
        if not targets:
            raise RolloutError(
                f"no listener takes models of channel '{plan.channel}' here "
                "(set model.keys and model.channel on the listeners)"
            )
        whole = channel(self._base, plan.channel)
        if plan.channel == "canary":
            return self._carry_out(targets, [whole])
        chosen = self._chosen(canaries, targets)
        first = [*canaries, *chosen]
        if first:
            topics = [Topics(self._base, each.node).deploy for each in chosen]
            outcome = self._carry_out(first, topics + ([channel(self._base, "canary")] if canaries else []))
            if outcome.stopped or outcome.failed or outcome.silent or not outcome.took:
                return self._stopped(outcome, [each for each in targets if each not in first])
        outcome = self._carry_out([*first, *(each for each in targets if each not in first)], [whole])
        # The first listeners receive the message for all listeners too, so theirs can be taken back.
        self._take_back([Topics(self._base, each.node).deploy for each in chosen])
        return outcome

    def _chosen(self, canaries: Sequence[FleetListener], targets: Sequence[FleetListener]) -> list[FleetListener]:
        there = sum(each.online for each in canaries)
        return [each for each in targets if each.online][: max(self._plan.canaries - there, 0)]

    def _carry_out(self, targets: Sequence[FleetListener], topics: Sequence[str]) -> RolloutResult:
        for topic in topics:
            self._publish(topic, self._bundle)
            self._sent.append(topic)
        self._await(targets, topics)
        there = [each for each in targets if each.online or each.ended]
        return RolloutResult(
            stopped=self._replaced(topics),
            took=[each for each in there if each.well],
            failed=[each for each in there if each.ended and not each.well],
            silent=[each for each in there if not each.ended],
            away=[each for each in targets if each not in there],
        )

    def _await(self, targets: Sequence[FleetListener], topics: Sequence[str]) -> None:
        deadline = time.monotonic() + self._plan.timeout
        while True:
            waiting = [each for each in targets if each.online and not each.ended]
            self._show(targets, f"{len(waiting)} of {len(targets)} under way")
            if not waiting or time.monotonic() > deadline or self._replaced(topics):
                return
            self._fleet.wait_for_news(_REFRESH)

    def _stopped(self, outcome: RolloutResult, spared: list[FleetListener]) -> RolloutResult:
        self._take_back(self._sent)
        failed = [*outcome.failed, *outcome.silent]
        why = outcome.stopped or (
            f"{failed[0].node}: {failed[0].message or 'no answer in time'}"
            if failed
            else "none of the first listeners is online"
        )
        outcome.spared, outcome.stopped = spared, why
        return outcome

    def _take_back(self, topics: Sequence[str]) -> None:
        self._retained.refresh()
        for topic in topics:
            held = self._retained.holds(topic)
            if held not in {None, "", self._own}:
                self.notes.append(f"{topic}: another rollout has published its own model there, and it stays")
            elif held != "":
                self._publish(topic, b"")

    def _replaced(self, topics: Sequence[str]) -> str:
        """Reason why this rollout cannot continue; empty if it can."""
        lost = [topic for topic in topics if self._retained.replaced(topic)]
        return f"another rollout has replaced this model at {lost[0]}" if lost else ""

    def _publish(self, topic: str, payload: bytes) -> None:
        refusal = self._link.publish_and_wait(topic, payload, retain=True, timeout=_PUBLISH_TIMEOUT)
        if refusal is not None:
            raise RolloutError(
                f"{topic}: the broker refused {len(payload)} bytes: {refusal} "
                "(may this user write there, and does max_packet_size allow it?)"
            )


_COLOURS = {"kept": "green", "offered": "green", "refused": "red", "rolled_back": "red", "probation": "yellow"}
_ROOM = 8
"""Lines of the terminal outside the table."""


class RolloutDisplay:
    """Shows the stage of every listener."""

    def __init__(self, console: Console, model: str) -> None:
        """Show the rollout of a model."""
        self._console, self._model = console, model
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._printed: dict[str, str] = {}

    def show(self, members: Sequence[FleetListener], summary: str) -> None:
        """Show all listeners, unfinished ones first."""
        if self._live is not None:
            self._live.update(self._table(members, summary))
            return
        for member in members:
            if member.stage and self._printed.get(member.node) != member.stage:
                self._printed[member.node] = member.stage
                line = f"{member.node}: {_words(member.stage)}: {member.message}"
                self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def _table(self, members: Sequence[FleetListener], summary: str) -> Table:
        table = Table(title=f"{self._model}: {summary}", title_justify="left")
        for heading in ("listener", "channel", "had", "stage", "message"):
            table.add_column(heading, no_wrap=True, overflow="ellipsis")
        order = sorted(members, key=lambda member: (member.well, not member.online, member.node))
        shown = order[: max(self._console.height - _ROOM, 1)]
        for member in shown:
            stage = member.stage or ("waiting" if member.online else "away")
            colour = _COLOURS.get(stage, "default")
            table.add_row(
                member.node, member.channel, member.had, Text(_words(stage), style=colour), Text(member.message)
            )
        if rest := Counter(member.stage or "waiting" for member in order[len(shown) :]):
            table.caption = "and " + ", ".join(f"{count} {_words(stage)}" for stage, count in rest.items())
        return table


def summary(outcome: RolloutResult, model: str) -> str:
    """The result of a rollout in a few lines."""
    lines = [f"{model}: {len(outcome.took)} have it"]
    for members, what in (
        (outcome.failed, "did not install it"),
        (outcome.silent, "gave no answer in time"),
        (outcome.away, "are offline and receive it when they reconnect"),
        (outcome.spared, "were not sent the model and keep theirs"),
    ):
        if members:
            named = ", ".join(member.node for member in members[:5])
            lines.append(f"{len(members)} {what}: {named}{', …' if len(members) > 5 else ''}")  # noqa: PLR2004 - a line
    lines += [f"{member.node}: {_words(member.stage)}: {member.message}" for member in outcome.failed[:5]]
    return "\n".join(lines)


def _words(stage: str) -> str:
    return stage.replace("_", " ")


_HOST = re.compile(r"\A[A-Za-z0-9_.@:\[\]%][A-Za-z0-9_.@:\[\]%-]{0,253}\Z")


def install(host: str, bundle: bytes, *, timeout: float) -> str:
    """Install and activate a bundle on one machine.

    Returns:
        Output of headnod on that machine.
    """
    if not _HOST.match(host):
        raise ConfigError(f"--ssh: {host[:60]!a} is not a host (user@host, or a name of ~/.ssh/config)")
    command = ["ssh", host, "sudo -n headnod models install -"]
    try:
        ended = subprocess.run(command, input=bundle, capture_output=True, timeout=timeout, check=False)  # noqa: S603 - the host was checked
    except FileNotFoundError:
        raise RolloutError("ssh: there is no such program (install openssh-client)") from None
    except subprocess.TimeoutExpired:
        raise RolloutError(f"{host}: did not finish within {timeout:g} s") from None
    if ended.returncode:
        last = (ended.stderr.decode(errors="replace").strip().splitlines() or [f"status {ended.returncode}"])[-1]
        raise RolloutError(f"{host}: {last[:300]}")
    return ended.stdout.decode(errors="replace").strip()
