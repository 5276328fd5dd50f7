"""A reverse proxy that serves a page below a path of its own, as the ingress of Home Assistant does."""

from __future__ import annotations

import http.client
from collections import Counter
from http.server import BaseHTTPRequestHandler

from support.http_server import HOST, HttpServer

PREFIX = "/api/hassio_ingress/4f1b3c"
"""The path, whose first part is one that the page uses too."""

_OF_ONE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length", "accept-encoding"}


class IngressProxy(HttpServer):
    """Passes requests below `PREFIX` on without it, and records the others.

    Attributes:
        cut_off: How many answers at a path lose all but their first ten bytes.
        held: Events that answers to GET requests of a path wait for, once the page has given them.
    """

    def __init__(self, port: int):
        outside = self.outside = []
        paths = self.paths = []
        cut_off = self.cut_off = Counter()
        held = self.held = {}

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                if not self.path.startswith(PREFIX + "/"):
                    outside.append(self.path)
                    self.send_error(404)
                    return
                path = self.path.removeprefix(PREFIX)
                paths.append(path)
                there = http.client.HTTPConnection(HOST, port)
                given = {key: value for key, value in self.headers.items() if key.lower() not in _OF_ONE_CONNECTION}
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                more = {"X-Ingress-Path": PREFIX, "X-Forwarded-For": "192.0.2.9", "X-Forwarded-Host": "ha.example"}
                there.request(self.command, path, body or None, given | more)
                answer = there.getresponse()
                if self.command == "GET" and path in held:
                    held[path].wait()
                self.send_response(answer.status)
                for key, value in answer.getheaders():
                    if key.lower() not in _OF_ONE_CONNECTION:
                        self.send_header(key, value)
                self.end_headers()
                try:
                    if cut_off[path]:
                        cut_off[path] -= 1
                        self.wfile.write(answer.read(10))
                        return
                    while some := answer.read1(65_536):
                        self.wfile.write(some)
                except OSError:
                    # The browser has left the event stream.
                    pass
                finally:
                    there.close()

            do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the names of http.server

        super().__init__(Handler)
        self.url = f"http://{HOST}:{self.port}{PREFIX}/"
