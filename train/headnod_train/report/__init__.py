"""The page of an evaluation: one HTML file that needs no network, pictures within it."""

from __future__ import annotations

from pathlib import Path

from headnod_train.evaluation.results import Evaluation, save
from headnod_train.report.evaluation_page import page


def write_report(evaluation: Evaluation, folder: Path) -> Path:
    """Write index.html, and evaluation.json beside it.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save(evaluation, folder / "evaluation.json")
    written = folder / "index.html"
    written.write_text(page(evaluation), encoding="utf-8")
    return written
