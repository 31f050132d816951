# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The application's images at four versions, as a registry has them: layers, configuration, manifest."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import importlib.util
import io
import json
import os
import platform
import py_compile
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..application import SEEDED
from ..layout import CHECKOUT, SandboxError
from . import programs

SCRIPT = Path(__file__).with_name("base.sh")
REPOSITORY = "tradingflow/app"
PORT = 3000
#: The image's.
PYTHON = (3, 11)
#: The last revision of the schema, which SEEDED is one before.
HEAD = "2d7e91b3c6f0"
#: Versions, the revisions of the schema with which each works (the least first), and what is wrong with it.
VERSIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "v1.2.0": ((SEEDED, HEAD), ""),
    "v1.2.1": ((HEAD,), ""),
    "v1.2.2": ((SEEDED, HEAD), "never_ready"),
    "v1.2.3": ((SEEDED, HEAD), "degrades"),
}
LAYER = "application/vnd.oci.image.layer.v1.tar"
LIBRARY = "opt/tradingflow/lib"


@dataclass(frozen=True)
class Layer:
    """A layer as the registry has it.

    :param content: compressed
    :param identity: digest of the archive that is not
    """

    media_type: str
    content: bytes
    identity: str

    @property
    def descriptor(self) -> dict[str, Any]:
        """As a manifest names it."""
        return {"mediaType": self.media_type, "digest": digest(self.content), "size": len(self.content)}


def digest(content: bytes) -> str:
    """A content's name."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def base() -> Layer:
    """Debian with Python, made when it is missing: that takes a minute, and Debian's mirror."""
    done = subprocess.run(["bash", SCRIPT, "path"], check=True, capture_output=True, text=True)
    path = Path(done.stdout.strip())
    built = subprocess.run(["bash", SCRIPT, "build", path], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if built.returncode:
        raise SandboxError(f"base.sh build failed:\n{(built.stdout + built.stderr)[-2000:]}")
    identity = path.with_name(f"{path.name}.id").read_text(encoding="ascii").strip()
    return Layer(f"{LAYER}+zstd", path.read_bytes(), f"sha256:{identity}")


def layer(files: dict[str, bytes]) -> Layer:
    """A layer of files, everybody may read them; the same files make the same layer."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        made: set[str] = set()
        for name, content in sorted(files.items()):
            for folder in reversed(Path(name).parents[:-1]):
                if str(folder) not in made:
                    made.add(str(folder))
                    entry = tarfile.TarInfo(f"{folder}/")
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(entry)
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    content = plain.getvalue()
    return Layer(f"{LAYER}+gzip", gzip.compress(content, 1, mtime=0), digest(content))


def library() -> Layer:
    """The application, and what of its libraries Debian has too old a version of."""
    files: dict[str, bytes] = {}

    def take(folder: Path, inside: str) -> None:
        for path in sorted(folder.rglob("*.py")):
            files[f"{LIBRARY}/{inside}/{path.relative_to(folder)}"] = path.read_bytes()

    files[f"{LIBRARY}/sandbox/__init__.py"] = (CHECKOUT / "sandbox/__init__.py").read_bytes()
    take(CHECKOUT / "sandbox/app", "sandbox/app")
    for name in ("sqlalchemy", "typing_extensions"):
        spec = importlib.util.find_spec(name)
        if not spec or not spec.origin:
            raise SandboxError(f"The application needs {name}, which is not installed here.")
        source = Path(spec.origin)
        if source.name == "__init__.py":
            take(source.parent, name)
        else:
            files[f"{LIBRARY}/{name}.py"] = source.read_bytes()
    key = hashlib.sha256(sys.version.encode())
    for path, content in sorted(files.items()):
        key.update(f"{path} {digest(content)}\n".encode())
    kept = programs.cache() / f"cluster-library-{key.hexdigest()[:16]}.tar.gz"
    if not kept.exists():
        if sys.version_info[:2] == PYTHON:
            files |= compiled(files)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as file:
            file.write(layer(files).content)
        os.replace(file.name, kept)
        programs.forget("cluster-library-*", kept)
    kept.touch()
    content = kept.read_bytes()
    return Layer(f"{LAYER}+gzip", content, digest(gzip.decompress(content)))


def compiled(files: dict[str, bytes]) -> dict[str, bytes]:
    """What Python would compile at each start of a container, and could not keep. Needs the image's Python."""
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source.py"), Path(folder, "target.pyc")
        for name, content in files.items():
            source.write_bytes(content)
            py_compile.compile(
                str(source),
                cfile=str(target),
                dfile=f"/{name}",
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
            path = Path(name)
            made[str(path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc")] = target.read_bytes()
    return made


def image(layers: list[Layer], config: dict[str, Any], labels: dict[str, str]) -> tuple[bytes, bytes]:
    """Manifest and configuration of an image."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    configuration = json.dumps(
        {
            "architecture": machine,
            "os": "linux",
            "created": "2026-11-01T00:00:00Z",
            "config": {**config, "Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": [each.identity for each in layers]},
            "history": [{"created": "2026-11-01T00:00:00Z", "created_by": "tradingflow"} for _ in layers],
        },
        sort_keys=True,
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest(configuration),
                "size": len(configuration),
            },
            "layers": [each.descriptor for each in layers],
            "annotations": labels,
        },
        sort_keys=True,
    ).encode()
    return manifest, configuration


class Registry:
    """A registry, written to by plain HTTP."""

    def __init__(self, address: str) -> None:
        self.connection = http.client.HTTPConnection(address, timeout=60)

    def ask(self, method: str, path: str, content: bytes | None = None, **headers: str) -> http.client.HTTPResponse:
        """An answer that is not an error; its content is read."""
        self.connection.request(method, path, content, {name.replace("_", "-"): text for name, text in headers.items()})
        answer = self.connection.getresponse()
        said = answer.read()
        if answer.status >= 400 and not (method == "HEAD" and answer.status == 404):
            raise SandboxError(f"The registry answers {answer.status} to {method} {path}: {said[:300]!r}")
        return answer

    def blob(self, repository: str, content: bytes) -> None:
        """Uploads a blob that is not there."""
        name = digest(content)
        if self.ask("HEAD", f"/v2/{repository}/blobs/{name}").status == 200:
            return
        place = self.ask("POST", f"/v2/{repository}/blobs/uploads/", b"").headers["Location"]
        path = place.partition("/v2/")[2]
        joint = "&" if "?" in path else "?"
        self.ask("PUT", f"/v2/{path}{joint}digest={name}", content, Content_Type="application/octet-stream")

    def push(self, repository: str, tag: str, layers: list[Layer], manifest: bytes, configuration: bytes) -> str:
        """Uploads an image. Its digest."""
        for content in (*(each.content for each in layers), configuration):
            self.blob(repository, content)
        self.ask("PUT", f"/v2/{repository}/manifests/{tag}", manifest, Content_Type=json.loads(manifest)["mediaType"])
        return digest(manifest)


def push(address: str) -> dict[str, str]:
    """Uploads all images.

    :param address: of the registry, HOST:PORT
    :returns: version -> digest
    """
    registry = Registry(address)
    ground, application = base(), library()
    # What holds the namespaces of a pod needs to do nothing.
    idle = image([ground], {"Entrypoint": ["/bin/sleep", "infinity"]}, {})
    registry.push("tradingflow/pause", "1", [ground], *idle)
    digests = {}
    for version, (schemas, defect) in VERSIONS.items():
        number = version.removeprefix("v")
        environment = {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONPATH": f"/{LIBRARY}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "TRADINGFLOW_HOST": "0.0.0.0",  # noqa: S104 - of its pod
            "TRADINGFLOW_PORT": str(PORT),
            "TRADINGFLOW_DATA_DIR": "/tmp",  # noqa: S108 - of its pod
            "TRADINGFLOW_LOG_FILE": "-",
            "TRADINGFLOW_HEARTBEATS": "no",
            "TRADINGFLOW_VERSION": number,
            "TRADINGFLOW_IMAGE": f"{REPOSITORY}:{version}",
            "TRADINGFLOW_SCHEMAS": ",".join(schemas),
            "TRADINGFLOW_DEFECT": defect,
        }
        labels = {
            "org.opencontainers.image.version": number,
            "org.opencontainers.image.title": "TradingFlow",
            "org.tradingflow.schemas": ",".join(schemas),
        }
        own = layer({"opt/tradingflow/version": f"{number}\n".encode()})
        layers = [ground, application, own]
        config = {
            "User": "10001",
            "Env": [f"{name}={value}" for name, value in environment.items()],
            "Entrypoint": ["/usr/bin/python3", "-m", "sandbox.app"],
            "ExposedPorts": {f"{PORT}/tcp": {}},
            "WorkingDir": "/",
        }
        digests[version] = registry.push(REPOSITORY, version, layers, *image(layers, config, labels))
    return digests
