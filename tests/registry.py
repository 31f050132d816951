"""A small registry: the reading half of the distribution API with its errors, and it can be told to misbehave."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def image(*layers: str, kind: str = IMAGE, **annotations: str) -> bytes:
    """A manifest whose layers are known by their names."""
    parts = [
        {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(each.encode()), "size": len(each)}
        for each in layers
    ]
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(b"{}"), "size": 2}
    data: dict[str, Any] = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": parts}
    if annotations:
        data["annotations"] = {f"org.opencontainers.image.base.{name}": text for name, text in annotations.items()}
    return json.dumps(data).encode()


def index(*images: tuple[str, bytes], kind: str = INDEX) -> bytes:
    """An index of images for several platforms."""
    members = []
    for platform, content in images:
        parts = platform.split("/")
        member_kind = json.loads(content)["mediaType"]
        member = {"mediaType": member_kind, "digest": digest(content), "size": len(content)}
        members.append({**member, "platform": dict(zip(("os", "architecture", "variant"), parts, strict=False))})
    return json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": members}).encode()


class Registry:
    """A registry on loopback; leaving the context ends it.

    :param login: user and password without which no token is given; None for nobody is asked
    """

    def __init__(self, login: tuple[str, str] | None = None) -> None:
        self.login = login
        self.manifests: dict[tuple[str, str], bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.forged: dict[str, bytes] = {}
        self.elsewhere: str | None = None
        self.answers: dict[str, tuple[int, str, bytes]] = {}
        self.asked: list[str] = []

    def push(self, repository: str, content: bytes, *tags: str) -> str:
        """Puts a manifest there; its digest."""
        for name in (digest(content), *tags):
            self.manifests[repository, name] = content
        return digest(content)

    def __enter__(self) -> Registry:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                parts = urlsplit(self.path)
                if parts.path == "/token":
                    self._token(parse_qs(parts.query))
                elif parts.path.startswith("/kept/"):
                    # A store of objects refuses two ways of being authorised at once.
                    name = parts.path.removeprefix("/kept/")
                    good = not self.headers["Authorization"] and parts.query == "for=a+while"
                    self._send(200 if good else 400, "application/octet-stream", registry.blobs[name] if good else b"")
                else:
                    self._manifest(parts.path)

            def _token(self, query: dict[str, list[str]]) -> None:
                wanted = base64.b64encode(":".join(registry.login or ("", "")).encode()).decode()
                if self.headers["Authorization"] != f"Basic {wanted}" or query.get("service") != ["here"]:
                    self._send(401, "application/json", error("UNAUTHORIZED"))
                else:
                    scope = query["scope"][0]
                    self._send(200, "application/json", json.dumps({"token": f"for.{scope}"}).encode())

            def _manifest(self, path: str) -> None:
                _, _, rest = path.partition("/v2/")
                repository, _, name = rest.partition("/manifests/" if "/manifests/" in rest else "/blobs/")
                scope = f"repository:{repository}:pull"
                if path == "/v2/" and not registry.login:  # by which clients ask who is there
                    self._send(200, "application/json", b"{}")
                elif registry.login and self.headers["Authorization"] != f"Bearer for.{scope}":
                    realm = f"http://127.0.0.1:{registry.address.rpartition(':')[2]}/token"
                    challenge = f'Bearer realm="{realm}",service="here",scope="{scope}"'
                    self._send(401, "application/json", error("UNAUTHORIZED"), **{"WWW-Authenticate": challenge})
                elif name in registry.answers:
                    self._send(*registry.answers[name])
                elif "/blobs/" in path:
                    self._blob(name)
                elif (repository, name) not in registry.manifests:
                    self._send(404, "application/json", error("MANIFEST_UNKNOWN"))
                else:
                    content = registry.manifests[repository, name]
                    kind = json.loads(content)["mediaType"]
                    # As registries do: what the client does not take is not there for it.
                    if kind not in self.headers["Accept"]:
                        self._send(404, "application/json", error("MANIFEST_UNKNOWN"))
                    else:
                        sent = registry.forged.get(name, content)
                        self._send(200, kind, sent, **{"Docker-Content-Digest": digest(content)})

            def _blob(self, name: str) -> None:
                if name not in registry.blobs:
                    self._send(404, "application/json", error("BLOB_UNKNOWN"))
                elif registry.elsewhere:  # as most do, who keep their blobs in a store of objects
                    self._send(307, "text/plain", b"", Location=f"{registry.elsewhere}/kept/{name}?for=a+while")
                else:
                    self._send(200, "application/octet-stream", registry.forged.get(name, registry.blobs[name]))

            def _send(self, status: int, kind: str, body: bytes, **headers: str) -> None:
                self.send_response(status)
                for header, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
                    self.send_header(header, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def error(code: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": code.lower(), "detail": None}]}).encode()
