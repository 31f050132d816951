"""A small API of Kubernetes over HTTPS: pods, page by page, to whoever has the token; by the documented protocol."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.unit.test_checks_application_tls import Issued

TOKEN = "kube-token-nobody-else-knows"


def pod(name: str, image: str, image_id: str, namespace: str = "production", **more: Any) -> dict[str, Any]:
    status = {"name": "app", "image": image, "imageID": image_id, "state": {"running": {}}, **more.pop("status", {})}
    described = {"phase": "Running", "containerStatuses": [status], **more}
    return {"metadata": {"name": name, "namespace": namespace}, "status": described}


class KubernetesApi:
    """The API; leaving the context ends it.

    :param folder: where its certificate and the kubeconfig are put
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pods: list[dict[str, Any]] = []
        self.asked: list[dict[str, str]] = []
        #: How many continue tokens expire before one is served.
        self.expired = 0
        self.page = 2
        self.refused = False
        self.body: bytes | None = None
        #: Names in the certificates of those who asked; empty without one.
        self.names: list[str] = []

    def __enter__(self) -> KubernetesApi:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                api.asked.append({"path": parts.path, **query})
                shown: Any = self.connection.getpeercert() or {}  # type: ignore[attr-defined]
                api.names += [text for part in shown.get("subject", ()) for _name, text in part] or [""]
                if self.headers["Authorization"] != f"Bearer {TOKEN}":
                    self._status(401, "Unauthorized")
                elif api.refused:
                    self._status(403, "Forbidden")
                elif api.body is not None:
                    self._send(200, api.body)
                else:
                    self._pods(parts.path, query)

            def _pods(self, path: str, query: dict[str, str]) -> None:
                namespace = path.removeprefix("/api/v1/namespaces/").removesuffix("/pods")
                mine = [
                    each for each in api.pods if path == "/api/v1/pods" or each["metadata"]["namespace"] == namespace
                ]
                begin = int(query.get("continue", "0"))
                if begin and api.expired:
                    api.expired -= 1
                    self._status(410, "Expired")
                    return
                # The server may answer with less than was asked for, and never with more.
                end = begin + min(int(query.get("limit", "1000")), api.page)
                metadata = {"resourceVersion": "7", **({"continue": str(end)} if end < len(mine) else {})}
                listed = {"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": mine[begin:end]}
                self._send(200, json.dumps(listed).encode())

            def _status(self, status: int, reason: str) -> None:
                said = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": status}
                self._send(status, json.dumps(said).encode())

            def _send(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        authority = Issued("cluster", ca=True)
        server, self.client = Issued("api", authority), Issued("operator", authority)
        (self.folder / "ca.pem").write_bytes(authority.pem)
        (self.folder / "api.pem").write_bytes(server.pem + server.key_pem)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.folder / "api.pem")
        context.load_verify_locations(self.folder / "ca.pem")
        context.verify_mode = ssl.CERT_OPTIONAL
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def kubeconfig(self, token: str = TOKEN, *, embedded: bool = False) -> str:
        """The path of one.

        :param embedded: with certificates and a key in it, instead of paths
        """
        address = f"https://127.0.0.1:{self._server.server_port}"
        config: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "c", "cluster": {"server": address, "certificate-authority": str(self.folder / "ca.pem")}}
            ],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        if embedded:
            authority = (self.folder / "ca.pem").read_bytes()
            config["clusters"][0]["cluster"] = {"server": address, "certificate-authority-data": _base64(authority)}
            own = {"client-certificate-data": self.client.pem, "client-key-data": self.client.key_pem}
            config["users"][0]["user"].update({name: _base64(content) for name, content in own.items()})
        path = self.folder / "kubeconfig"
        path.write_text(json.dumps(config))
        return str(path)

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
