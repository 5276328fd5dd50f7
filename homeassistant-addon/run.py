"""Start of the add-on: its options and the supervisor's MQTT service become variables of headnod, which replaces it.

Home Assistant writes the options to /data/options.json. The login of the broker comes from the supervisor's API.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OPTIONS = Path("/data/options.json")
_PAREC = ["parec", "--raw", "--format=s16le", "--rate=22050", "--channels=1", "--latency-msec=100"]
_SECONDS = 10.0


def variables(options: Mapping[str, Any], broker: Mapping[str, Any] | None, secrets: Path, host: str) -> dict[str, str]:
    """The variables of headnod.

    Args:
        options: The add-on's options.
        broker: The answer of the supervisor about MQTT; None without a broker.
        secrets: A folder in memory for files with passwords.
        host: The host name of the container, which is the add-on's slug with hyphens.
    """
    found = {
        "HEADNOD_LISTEN__EVERY": str(options["every"]),
        "HEADNOD_LISTEN__SMOOTHING": str(options["smoothing"]),
        "HEADNOD_LISTEN__SILENCE": str(options["silence"]),
        "HEADNOD_MODEL__NAME": options["model"],
        "HEADNOD_LOG__LEVEL": options.get("log_level") or "info",
        "HEADNOD_MQTT__NODE": options["room"] or "headnod",
        "HEADNOD_WEB__ENABLED": "true",
        # Only the supervisor reaches the port: it passes on what people with a login at Home Assistant ask for.
        "HEADNOD_WEB__ADDRESS": "0.0.0.0",  # noqa: S104 - as above
        "HEADNOD_WEB__PORT": "8080",
        "HEADNOD_WEB__URL": f"homeassistant://hassio/ingress/{host.replace('-', '_')}",
        "HEADNOD_WEB__OPEN": "true",
        "HEADNOD_WEB__FRAME_ANCESTORS": json.dumps(["'self'"]),
    }
    if options["source"] == "address":
        found["HEADNOD_MICROPHONE__ADDRESS"] = options["address"]
    else:
        command = [*_PAREC, "--device=@DEFAULT_MONITOR@"] if options["source"] == "output" else _PAREC
        found["HEADNOD_MICROPHONE__COMMAND"] = json.dumps(command)
    if options["wled"]:
        found |= {"HEADNOD_LEDS__KIND": "wled", "HEADNOD_LEDS__HOST": options["wled"]}
    if options.get("page_password"):
        found["HEADNOD_WEB__PASSWORD_FILE"] = _secret(secrets / "page_password", options["page_password"])
    if broker is not None:
        found |= {"HEADNOD_MQTT__HOST": broker["host"], "HEADNOD_MQTT__PORT": str(broker["port"])}
        found["HEADNOD_MQTT__TLS"] = "true" if broker.get("ssl") else "false"
        if broker.get("username"):
            found["HEADNOD_MQTT__USERNAME"] = json.dumps(broker["username"])
            found["HEADNOD_MQTT__PASSWORD_FILE"] = _secret(secrets / "mqtt_password", broker["password"])
    return found


def mqtt_service(address: str, token: str) -> dict[str, Any] | None:
    """The broker that the supervisor knows; None if there is none, or no supervisor answers."""
    request = urllib.request.Request(f"{address}/services/mqtt", headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - the supervisor's own address
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 - as above
            return dict(json.load(answer)["data"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        print(f"no MQTT broker from the supervisor ({reason}): estimates are on the page only", file=sys.stderr)  # noqa: T201 - the log of the add-on
        return None


def _secret(path: Path, text: str) -> str:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return str(path)


def main() -> None:
    """Replace this process by headnod."""
    options = json.loads(Path(os.environ.get("ADDON_OPTIONS", OPTIONS)).read_text(encoding="utf-8"))
    supervisor = os.environ.get("ADDON_SUPERVISOR", "http://supervisor")
    broker = mqtt_service(supervisor, os.environ.get("SUPERVISOR_TOKEN", ""))
    # headnod itself talks to no supervisor.
    kept = {name: value for name, value in os.environ.items() if name != "SUPERVISOR_TOKEN"}
    made = variables(options, broker, Path(os.environ["RUNTIME_DIRECTORY"]), socket.gethostname())
    os.execvpe("headnod", ["headnod", "listen", "--audio", "mic", "--quiet"], made | kept)  # noqa: S606, S607 - of this image


if __name__ == "__main__":
    main()
