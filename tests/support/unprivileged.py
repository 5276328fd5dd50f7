"""A user without rights, for tests that root runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

NOBODY = 65_534


@contextmanager
def as_nobody(user: int = NOBODY, *, groups: Sequence[int] = ()) -> Iterator[None]:
    """Everything inside is done by a user who owns no device."""
    former = os.getgroups()
    os.setgroups(groups)
    os.setresgid(NOBODY, NOBODY, 0)
    os.setresuid(user, user, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(former)
