import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd" / "headnod-dashboard.service"
WORST = 16
"""Tenths of systemd's exposure score: 0 is none, 100 all."""


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_dashboard_is_hardly_exposed():
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", f"--threshold={WORST}", "--no-pager", UNIT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-2000:] + judged.stderr


def test_the_dashboard_serves_what_the_configuration_says():
    assert "ExecStart=/opt/headnod/bin/headnod dashboard\n" in UNIT.read_text()
