"""A small proxy in front of an S3 store, plain HTTP, that misbehaves on request."""

from __future__ import annotations

import http.client
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

#: What a fault does with a request: an HTTP status and a code, "reset", "cut" (the body breaks off), "lost" (done, and
#: the answer is not given), or None to leave it alone.
Fault = tuple[int, str] | str | None


class Proxy:
    """Where it listens, what it has seen, and what it does.

    :ivar fault: asked for each request, with method and path
    """

    def __init__(self, target: str, ca_file: str | None) -> None:
        self.target, self.ca_file = urlsplit(target), ca_file
        self.fault: Callable[[str, str], Fault] = lambda method, path: None
        self.seen: list[tuple[str, str]] = []
        self.endpoint = ""

    def upstream(self) -> http.client.HTTPConnection:
        host, port = self.target.hostname or "", self.target.port
        if self.target.scheme == "https":
            return http.client.HTTPSConnection(host, port, context=ssl.create_default_context(cafile=self.ca_file))
        return http.client.HTTPConnection(host, port)


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def serve(self) -> None:
            if self.headers.get("Expect", "").lower() == "100-continue":
                pass  # the server class has said that it may go on
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            proxy.seen.append((self.command, self.path))
            fault = proxy.fault(self.command, self.path)
            if fault == "reset":
                self.reset()
                return
            if isinstance(fault, tuple):
                self.refuse(*fault)
                return
            status, headers, data = self.forward(body)
            if fault == "lost":
                self.reset()
                return
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            length = {name.lower(): value for name, value in headers}.get("content-length")
            self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data[: len(data) // 2] if fault == "cut" else data)
            if fault == "cut":
                self.reset()

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = serve

        def forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            connection = proxy.upstream()
            try:
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in ("connection", "expect"):
                        connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                return answer.status, answer.getheaders(), answer.read()
            finally:
                connection.close()

        def refuse(self, status: int, code: str) -> None:
            text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>not now</Message></Error>".encode()
            self.send_response_only(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        def reset(self) -> None:
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()

    return Handler


@contextmanager
def proxy_of(target: str, ca_file: str | None = None) -> Iterator[Proxy]:
    """A proxy in front of a store's endpoint, on a port of its own choosing."""
    proxy = Proxy(target, ca_file)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(proxy))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    proxy.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
