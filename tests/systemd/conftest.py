"""Whole Debian systems with headnod installed in them."""

import pytest

import debian_roots as roots


@pytest.fixture(scope="session", params=["bookworm", "trixie"])
def installed(request):
    """A system with headnod freshly installed in it, and what the installer said."""
    if reason := roots.missing():
        pytest.skip(f"no Debian can be made here: {reason}")
    with roots.copy(roots.bare(request.param), "installed") as root:
        roots.take_in(root)
        ended = roots.run(root, f"{roots.INSIDE}/scripts/install")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        yield root, ended.stderr
