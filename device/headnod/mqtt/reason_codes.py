"""Why a connection ended, in words that help, from what broker, library and system report."""

from __future__ import annotations

import re
import ssl
from collections import deque
from datetime import UTC, datetime
from typing import NamedTuple

from headnod.escaping import printable
from headnod.retry import Cause

OLDER = "it answers MQTT 3.1.1 and not MQTT 5 (set mqtt.protocol = 4)"
"""Reason for a broker that is older than MQTT 5."""

_PERMANENT = (0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x97, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F)
_CAUSES = dict.fromkeys(_PERMANENT, Cause.REFUSED) | {0x8E: Cause.TAKEN_OVER}
"""Reason codes of MQTT 5 that only a person can change: version, client id, password, authorisation, ban, method,
quota, last will, moved, rate."""

_VERSION, _LOGIN, _NOT_AUTHORISED, _KEEPALIVE = 0x84, 0x86, 0x87, 0x8D
_INVALID_DATES = frozenset({9, 10})
"""Verification results of OpenSSL's x509_vfy.h: not valid yet, and expired."""

_DECORATION = re.compile(r"\A\[[^]]*\] *| *\(_ssl\.c:\d+\)\Z")
"""What Python adds to the text of an error: `[Errno 104] `, ` (_ssl.c:2580)`."""

_REASON_LENGTH = 120
"""Characters of the broker's own text that are passed on."""


class Ending(NamedTuple):
    """Why a connection ended."""

    cause: Cause
    """Decides when to try again."""

    reason: str
    """One line."""

    unexplained: bool = False
    """The broker, or a proxy, closed the connection and gave no reason."""


class UnexplainedEndings:
    """Counts connections that a reachable broker closed without a reason, and names possible causes.

    mosquitto 2.0.11 closes the connection without a reason when another client connects with
    our client id; so do brokers that receive a message larger than they accept, and proxies.
    """

    _NAMED, _BRIEF = 2, 3
    """Endings after which possible causes are named, and brief ones after which the next attempt waits a minute."""

    _WITHIN = 300.0
    """Seconds within which they must occur."""

    _LARGE = 4096
    """Bytes from which the size of a message is a possible cause."""

    def __init__(self, client_id: str) -> None:
        self._client_id, self._pending = client_id, 0
        self._times: deque[float] = deque(maxlen=self._NAMED)
        self.brief = 0
        """Brief connections in a row."""

        self.too_large = 0
        """Bytes of a message that was unacknowledged when two connections in a row were closed; else 0."""

    def reset(self) -> None:
        """The last ending was explained, or the broker is not reachable."""
        self.brief = self._pending = self.too_large = 0

    def count(self, ending: Ending, *, brief: bool, now: float, pending: int) -> Ending:
        """Count an ending; returns it with possible causes, unless it is the first.

        Args:
            ending: As the connection reported it.
            brief: The broker closed the connection shortly after it was established.
            now: Seconds of a monotonic clock.
            pending: Bytes of the largest unacknowledged message.
        """
        suspect = pending if brief and pending >= self._LARGE else 0
        self.too_large, self._pending = (suspect if suspect == self._pending else 0), suspect
        self._times.append(now)
        self.brief = self.brief + 1 if brief else 0
        if len(self._times) < self._NAMED or now - self._times[0] > self._WITHIN:
            return ending
        causes = [f"does another client use the client id {self._client_id} too?"]
        if pending >= self._LARGE:
            causes.append(f'is a message of {pending} bytes too large for it? see mqtt.discovery_form = "component"')
        # The same words each time: a reason is logged once in five minutes.
        repeated = f"again within {self._WITHIN / 60:.0f} minutes, without a reason"
        cause = Cause.TAKEN_OVER if self.brief >= self._BRIEF else ending.cause
        return Ending(cause, f"{ending.reason} ({repeated}; possible causes: {' '.join(causes)})", unexplained=True)


def unreachable(error: OSError) -> Ending:
    """No connection, or no TLS, could be established."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = f"its certificate is not valid: {error.verify_message.lower()}"
        if error.verify_code in _INVALID_DATES:
            return Ending(Cause.CLOCK, f"{reason} (the clock of this machine says {datetime.now(UTC):%Y-%m-%d})")
        return Ending(Cause.REFUSED, reason)
    if isinstance(error, ssl.SSLError):
        return Ending(Cause.NETWORK, f"no TLS with it: {(error.reason or str(error)).replace('_', ' ').lower()}")
    return Ending(Cause.NETWORK, (error.strerror or str(error)).lower())


def worded(text: str, properties: object) -> str:
    """The text of a reason code, and what the broker added."""
    own = printable(str(getattr(properties, "ReasonString", "")))[:_REASON_LENGTH]
    other = printable(str(getattr(properties, "ServerReference", "")))[:_REASON_LENGTH]
    return text.lower() + (f": {own}" if own else "") + (f" (it names {other})" if other else "")


def refused(code: int, text: str, *, modern: bool, will: str = "") -> Ending:
    """The broker answered CONNECT with a reason code.

    Args:
        code: The reason code.
        text: Its text.
        modern: We asked for MQTT 5.
        will: The topic of our last will, which it may refuse as well as the login.
    """
    hint = ""
    if code == _VERSION:
        hint = f" (set mqtt.protocol = {4 if modern else 5})"
    elif code == _LOGIN:
        hint = " (check mqtt.username and mqtt.password_file)"
    elif code == _NOT_AUTHORISED:
        writable = f", and may this user write {will}" if will else ""
        hint = f" (are mqtt.username and mqtt.password_file right{writable}?)"
    return Ending(_CAUSES.get(code, Cause.NETWORK), f"it refuses us: {text}{hint}")


def disconnected(code: int, text: str, *, client_id: str) -> Ending:
    """The broker sent DISCONNECT with a reason code."""
    cause = _CAUSES.get(code, Cause.NETWORK)
    hint = f" (another client has connected as {client_id})" if cause is Cause.TAKEN_OVER else ""
    return Ending(cause, f"it disconnected us: {text}{hint}")


def timed_out(code: int) -> bool:
    """Whether the connection ended because the broker sent nothing, and was not closed."""
    return code == _KEEPALIVE


def socket_error(log: str) -> str:
    """The system's error of a socket, from a line of paho's log."""
    return _DECORATION.sub("", log.partition("socket: ")[2]).lower()
