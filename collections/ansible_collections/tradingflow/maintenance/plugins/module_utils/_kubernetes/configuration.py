# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What configures pods: the ConfigMaps and Secrets that a template refers to, and hashes of what they hold."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Mapping, Optional, Set

from .client import Cluster, Missing, path_of


@dataclass(frozen=True)
class Referred:
    """Something that a template refers to.

    :param kind: ConfigMap or Secret
    :param keys: that must be there; none: whichever it has
    :param optional: whether pods start without it
    """

    kind: str
    name: str
    keys: frozenset[str] = frozenset()
    optional: bool = False

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def referred(template: Mapping[str, Any]) -> List[Referred]:
    """What a pod template refers to: environment, volumes, and logins of registries; each name once for each use."""
    return sorted(set(_all(template["spec"])), key=lambda each: (each.kind, each.name, sorted(each.keys)))


def _all(spec: Mapping[str, Any]) -> Iterator[Referred]:
    for group in ("initContainers", "containers", "ephemeralContainers"):
        for each in spec.get(group) or []:
            for source in each.get("envFrom") or []:
                yield from _one("ConfigMap", source.get("configMapRef"))
                yield from _one("Secret", source.get("secretRef"))
            for variable in each.get("env") or []:
                wanted = variable.get("valueFrom") or {}
                yield from _one("ConfigMap", wanted.get("configMapKeyRef"), key=True)
                yield from _one("Secret", wanted.get("secretKeyRef"), key=True)
    for volume in spec.get("volumes") or []:
        yield from _volume(volume)
        for source in (volume.get("projected") or {}).get("sources") or []:
            yield from _one("ConfigMap", source.get("configMap"))
            yield from _one("Secret", source.get("secret"))
    for each in spec.get("imagePullSecrets") or []:
        yield from _one("Secret", each)


def _volume(volume: Mapping[str, Any]) -> Iterator[Referred]:
    yield from _one("ConfigMap", volume.get("configMap"))
    secret = volume.get("secret")
    if secret:
        yield from _one("Secret", {**secret, "name": secret.get("secretName")})


def _one(kind: str, reference: Optional[Mapping[str, Any]], *, key: bool = False) -> Iterator[Referred]:
    if reference and reference.get("name"):
        items = [str(each["key"]) for each in reference.get("items") or []]
        keys = frozenset([str(reference["key"])] if key else items)
        yield Referred(kind, str(reference["name"]), keys, bool(reference.get("optional")))


def hashed(thing: Mapping[str, Any]) -> str:
    """SHA-256 of what a ConfigMap or Secret holds. Of a Secret with its uid, which nobody guesses who may not read it:
    what it holds cannot be found by trying.
    """
    held: Dict[str, Any] = {name: thing.get(name) or {} for name in ("data", "binaryData")}
    if thing.get("kind") == "Secret":
        held["uid"] = thing["metadata"]["uid"]
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def read(cluster: Cluster, namespace: str, template: Mapping[str, Any]) -> Dict[str, Optional[Dict[str, Any]]]:
    """What a template refers to, as "ConfigMap/name" -> the object; None where it is not there.

    :raises ClusterError: the API does not answer, or refuses
    """
    found: Dict[str, Optional[Dict[str, Any]]] = {}
    for each in referred(template):
        if str(each) not in found:
            try:
                found[str(each)] = cluster.get(path_of(each.kind, namespace, each.name))
            except Missing:
                found[str(each)] = None
    return found


def hashes(objects: Mapping[str, Optional[Mapping[str, Any]]]) -> Dict[str, str]:
    """The hashes of what is there, as a release's record keeps them; empty text for what is missing."""
    return {name: hashed(thing) if thing is not None else "" for name, thing in sorted(objects.items())}


def lacking(template: Mapping[str, Any], objects: Mapping[str, Optional[Mapping[str, Any]]]) -> List[str]:
    """What pods would wait for in vain, in words."""
    wrong: Set[str] = set()
    for each in referred(template):
        thing = objects.get(str(each))
        if each.optional:
            continue
        if thing is None:
            wrong.add(f"{each} is not there")
            continue
        has = {*(thing.get("data") or {}), *(thing.get("binaryData") or {})}
        wrong |= {f"{each} has no key {key}" for key in each.keys - has}
    return sorted(wrong)
