"""From the corrections of a state folder to an installed model: `headnod teach`, and the same for the page.

    python -m headnod.teaching.teacher

does it for a running listener, in a process of its own with low priority: one line with a `TeachRequest` on stdin, a
`TeachResult` on stdout.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from headnod.errors import HeadnodError
from headnod.inference.bundle_files import read_manifest
from headnod.resources import models
from headnod.teaching.correction_commands import TeachRequest, TeachResult
from headnod.teaching.corrections import CorrectionStore
from headnod.teaching.last_layer import TeachError
from headnod.teaching.taught_model import TaughtModel, default_name, starting_bundle, teach
from headnod.updates.installer import Installer
from headnod.updates.state import Report, Stage, UpdateProgress, id_of
from headnod.updates.store import Store

_PRIORITY = 10


class Teacher:
    """Teaches from the corrections of one state folder, and installs what comes of it."""

    def __init__(self, state_folder: Path, configured: Path, report: Report, *, budget: float, windows: int) -> None:
        """Use a state folder.

        Args:
            state_folder: Where corrections and models are.
            configured: The bundle of the configuration, which listens where no stored one is active.
            report: Called with each step of the installation.
            budget: Seconds that one window may take.
            windows: Windows of a probation.
        """
        self._state_folder, self._configured = state_folder, configured
        # Made here by a person's request, so it needs no signature.
        self._installer = Installer(state_folder, (), report, budget=budget, windows=windows)

    def teach(self, name: str | None = None) -> TaughtModel:
        """Adapt the active model to the corrections that were made with its network.

        Args:
            name: Name of the new model; that of the present one with `-taught` if None.

        Raises:
            TeachError: There are no corrections, or too few.
        """
        store = self._installer.store
        active = store.active_folder() or self._configured
        body = read_manifest(active).body
        corrections = CorrectionStore(self._state_folder)
        labelled = corrections.labelled(body)
        if labelled is None:
            others = sorted({each.model for each in corrections.all()})
            made = f"those of {', '.join(others)} are of another network" if others else "correct songs on the page"
            message = f"{corrections.path}: there are no corrections of {read_manifest(active).id} ({made})"
            raise TeachError(message)
        stored = [store.path(each) for each in store.names()]
        start = starting_bundle(active, (*stored, *models()))
        name = name or default_name(read_manifest(start))
        return teach(labelled, start, name=name, version=_next_version(store, name))

    def install(self, taught: TaughtModel, *, activate: bool = True) -> None:
        """Test and store the model, and activate it on probation.

        Raises:
            BundleError: It does not work here.
        """
        name = self._installer.install(taught.files, trusted=True)
        if activate:
            self._installer.start_probation(name)
        else:
            self._installer.report(Stage.OFFERED, "ready to be activated")


def summary(taught: TaughtModel) -> Iterator[str]:
    """What a model improves, one line each."""
    recipe = taught.manifest.training.recipe
    yield (
        f"{taught.manifest.id}: the last layer of {recipe['base']}, adapted to {recipe['corrections']} corrections "
        f"({recipe['windows']} windows)"
    )
    for each in taught.improvements:
        alone = ", the only correction, halved" if each.corrections == 1 else f" of {each.corrections} corrections"
        yield (
            f"{each.label}: {each.before} of {each.windows} windows right before, {each.after} after, on windows that "
            f"were left out of the fit{alone}"
        )
    if taught.left_out:
        yield f"left out: {', '.join(taught.left_out)} (labels of media players that no person gave)"
    if not recipe["context"]:
        yield "careful: there is no other music to compare with yet, so little was changed"


def _next_version(store: Store, name: str) -> str:
    taken = [id_of(each).rpartition("-") for each in store.names()]
    used = [int(version.partition(".")[0]) for prefix, _, version in taken if prefix == name]
    return f"{max(used, default=0) + 1}.0.0"


def _main() -> None:
    os.nice(_PRIORITY)
    request = msgspec.json.decode(sys.stdin.buffer.readline(), type=TeachRequest)
    steps: list[UpdateProgress] = []
    result = TeachResult()
    try:
        teacher = Teacher(
            Path(request.state), Path(request.configured), steps.append, budget=request.budget, windows=request.windows
        )
        taught = teacher.teach()
        lines = tuple(summary(taught))
        if taught.improves:
            teacher.install(taught)
            result = TeachResult(model=taught.manifest.id, summary=lines)
        else:
            result = TeachResult(summary=lines, error="nothing improves: correct more songs of each label")
    except HeadnodError as error:
        result = TeachResult(error=str(error))
    sys.stdout.buffer.write(msgspec.json.encode(result))


if __name__ == "__main__":
    _main()
