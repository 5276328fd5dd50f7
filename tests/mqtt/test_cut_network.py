"""A real network that drops packets: no message is lost."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from support.mqtt_broker import Broker, Subscriber
from support.mqtt_publisher import PATIENCE, all_of, numbered_estimate, publisher, until


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nft"), reason="needs root, iproute2 and nftables")
def test_a_network_that_is_cut_loses_nothing(tmp_path):
    """Broker and listener in a network of their own, in which packets vanish for 25 s."""
    space = f"headnod-{os.getpid()}"
    inside = ["ip", "netns", "exec", space]

    def run(*words):
        subprocess.run([*inside, *words], check=True)

    subprocess.run(["ip", "netns", "add", space], check=True)
    try:
        run("ip", "link", "set", "lo", "up")
        child = subprocess.Popen(
            [*inside, sys.executable, __file__, tmp_path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        with child:
            port = child.stdout.readline().strip()
            run("nft", "add table inet f")
            run("nft", "add chain inet f i { type filter hook input priority 0 ; }")
            run("nft", f"add rule inet f i tcp dport {port} drop")
            run("nft", f"add rule inet f i tcp sport {port} drop")
            threading.Event().wait(25.0)
            run("nft", "flush ruleset")
            child.stdin.write("healed\n")
            child.stdin.flush()
            told = child.stdout.readline()
        assert told.startswith("whole"), told
        assert float(told.split()[1]) <= 10.0, "seconds from the healing to the connection"
    finally:
        subprocess.run(["ip", "netns", "delete", space], check=True)


def say(*words):
    print(*words, flush=True)  # noqa: T201 - to the test


def cut_off(folder: Path):
    """What runs inside the network that is cut."""
    with Broker(folder / "broker") as broker:
        # Of its own, or the cut would reach the subscriber too and one could not tell whom.
        subscriber = Subscriber(broker)
        mqtt = publisher(broker, folder / "mqtt.sqlite", keepalive=5)
        mqtt.start()
        subscriber.until_on("/status", 1, PATIENCE)
        say(broker.port)
        shown, healed = 0, threading.Event()
        threading.Thread(target=lambda: (sys.stdin.readline(), healed.set()), daemon=True).start()
        while not healed.wait(0.1):
            mqtt.show(numbered_estimate(shown))
            shown += 1
        began = time.monotonic()
        until(lambda: mqtt.health().reconnects, 60.0)
        took = time.monotonic() - began
        numbers = all_of(subscriber, shown, 60.0)
        say("whole" if numbers == list(range(shown)) else f"lost some of {shown}", round(took, 1))
        mqtt.close()
        subscriber.close()


if __name__ == "__main__":
    cut_off(Path(sys.argv[1]))
