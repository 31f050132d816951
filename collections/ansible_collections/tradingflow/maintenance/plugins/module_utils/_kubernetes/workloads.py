# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deployments, their ReplicaSets and pods, as the API gives them: what belongs to what, and what is the same."""

from __future__ import annotations

import hashlib
import json
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional

from ..errors import ClusterError
from ..words import printable
from .client import Cluster, path_of

#: What the controller adds to a template when it makes a ReplicaSet or a pod of it.
_HASH = "pod-template-hash"


@dataclass
class Seen:
    """A Deployment, and what it owns, at one moment.

    :param replicasets: its own, by ownerReferences
    :param pods: of these, those that are being deleted among them
    """

    deployment: Dict[str, Any]
    replicasets: List[Dict[str, Any]] = field(default_factory=list)
    pods: List[Dict[str, Any]] = field(default_factory=list)

    @property
    def template(self) -> Dict[str, Any]:
        found: Dict[str, Any] = self.deployment["spec"]["template"]
        return found

    @property
    def replicas(self) -> int:
        return int(self.deployment["spec"].get("replicas", 1))

    def current(self) -> Optional[Dict[str, Any]]:
        """The ReplicaSet of the template; None while there is none."""
        return next((each for each in self.replicasets if same_template(each["spec"]["template"], self.template)), None)

    def pods_of(self, replicaset: Optional[Dict[str, Any]]) -> List[Dict[str, Any]]:
        """Its pods that are not being deleted."""
        if replicaset is None:
            return []
        mine = [each for each in self.pods if owner(each) == replicaset["metadata"]["uid"]]
        return [each for each in mine if not each["metadata"].get("deletionTimestamp")]

    def ready(self) -> List[Dict[str, Any]]:
        """Pods of the template that are ready."""
        return [each for each in self.pods_of(self.current()) if condition(each, "Ready").get("status") == "True"]


def look(cluster: Cluster, namespace: str, name: str) -> Seen:
    """Reads them.

    :raises Missing: there is no such Deployment
    :raises ClusterError: the API does not answer, or not as it must
    """
    deployment = cluster.get(path_of("Deployment", namespace, name))
    labels = selector(deployment["spec"].get("selector") or {})
    replicasets = cluster.items(path_of("ReplicaSet", namespace), labelSelector=labels)
    uid = deployment["metadata"]["uid"]
    mine = [each for each in replicasets if owner(each) == uid]
    uids = {each["metadata"]["uid"] for each in mine}
    pods = cluster.items(path_of("Pod", namespace), labelSelector=labels)
    return Seen(deployment, mine, [each for each in pods if owner(each) in uids])


def owner(thing: Mapping[str, Any]) -> str:
    """The uid of the controller that owns it; empty when none does."""
    references = thing["metadata"].get("ownerReferences") or []
    return next((str(each["uid"]) for each in references if each.get("controller")), "")


def selector(wanted: Mapping[str, Any]) -> str:
    """A label selector as the API takes it in a query.

    :raises ClusterError: an operator that is not known here
    """
    parts = [f"{name}={value}" for name, value in sorted((wanted.get("matchLabels") or {}).items())]
    for each in wanted.get("matchExpressions") or []:
        key, operator, values = each["key"], each["operator"], ",".join(each.get("values") or [])
        if operator in ("In", "NotIn"):
            parts.append(f"{key} {operator.lower()} ({values})")
        elif operator in ("Exists", "DoesNotExist"):
            parts.append(key if operator == "Exists" else f"!{key}")
        else:
            raise ClusterError(f"The label selector's operator {printable(operator)} is not known", "Correct it.")
    return ",".join(parts)


def matches(wanted: Optional[Mapping[str, Any]], labels: Mapping[str, str]) -> bool:
    """Whether labels are selected; an empty selector selects all, none nothing.

    :raises ClusterError: an operator that is not known here
    """
    if wanted is None:
        return False
    selector(wanted)
    if any(labels.get(name) != value for name, value in (wanted.get("matchLabels") or {}).items()):
        return False
    for each in wanted.get("matchExpressions") or []:
        there, value = each["key"] in labels, labels.get(each["key"])
        holds = {
            "In": there and value in (each.get("values") or []),
            "NotIn": value not in (each.get("values") or []),
            "Exists": there,
            "DoesNotExist": not there,
        }[each["operator"]]
        if not holds:
            return False
    return True


def bare(template: Mapping[str, Any]) -> Dict[str, Any]:
    """A pod template without what the controller adds."""
    found = deepcopy(dict(template))
    metadata = found.setdefault("metadata", {}) or {}
    metadata.pop("creationTimestamp", None)
    labels = metadata.get("labels")
    if labels:
        labels.pop(_HASH, None)
    return found


def same_template(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two pod templates make the same pods."""
    return bare(one) == bare(other)


def template_hash(template: Mapping[str, Any]) -> str:
    """SHA-256 of a pod template as the API has it, without what the controller adds."""
    return hashlib.sha256(json.dumps(bare(template), sort_keys=True).encode()).hexdigest()


def container(template: Mapping[str, Any], name: str) -> Dict[str, Any]:
    """A container of a template.

    :raises ClusterError: it has none of that name
    """
    return deepcopy(dict(template["spec"]["containers"][position(template, name)]))


def position(template: Mapping[str, Any], name: str) -> int:
    """Which of the template's containers it is.

    :raises ClusterError: it has none of that name
    """
    found = [each["name"] for each in template["spec"]["containers"]]
    if name not in found:
        raise ClusterError(
            f"The Deployment has no container {printable(name)}, but {', '.join(map(printable, found))}",
            "Name one of them (release_container).",
        )
    return found.index(name)


def with_image(template: Mapping[str, Any], name: str, image: str) -> Dict[str, Any]:
    """The template with another image of one container.

    :raises ClusterError: it has none of that name
    """
    found = deepcopy(dict(template))
    found["spec"]["containers"][position(template, name)]["image"] = image
    return found


def running_digests(pod: Mapping[str, Any], name: str) -> Optional[str]:
    """The digest that a pod's container runs, by its status; None when it does not say."""
    for each in (pod.get("status") or {}).get("containerStatuses") or []:
        if each.get("name") == name:
            _name, at, digest = str(each.get("imageID") or "").rpartition("@")
            return digest if at and digest.startswith("sha256:") else None
    return None


def digest_of(image: str) -> Optional[str]:
    """The digest by which a reference is pinned; None when it is not."""
    _name, at, digest = image.rpartition("@")
    return digest if at and digest.startswith("sha256:") else None


def condition(thing: Mapping[str, Any], kind: str) -> Dict[str, Any]:
    """A condition of its status; empty when there is none."""
    found = (thing.get("status") or {}).get("conditions") or []
    return next((dict(each) for each in found if each.get("type") == kind), {})


def differences(one: Any, other: Any, place: str = "") -> List[str]:
    """Where two pieces of JSON differ, as paths, e.g. spec.containers[0].image."""
    if isinstance(one, dict) and isinstance(other, dict):
        found = []
        for name in sorted({*one, *other}):
            found += differences(one.get(name), other.get(name), f"{place}.{name}" if place else str(name))
        return found
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(one[number], other[number], f"{place}[{number}]") for number in range(len(one))]
        return [each for pair in pairs for each in differences(*pair)]
    return [] if one == other else [place]
