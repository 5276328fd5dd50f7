"""Why a connection ended, in words that a person can act upon, from what protocol and library say.

Alone because reason codes and turns of phrase are a matter of tables, and the
session has enough to do with sockets.
"""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime

from headnod.escaping import printable
from headnod.mqtt.messages import Ending
from headnod.retry import Cause

_PATIENT = (0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x97, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F)
_CAUSES = dict.fromkeys(_PATIENT, Cause.REFUSED) | {0x8E: Cause.TAKEN_OVER}
"""Reason codes of MQTT 5 after which trying again at once is useless: version, client id, password, authorisation,
ban, method, quota, last will, moved and rate are a person's to mend."""

_JARGON = re.compile(r"\A\[[^]]*\] *| *\(_ssl\.c:\d+\)\Z")
"""What Python puts about the words of an error: `[Errno 104] `, ` (_ssl.c:2580)`."""

_VERSION, _LOGIN, _NOT_AUTHORISED = 0x84, 0x86, 0x87
_KEEP_ALIVE = 0x8D
_DATES = frozenset({9, 10})
"""Verification results of OpenSSL's x509_vfy.h: not valid yet, and expired."""
_LONGEST = 120
"""Characters of a broker's own words that are passed on."""


OLDER = "it answers MQTT 3.1.1 and not MQTT 5 (set mqtt.protocol = 4)"
"""Why there is no connection to a broker that is older than MQTT 5."""


def unreachable(error: OSError) -> Ending:
    """Nothing answered that one could speak MQTT with."""
    if isinstance(error, ssl.SSLCertVerificationError):
        told = f"its certificate is not believed: {error.verify_message.lower()}"
        if error.verify_code in _DATES:
            return Ending(Cause.CLOCK, f"{told} (the clock of this machine says {datetime.now(UTC):%Y-%m-%d})")
        return Ending(Cause.REFUSED, told)
    if isinstance(error, ssl.SSLError):
        return Ending(Cause.NETWORK, f"no TLS with it: {(error.reason or str(error)).replace('_', ' ').lower()}")
    return Ending(Cause.NETWORK, (error.strerror or str(error)).lower())


def worded(words: str, properties: object) -> str:
    """A reason code's words, and what the broker added in its own."""
    own = printable(str(getattr(properties, "ReasonString", "")))[:_LONGEST]
    other = printable(str(getattr(properties, "ServerReference", "")))[:_LONGEST]
    return words.lower() + (f": {own}" if own else "") + (f" (it names {other})" if other else "")


def refused(code: int, words: str, *, modern: bool, will: str = "") -> Ending:
    """The broker answered CONNECT with this reason code.

    Args:
        code: The reason code.
        words: What it means, in the broker's words too.
        modern: It was asked for MQTT 5.
        will: The topic of our last will, which it may refuse as well as our login.
    """
    hint = ""
    if code == _VERSION:
        hint = f" (set mqtt.protocol = {4 if modern else 5})"
    elif code == _LOGIN:
        hint = " (look at mqtt.username and mqtt.password_file)"
    elif code == _NOT_AUTHORISED:
        written = f", and may this user write {will}" if will else ""
        hint = f" (are mqtt.username and mqtt.password_file right{written}?)"
    return Ending(_CAUSES.get(code, Cause.NETWORK), f"it refuses us: {words}{hint}")


def sent_away(code: int, words: str, *, client_id: str) -> Ending:
    """The broker sent DISCONNECT with this reason code."""
    cause = _CAUSES.get(code, Cause.NETWORK)
    hint = f" (another client has connected as {client_id})" if cause is Cause.TAKEN_OVER else ""
    return Ending(cause, f"it sent us away: {words}{hint}")


def was_silent(code: int) -> bool:
    """The connection ended because nothing came from the broker, and not because it was closed."""
    return code == _KEEP_ALIVE


def silence(code: int) -> str:
    """Why a connection was lost of which the broker said nothing."""
    return "it was silent for too long" if was_silent(code) else "the connection was lost"


def complaint(log: str) -> str:
    """What the system said of a socket, from a line of paho's log."""
    return _JARGON.sub("", log.partition("socket: ")[2]).lower()
