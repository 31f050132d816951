# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services: which pods they send requests to, and how that is changed on a condition."""

from __future__ import annotations

from typing import Any, Dict, Mapping

from ..errors import ClusterError
from ..words import printable
from .client import Cluster, Conflict, path_of


def selector_of(service: Mapping[str, Any]) -> Dict[str, str]:
    """The labels that a Service's pods have.

    :raises ClusterError: it selects none: its endpoints are somebody else's
    """
    found = (service.get("spec") or {}).get("selector")
    if not isinstance(found, dict) or not found:
        name = printable((service.get("metadata") or {}).get("name"), 60)
        raise ClusterError(f"The Service {name} has no selector", "Name one that selects pods (release_service).")
    return {str(key): str(value) for key, value in found.items()}


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether pods with these labels are selected."""
    return all(labels.get(name) == value for name, value in selector.items())


def behind(cluster: Cluster, namespace: str, service: str) -> Dict[str, bool]:
    """uids of the pods that a Service has as endpoints -> whether they get requests. An endpoint that is no pod has its
    address in place of the uid.

    :raises ClusterError: the API does not answer
    """
    found: Dict[str, bool] = {}
    label = f"kubernetes.io/service-name={service}"
    for each in cluster.items(path_of("EndpointSlice", namespace), labelSelector=label):
        for endpoint in each.get("endpoints") or []:
            target, state = endpoint.get("targetRef") or {}, endpoint.get("conditions") or {}
            name = str(target.get("uid") or (endpoint.get("addresses") or ["?"])[0])
            # What is not said counts as ready, by the API's definition.
            ready = state.get("ready") is not False
            found[name] = found.get(name, False) or ready
    return found


def switch(cluster: Cluster, namespace: str, name: str, before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """Lets a Service select other pods, when it selects those of before. Gives whether anything was changed.

    :raises Conflict: it selects others by now; nothing was changed
    :raises Unanswered: the API stayed away: look again
    """
    path = path_of("Service", namespace, name)
    service = cluster.get(path)
    now = selector_of(service)
    if now == dict(after):
        return False
    if now != dict(before):
        raise Conflict(
            f"The Service {name} selects {said(now)}, neither {said(before)} nor {said(after)}",
            "See who changed it, and why; put it right by hand.",
        )
    cluster.patch(
        path,
        [
            {"op": "test", "path": "/metadata/uid", "value": service["metadata"]["uid"]},
            {"op": "test", "path": "/spec/selector", "value": now},
            {"op": "replace", "path": "/spec/selector", "value": dict(after)},
        ],
    )
    return True


def said(selector: Mapping[str, str]) -> str:
    """A selector for people."""
    return ",".join(f"{printable(name, 80)}={printable(value, 80)}" for name, value in sorted(selector.items()))
