"""Why a connection ended, in words that a person can act upon, from what protocol and library say.

Alone because reason codes and turns of phrase are a matter of tables, and the
session has enough to do with sockets.
"""

from __future__ import annotations

import re
import ssl

from headnod.mqtt.messages import Ending
from headnod.mqtt.patience import Cause

_CAUSES = dict.fromkeys((0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x9C, 0x9D), Cause.REFUSED) | {0x8E: Cause.TAKEN_OVER}
"""Reason codes of MQTT 5 after which trying again at once is useless: version, client id,
password, authorisation, ban, method and moved are a person's to mend."""

_JARGON = re.compile(r"\A\[[^]]*\] *| *\(_ssl\.c:\d+\)\Z")
"""What Python puts about the words of an error: `[Errno 104] `, ` (_ssl.c:2580)`."""

_WHO = frozenset({0x86, 0x87})
_KEEP_ALIVE = 0x8D


def unreachable(error: OSError) -> Ending:
    """Nothing answered that one could speak MQTT with."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Ending(Cause.REFUSED, f"its certificate is not believed: {error.verify_message.lower()}")
    if isinstance(error, ssl.SSLError):
        return Ending(Cause.NETWORK, f"no TLS with it: {(error.reason or str(error)).replace('_', ' ').lower()}")
    return Ending(Cause.NETWORK, (error.strerror or str(error)).lower())


def refused(code: int, words: str) -> Ending:
    """The broker answered CONNECT with this reason code."""
    hint = " (look at mqtt.username and mqtt.password_file)" if code in _WHO else ""
    return Ending(_CAUSES.get(code, Cause.NETWORK), f"it refuses us: {words.lower()}{hint}")


def sent_away(code: int, words: str, *, client_id: str) -> Ending:
    """The broker sent DISCONNECT with this reason code."""
    cause = _CAUSES.get(code, Cause.NETWORK)
    hint = f" (another client calls itself {client_id} too)" if cause is Cause.TAKEN_OVER else ""
    return Ending(cause, f"it sent us away: {words.lower()}{hint}")


def silence(code: int) -> str:
    """Why a connection was lost of which the broker said nothing."""
    return "it was silent for too long" if code == _KEEP_ALIVE else "the connection was lost"


def complaint(log: str) -> str:
    """What the system said of a socket, from a line of paho's log."""
    return _JARGON.sub("", log.partition("socket: ")[2]).lower()
