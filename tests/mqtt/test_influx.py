"""The board's queries asked of a real InfluxDB, Debian's, which holds what Telegraf would have written."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from datetime import datetime

import pytest

from headnod_train.simulator.simulation import LABELS
from support.firmware_kits import board, points, queries
from support.mqtt_broker import HOST, ReservedPort

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("influxd") is None, reason="influxd is not installed"),
]

CONFIG = """\
reporting-disabled = true
bind-address = "{host}:{rpc}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
[http]
bind-address = "{host}:{port}"
[monitor]
store-enabled = false
"""


@pytest.fixture
def influx(tmp_path):
    """Asks the database: a query, or lines to write."""
    port, rpc = ReservedPort(), ReservedPort()
    (tmp_path / "influxdb.conf").write_text(CONFIG.format(host=HOST, rpc=rpc.number, port=port.number, folder=tmp_path))

    def ask(path, data=None, **parameters):
        url = f"http://{HOST}:{port.number}/{path}?{urllib.parse.urlencode({'db': 'headnod', **parameters})}"
        with urllib.request.urlopen(url, data=data, timeout=10.0) as answer:
            return answer.read()

    with subprocess.Popen(
        ["influxd", "-config", tmp_path / "influxdb.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        await_answer(running, lambda: ask("ping"))
        ask("query", b"", q="CREATE DATABASE headnod")
        yield ask
        running.terminate()
        running.wait(30)


def await_answer(process, ask):
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline:
        with suppress(urllib.error.URLError, ConnectionError):
            return ask()
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    raise AssertionError("InfluxDB did not start")


def line(measurement, tags, fields, at):
    """One point in InfluxDB's line protocol."""

    def value(field):
        if isinstance(field, str):
            return f'"{field}"'
        return str(field).lower() if isinstance(field, bool) else repr(float(field))

    tagged = ",".join(f"{key}={text}" for key, text in tags.items())
    told = ",".join(f"{key}={value(field)}" for key, field in fields.items())
    return f"{measurement},{tagged} {told} {at}".encode()


def test_every_query_of_the_board_is_answered_from_what_telegraf_writes(influx):
    for source, tags, fields, (when, _) in points():
        seconds = when if isinstance(when, float) else datetime.fromisoformat(when).timestamp()
        influx("write", line(source["name_override"], tags, fields, int(seconds * 1e9)))
    for title, query in queries():
        asked = query.replace("$node", ".*").replace("$timeFilter", "time > 0 AND time < '2027-01-01'")
        answer = json.loads(influx("query", q=asked.replace("$__interval", "30d").replace("time(1m)", "time(30d)")))
        (result,) = answer["results"]
        assert "error" not in result, (title, result)
        assert result.get("series"), (title, query)
        columns = result["series"][0]["columns"]
        assert ("Scores" in title) == ({f"mean_scores_{label}" for label in LABELS} <= set(columns)), title
    (node,) = json.loads(influx("query", q=board()["templating"]["list"][1]["query"]))["results"]
    assert node["series"][0]["values"] == [["node", "kitchen"]]
