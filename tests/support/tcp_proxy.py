"""A TCP proxy that can drop one direction, freeze, or cut: the network's faults, on order."""

import selectors
import socket
import threading
from typing import Self

from support.mqtt_broker import HOST


class Proxy:
    """Listens on a port of its own and passes bytes on to another.

    Attributes:
        port: Where it listens.
        sent: Bytes that clients sent towards the broker, dropped ones included.
        received: How many bytes went to clients.
        connections: How many clients came.
    """

    def __init__(self, port: int):
        self._towards = port
        self._server = socket.create_server((HOST, 0))
        self.port = self._server.getsockname()[1]
        self.sent, self.received, self.connections = bytearray(), 0, 0
        self._deaf = self._mute = self._cut = False
        self._bell, self._ringer = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._clients: set[socket.socket] = set()
        self._lock, self._closed = threading.Lock(), False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def drop_answers(self):
        """Lose what the broker says."""
        self._mute = True

    def freeze(self):
        """Lose what both say, and keep their connections."""
        self._deaf = self._mute = True

    def thaw(self):
        """Pass on again what comes from now on."""
        self._deaf = self._mute = False

    def cut(self):
        """End every connection, and refuse new ones until `heal`."""
        self._cut = True
        self._ringer.send(b"!")

    def heal(self):
        """Take connections again."""
        self._cut = False

    def _run(self):
        self._selector.register(self._server, selectors.EVENT_READ)
        self._selector.register(self._bell, selectors.EVENT_READ)
        while not self._closed:
            for key, _ in self._selector.select():
                if key.fileobj is self._server:
                    self._accept()
                elif key.fileobj is self._bell:
                    self._bell.recv(64)
                    for one in list(self._peers) if self._cut or self._closed else []:
                        self._drop(one)
                elif key.fileobj in self._peers:
                    self._pass_on(key.fileobj)

    def _accept(self):
        client, _ = self._server.accept()
        self.connections += 1
        try:
            if self._cut:
                raise ConnectionRefusedError
            broker = socket.create_connection((HOST, self._towards), timeout=5.0)
        except OSError:
            client.close()
            return
        self._clients.add(client)
        self._peers |= {client: broker, broker: client}
        for one in (client, broker):
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, source: socket.socket):
        try:
            said = source.recv(1 << 16)
            if not said:
                raise ConnectionResetError
            upwards = source in self._clients
            if upwards:
                self.sent += said
            if not (self._deaf if upwards else self._mute):
                self._peers[source].sendall(said)
                self.received += 0 if upwards else len(said)
        except OSError:
            self._drop(source)

    def _drop(self, one: socket.socket):
        other = self._peers.pop(one, None)
        if other is None:
            return
        del self._peers[other]
        self._clients -= {one, other}
        for each in (one, other):
            self._selector.unregister(each)
            each.close()

    def close(self):
        self._closed = True
        self._ringer.send(b"!")
        self._thread.join(5.0)
        # The thread may have ended before it heard the bell.
        for one in list(self._peers):
            self._drop(one)
        for one in (self._server, self._bell, self._ringer):
            one.close()
        self._selector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_):
        self.close()
