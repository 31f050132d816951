# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where images are: registries by the distribution API, and OCI layouts on disk. Only read."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import re
import shutil
import ssl
import stat
import time
from pathlib import Path
from typing import IO, Any, Dict, Optional, Tuple
from urllib.parse import quote, urljoin, urlsplit

from .._http.request import Answer, Replica, context, get
from ..errors import ConfigurationError, ImageError
from ..words import printable
from .manifest import INDEXES, MANIFESTS, MOST, Forged, Manifest, Missing, read
from .reference import DIGEST, Reference

_ACCEPT = ", ".join((*INDEXES, *MANIFESTS))
_PARAMETER = re.compile(r'([A-Za-z_]+)="((?:[^"\\]|\\.)*)"')
#: Codes of the specification by which a registry says that it does not have something.
_ABSENT = ("MANIFEST_UNKNOWN", "NAME_UNKNOWN", "MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN")
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_MOST_REDIRECTS = 3


class Hashed:
    """A file that is written, and hashed meanwhile."""

    def __init__(self, into: IO[bytes], deadline: float) -> None:
        self._into, self._deadline = into, deadline
        self._digest, self._size = hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        if time.monotonic() > self._deadline:
            raise TimeoutError("it was not read in time")
        self._digest.update(data)
        self._size += len(data)
        return self._into.write(data)

    def proven(self, digest: str, size: int, where: str) -> None:
        """
        :raises Forged: it is something else
        """
        found = f"sha256:{self._digest.hexdigest()}"
        if found != digest or self._size != size:
            text = f"{where}: {self._size} bytes hash to {found}, not to {digest} of {size} bytes"
            raise Forged(text, "Deploy nothing from there, and find out who changed it.")


class Stores:
    """All registries and layouts of one run; what was read once is not asked for again."""

    def __init__(self, options: Dict[str, Any]) -> None:
        self.timeout: float = options["timeout"]
        self.plain = set(options["plain_http"])
        self.tls: ssl.SSLContext = context(options["ca_file"])
        self.known = _credentials(options["auth_file"])
        self._tokens: Dict[Tuple[str, str], str] = {}
        self._read: Dict[Reference, Any] = {}

    def manifest(self, reference: Reference) -> Manifest:
        """What a reference names; its digest counts where it has one.

        :raises Missing: the store says that it does not have it
        :raises Forged: it is something else than its digest says
        :raises ImageError: the store does not answer, or not as it must
        """
        if reference not in self._read:
            try:
                self._read[reference] = _in_layout(reference) if reference.layout else self._in_registry(reference)
            except ImageError as error:
                self._read[reference] = error
        found = self._read[reference]
        if isinstance(found, ImageError):
            raise found
        manifest: Manifest = found
        return manifest

    def _in_registry(self, reference: Reference) -> Manifest:
        wanted = reference.digest or reference.tag
        if wanted is None:
            raise ImageError(f"{reference} has neither tag nor digest", "Name one.")
        answer = self._authorized(reference, f"manifests/{wanted}", MOST, self.timeout)
        _judge(answer, reference)
        said = answer.headers.get("docker-content-digest")
        return read(answer.body, answer.headers.get("content-type", ""), str(reference), reference.digest, said)

    def blob(self, reference: Reference, digest: str, size: int, into: IO[bytes], deadline: float) -> None:
        """Copies a blob, whose size its manifest says, and its digest proves.

        :param deadline: of time.monotonic()
        :raises Missing: the store says that it does not have it
        :raises Forged: it is something else than its digest says
        :raises ImageError: the store does not answer, or not as it must
        """
        if not DIGEST.fullmatch(digest):
            raise ImageError(f"{reference.name}: {printable(digest, 80)} is no digest", "Build the image anew.")
        hashed = Hashed(into, deadline)
        try:
            if reference.layout:
                path = Path(reference.layout) / "blobs" / digest.replace(":", "/")
                there = path.stat()
                if not stat.S_ISREG(there.st_mode) or there.st_size != size:
                    text = f"{reference.name}: {digest} is not a file of {size} bytes"
                    raise Forged(text, "Deploy nothing from there.")
                with path.open("rb") as opened:
                    shutil.copyfileobj(opened, hashed)
            else:
                self._downloaded(reference, digest, size, hashed, deadline)
        except FileNotFoundError:
            raise Missing(f"{reference.name} does not have {digest}", "Copy it there again.") from None
        except OSError as error:
            what = error.strerror or str(error)
            raise ImageError(
                f"{reference.name}: {digest} cannot be copied: {what}", "Check the scratch folder."
            ) from None
        hashed.proven(digest, size, reference.name)

    def _downloaded(self, reference: Reference, digest: str, size: int, into: Any, deadline: float) -> None:
        timeout = max(1.0, deadline - time.monotonic())
        answer = self._authorized(reference, f"blobs/{digest}", size, timeout, into)
        for _turn in range(_MOST_REDIRECTS):
            if answer.status not in (301, 302, 303, 307, 308):
                break
            # Blobs may lie elsewhere; whoever has them is not told who we are, and the digest says whether it is right.
            parts = urlsplit(urljoin(f"{self._target(reference.registry).name}/", answer.location))
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
                raise ImageError(f"{reference.name}: {digest} is said to be at no place", "Check the registry.")
            if parts.scheme == "http" and self._target(reference.registry).scheme == "https":
                raise ImageError(f"{reference.name}: {digest} is sent without TLS", "Check the registry.")
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
            place = Replica(parts.netloc, parts.scheme, parts.hostname, port, "")
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            answer = self._get(place, path, reference, {}, size, max(1.0, deadline - time.monotonic()), into)
        _judge(answer, reference)

    def _authorized(
        self, reference: Reference, what: str, most: int, timeout: float, into: Optional[IO[bytes]] = None
    ) -> Answer:
        """What the registry answers about something of a repository, with a token once it wants one."""
        target, key = self._target(reference.registry), (reference.registry, reference.repository)
        path = f"v2/{reference.repository}/{what}"
        headers = {"Authorization": self._tokens[key]} if key in self._tokens else {}
        answer = self._get(target, path, reference, headers, most, timeout, into)
        if answer.status == 401:  # also when a token has expired
            self._tokens[key] = self._authorization(answer, reference, target)
            answer = self._get(target, path, reference, {"Authorization": self._tokens[key]}, most, timeout, into)
        return answer

    def _target(self, registry: str) -> Replica:
        parts = urlsplit(f"//{registry}")
        host, port = parts.hostname or "", parts.port
        bare = registry.rpartition(":")[0] if port else registry
        scheme = "http" if registry in self.plain or bare in _LOOPBACK else "https"
        return Replica(f"{scheme}://{registry}", scheme, host, port or {"http": 80, "https": 443}[scheme], "")

    def _get(
        self,
        target: Replica,
        path: str,
        reference: Reference,
        more: Dict[str, str],
        most: int = MOST,
        timeout: Optional[float] = None,
        into: Optional[IO[bytes]] = None,
    ) -> Answer:
        accept = {} if into else {"Accept": _ACCEPT}
        try:
            return get(target, path, timeout or self.timeout, self.tls, most, into=into, **{**accept, **more})
        except (OSError, http.client.HTTPException, ValueError) as error:
            text = f"{reference}: {target.name} cannot be reached: {printable(error, 200)}"
            raise ImageError(text, "Check the registry, its name, and its certificate.") from None

    def _authorization(self, answer: Answer, reference: Reference, target: Replica) -> str:
        """What the registry wants to see, by its own challenge.

        :raises ImageError: it is not to be had
        """
        scheme, _space, rest = answer.headers.get("www-authenticate", "").partition(" ")
        login = self.known.get(reference.registry)
        if scheme.lower() == "basic" and login:
            self._secret(target, reference)
            return f"Basic {login}"
        if scheme.lower() != "bearer":
            raise _refused(reference, f"asks for {printable(scheme) if scheme else 'nothing that is understood'}")
        told = {name.lower(): value for name, value in _PARAMETER.findall(rest)}
        realm = urlsplit(told.get("realm", ""))
        if realm.scheme not in ("http", "https") or not realm.hostname or realm.username:
            raise _refused(reference, "names no place for tokens")
        host = f"{realm.hostname}:{realm.port}" if realm.port else realm.hostname
        place = Replica(host, realm.scheme, realm.hostname, realm.port or (80 if realm.scheme == "http" else 443), "")
        if login or realm.scheme == "http":
            self._secret(place, reference)
        scope = f"repository:{reference.repository}:pull"  # never more than that, whatever it asks for
        query = (
            f"{realm.path.lstrip('/')}?service={quote(told.get('service', ''), safe='')}&scope={quote(scope, safe='')}"
        )
        found = self._get(place, query, reference, {"Authorization": f"Basic {login}"} if login else {})
        if found.status != 200:
            raise _refused(reference, f"gives no token, {found.status}")
        try:
            data = json.loads(found.body)
            token = data.get("token") or data["access_token"]
        except (ValueError, KeyError, AttributeError):
            raise _refused(reference, "gives no token that is understood") from None
        if not isinstance(token, str) or not token.isprintable() or " " in token:
            raise _refused(reference, "gives no token that is understood")
        return f"Bearer {token}"

    def _secret(self, target: Replica, reference: Reference) -> None:
        """Refuses to send secrets where everybody could read them."""
        if target.scheme == "http" and target.host not in ("localhost", "127.0.0.1", "::1"):
            raise _refused(reference, "wants a password without TLS")


def _credentials(path: Optional[str]) -> Dict[str, str]:
    """Registry -> what Basic sends, from a file as docker login and podman login write it.

    :raises ConfigurationError: the file is not understood
    """
    if not path:
        return {}
    try:
        auths = json.loads(Path(path).read_text(encoding="utf-8"))["auths"]
        found = {}
        for name, entry in auths.items():
            if entry.get("auth"):
                base64.b64decode(entry["auth"], validate=True)
                host = urlsplit(name if "//" in name else f"//{name}").netloc
                found["registry-1.docker.io" if host in ("docker.io", "index.docker.io") else host] = entry["auth"]
        return found
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        name = type(error).__name__
        raise ConfigurationError(
            f"{path} cannot be read as logins of registries ({name}).", "Write it by podman login --authfile."
        ) from None


def _refused(reference: Reference, why: str) -> ImageError:
    text = f"{reference.registry} refuses {reference.repository}: it {why}"
    return ImageError(
        text, "Check the login of the registry (patching_images_auth_file, release_registry), and its right to pull."
    )


def _judge(answer: Answer, reference: Reference) -> None:
    """What a registry's status means.

    :raises ImageError: it is not the manifest
    """
    if answer.status == 200 and not answer.truncated:
        return
    codes = []
    with contextlib.suppress(ValueError, KeyError, TypeError):
        codes = [str(each["code"]) for each in json.loads(answer.body)["errors"]]
    said = f"{answer.status}{f' {printable(codes[0], 40)}' if codes else ''}"
    if answer.status in (401, 403):
        raise _refused(reference, f"says {said}")
    if answer.status == 404 and codes and codes[0] in _ABSENT:
        raise Missing(f"{reference} is not there ({said})", "Push it again, or correct its name.")
    more = ", and more than 4 MiB" if answer.truncated else ""
    raise ImageError(f"{reference}: the registry says {said}{more}", "Ask again later, or read the registry's log.")


def _in_layout(reference: Reference) -> Manifest:
    """From an OCI layout, a folder with oci-layout, index.json and blobs."""
    folder = Path(reference.layout or "")
    try:
        version = json.loads((folder / "oci-layout").read_bytes())["imageLayoutVersion"]
        if version != "1.0.0":
            raise ImageError(f"{reference.name} is of version {printable(version)}", "Version 1.0.0 is understood.")
        entries = json.loads((folder / "index.json").read_bytes())["manifests"]
        named = "org.opencontainers.image.ref.name"
        found = [
            each
            for each in entries
            if reference.digest in (None, each["digest"])
            and (reference.digest or reference.tag == (each.get("annotations") or {}).get(named))
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        text = f"{reference.name} cannot be read as an OCI layout: {type(error).__name__}"
        raise ImageError(text, "It must have oci-layout and index.json.") from None
    if len(found) > 1 and not reference.digest:
        raise ImageError(f"{reference} is there {len(found)} times", "Name it by its digest.")
    digest = reference.digest or (str(found[0]["digest"]) if found else "")
    blob = folder / "blobs" / digest.replace(":", "/")
    # What an index names stands in no list of its own.
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest) or not blob.is_file():
        raise Missing(f"{reference} is not there", "Copy it there again, or correct its name.")
    try:
        content = blob.read_bytes()
        kind = found[0]["mediaType"] if found else json.loads(content)["mediaType"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        text = f"{reference} cannot be read: {type(error).__name__}"
        raise ImageError(text, "Copy it there again.") from None
    return read(content, str(kind), str(reference), digest)
