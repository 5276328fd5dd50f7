"""The flow in a real Node-RED, at a broker that the kit's README set up. Needs `npm install node-red` on the PATH."""

import json
import os
import queue
import shutil
import signal
import subprocess
import threading

import pytest

from headnod.mqtt.payloads import encode
from support.firmware_kits import KITS, Kit, estimate
from support.mqtt_broker import HOST, ReservedPort, missing
from support.mqtt_payloads import KITCHEN, song

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}"),
    pytest.mark.skipif(shutil.which("node-red") is None, reason="node-red is not on the PATH"),
]

SETTINGS = "module.exports = {{uiHost: '127.0.0.1', uiPort: {port}, flowFile: 'flow.json', credentialSecret: false}};\n"


@pytest.fixture
def kit(tmp_path):
    with Kit(tmp_path / "etc") as running:
        yield running


@pytest.fixture
def node_red(kit, tmp_path):
    """Node-RED with the flow, and the lines that it says."""
    home = tmp_path / "node-red"
    home.mkdir()
    flow = json.loads((KITS / "nodered" / "flow.json").read_text())
    for node in flow:
        match node["type"]:
            case "mqtt-broker":
                node |= {"broker": HOST, "port": str(kit.tls_port)}
            case "tls-config":
                node["ca"] = str(kit.folder / "certs" / "ca.crt")
            case "debug":
                node["console"] = True
            case "inject":
                # Nobody is there to press it.
                node |= {"once": True, "onceDelay": 4}
    (home / "flow.json").write_text(json.dumps(flow))
    login = {"headnod-broker": {"user": "nodered", "password": kit.passwords["nodered"]}}
    (home / "flow_cred.json").write_text(json.dumps(login))
    port = ReservedPort()
    (home / "settings.js").write_text(SETTINGS.format(port=port.number))
    with subprocess.Popen(
        ["node-red", "--userDir", home], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ
    ) as running:
        lines = queue.Queue()
        threading.Thread(target=lambda: [lines.put(line) for line in running.stdout], daemon=True).start()
        yield lines
        running.send_signal(signal.SIGTERM)
        running.wait(30)


def until(lines, wanted):
    said = []
    while not said or wanted not in said[-1]:
        said.append(lines.get(timeout=60.0))
    return said


def test_the_flow_says_what_plays_and_what_played_and_who_went_away(kit, node_red):
    until(node_red, "Connected to broker")
    with kit.subscriber("kitchen", KITCHEN.requests) as kitchen:
        playing = estimate() | {"genre": "jazz", "music": True}
        kitchen.publish(KITCHEN.state, encode(playing), retain=True)
        until(node_red, "kitchen: jazz")
        kitchen.publish(KITCHEN.state, encode(playing | {"level_dbfs": -3.0}), retain=True)
        kitchen.publish(KITCHEN.state, encode(playing | {"genre": "metal"}), retain=True)
        assert not any("jazz" in line for line in until(node_red, "kitchen: metal"))
        kitchen.publish(KITCHEN.song, encode(song()))
        until(node_red, "kitchen: 3 minutes of jazz")
        kitchen.publish(KITCHEN.status, b"offline", retain=True)
        until(node_red, KITCHEN.status)
        asked = kitchen.until(lambda message: message.topic == KITCHEN.request("health"), 60.0)
        assert json.loads(asked.payload) == {"transaction": "node-red"}
        kitchen.publish(KITCHEN.response("health"), b'{"status": "ok", "transaction": "node-red"}')
        until(node_red, "transaction: 'node-red'")
