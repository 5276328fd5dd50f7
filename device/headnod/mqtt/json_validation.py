"""Reads what strangers send: small, flat JSON, and no doubt about what it means.

The parsers at hand take the last of two equal keys, make infinity of 1e999,
read numbers of a thousand digits and strings that cannot be written again.
Here each of these is refused, so no reader of a command need think of them.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from headnod.errors import HeadnodError

LONGEST = 2048
"""Bytes of a payload; the broker is asked to send no more, too."""

_DIGITS = 20
_TRANSACTION = 64
_SHOWN = 40


class RefusedError(HeadnodError, ValueError):
    """A command does not say what a command may say."""


def read(payload: bytes) -> Any:  # noqa: ANN401 - any scalar of JSON
    """One JSON scalar, or an object of scalars.

    Raises:
        RefusedError: It is longer than `LONGEST`, no UTF-8, no JSON, nested, or
            has a key twice, a number that is not finite or has more than 20
            digits, or half of a surrogate pair.
    """
    if len(payload) > LONGEST:
        message = f"is longer than {LONGEST} bytes"
        raise RefusedError(message)
    try:
        value = json.loads(
            payload.decode(),
            object_pairs_hook=_once,
            parse_float=_finite,
            parse_int=_short,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError:
        raise RefusedError("is not UTF-8") from None
    except json.JSONDecodeError as error:
        message = f"is no JSON: {error}"
        raise RefusedError(message) from None
    except RecursionError:
        raise RefusedError("is nested") from None
    for part in value.values() if isinstance(value, dict) else [value]:
        _scalar(part)
    return value


def share(value: object) -> float:
    """A number from 0 to 1.

    Raises:
        RefusedError: It is something else; booleans are no numbers.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        message = f"is {shown(value)} (a number from 0 to 1)"
        raise RefusedError(message)
    return float(value)


def flag(value: object) -> bool:
    """True or false.

    Raises:
        RefusedError: It is something else; numbers are no booleans.
    """
    if not isinstance(value, bool):
        message = f"is {shown(value)} (ON, OFF, true or false)"
        raise RefusedError(message)
    return value


def transaction_of(said: object) -> str | None:
    """What a command wants to find again in its answer; None if it wants nothing.

    Raises:
        RefusedError: It is no text of 1 to 64 characters.
    """
    value = said.get("transaction") if isinstance(said, dict) else None
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= _TRANSACTION:
        message = f"transaction: is {shown(value)} (a text of up to {_TRANSACTION} characters)"
        raise RefusedError(message)
    return value


def shown(value: object) -> str:
    """A stranger's value for a log or an answer: short, and in ASCII without control characters."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _scalar(value: object) -> None:
    if isinstance(value, dict | list):
        raise RefusedError("is nested")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise RefusedError("has half of a surrogate pair") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in pairs:
        if key in kept:
            message = f"says {shown(key)} twice"
            raise RefusedError(message)
        kept[key] = value
    return kept


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        message = f"{shown(digits)} is not finite"
        raise RefusedError(message)
    return value


def _short(digits: str) -> int:
    if len(digits) > _DIGITS:
        message = f"has a number of {len(digits)} digits"
        raise RefusedError(message)
    return int(digits)


def _no_constant(name: str) -> NoReturn:
    message = f"{name} is not finite"
    raise RefusedError(message)
