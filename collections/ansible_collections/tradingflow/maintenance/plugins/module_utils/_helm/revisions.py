# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Revisions of a Helm release, as both versions keep them in Secrets; and copies of them that no history prunes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional

from .._kubernetes.client import Cluster, Conflict, Missing, path_of
from ..errors import ClusterError
from ..words import printable

try:
    import yaml
except ImportError:  # only the controller needs it
    yaml = None  # type: ignore[assignment]

DEPLOYED, FAILED, SUPERSEDED, UNKNOWN = "deployed", "failed", "superseded", "unknown"
UNINSTALLED, UNINSTALLING = "uninstalled", "uninstalling"
#: A client is at work, or was when it died.
PENDING = ("pending-install", "pending-upgrade", "pending-rollback")
#: Closed: what is none of these is unknown.
STATUSES = (DEPLOYED, FAILED, SUPERSEDED, UNINSTALLED, UNINSTALLING, *PENDING)
#: Label of a revision that a release of ours made: its id.
LABEL = "tradingflow.io/release"
_TYPE, _KEPT = "helm.sh/release.v1", "tradingflow.io/helm-release.v1"
_OWNER, _OF, _HASH = "tradingflow-maintenance", "tradingflow.io/helm-copy-of", "tradingflow.io/sha256"
#: Annotation of what Helm runs besides.
_HOOK = "helm.sh/hook"
#: Bytes of a revision when it is unpacked, and copies of a release that stay.
_MOST, _COPIES = 64 << 20, 3
_KEY = os.urandom(32)


@dataclass(frozen=True)
class Revision:
    """One of them.

    :param status: one of STATUSES, or UNKNOWN
    :param said: the status as Helm wrote it
    :param secret: as the API gave it
    """

    number: int
    status: str
    said: str
    secret: Dict[str, Any]

    @property
    def labels(self) -> Dict[str, str]:
        return dict(self.secret["metadata"].get("labels") or {})

    @property
    def packed(self) -> str:
        """What the Secret holds, as the API gives it."""
        return str((self.secret.get("data") or {}).get("release") or "")

    def content(self) -> Dict[str, Any]:
        """What Helm wrote: info, chart, config (the values that were given), manifest, hooks.

        :raises ClusterError: it is not understood
        """
        return unpacked(self.packed)


def revisions(cluster: Cluster, namespace: str, name: str) -> List[Revision]:
    """All of a release, the oldest first; none where there is no such release.

    :raises ClusterError: the API does not answer, or what is there is not understood
    """
    found = []
    for secret in cluster.items(path_of("Secret", namespace), labelSelector=f"owner=helm,name={name}"):
        if secret.get("type") not in (_TYPE, None):
            continue
        labels = secret["metadata"].get("labels") or {}
        said, number = str(labels.get("status") or ""), str(labels.get("version") or "")
        if not number.isdigit():
            raise ClusterError(
                f"The Secret {printable(secret['metadata']['name'])} is no revision that Helm writes.", "Look at it."
            )
        found.append(Revision(int(number), said if said in STATUSES else UNKNOWN, said, secret))
    return sorted(found, key=lambda each: each.number)


def last(found: List[Revision], status: str = "") -> Optional[Revision]:
    """The newest, or the newest of a status."""
    return next((each for each in reversed(found) if not status or each.status == status), None)


def unpacked(text: str) -> Dict[str, Any]:
    """
    :param text: of a Secret, in base64; what is in it Helm has packed once more
    :raises ClusterError: it is not understood
    """
    try:
        inner = base64.b64decode(base64.b64decode(text, validate=True), validate=True)
        if inner[:2] == b"\x1f\x8b":
            packer = zlib.decompressobj(31)
            inner = packer.decompress(inner, _MOST)
            if packer.unconsumed_tail:
                raise ValueError("too large")
        content = json.loads(inner)
        if not isinstance(content, dict) or not isinstance(content.get("manifest"), str):
            raise ValueError("no release")
        return content
    except (ValueError, binascii.Error, zlib.error):
        # What it says may quote a secret.
        raise ClusterError("A revision of the Helm release is not understood.", "Look at helm history.") from None


def packed(content: Mapping[str, Any]) -> str:
    """What unpacked takes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    inner = packer.compress(json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()) + packer.flush()
    return base64.b64encode(base64.b64encode(inner)).decode()


def identity(content: Mapping[str, Any]) -> str:
    """SHA-256 of what a revision is: chart, values and objects. A roll back to it has the same."""
    metadata = (content.get("chart") or {}).get("metadata") or {}
    parts = [metadata.get("name"), metadata.get("version"), content.get("config") or {}, content["manifest"]]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def served(content: Mapping[str, Any]) -> bool:
    """Whether the API applies the objects: so it is with a release of Helm 4 from the beginning."""
    return content.get("apply_method") == "ssa"


def objects(content: Mapping[str, Any]) -> List[Dict[str, Any]]:
    """The objects of a revision.

    :raises ClusterError: they are not understood
    """
    try:
        return [each for each in yaml.safe_load_all(content["manifest"]) if isinstance(each, dict)]
    except yaml.YAMLError:
        raise ClusterError("The objects of the Helm release are no YAML.", "Look at helm get manifest.") from None


def is_hook(thing: Mapping[str, Any]) -> bool:
    """Whether Helm runs an object besides, and does not keep it."""
    return _HOOK in (thing["metadata"].get("annotations") or {})


def without_hooks(rendered: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Of what a chart makes, what a revision has."""
    return [each for each in rendered if not is_hook(each)]


def by_name(found: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Objects by kind, namespace where they have one, and name; of Secrets a hash of what they hold, which is of no use
    to another process: what is short would be found by trying.
    """
    result = {}
    for each in found:
        body, metadata = each, each.get("metadata") or {}
        if each.get("kind") == "Secret":
            held = json.dumps([each.get("data"), each.get("stringData")], sort_keys=True, default=str)
            body = {name: each[name] for name in each if name not in ("data", "stringData")}
            body["held"] = hmac.new(_KEY, held.encode(), "sha256").hexdigest()
        place = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
        result[f"{each.get('kind')}/{place}{metadata.get('name')}"] = body
    return result


def keep(cluster: Cluster, namespace: str, name: str, revision: Revision) -> str:
    """Keeps a copy of a revision, which may hold secrets and so stays in the namespace; gives its identity. Of older
    copies only the newest stay.

    :raises ClusterError: the API does not let us, or does not answer
    """
    digest = identity(revision.content())
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": _copy_name(name, digest),
            "labels": {"app.kubernetes.io/managed-by": _OWNER, _OF: name},
            "annotations": {_HASH: digest},
        },
        "immutable": True,
        "type": _KEPT,
        "data": {"release": revision.packed},
    }
    with suppress(Conflict):  # kept already
        cluster.create(path_of("Secret", namespace), body)
    _tidied(cluster, namespace, name, digest)
    return digest


def _tidied(cluster: Cluster, namespace: str, name: str, digest: str) -> None:
    """Deletes copies that no record needs any more: one release is on record, and it has one last-good."""
    found = cluster.items(path_of("Secret", namespace), labelSelector=f"{_OF}={name}")
    mine = [each for each in found if each.get("type") == _KEPT and _digest(each) != digest]
    mine.sort(key=lambda each: str(each["metadata"].get("creationTimestamp")))
    for each in mine[: -(_COPIES - 1)]:
        metadata = each["metadata"]
        cluster.delete(path_of("Secret", namespace, metadata["name"]), uid=metadata["uid"])


def _digest(copy: Mapping[str, Any]) -> str:
    return str((copy["metadata"].get("annotations") or {}).get(_HASH) or "")


def _copy_name(name: str, digest: str) -> str:
    return f"{name[:53]}.helm-last-good.{digest[:12]}"


def back_in_history(cluster: Cluster, namespace: str, name: str, number: int, digest: str) -> None:
    """Puts a revision that was pruned back into Helm's history, from the copy that was kept of it.

    :raises Missing: no copy was kept
    :raises Conflict: there is another of that number
    :raises ClusterError: the copy is damaged, or the API does not let us
    """
    content = copied(cluster, namespace, name, digest)
    if content is None:
        raise Missing(f"No copy of revision {number} was kept.", "Put the release right by hand (helm upgrade).")
    if identity(content) != digest:
        raise ClusterError(
            f"The copy of revision {number} of the Helm release {name} is not what was kept.",
            "Put the release right by hand (helm upgrade).",
        )
    # It may be of an earlier revision that was the same.
    content["version"] = number
    content["info"] = {**(content.get("info") or {}), "status": SUPERSEDED}
    labels = {"name": name, "owner": "helm", "status": SUPERSEDED, "version": str(number)}
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"sh.helm.release.v1.{name}.v{number}", "labels": labels},
        "type": _TYPE,
        "data": {"release": packed(content)},
    }
    cluster.create(path_of("Secret", namespace), body)


def copied(cluster: Cluster, namespace: str, name: str, digest: str) -> Optional[Dict[str, Any]]:
    """What the copy of a revision holds; None where there is no copy.

    :raises ClusterError: the API does not answer, or it is damaged
    """
    try:
        copy = cluster.get(path_of("Secret", namespace, _copy_name(name, digest)))
    except Missing:
        return None
    return unpacked(str((copy.get("data") or {}).get("release") or ""))
