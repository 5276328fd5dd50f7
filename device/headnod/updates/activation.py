"""Changes of the active model: activation on probation, the end of a probation, and the way back."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from headnod.errors import BundleError
from headnod.updates.state import ActiveModel, Report, Stage, UpdateState, id_of, serial_of
from headnod.updates.store import Store

MAX_CRASHES = 2
"""Abnormal ends of the listener during a probation after which the model is rolled back."""


class Activation:
    """Which stored model is active. Each change is one write of the state file.

    A change that cannot be read or written raises a `BundleError`.
    """

    def __init__(self, store: Store, report: Report) -> None:
        """Change the state of a store, and report each step."""
        self._store, self._report = store, report

    def activate(self, name: str, manifest: str, *, windows: int) -> UpdateState:
        """Activate a stored model that passed its self-test, on probation for a number of windows."""
        return self._store.change(lambda state: state.activated(name, manifest, windows=windows))

    def roll_back(self, reason: str, *, mark_failed: bool = True, model: str | None = None) -> str | None:
        """Activate the previous model again.

        Args:
            reason: What the probation found; empty if a person asked for it.
            mark_failed: Do not install this bundle again.
            model: The model that failed; if another one was activated since, nothing is done.

        Returns:
            Name of the model that is active then; None is the model of the configuration.

        Raises:
            BundleError: The previous model is not known.
        """
        with self._store.lock():
            state = self._store.read()
            failed = state.active
            if model is not None and (failed is None or failed.name != model):
                return failed.name if failed is not None else None
            if failed is None or not (failed.manifest or reason):
                raise BundleError("the previous model is not known (name one: headnod models activate NAME)")
            previous = failed.previous
            if previous is not None and not self._store.path(previous).is_dir():
                previous = None
            if mark_failed:
                state = state.after_failure(serial_of(failed.name), failed.manifest, reason or "rolled back by hand")
            self._store.write(replace(state, active=ActiveModel(previous) if previous is not None else None))
            if reason:
                self._store.remove(failed.name)
        now = id_of(previous) if previous is not None else "the model of the configuration"
        step = UpdateState(active=failed).progress()
        self._report(replace(step, stage=Stage.ROLLED_BACK, message=f"{reason or 'requested'}; {now} listens"))
        return previous

    def record_start(self) -> None:
        """Note that a listener runs, and roll back a model on probation whose listeners ended abnormally."""
        active = self._amend(lambda active: replace(active, crashes=active.crashes + active.running, running=True))
        if active is not None and active.windows_left and active.crashes >= MAX_CRASHES:
            reason = f"the listener ended abnormally {active.crashes} times during its probation"
            self.roll_back(reason, model=active.name)

    def record_change(self) -> None:
        """Note that a running listener changed to the active model."""
        self._amend(lambda active: replace(active, running=True))

    def record_stop(self) -> None:
        """Note that the listener ended normally."""
        self._amend(lambda active: replace(active, running=False))

    def keep(self, model: str | None = None) -> bool:
        """End the probation of the active model; false if another one than `model` was activated since."""
        kept = self._amend(lambda active: replace(active, windows_left=0, crashes=0, running=False), model)
        return kept is not None and not kept.windows_left

    def _amend(self, change: Callable[[ActiveModel], ActiveModel], model: str | None = None) -> ActiveModel | None:
        """Change the record of a probation; gives the record of the active model, None if it is another one."""
        # The lock creates a folder, and most devices never had a model to activate.
        if self._store.read().active is None:
            return None
        changed: ActiveModel | None = None

        def edit(state: UpdateState) -> UpdateState:
            nonlocal changed
            active = state.active
            if active is None or model not in {None, active.name}:
                return state
            changed = change(active) if active.windows_left else active
            return replace(state, active=changed)

        self._store.change(edit)
        return changed
