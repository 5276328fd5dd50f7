"""The commands of the page, and of MQTT beyond plain settings: one function for each, with typed arguments.

`headnod.mqtt.commands` has the others of MQTT. Every function may be called on any thread; a `HeadnodError` refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from headnod.audio.microphone import list_devices
from headnod.config import CHANGEABLE
from headnod.errors import ConfigError, HeadnodError
from headnod.outputs.web import (
    Arguments,
    ChosenDevice,
    ControlsChange,
    Correct,
    CorrectionSpan,
    LogSpan,
    ModelName,
    Numbers,
    PlayerLabel,
    Values,
)
from headnod.remote_controls import InForce, outputs, wall_clock_end
from headnod.resources import models
from headnod.updates.state import id_of, serial_of

if TYPE_CHECKING:
    from headnod.clock import Clock
    from headnod.config import Overlay
    from headnod.log import RecentLog
    from headnod.pipeline.level_meter import PlacementMeter
    from headnod.remote_controls import RemoteControls
    from headnod.teaching.correction_commands import CorrectionCommands
    from headnod.updates.manager import ModelManager

_MOST = 200
"""Corrections in one answer, the newest."""


class CommandRefusedError(HeadnodError, ValueError):
    """The arguments of a command are not valid, or it cannot be applied here."""


class ListenerCommands:
    """The commands by name."""

    def __init__(
        self,
        in_force: Callable[[], InForce],
        manager: ModelManager,
        corrections: CorrectionCommands,
        remote: RemoteControls,
        *,
        clock: Clock,
        placement: PlacementMeter,
        log: RecentLog,
        overlay: Overlay | None,
    ) -> None:
        """Act on the parts of a listener."""
        self.remote = remote
        """Changes of settings."""
        self._in_force, self._models, self._corrections, self._clock = in_force, manager, corrections, clock
        self._placement, self._log, self._overlay = placement, log, overlay
        # Its type gives the arguments of each command.
        self._table: Mapping[str, tuple[type[Arguments], Callable[[Any], object]]] = {
            "controls": (Arguments, lambda _: self.controls()),
            "change": (ControlsChange, self._change),
            "models": (Arguments, lambda _: self._list_models()),
            "activate": (ModelName, self._activate),
            "rollback": (Arguments, lambda _: {"model": self._models.roll_back()}),
            "microphones": (Arguments, lambda _: self._microphones()),
            "microphone": (ChosenDevice, self._choose_microphone),
            "restart": (Arguments, self._restart),
            "log": (LogSpan, lambda given: {"lines": self._log.since(3600.0 * given.hours)}),
            "configuration": (Arguments, lambda _: self._configuration()),
            "configure": (Values, self._configure),
            "correct": (Correct, lambda given: corrections.correct(given.start, given.end, given.label)),
            "label": (PlayerLabel, lambda given: corrections.label(given.label)),
            "corrections": (Arguments, lambda _: self._list_corrections()),
            "export_corrections": (
                CorrectionSpan,
                lambda given: corrections.store.part(given.after, given.offset, given.most),
            ),
            "delete_corrections": (Numbers, lambda given: {"deleted": corrections.store.delete(given.ids)}),
            "suggest": (Arguments, lambda _: {"suggestions": corrections.suggestions()}),
            "teach": (Arguments, lambda _: corrections.teach()),
            "teaching": (Arguments, lambda _: corrections.teaching()),
        }

    def call(self, name: str, arguments: Mapping[str, Any]) -> object:
        """Apply a command with arguments from outside.

        Raises:
            HeadnodError: There is no such command, or it is refused.
        """
        if name not in self._table:
            raise CommandRefusedError(f"there is no command {name[:40]!a}")
        kind, function = self._table[name]
        try:
            given = msgspec.convert(dict(arguments), kind)
        except msgspec.ValidationError as error:
            fields = ", ".join(field.encode_name for field in msgspec.structs.fields(kind))
            reason = f"{name}: {str(error)[:1].lower()}{str(error)[1:]}"
            raise CommandRefusedError(f"{reason} (there is {fields})" if "field `" in reason else reason) from None
        answer = function(given)
        return {} if answer is None else answer

    def controls(self) -> dict[str, Any]:
        """All that can be set, as it is now."""
        now = self._in_force()
        config, snapshot = now.config, self._models.snapshot()
        manifest = snapshot.manifest
        return {
            "paused": now.paused,
            "paused_until": wall_clock_end(now, self._clock),
            "pause_reason": now.pause_reason(self._clock),
            "quiet_hours": [span.split("-") for span in config.listen.quiet_hours],
            "threshold": round(config.listen.threshold or manifest.rejection.threshold, 4),
            "model_threshold": round(manifest.rejection.threshold, 4),
            "brightness": config.brightness,
            "outputs": [
                {"name": name, "kind": kind, "on": name not in now.off} for name, kind in outputs(config).items()
            ],
            "model": {"active": manifest.id, "offered": id_of(snapshot.offered) if snapshot.offered else None},
            "microphone": {"device": config.microphone.device, **self._placement.report()},
            "labels": manifest.labels,
        }

    def _change(self, given: ControlsChange) -> dict[str, object]:
        spans = None if given.quiet_hours is None else tuple("-".join(span) for span in given.quiet_hours)
        seconds = given.pause_seconds
        if given.paused_until is not None:
            seconds = given.paused_until - self._clock.now().timestamp()
        if seconds is not None and (seconds <= 0.0 or given.paused is False):
            raise CommandRefusedError("paused_until: is over, or contradicts paused")
        # What can be refused comes first, so that nothing is changed by half.
        there = outputs(self._in_force().config)
        for each in given.outputs:
            if each.name not in there:
                raise CommandRefusedError(f"there is no output {each.name!a} (there is {', '.join(there)})")
        if spans is not None:
            self.remote.quiet_hours(spans)
        for each in given.outputs:
            self.remote.output(each.name, each.on)
        if seconds is not None or given.paused is not None:
            self.remote.pause(seconds is not None or bool(given.paused), seconds)
        if given.threshold is not None:
            self.remote.threshold(given.threshold)
        if given.brightness is not None:
            self.remote.brightness(given.brightness)
        return msgspec.to_builtins(given)

    def _list_models(self) -> dict[str, object]:
        snapshot, store = self._models.snapshot(), self._models.store
        state = store.read() if store is not None else None
        active = state.active if state is not None else None
        rows: list[dict[str, object]] = []
        for name in snapshot.stored:
            listens = active is not None and active.name == name
            rows.append(
                {
                    "model": id_of(name),
                    "serial": serial_of(name),
                    "origin": "installed",
                    "active": listens,
                    "offered": name == snapshot.offered,
                    "probation": active.windows_left if listens and active is not None else 0,
                    "previous": active is not None and active.previous == name,
                    "shadow": state is not None and state.shadow is not None and state.shadow.model == name,
                }
            )
        for folder in models():
            own = active is None and folder.name == snapshot.manifest.id
            rows.append({"model": folder.name, "serial": 0, "origin": "shipped", "active": own})
        agreement = state.agreement if state is not None else None
        step = self._models.last_step
        return {
            "models": rows,
            "agreement": agreement and msgspec.to_builtins(agreement),
            "step": step and {"model": step.model, "stage": step.stage, "message": step.message},
        }

    def _activate(self, given: ModelName) -> dict[str, object]:
        there = dict.fromkeys([*(folder.name for folder in models()), *map(id_of, self._models.snapshot().stored)])
        if given.model not in there:
            raise CommandRefusedError(f"there is no model {given.model!a} (there is {', '.join(there)})")
        self.remote.activate(given.model)
        return {"model": given.model}

    def _microphones(self) -> dict[str, object]:
        found = list_devices()
        section = self._in_force().config.microphone
        return {
            "chosen": section.device,
            "replaced": bool(section.command or section.address),
            "devices": [{"name": each.name, "others": each.others, "usb": each.usb} for each in found.devices],
            "unavailable": [{"names": each.names, "reason": each.reason} for each in found.closed],
            **self._placement.report(),
        }

    def _choose_microphone(self, given: ChosenDevice) -> dict[str, object]:
        self._set({"microphone.device": given.device or None})
        return {"device": given.device}

    def _restart(self, _: Arguments) -> None:
        self.remote.restart.set()

    def _configuration(self) -> dict[str, object]:
        if self._overlay is None:
            raise CommandRefusedError("the configuration of this listener is not known")
        rows = [
            {
                "key": f"{section}.{key}",
                # The address of a webhook may hold a token.
                "value": len(value) if (section, key) == ("web", "webhooks") else value,
                "origin": origin,
                # What the environment or a flag sets goes before what is set on the page.
                "changeable": key in CHANGEABLE.get(section, ()) and not origin.startswith(("HEADNOD_", "--")),
            }
            for section, key, value, origin in self._overlay.loaded().rows()
        ]
        return {"file": str(self._overlay.path), "values": rows}

    def _configure(self, given: Values) -> dict[str, object]:
        self._set(given.values)
        return self._configuration()

    def _set(self, values: Mapping[str, object]) -> None:
        if self._overlay is None:
            raise ConfigError("there is no state folder for what is set on the page (set history.path)")
        self._overlay.change(values)
        self.remote.reload.set()

    def _list_corrections(self) -> dict[str, object]:
        there = self._corrections.store.all()
        return {"count": len(there), "corrections": there[-_MOST:][::-1]}
