"""Commands that a stranger might send: thousands, the same each time, none of them good."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from headnod.mqtt.topics import Topics
from support.mqtt_payloads import Sent

LONGEST = 2048

TRAPS = (
    "",
    " ",
    "null",
    "nul",
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "1e309",
    "0x1",
    "01",
    "+1",
    ".5",
    "1.",
    "1,5",
    "1_0",
    "0.5 0.5",
    "1.0000001",
    "-1e-9",
    "9" * 900,
    "-" + "9" * 900,
    "0." + "0" * 1900 + "1e99999",
    "1" + "0" * 25,
    "true false",
    "True",
    "On",
    "on",
    " ON",
    "ON\n",
    '"ON"',
    '"0.5"',
    "'ON'",
    "yes",
    "[",
    "]",
    "{",
    "[" * LONGEST,
    "[" * 1024 + "]" * 1024,
    '{"value":' * 200 + "1" + "}" * 200,
    "[0.5]",
    '["ON"]',
    '{"value": [0.5]}',
    '{"value": {"value": 0.5}}',
    '{"value": 0.5, "value": 0.5}',
    '{"value": true, "value": true}',
    '{"value": 0.5, "extra": 1}',
    '{"value": "0.5"}',
    '{"value": null}',
    '{"value": 1e999}',
    '{"value": NaN}',
    '{"value": 2}',
    '{"Value": 0.5}',
    '{"value ": 0.5}',
    '{"transaction": "x"}',
    '{"value": 0.5, "transaction": 7}',
    '{"value": 0.5, "transaction": ""}',
    '{"value": 0.5, "transaction": "' + "x" * 65 + '"}',
    '{"value": 0.5, "transaction": "\\ud800"}',
    '{"value": true, "transaction": ["x"]}',
    '{"__proto__": {"value": 0.5}}',
    '{"model": "genre-0.1.0", "model": "genre-0.2.0"}',
    '{"model": "genre-0.2.0", "path": "/etc/passwd"}',
    '{"model": "../../etc/passwd"}',
    '{"model": "/etc/headnod"}',
    '{"model": "genre-0.2.0\\u0000"}',
    '{"model": "genre-0.2.0 "}',
    '{"model": "GENRE-0.2.0"}',
    '{"model": "genre"}',
    '{"model": "\\udfff"}',
    '{"model": ["genre-0.2.0"]}',
    '{"model": null}',
    '{"model": true}',
    '{"model": 0}',
    '{"model": "$(reboot)"}',
    '{"model": "<script>alert(1)</script>"}',
    "genre-0.2.0",
    '"genre-0.2.0"',
    "/* */ 0.5",
    "0.5 // half",
    "!!python/object/apply:os.system [reboot]",
    "\u202e5.0",
    "٠.٥",  # noqa: RUF001 - digits of another script are meant
    "\x00",
    "0.5\x00",
    "x" * (LONGEST + 1),
    " " * LONGEST + "0.5",
    '{"value": 0.5' + " " * LONGEST + "}",
)
"""Text that no command of ours may be taken for."""

VERBS = (
    "threshold",
    "pause",
    "brightness",
    "health",
    "info",
    "activate",
    "restart",
    "export_corrections",
    "Pause",
    "pause ",
    "__class__",
    "../set/pause",
    "",
    "+",
    "#",
    "\u0000",
    "küche",
    "x" * 70,
)


def hostile(topics: Topics, count: int, *, seed: int = 7) -> Iterator[Sent]:
    """So many messages, none of which may change anything."""
    rng = random.Random(seed)
    for _ in range(count):
        verb = rng.choice(VERBS)
        topic = topics.setting(verb) if rng.random() < 0.5 else topics.request(verb)
        yield Sent(topic, rng.choice((_trap, _bytes, _cut, _wide, _stirred))(rng))


def _trap(rng: random.Random) -> bytes:
    return rng.choice(TRAPS).encode()


def _bytes(rng: random.Random) -> bytes:
    # A first byte that no UTF-8 begins with, so that chance says nothing good.
    return b"\xff" + rng.randbytes(rng.choice((0, 1, 7, 80, 2047, 4000)))


def _cut(rng: random.Random) -> bytes:
    whole = json.dumps({"value": rng.random(), "transaction": "x" * rng.randrange(60)})
    return whole[: rng.randrange(1, len(whole))].encode()


def _wide(rng: random.Random) -> bytes:
    return rng.choice(("0.5", "ON", "true", '{"model": "genre-0.2.0"}')).encode(
        rng.choice(("utf-16", "utf-32", "utf-16-be"))
    )


def _stirred(rng: random.Random) -> bytes:
    """Traps inside traps, with a brace too many."""
    return ("{" + ",".join(rng.choice(TRAPS)[:40] for _ in range(rng.randrange(1, 9)))).encode()
