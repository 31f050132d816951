"""Images with something in them: layers as tar, with a configuration and a manifest, for a registry or a layout."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from tests.registry import IMAGE, Registry, digest

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def layer(*members: tuple[str, bytes | str], links: dict[str, str] | None = None, **more: Any) -> bytes:
    """A tar of files, in this order.

    :param members: path and content; a path that ends with / is a folder
    :param links: path -> target of symbolic links, which come first; "=TARGET" for a hard link, which comes last
    """
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=more.get("format", tarfile.PAX_FORMAT)) as tar:
        for hard in (False, True):
            for path, target in (links or {}).items():
                if target.startswith("=") is hard:
                    info = tarfile.TarInfo(path)
                    info.type, info.linkname = (tarfile.LNKTYPE if hard else tarfile.SYMTYPE), target.removeprefix("=")
                    tar.addfile(info)
            for path, content in members if not hard else ():
                info = tarfile.TarInfo(path)
                data = content.encode() if isinstance(content, str) else content
                info.size, info.mode = len(data), 0o755
                if path.endswith("/"):
                    info.type = tarfile.DIRTYPE
                tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


class Image:
    """An image of layers."""

    def __init__(self, *layers: bytes, packed: bool = True, **config: Any) -> None:
        blobs = [gzip.compress(each, 1, mtime=0) if packed else each for each in layers]
        names = [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in layers]
        data = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": names}, **config}
        self.config = json.dumps(data).encode()
        self.blobs = {digest(each): each for each in (self.config, *blobs)}
        kind = LAYER if packed else LAYER.removesuffix("+gzip")
        parts = [{"mediaType": kind, "digest": digest(each), "size": len(each)} for each in blobs]
        described = {"mediaType": CONFIG, "digest": digest(self.config), "size": len(self.config)}
        self.data: dict[str, Any] = {"schemaVersion": 2, "mediaType": IMAGE, "config": described, "layers": parts}

    @property
    def manifest(self) -> bytes:
        return json.dumps(self.data).encode()

    def push(self, registry: Registry, repository: str, *tags: str) -> str:
        registry.blobs.update(self.blobs)
        return registry.push(repository, self.manifest, *tags)

    def layout(self, folder: Path, tag: str) -> Path:
        (folder / "blobs/sha256").mkdir(parents=True)
        for name, content in {**self.blobs, digest(self.manifest): self.manifest}.items():
            (folder / "blobs/sha256" / name.partition(":")[2]).write_bytes(content)
        (folder / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
        entry = {"mediaType": IMAGE, "digest": digest(self.manifest), "size": len(self.manifest)}
        entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
        (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
        return folder
