# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies of ConfigMaps and Secrets as they were at a release, in their namespace: what last-good's hashes stand for.

A copy is immutable and has the hash in its name. It never leaves the cluster: a Secret is not put into a record.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

from .._kubernetes.client import Cluster, Conflict, Missing, path_of
from .._kubernetes.configuration import hashed
from ..errors import ReleaseError

OWNER = "tradingflow-maintenance"
OF, HASH = "tradingflow.io/copy-of", "tradingflow.io/sha256"


def copy_name(name: str, digest: str) -> str:
    """The name of the copy of an object whose content has a hash."""
    return f"{name[:200]}.last-good.{digest[:12]}"


def keep(cluster: Cluster, namespace: str, objects: Mapping[str, Optional[Dict[str, Any]]]) -> List[str]:
    """Keeps copies; what is kept already stays. Gives the names of those that were made.

    :raises ClusterError: the API does not let us, or does not answer
    """
    made = []
    for name, thing in objects.items():
        if thing is None:
            continue
        kind, digest = name.partition("/")[0], hashed(thing)
        copied = copy_name(str(thing["metadata"]["name"]), digest)
        body = {
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {
                "name": copied,
                "labels": {"app.kubernetes.io/managed-by": OWNER},
                "annotations": {OF: name, HASH: digest},
            },
            "immutable": True,
            **_held(thing),
        }
        try:
            cluster.create(path_of(kind, namespace), body)
            made.append(f"{kind}/{copied}")
        except Conflict:
            continue
    return made


def _held(thing: Mapping[str, Any]) -> Dict[str, Any]:
    return {name: thing[name] for name in ("data", "binaryData", "type") if thing.get(name)}


def with_made(
    there: Mapping[str, Optional[Mapping[str, Any]]], made: List[Dict[str, Any]], namespace: str
) -> Dict[str, Optional[Mapping[str, Any]]]:
    """What pods will find once a chart has made its objects.

    :param there: "Kind/name" -> what is there now
    """
    found = dict(there)
    for each in made:
        metadata = each["metadata"]
        if each["kind"] in ("ConfigMap", "Secret") and metadata.get("namespace", namespace) == namespace:
            data = {**(each.get("data") or {}), **(each.get("stringData") or {})}
            found[f"{each['kind']}/{metadata['name']}"] = {**each, "data": data}
    return found


def changed(wanted: Mapping[str, str], objects: Mapping[str, Optional[Mapping[str, Any]]]) -> List[str]:
    """Which of last-good's are other than then, or gone."""
    found = []
    for name, digest in sorted(wanted.items()):
        thing = objects.get(name)
        if (hashed(thing) if thing is not None else "") != digest:
            found.append(name)
    return found


def restore(cluster: Cluster, namespace: str, names: List[str], wanted: Mapping[str, str]) -> None:
    """Puts what last-good had in the place of what is there; what is there is kept as a copy first.

    :param names: see changed()
    :raises ReleaseError: a copy is missing, or one cannot be changed; then nothing was
    :raises Conflict: somebody else changes it right now
    """
    work = []
    for name in names:
        kind, plain = name.split("/", 1)
        if not wanted[name]:
            continue  # it was not there then, and pods did without it
        try:
            copy = cluster.get(path_of(kind, namespace, copy_name(plain, wanted[name])))
        except Missing:
            raise ReleaseError(
                f"{name} is other than it was, and no copy of it was kept.",
                f"Put {name} right by hand, and undo with release_overrides: [configuration].",
            ) from None
        try:
            live: Optional[Dict[str, Any]] = cluster.get(path_of(kind, namespace, plain))
        except Missing:
            live = None
        if live is not None and live.get("immutable"):
            raise ReleaseError(f"{name} is immutable, and other than it was.", "Put it right by hand.")
        work.append((kind, plain, name, copy, live))
    for kind, plain, name, copy, live in work:
        if live is None:
            body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": plain}, **_held(copy)}
            cluster.create(path_of(kind, namespace), body)
            continue
        keep(cluster, namespace, {name: {**live, "kind": kind}})
        body = {key: value for key, value in live.items() if key not in ("data", "binaryData", "type")}
        cluster.replace(
            path_of(kind, namespace, plain),
            {**body, "type": live.get("type"), **_held(copy)} if kind == "Secret" else {**body, **_held(copy)},
        )
