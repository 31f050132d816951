"""A small registry of npm on loopback: documents and packed packages, as npm asks for them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

NOW = datetime.now(UTC)


class NpmRegistry:
    """A registry; leaving the context ends it."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}
        self.tarballs: dict[str, bytes] = {}
        self.asked: list[str] = []

    def publish(self, name: str, version: str, days: float = 400, **more: Any) -> None:
        """Puts a version there, which came out so many days ago."""
        manifest = {"name": name, "version": version, **more}
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w:gz") as tar:
            content = json.dumps(manifest).encode()
            info = tarfile.TarInfo("package/package.json")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        path = f"{name}/-/{name.rpartition('/')[2]}-{version}.tgz"
        self.tarballs[path] = file.getvalue()
        integrity = f"sha512-{base64.b64encode(hashlib.sha512(file.getvalue()).digest()).decode()}"
        document = self.documents.setdefault(name, {"name": name, "dist-tags": {}, "versions": {}, "time": {}})
        document["versions"][version] = {
            **manifest,
            "dist": {"tarball": f"{self.address}/{path}", "integrity": integrity},
        }
        document["dist-tags"]["latest"] = version
        document["time"][version] = (NOW - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.000Z")

    def __enter__(self) -> NpmRegistry:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = unquote(self.path).lstrip("/")
                registry.asked.append(path)
                if path in registry.documents:
                    self._send(200, json.dumps(registry.documents[path]).encode())
                else:
                    self._send(200 if path in registry.tarballs else 404, registry.tarballs.get(path, b"{}"))

            def do_POST(self) -> None:  # audits, which nobody asked for
                self._send(404, b"{}")

            def _send(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
