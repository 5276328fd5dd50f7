"""What became of messages, and waiting for a link."""

import threading
import time

PATIENCE = 60.0


class Outcomes:
    """What became of messages, in order."""

    def __init__(self):
        self.outcomes, self._news = [], threading.Condition()

    def __call__(self, reason):
        with self._news:
            self.outcomes.append(reason)
            self._news.notify_all()

    def until(self, count, within=PATIENCE):
        with self._news:
            assert self._news.wait_for(lambda: len(self.outcomes) >= count, within), self.outcomes
        return self.outcomes


def until(link, there, within=PATIENCE):
    """Wait for a link to be connected, or not to be, without a busy loop."""
    gone, deadline = threading.Event(), time.monotonic() + within
    while not there(link):
        assert time.monotonic() < deadline, link.reason
        gone.wait(0.02)
    return link


def connected(link):
    return link.connected


def refused(link):
    return not link.connected and "connecting" not in link.reason
