# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether what was rolled out is well, and is what was asked for: each pod says so itself."""

from __future__ import annotations

import json
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from .._kubernetes.client import Cluster
from ..checks import CRITICAL, OK, UNKNOWN, Check, worst
from ..errors import ClusterError
from ..words import plural, printable

#: Seconds between two tries.
_PAUSE = 1.0
#: What a health answer may call itself.
_WELL = ("ok", "up", "pass", "healthy", "ready")


def asked_each(
    pods: List[Dict[str, Any]],
    ask: Callable[[Dict[str, Any]], Tuple[str, str]],
    *,
    tries: int,
    pause: Callable[[float], None],
) -> Tuple[str, int, str]:
    """Asks all pods, and all of them again while one is not well.

    :param ask: gives the status of a pod, and what is wrong with it
    :returns: the worst status, how many pods are well, and what is wrong with the others
    """
    for left in range(tries - 1, -1, -1):
        found = {str(pod["metadata"]["name"]): ask(pod) for pod in pods}
        status = worst(each[0] for each in found.values())
        if status == OK or not left:
            break
        pause(_PAUSE)
    wrong = {name: text for name, (state, text) in found.items() if state != OK}
    return status, len(found) - len(wrong), " ".join(f"{name}: {said}" for name, said in sorted(wrong.items()))


def verified(
    cluster: Cluster,
    namespace: str,
    pods: List[Dict[str, Any]],
    *,
    port: int,
    health_path: str,
    version_path: str,
    version: str,
    tries: int = 5,
    pause: Callable[[float], None] = time.sleep,
) -> Check:
    """The check of all pods; asked again while it is not well, as a connection may be lost by itself.

    :param version: that each must say it is; with or without a leading v
    """
    status, good, wrong = asked_each(
        pods,
        lambda pod: _one(cluster, namespace, pod, port, health_path, version_path, version),
        tries=tries,
        pause=pause,
    )
    if not pods:
        text = "No pod is there that could be asked."
    else:
        text = wrong or f"All {plural(len(pods), 'pod')} are healthy and run {version}."
    remedy = "" if status == OK else "Read the log of the pod."
    value = good if status != UNKNOWN else None
    return Check(
        "release.verified",
        "Health and version",
        status,
        value,
        "pods",
        message=text,
        remedy=remedy,
        source=f"{health_path} and {version_path} of each pod",
    )


def _one(
    cluster: Cluster, namespace: str, pod: Dict[str, Any], port: int, health: str, version_path: str, version: str
) -> Tuple[str, str]:
    name = str(pod["metadata"]["name"])
    try:
        if health:
            answer = cluster.proxied(namespace, name, port, health)
            state = _said(answer, "status")
            if state is None and _strange(answer):
                return UNKNOWN, "What it says of its health is not known here."
            if state is not None and state.lower() not in _WELL:
                return CRITICAL, f"It says of its health: {printable(state, 60)}."
        if version_path:
            runs = _said(cluster.proxied(namespace, name, port, version_path), "version")
            if runs is None:
                return UNKNOWN, "It does not say which version it is."
            if runs.removeprefix("v") != version.removeprefix("v"):
                return CRITICAL, f"It says that it is {printable(runs, 60)}, not {version}."
    except ClusterError as error:
        return UNKNOWN, error.message
    return OK, ""


def _said(body: bytes, key: str) -> Optional[str]:
    """A field of an answer; None when it is no JSON, or has none."""
    try:
        found = json.loads(body)
        value = found.get(key)
    except (ValueError, AttributeError):
        return None
    return value if isinstance(value, str) and value else None


def _strange(body: bytes) -> bool:
    """Whether an answer has a status that is neither a word nor true. Without any, it is well by having come."""
    try:
        found = json.loads(body)
    except ValueError:
        return False
    return isinstance(found, dict) and found.get("status", True) is not True
